"""Scores as tokens and back: a header, then bars of chord and note tokens, or one token for a bar copied from before.

Here belong the token scheme, the vocabulary and the automaton that keeps every bar full. The scheme is reversible:
``decode(encode(score))`` gives the score in C major or A minor back. Probabilities do not belong here.

``H:mode``, ``H:style``, ``H:density``, ``H:meter`` | for each bar ``Copy8`` (equal to the bar eight before) or ``Bar``
and then, in order of time, ``C:G7`` (the chord at the bar's start and where it changes), ``N67:6`` (pitch and length in
ticks, 12 per quarter), ``R:6`` (rest), ``T:6`` (the note goes on across a bar line or a chord change) | ``End``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ai_assets.content_generation.music.harmony import parse_chord
from ai_assets.content_generation.music.scores import Score, ScoreChord, ScoreNote

START, END, BAR, UNKNOWN = "Start", "End", "Bar", "Unknown"
COPIES: tuple[int, ...] = (8, 4, 16, 2, 1, 12)
HEADER_LENGTH = 5
DENSITIES = 5
LONGEST = 96
LOWEST, HIGHEST = 36, 96
_FILLERS = (1, 2, 3, 4, 6, 8, 9, 12, 18, 24, 36, 48)


def density_bounds(scores: Iterable[Score]) -> tuple[float, ...]:
    """Notes per quarter note that part the scores into ``DENSITIES`` classes of equal size."""
    values = [notes_per_quarter(score) for score in scores]
    return tuple(round(float(q), 4) for q in np.quantile(values, np.arange(1, DENSITIES) / DENSITIES))


def notes_per_quarter(score: Score) -> float:
    """Notes for each quarter note of the score's bars."""
    return len(score.notes) * 12 / (score.bars * score.bar_ticks)


def header(score: Score, bounds: Sequence[float]) -> list[str]:
    """The tokens before the first bar."""
    density = sum(notes_per_quarter(score) > bound for bound in bounds)
    meter = f"H:meter {score.meter[0]}/{score.meter[1]}"
    return [START, f"H:mode {score.mode}", f"H:style {score.style}", f"H:density {density}", meter]


def encode(score: Score, bounds: Sequence[float]) -> list[str]:
    """All tokens of a score; it is brought to C major or A minor first."""
    score = score.normalised()
    bars = _bars(score)
    tokens = header(score, bounds)
    for number, bar in enumerate(bars):
        back = next((k for k in COPIES if number >= k and bars[number - k] == bar), None)
        tokens += [BAR, *bar] if back is None else [f"Copy{back}"]
    return [*tokens, END]


