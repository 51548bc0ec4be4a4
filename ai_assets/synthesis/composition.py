"""Writes a piece: form, harmony, melody from motifs, bass line, accompaniment and drums, as notes with exact times.

Here belongs the music as symbols (beats, pitches, velocities). Sound belongs to ``rendering``, MIDI files to
``scores``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from ai_assets.synthesis.styles import CRASH, SNARE, STYLES, TOM, WALTZ_BASS, WALTZ_COMP, Rhythm, StyleProfile

PARTS = ("melody", "chords", "bass", "drums")
_SHARP_NAMES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_FLAT_NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_FLAT_MAJOR_TONICS = frozenset({1, 3, 5, 8, 10})
_NUMERALS = {"I": 0, "II": 2, "III": 4, "IV": 5, "V": 7, "VI": 9, "VII": 11}
_QUALITIES = {
    "": (0, 4, 7), "m": (0, 3, 7), "5": (0, 7, 12), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10), "maj7": (0, 4, 7, 11),
    "m7b5": (0, 3, 6, 10), "m9": (0, 3, 7, 10, 14), "9": (0, 4, 7, 10, 14), "mmaj7": (0, 3, 7, 11),
}  # fmt: skip
_SECTION_DYNAMICS = {"intro": 0.72, "A": 0.86, "B": 1.0, "A'": 0.95, "ending": 0.8}


@dataclass(frozen=True)
class Note:
    """One note: start and length in quarter notes, MIDI pitch (or percussion key), velocity 1 to 127."""

    start: float
    beats: float
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Chord:
    """One chord of the harmony: start and length in quarter notes, root as pitch class, quality, printed name."""

    start: float
    beats: float
    root: int
    quality: str
    name: str

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """Pitch classes of the chord, root first."""
        return tuple((self.root + interval) % 12 for interval in _QUALITIES[self.quality])


@dataclass(frozen=True)
class Section:
    """A part of the form: its name and its place in bars."""

    name: str
    start_bar: int
    bars: int


@dataclass(frozen=True)
class Score:
    """A whole piece. ``tonic`` is a pitch class, ``scale`` the pitch classes of the melody, ``energy`` 0 to 1."""

    style: str
    tempo_bpm: float
    tonic: int
    mode: str
    scale: tuple[int, ...]
    energy: float
    mood: str
    beats_per_bar: int
    sections: tuple[Section, ...]
    chords: tuple[Chord, ...]
    notes: dict[str, tuple[Note, ...]]
    voices: dict[str, str]

    @property
    def bars(self) -> int:
        """Number of bars."""
        return sum(section.bars for section in self.sections)

    @property
    def seconds(self) -> float:
        """Length of the written music in seconds, without the tail of the last sound."""
        return self.bars * self.beats_per_bar * 60.0 / self.tempo_bpm

    @property
    def key_name(self) -> str:
        """The key in words, such as ``C# minor``."""
        return f"{pitch_name(self.tonic, self.tonic, self.mode)} {self.mode}"


def pitch_name(pitch_class: int, tonic: int, mode: str) -> str:
    """Name of a pitch class, spelled with flats in flat keys and with sharps elsewhere."""
    relative_major = tonic if mode == "major" else (tonic + 3) % 12
    names = _FLAT_NAMES if relative_major in _FLAT_MAJOR_TONICS else _SHARP_NAMES
    return names[pitch_class % 12]


def parse_numeral(numeral: str) -> tuple[int, str]:
    """Semitones above the tonic and quality of a Roman numeral such as ``bVII``, ``ii7`` or ``IVmaj7``."""
    match = re.fullmatch(r"(b?)([IVX]+|[ivx]+)(.*)", numeral)
    if match is None:
        raise ValueError(f"not a Roman numeral: {numeral!r}")
    flat, letters, suffix = match.groups()
    minor = letters.islower() and not suffix.startswith(("m", "5"))
    return (_NUMERALS[letters.upper()] - len(flat)) % 12, ("m" if minor else "") + suffix


