"""Scores as melody and chord symbols on a grid, read from folders of MIDI files.

Here belong the score itself, reading it, and telling duplicates. How it becomes tokens does not. A file that cannot be
used is one rejected record with its reason, never a failed folder.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np

from ai_assets.content_generation.facts import GENRES
from ai_assets.content_generation.music.harmony import (
    ChordSymbol,
    key_scores,
    parse_chord,
    parse_key,
    recognise_chord,
)

logger = logging.getLogger(__name__)
TICKS_PER_QUARTER = 12
LEAST_NOTES = 8
ANY_STYLE = "any"
_DRUM_CHANNEL = 9
_LONGEST_BAR = 96
_LONGEST_QUARTERS = 20_000
_SUFFIXES = (".mid", ".midi", ".musicxml", ".xml", ".mxl", ".json")


class ScoreError(ValueError):
    """A score that cannot be used; the message says why."""


@dataclass(frozen=True)
class ScoreNote:
    """A note: start and length in grid ticks (12 per quarter note), MIDI pitch."""

    start: int
    length: int
    pitch: int


@dataclass(frozen=True)
class ScoreChord:
    """A chord that holds from ``start`` (grid ticks) until the next one."""

    start: int
    symbol: ChordSymbol


@dataclass(frozen=True)
class Score:
    """A one-voiced melody over chords, in one meter and one key.

    ``meter`` is (numerator, denominator), ``tonic`` a pitch class, ``mode`` ``major`` or ``minor``. ``notes`` are in
    order and do not overlap. ``name`` is the file's path below the folder that was read.
    """

    name: str
    notes: tuple[ScoreNote, ...]
    chords: tuple[ScoreChord, ...]
    meter: tuple[int, int]
    tonic: int
    mode: str
    style: str = ANY_STYLE

    @property
    def bar_ticks(self) -> int:
        """Length of a bar in grid ticks."""
        return self.meter[0] * 4 * TICKS_PER_QUARTER // self.meter[1]

    @property
    def bars(self) -> int:
        """Number of bars until the last note has ended."""
        return -(-(self.notes[-1].start + self.notes[-1].length) // self.bar_ticks)

    def transposed(self, semitones: int) -> Score:
        """The score moved by ``semitones``."""
        return replace(
            self,
            notes=tuple(replace(note, pitch=note.pitch + semitones) for note in self.notes),
            chords=tuple(replace(chord, symbol=chord.symbol.transposed(semitones)) for chord in self.chords),
            tonic=(self.tonic + semitones) % 12,
        )

    def normalised(self) -> Score:
        """The score in C major or A minor, moved by the smallest interval."""
        move = ((9 if self.mode == "minor" else 0) - self.tonic) % 12
        return self.transposed(move - 12 if move > 6 else move)

    def to_mapping(self) -> dict[str, Any]:
        """The score as a JSON object, times in grid ticks; ``from_mapping`` gives an equal score back."""
        return {
            "name": self.name,
            "notes": [[note.start, note.length, note.pitch] for note in self.notes],
            "chords": [[chord.start, chord.symbol.root, chord.symbol.quality] for chord in self.chords],
            "meter": list(self.meter),
            "tonic": self.tonic,
            "mode": self.mode,
            "style": self.style,
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Score:
        """The score of ``to_mapping``."""
        return cls(
            values["name"],
            tuple(ScoreNote(*note) for note in values["notes"]),
            tuple(ScoreChord(start, ChordSymbol(root, quality)) for start, root, quality in values["chords"]),
            (values["meter"][0], values["meter"][1]),
            values["tonic"],
            values["mode"],
            values["style"],
        )

    def pitch_class_weights(self) -> np.ndarray:
        """Total length of each pitch class [12] in the melody."""
        weights = np.zeros(12)
        for note in self.notes:
            weights[note.pitch % 12] += note.length
        return weights


@dataclass(frozen=True)
class ScoreFolder:
    """What was read from a folder: usable scores, and (path, reason) of every file that is not."""

    scores: list[Score] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)


def read_scores(folder: Path) -> list[Score]:
    """The usable scores below ``folder`` in the order of their paths; the others are logged with their reason."""
    found = read_folder(folder)
    for name, reason in found.rejected:
        logger.warning("score %s is left out: %s", name, reason)
    return found.scores


def read_folder(folder: Path) -> ScoreFolder:
    """Every MIDI, MusicXML or JSON score below ``folder`` (a missing folder is empty)."""
    result = ScoreFolder()
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in _SUFFIXES and file.is_file())
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            result.scores.append(replace(read_score(file), name=name, style=_style(file, folder)))
        except ScoreError as error:
            result.rejected.append((name, str(error)))
    return result


def read_score(file: Path) -> Score:
    """One score file; raises ``ScoreError`` with the reason when it is damaged or has no usable melody."""
    if file.suffix.lower() in (".mid", ".midi"):
        return read_midi(file)
    from ai_assets.content_generation.music.score_files import read_json, read_musicxml

    return read_json(file) if file.suffix.lower() == ".json" else read_musicxml(file)


def without_duplicates(scores: Iterable[Score], *, notes: int = 30) -> list[Score]:
    """The scores whose first ``notes`` intervals and lengths no earlier one has."""
    seen: set[tuple[tuple[int, int], ...]] = set()
    kept = []
    for score in scores:
        first = score.notes[: notes + 1]
        opening = tuple((b.pitch - a.pitch, a.length) for a, b in pairwise(first))
        if opening not in seen:
            seen.add(opening)
            kept.append(score)
    return kept


def make_score(
    name: str,
    notes: Sequence[tuple[float, float, int]],
    chords: Sequence[tuple[float, ChordSymbol]],
    *,
    meter: tuple[int, int],
    key: tuple[int, str] | None,
) -> Score:
    """A score from times in quarter notes (start, end, pitch), put on the grid, one voice (the highest note) kept.

    Empty bars before the first note are left out.

    ``key`` (tonic, mode) is estimated from the melody when None. Raises ``ScoreError`` for too few notes or an
    unusable meter.
    """
    bar = meter[0] * 4 * TICKS_PER_QUARTER / meter[1]
    if bar != int(bar) or not TICKS_PER_QUARTER <= bar <= _LONGEST_BAR:
        raise ScoreError(f"the meter {meter[0]}/{meter[1]} is not one that is used (bars of 1 to 8 quarters)")
    if not all(abs(time) <= _LONGEST_QUARTERS for start, end, _ in notes for time in (start, end)):
        raise ScoreError(f"times lie outside of {_LONGEST_QUARTERS:,} quarter notes")
    highest: dict[int, tuple[int, int]] = {}
    opening = (
        int(min((start for start, _, _ in notes), default=0.0) * TICKS_PER_QUARTER // bar * bar) / TICKS_PER_QUARTER
    )
    for start, end, pitch in ((start - opening, end - opening, pitch) for start, end, pitch in notes):
        tick, stop = round(start * TICKS_PER_QUARTER), round(end * TICKS_PER_QUARTER)
        if stop > tick and highest.get(tick, (0, 0))[0] < pitch:
            highest[tick] = (pitch, stop)
    starts = sorted(highest)
    followers = [*starts[1:], 1 << 30]
    melody = tuple(
        ScoreNote(start, _written_length(highest[start][1] - start, after - start), highest[start][0])
        for start, after in zip(starts, followers, strict=True)
    )
    if len(melody) < LEAST_NOTES:
        raise ScoreError(f"the melody has {len(melody)} notes, at least {LEAST_NOTES} are needed")
    symbols: list[ScoreChord] = []
    usable = sorted(((at, symbol) for at, symbol in chords if abs(at) <= _LONGEST_QUARTERS), key=_first)
    placed = {max(0, round((at - opening) * TICKS_PER_QUARTER)): symbol for at, symbol in usable}
    for tick, symbol in sorted(placed.items()):
        if not symbols or symbols[-1].symbol != symbol:
            symbols.append(ScoreChord(tick, symbol))
    score = Score(name, melody, tuple(symbols), meter, 0, "major")
    if key is None:
        best = int(key_scores(score.pitch_class_weights()).argmax())
        key = (best % 12, "minor" if best >= 12 else "major")
    return replace(score, tonic=key[0], mode=key[1])


def _first(entry: tuple[float, ChordSymbol]) -> float:
    return entry[0]


def _written_length(played: int, available: int) -> int:
    """The length as a score would write it: players let go of a note a little before it ends."""
    if played >= available or available - played <= min(3, played / 4):
        return available
    whole = round(played / 6) * 6
    return min(whole, available) if whole and abs(whole - played) <= max(1.0, 0.07 * played) else played


@dataclass
class _Part:
    name: str = ""
    channel: int = 0
    notes: list[tuple[float, float, int]] = field(default_factory=list)
    chord_names: list[tuple[float, ChordSymbol]] = field(default_factory=list)

    def struck(self) -> dict[float, list[int]]:
        together: dict[float, list[int]] = {}
        for start, _, pitch in self.notes:
            together.setdefault(start, []).append(pitch)
        return together

    def chordal(self) -> float:
        """Share of the onsets at which three or more notes sound together."""
        onsets = self.struck()
        return sum(len(set(pitches)) >= 3 for pitches in onsets.values()) / max(1, len(onsets))


def read_midi(file: Path) -> Score:
    """A MIDI file's melody (the track of that name, else the highest one-voiced part) and chords.

    Chords come from chord names in text events, else from a part that plays them. Raises ``ScoreError`` for a damaged
    file, a change of meter or key inside the piece, or a missing melody.
    """
    try:
        # Latin-1 reads any byte: a title in an old code page must not cost the whole file.
        midi = mido.MidiFile(file, charset="latin1")
    except (OSError, EOFError, ValueError, KeyError, IndexError, mido.KeySignatureError) as error:
        raise ScoreError(f"not a readable MIDI file: {error if str(error) else 'it ends too early'}") from error
    if midi.type == 2 or midi.ticks_per_beat <= 0:
        raise ScoreError("MIDI of type 2 or with SMPTE times is not read")
    meters: set[tuple[int, int]] = set()
    keys: set[str] = set()
    parts = [part for track in midi.tracks for part in _parts(track, midi.ticks_per_beat, meters, keys)]
    if len(meters) > 1:
        raise ScoreError(f"the meter changes ({', '.join(f'{n}/{d}' for n, d in sorted(meters))})")
    if len(keys) > 1:
        raise ScoreError(f"the key changes ({', '.join(sorted(keys))})")
    melody = _melody(parts)
    names = [entry for part in parts for entry in part.chord_names]
    chords = names or _played_chords([part for part in parts if part is not melody])
    key = parse_key(next(iter(keys))) if keys else None
    return make_score(file.name, melody.notes, chords, meter=next(iter(meters), (4, 4)), key=key)


def _parts(track: Any, resolution: int, meters: set[tuple[int, int]], keys: set[str]) -> list[_Part]:
    """The parts of a track, one for each channel (drums left out); meters and keys found are added."""
    parts: dict[int, _Part] = {}
    texts: list[tuple[float, ChordSymbol]] = []
    sounding: dict[tuple[int, int], float] = {}
    now = 0
    for message in track:
        now += message.time
        at = now / resolution
        if message.type == "time_signature":
            meters.add((message.numerator, message.denominator))
        elif message.type == "key_signature":
            keys.add(message.key)
        elif (
            message.type in ("text", "marker", "lyrics") and (symbol := parse_chord(_unicode(message.text))) is not None
        ):
            texts.append((at, symbol))
        elif message.type in ("note_on", "note_off") and message.channel != _DRUM_CHANNEL:
            part = parts.setdefault(message.channel, _Part(track.name or "", message.channel))
            begun = sounding.pop((message.channel, message.note), None)
            if begun is not None and at > begun:
                part.notes.append((begun, at, message.note))
            if message.type == "note_on" and message.velocity > 0:
                sounding[message.channel, message.note] = at
    found = [parts[channel] for channel in sorted(parts)] or ([_Part(track.name or "")] if texts else [])
    if found:
        found[0].chord_names = texts
    return found


def _unicode(text: str) -> str:
    return text.encode("latin1").decode("utf-8", "replace")


def _melody(parts: Sequence[_Part]) -> _Part:
    named = [part for part in parts if "melody" in part.name.casefold() and part.notes]
    candidates = named or [part for part in parts if len(part.notes) >= LEAST_NOTES]
    if not candidates:
        raise ScoreError("there is no part with notes that could be a melody")

    def rank(part: _Part) -> tuple[float, float]:
        return (-round(part.chordal(), 1), float(np.mean([pitch for _, _, pitch in part.notes])))

    return max(candidates, key=rank)


def _played_chords(parts: Sequence[_Part]) -> list[tuple[float, ChordSymbol]]:
    best = max(parts, key=lambda part: part.chordal(), default=None)
    if best is None or best.chordal() < 0.2:
        return []
    recognised = [(at, recognise_chord(pitches)) for at, pitches in sorted(best.struck().items())]
    return [(at, symbol) for at, symbol in recognised if symbol is not None]


def _style(file: Path, root: Path) -> str:
    """The genre that a folder on the way to the file is named after, else ``any``."""
    folders = file.relative_to(root).parts[:-1]
    return next((name.casefold() for name in folders if name.casefold() in GENRES), ANY_STYLE)