def _bars(score: Score) -> list[list[str]]:
    size, total = score.bar_ticks, score.bars * score.bar_ticks
    cuts = {*range(0, total + 1, size), *(chord.start for chord in score.chords if chord.start < total)}
    spans: list[tuple[int, int, str]] = []
    now = 0
    for note in score.notes:
        if note.start > now:
            spans += _pieces(now, note.start, cuts, "R:", "R:")
        spans += _pieces(note.start, note.start + note.length, cuts, f"N{note.pitch}:", "T:")
        now = note.start + note.length
    if now < total:
        spans += _pieces(now, total, cuts, "R:", "R:")
    bars: list[list[str]] = [[] for _ in range(score.bars)]
    chords = {chord.start: f"C:{chord.symbol.name}" for chord in score.chords}
    current = None
    for start, stop, kind in spans:
        changed = chords.get(start)
        current = changed or current
        if changed is not None or (start % size == 0 and current is not None):
            bars[start // size].append(str(current))
        bars[start // size].append(f"{kind}{stop - start}")
    return bars


def _pieces(start: int, stop: int, cuts: set[int], first: str, later: str) -> list[tuple[int, int, str]]:
    edges = [start, *sorted(cut for cut in cuts if start < cut < stop), stop]
    return [(a, b, first if a == start else later) for a, b in pairwise(edges)]


def expand(tokens: Sequence[str]) -> list[list[str]]:
    """The bars of a token list with copies written out. Raises ``ValueError`` for a copy from before the start."""
    bars: list[list[str]] = []
    for token in tokens[HEADER_LENGTH:]:
        if token == BAR:
            bars.append([])
        elif token.startswith("Copy"):
            back = int(token[4:])
            if back > len(bars):
                raise ValueError(f"{token} in bar {len(bars)} reaches before the first bar")
            bars.append(list(bars[-back]))
        elif token != END:
            bars[-1].append(token)
    return bars


def decode(tokens: Sequence[str], *, name: str = "tune") -> Score:
    """The score of a token list, in C major or A minor."""
    fields = dict(token[2:].split(" ", 1) for token in tokens[1:HEADER_LENGTH])
    numerator, denominator = fields["meter"].split("/")
    notes: list[ScoreNote] = []
    chords: list[ScoreChord] = []
    meter = (int(numerator), int(denominator))
    size = meter[0] * 48 // meter[1]
    for number, bar in enumerate(expand(tokens)):
        now = number * size
        for token in bar:
            kind, _, value = token.partition(":")
            if kind == "C":
                symbol = parse_chord(value)
                if symbol is not None and (not chords or chords[-1].symbol != symbol):
                    chords.append(ScoreChord(now, symbol))
                continue
            length = int(value)
            if kind.startswith("N"):
                notes.append(ScoreNote(now, length, int(kind[1:])))
            elif kind == "T" and notes and notes[-1].start + notes[-1].length == now:
                notes[-1] = ScoreNote(notes[-1].start, notes[-1].length + length, notes[-1].pitch)
            now += length
    tonic = 9 if fields["mode"] == "minor" else 0
    return Score(name, tuple(notes), tuple(chords), meter, tonic, fields["mode"], fields["style"])


@dataclass(frozen=True)
class Places:
    """Where each token of a row leads: bar number modulo 16, ticks since the bar line, ticks left in the bar."""

    bar: np.ndarray
    since: np.ndarray
    left: np.ndarray


class Vocabulary:
    """Tokens and their numbers, with what the automaton needs to know of each."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        self.numbers = {token: number for number, token in enumerate(self.tokens)}
        count = len(self.tokens)
        self.lengths = np.zeros(count, dtype=np.int64)
        self.pitches = np.full(count, -1, dtype=np.int64)
        self.copies = np.zeros(count, dtype=np.int64)
        for number, token in enumerate(self.tokens):
            kind, _, value = token.partition(":")
            if kind in ("R", "T") or (kind.startswith("N") and kind[1:].isdigit()):
                self.lengths[number] = int(value)
            if kind.startswith("N") and kind[1:].isdigit():
                self.pitches[number] = int(kind[1:])
            if token.startswith("Copy"):
                self.copies[number] = int(token[4:])
        self.chords = np.array([token.startswith("C:") for token in self.tokens])
        self.rests = np.array([token.startswith("R:") for token in self.tokens])
        self.ties = np.array([token.startswith("T:") for token in self.tokens])
        self.header = {
            kind: np.array([n for n, token in enumerate(self.tokens) if token.startswith(f"H:{kind} ")])
            for kind in ("mode", "style", "density", "meter")
        }
        self.bar, self.end, self.unknown = self.numbers[BAR], self.numbers[END], self.numbers[UNKNOWN]
        self.meter_ticks = {
            int(n): int(self.tokens[n].split(" ")[1].split("/")[0]) * 48 // int(self.tokens[n].split("/")[1])
            for n in self.header["meter"]
        }

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def of(cls, rows: Iterable[Sequence[str]]) -> Vocabulary:
        """Every token that occurs at least twice in ``rows``; a rarer one is ``Unknown``. Rests of all usual lengths
        are always there, so that any bar can be filled."""
        counts = Counter(token for row in rows for token in row)
        fixed = {START, END, BAR, UNKNOWN, *(f"Copy{k}" for k in COPIES), *(f"R:{n}" for n in _FILLERS)}
        fixed |= {token for token in counts if token.startswith("H:")}
        return cls(sorted(fixed | {token for token, count in counts.items() if count > 1}))

    def encode(self, tokens: Sequence[str]) -> np.ndarray:
        """Token numbers [n]."""
        return np.array([self.numbers.get(token, self.unknown) for token in tokens], dtype=np.int64)

    def decode(self, numbers: Iterable[int]) -> list[str]:
        """Tokens of numbers."""
        return [self.tokens[number] for number in numbers]

    def places(self, tokens: Sequence[str]) -> Places:
        """The places of a whole token list, told from the tokens themselves (unknown ones have their length too)."""
        rows = np.zeros((3, len(tokens)), dtype=np.int64)
        bar, since, size = -1, 0, 0
        for place, token in enumerate(tokens):
            kind, _, value = token.partition(":")
            if token.startswith("H:meter"):
                numerator, denominator = token.split(" ")[1].split("/")
                size = int(numerator) * 48 // int(denominator)
            elif token == BAR:
                bar, since = bar + 1, 0
            elif token.startswith("Copy"):
                bar, since = bar + 1, size
            elif kind in ("R", "T") or (kind.startswith("N") and kind[1:].isdigit()):
                since += int(value)
            rows[:, place] = (0 if bar < 0 else 1 + bar % 16, min(since, LONGEST), max(0, size - since))
        return Places(*rows)


class Automaton:
    """What may come next in a tune of ``bars`` bars, so that every bar is full and the last one closes in the key.

    One instance follows one tune: ``allowed`` gives a mask over the vocabulary, ``push`` takes the token chosen.
    """

    def __init__(self, words: Vocabulary, bars: int, wanted: dict[str, str | None]) -> None:
        self.words, self.bars = words, bars
        self.wanted = wanted
        self.count, self.bar, self.since, self.size = 0, -1, 0, 0
        self.mode, self.had_chord, self.pitch, self.sounding, self.done = "", False, -1, False, False
        self.kinds = ("mode", "style", "density", "meter")
        self.in_bar = 0
        self._ends: list[tuple[bool, int]] = []

    def allowed(self) -> np.ndarray:
        """Mask [vocabulary] of the tokens that may follow; at least one is set."""
        words = self.words
        mask = np.zeros(len(words), dtype=bool)
        if self.count < HEADER_LENGTH - 1:
            kind = self.kinds[self.count]
            options = words.header[kind]
            wish = self.wanted.get(kind)
            number = words.numbers.get(f"H:{kind} {wish}") if wish is not None else None
            mask[options if number is None else [number]] = True
            return mask
        if self.since >= self.size or self.bar < 0:
            if self.bar == self.bars - 1:
                mask[words.end] = True
                return mask
            mask[words.bar] = True
            if self.bar + 1 < self.bars - 1:
                mask |= (words.copies > 0) & (words.copies <= self.bar + 1)
            return mask
        return self._inside()

    def _inside(self) -> np.ndarray:
        words, left = self.words, self.size - self.since
        timed = (words.lengths > 0) & (words.lengths <= left)
        if not self.sounding:
            timed &= ~words.ties
        high = (words.pitches >= LOWEST) & (words.pitches <= HIGHEST)
        timed &= (words.pitches < 0) | high
        mask = timed if self.had_chord else timed | words.chords
        return self._closing(mask, left) if self.bar == self.bars - 1 else mask

    def _closing(self, mask: np.ndarray, left: int) -> np.ndarray:
        """The last bar: tonic chord, notes of its triad, the tonic as last note."""
        words = self.words
        root = 9 if self.mode == "minor" else 0
        if self.since == 0 and not self.had_chord:
            tonic = words.numbers.get("C:Am" if root else "C:C")
            if tonic is not None:
                only = np.zeros_like(mask)
                only[tonic] = True
                return only
        triad = [(root + step) % 12 for step in ((0, 3, 7) if root else (0, 4, 7))]
        classes = np.where((words.pitches >= LOWEST) & (words.pitches <= HIGHEST), words.pitches % 12, -1)
        is_root = classes == root
        # Another note of the triad must leave just the room that a tonic note can fill.
        allowed = mask & (is_root | (np.isin(classes, triad) & np.isin(left - words.lengths, words.lengths[is_root])))
        near = allowed & (np.abs(words.pitches - self.pitch) <= 12)
        if self.pitch >= 0 and near.any():
            allowed = near
        if not allowed.any() or (self.in_bar and self.pitch % 12 == root):
            allowed = allowed | (mask & words.rests)
        return allowed

    def push(self, number: int) -> None:
        """Take a token."""
        words, token = self.words, self.words.tokens[number]
        self.count += 1
        if self.count < HEADER_LENGTH:
            if self.count == 1:
                self.mode = token.split(" ")[1]
            elif self.count == HEADER_LENGTH - 1:
                self.size = words.meter_ticks[number]
        elif number == words.end:
            self.done = True
        elif number == words.bar:
            self.bar, self.since, self.had_chord, self.in_bar = self.bar + 1, 0, False, 0
            self._ends.append((self.sounding, self.pitch))
        elif words.copies[number]:
            self.bar, self.since = self.bar + 1, self.size
            self.sounding, self.pitch = self._ends[-int(words.copies[number])]
            self._ends.append((self.sounding, self.pitch))
        elif words.chords[number]:
            self.had_chord = True
        else:
            self.since += int(words.lengths[number])
            self.had_chord = False
            self.in_bar += 1
            if words.pitches[number] >= 0:
                self.pitch, self.sounding = int(words.pitches[number]), True
            elif words.rests[number]:
                self.sounding = False
            self._ends[-1] = (self.sounding, self.pitch)

    def place(self) -> tuple[int, int, int]:
        """The place of the token taken last, as ``Vocabulary.places`` numbers it."""
        return (0 if self.bar < 0 else 1 + self.bar % 16, min(self.since, LONGEST), max(0, self.size - self.since))