def compose(style: str, *, seconds: float, rng: np.random.Generator) -> Score:
    """Compose a piece of at least ``seconds`` seconds.

    The form is intro, A, B, A', ending; A' brings back the motif of A with ornaments. Every melody note lies in
    ``Score.scale``. Same generator state, same piece.
    """
    profile = STYLES[style]
    energy = float(np.round(rng.uniform(*profile.energy), 2))
    low, high = profile.tempo
    pull = (energy - profile.energy[0]) / (profile.energy[1] - profile.energy[0])
    tempo = float(round(low + (high - low) * (0.6 * pull + 0.4 * rng.random())))
    mode = "minor" if rng.random() < profile.minor_share else "major"
    tonic = int(rng.integers(12))
    meter = int(rng.choice(profile.meters, p=_meter_weights(profile)))
    bars = max(6, math.ceil(seconds * tempo / 60.0 / meter))
    sections = _form(bars)
    chords = _harmony(profile, tonic, mode, meter, sections, rng)
    scale = profile.major_scale if mode == "major" else profile.minor_scale
    classes = tuple(sorted((tonic + step) % 12 for step in scale))
    melody = _melody(profile, classes, meter, sections, chords, energy, rng)
    notes = {
        "melody": melody,
        "chords": _accompaniment(profile, meter, sections, chords, energy, rng),
        "bass": _bass(profile, meter, sections, chords, energy, rng),
        "drums": _drums(profile, meter, sections, energy, rng),
    }
    voices = {
        "melody": str(rng.choice(profile.leads)),
        "chords": str(rng.choice(profile.chord_voices)),
        "bass": profile.bass_voice,
        "drums": profile.kit,
    }
    return Score(
        style=style, tempo_bpm=tempo, tonic=tonic, mode=mode, scale=classes, energy=energy,
        mood=_mood(style, mode, energy), beats_per_bar=meter, sections=sections, chords=chords, notes=notes,
        voices=voices,
    )  # fmt: skip


def _meter_weights(profile: StyleProfile) -> list[float]:
    return [1.0] if len(profile.meters) == 1 else [0.75, 0.25]


def _mood(style: str, mode: str, energy: float) -> str:
    """Word for the intended mood, on the plane of energy and mode (Russell's circumplex, coarsely)."""
    if energy > 0.75:
        return "aggressive" if style == "metal" else ("energetic" if mode == "major" else "dark")
    if energy > 0.45:
        return "happy" if mode == "major" else "dark" if style in ("hip-hop", "electronic") else "melancholic"
    if mode == "minor":
        return "sad" if energy < 0.3 else "melancholic"
    return "calm" if energy < 0.25 else "romantic" if style in ("jazz", "classical") else "relaxed"


def _form(bars: int) -> tuple[Section, ...]:
    intro = 2 if bars >= 10 else 1
    ending = 1
    body = bars - intro - ending
    first = max(1, round(body * 0.4))
    middle = max(1, round(body * 0.3))
    lengths = (intro, first, middle, body - first - middle, ending)
    sections, start = [], 0
    for name, length in zip(("intro", "A", "B", "A'", "ending"), lengths, strict=True):
        sections.append(Section(name, start, length))
        start += length
    return tuple(sections)


def _harmony(
    profile: StyleProfile, tonic: int, mode: str, meter: int, sections: tuple[Section, ...], rng: np.random.Generator
) -> tuple[Chord, ...]:
    choices = profile.major if mode == "major" else profile.minor
    verse, bridge = (choices[i] for i in rng.choice(len(choices), 2, replace=len(choices) < 2))
    chords = []
    for section in sections:
        numerals = (bridge if section.name == "B" else verse).split()
        if section.name == "intro":
            numerals = numerals[:1] + numerals[-1:]
        if section.name == "ending":
            numerals = [_closing(verse, mode)]
        for bar in range(section.bars):
            semitones, quality = parse_numeral(numerals[bar % len(numerals)])
            root = (tonic + semitones) % 12
            name = pitch_name(root, tonic, mode) + quality
            chords.append(Chord(float((section.start_bar + bar) * meter), float(meter), root, quality, name))
    return tuple(chords)


def _closing(progression: str, mode: str) -> str:
    """The tonic chord in the colour that the progression uses for it."""
    wanted = "I" if mode == "major" else "i"
    tonics = [n for n in progression.split() if re.fullmatch(rf"{wanted}(maj7|7|5|9)?", n)]
    return tonics[0] if tonics else wanted


def _velocity(base: float, section: Section, energy: float, rng: np.random.Generator) -> int:
    level = base * _SECTION_DYNAMICS[section.name] * (0.72 + 0.28 * energy) * (1.0 + 0.05 * rng.standard_normal())
    return int(np.clip(round(127 * level), 20, 127))


def _at(step: float, swing: float) -> float:
    """Place of a sixteenth step in beats; the second eighth of each beat comes late by the share ``swing``."""
    beat, within = divmod(step / 4.0, 1.0)
    shifted = within * (1 + swing) if within <= 0.5 else 0.5 * (1 + swing) + (within - 0.5) * (1 - swing)
    return float(beat + shifted)


def _fit(pattern: Rhythm, meter: int) -> list[tuple[int, int]]:
    steps = 4 * meter
    return [(step, min(length, steps - step)) for step, length in pattern if step < steps]


def _motif(profile: StyleProfile, meter: int, rng: np.random.Generator) -> tuple[list[tuple[int, int]], list[int]]:
    """One bar of rhythm and its contour in scale steps relative to the first note: mostly steps, few leaps."""
    rhythm = _fit(profile.rhythms[int(rng.integers(len(profile.rhythms)))], meter)
    moves = rng.choice((-2, -1, 1, 2, 3), size=len(rhythm) - 1, p=(0.16, 0.34, 0.32, 0.12, 0.06))
    contour = [0, *np.cumsum(moves).clip(-4, 5).tolist()]
    return rhythm, contour


def _melody(
    profile: StyleProfile, classes: tuple[int, ...], meter: int, sections: tuple[Section, ...],
    chords: tuple[Chord, ...], energy: float, rng: np.random.Generator,
) -> tuple[Note, ...]:  # fmt: skip
    ladder = [p for p in range(profile.register - 14, profile.register + 17) if p % 12 in classes]
    motifs = {"A": _motif(profile, meter, rng), "B": _motif(profile, meter, rng)}
    answer = _motif(profile, meter, rng)
    notes: list[Note] = []
    for section in sections:
        if section.name == "intro":
            continue
        motif = motifs["B" if section.name == "B" else "A"]
        for bar in range(section.bars):
            chord = chords[section.start_bar + bar]
            rhythm, contour = answer if bar % 4 == 3 else motif
            last = bar == section.bars - 1
            lift = (2 if section.name == "B" else 0) + (bar % 4 == 2)
            anchor = _nearest_chord_tone(ladder, chord, profile.register - 2 + 2 * lift)
            if section.name == "ending":
                rhythm, contour = [(0, 4 * meter)], [0]
            elif last and len(rhythm) > 2:
                rhythm, contour = [*rhythm[:2], (rhythm[2][0], 4 * meter - rhythm[2][0])], contour[:3]
            ornament = section.name == "A'" and bar % 2 == 1
            for i, ((step, length), offset) in enumerate(zip(rhythm, contour, strict=True)):
                index = int(np.clip(anchor + offset, 0, len(ladder) - 1))
                if i == len(rhythm) - 1 and last:
                    index = _nearest_chord_tone(ladder, chord, ladder[index])
                start = chord.start + _at(step, profile.swing)
                beats = max(0.12, (chord.start + _at(step + length, profile.swing) - start) * 0.94)
                velocity = _velocity(0.92 if step % 8 == 0 else 0.82, section, energy, rng)
                if ornament and i == 0 and length >= 4 and index + 1 < len(ladder):
                    notes.append(Note(start, beats * 0.22, ladder[index + 1], velocity))
                    start, beats = start + beats * 0.25, beats * 0.72
                notes.append(Note(start, beats, ladder[index], velocity))
    return tuple(notes)


def _nearest_chord_tone(ladder: list[int], chord: Chord, target: int) -> int:
    """Index in the ladder of scale pitches of the chord tone nearest to ``target`` (any pitch if none is shared)."""
    shared = [i for i, pitch in enumerate(ladder) if pitch % 12 in chord.pitch_classes]
    return min(shared or range(len(ladder)), key=lambda i: (abs(ladder[i] - target), i))


def _voicing(chord: Chord, previous: list[int], low: int) -> list[int]:
    """Pitches of a chord in close position near the previous ones (smallest movement of the mean)."""
    intervals = _QUALITIES[chord.quality]
    candidates = []
    for inversion in range(len(intervals)):
        turned = [*intervals[inversion:], *(i + 12 for i in intervals[:inversion])]
        base = low + (chord.root + turned[0] - low) % 12
        candidates.append([base + i - turned[0] for i in turned])
    if chord.quality == "5":
        return candidates[0]
    centre = float(np.mean(previous)) if previous else low + 7.0
    return min(candidates, key=lambda c: abs(float(np.mean(c)) - centre))


def _accompaniment(
    profile: StyleProfile, meter: int, sections: tuple[Section, ...], chords: tuple[Chord, ...], energy: float,
    rng: np.random.Generator,
) -> tuple[Note, ...]:  # fmt: skip
    low = 40 if profile.drive else 53
    patterns = [profile.comp[i] for i in rng.permutation(len(profile.comp))]
    if meter == 3:
        patterns = [WALTZ_COMP, WALTZ_COMP]
    notes: list[Note] = []
    previous: list[int] = []
    for section in sections:
        pattern = patterns[1 % len(patterns)] if section.name == "B" else patterns[0]
        if section.name == "ending":
            pattern = ((0, 4 * meter, None),)
        for bar in range(section.bars):
            chord = chords[section.start_bar + bar]
            previous = _voicing(chord, previous, low)
            for step, length, tone in pattern:
                if step >= 4 * meter:
                    continue
                length = min(length, 4 * meter - step)
                start = chord.start + _at(step, profile.swing)
                beats = max(0.1, (chord.start + _at(step + length, profile.swing) - start) * 0.92)
                velocity = _velocity(0.8 if step % 8 == 0 else 0.7, section, energy, rng)
                chosen = previous if tone is None else [[*previous, previous[0] + 12][tone % (len(previous) + 1)]]
                notes.extend(Note(start, beats, pitch, velocity) for pitch in chosen)
    return tuple(notes)


def _bass(
    profile: StyleProfile, meter: int, sections: tuple[Section, ...], chords: tuple[Chord, ...], energy: float,
    rng: np.random.Generator,
) -> tuple[Note, ...]:  # fmt: skip
    pattern = WALTZ_BASS if meter == 3 else profile.bass[int(rng.integers(len(profile.bass)))]
    notes: list[Note] = []
    for section in sections:
        line = ((0, 4 * meter, "root"),) if section.name == "ending" else pattern
        for bar in range(section.bars):
            chord = chords[section.start_bar + bar]
            following = chords[min(section.start_bar + bar + 1, len(chords) - 1)]
            root = 28 + (chord.root - 28) % 12
            intervals = _QUALITIES[chord.quality]
            third = intervals[1] if chord.quality != "5" else 7
            approach = 28 + (following.root - 28) % 12 + (1 if rng.random() < 0.5 else -1)
            pitches = {
                "root": root, "third": root + third, "fifth": root + (6 if "b5" in chord.quality else 7),
                "sixth": root + 9, "octave": root + 12, "approach": approach,
            }  # fmt: skip
            for step, length, what in line:
                if step >= 4 * meter:
                    continue
                start = chord.start + _at(step, profile.swing)
                beats = (chord.start + _at(min(step + length, 4 * meter), profile.swing) - start) * 0.93
                notes.append(Note(start, max(0.1, beats), pitches[what], _velocity(0.9, section, energy, rng)))
    return tuple(notes)


def _drums(
    profile: StyleProfile, meter: int, sections: tuple[Section, ...], energy: float, rng: np.random.Generator
) -> tuple[Note, ...]:
    if not profile.drums or not any(profile.drums):
        return ()
    order = rng.permutation(len(profile.drums))
    notes: list[Note] = []
    for section in sections:
        pattern = profile.drums[int(order[1 % len(order)] if section.name == "B" else order[0])]
        for bar in range(section.bars):
            origin = float((section.start_bar + bar) * meter)
            fill = section.name in ("A", "B") and bar == section.bars - 1 and SNARE in pattern
            if section.name == "ending":
                hits = {key: line[0] + "." * 15 for key, line in pattern.items()}
            elif section.name == "intro" and bar == 0 and section.bars > 1:
                hits = {key: line for key, line in pattern.items() if key not in (KICK_KEYS)}
            else:
                hits = pattern
            for key, line in hits.items():
                for step, mark in enumerate(line[: 4 * meter]):
                    if mark == "." or (fill and step >= 4 * meter - 4 and key != 36):
                        continue
                    base = 0.95 if mark == "x" else 0.55
                    notes.append(
                        Note(origin + _at(step, profile.swing), 0.2, key, _velocity(base, section, energy, rng))
                    )
            if fill:
                for i, step in enumerate(range(4 * meter - 4, 4 * meter)):
                    key = SNARE if i < 2 else TOM
                    notes.append(
                        Note(
                            origin + _at(step, profile.swing), 0.2, key, _velocity(0.7 + 0.07 * i, section, energy, rng)
                        )
                    )
            if bar == 0 and section.name in ("B", "A'") and energy > 0.5:
                notes.append(Note(origin, 0.5, CRASH, _velocity(0.75, section, energy, rng)))
    return tuple(sorted(notes, key=lambda n: (n.start, n.pitch)))


KICK_KEYS = (36,)
