"""A tune as parts that can be played: melody, chords, bass and drums, with instruments by genre and energy.

Here belong the fixed accompaniment patterns; they add nothing to what the model wrote but its sound. Writing MIDI and
making sound are elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ai_assets.content_generation.music.harmony import ChordSymbol
from ai_assets.content_generation.music.scores import TICKS_PER_QUARTER, Score

KICK, SNARE, CLOSED_HAT, RIDE, SHAKER = 36, 38, 42, 51, 70
DRUM_CHANNEL = 9
_BASS_LOW, _CHORD_LOW = 36, 52


@dataclass(frozen=True)
class PlayedNote:
    """Start and length in grid ticks (12 per quarter note), MIDI pitch and velocity."""

    start: int
    length: int
    pitch: int
    velocity: int


@dataclass(frozen=True)
class Part:
    """A named part: MIDI channel (from 0; 9 = drums), General MIDI program (from 0), notes in order."""

    name: str
    channel: int
    program: int
    notes: tuple[PlayedNote, ...]


@dataclass(frozen=True)
class Arrangement:
    """All parts of a tune with its meter, key, tempo (quarter notes a minute), chord symbols and length."""

    parts: tuple[Part, ...]
    chords: tuple[tuple[int, str], ...]
    meter: tuple[int, int]
    tonic: int
    mode: str
    tempo_bpm: float
    ticks: int

    @property
    def seconds(self) -> float:
        """Playing time without the last notes' decay."""
        return self.ticks / TICKS_PER_QUARTER * 60.0 / self.tempo_bpm


@dataclass(frozen=True)
class _Band:
    melody: int
    chords: int
    bass: int
    drums: str


_BANDS: Mapping[str, _Band] = {
    "blues": _Band(22, 0, 32, "shuffle"),
    "classical": _Band(40, 48, 42, "light"),
    "country": _Band(110, 25, 32, "train"),
    "disco": _Band(81, 48, 33, "four"),
    "electronic": _Band(80, 89, 38, "four"),
    "folk": _Band(73, 25, 32, "light"),
    "funk": _Band(56, 7, 36, "backbeat"),
    "hip-hop": _Band(4, 5, 38, "backbeat"),
    "jazz": _Band(66, 0, 32, "shuffle"),
    "metal": _Band(30, 29, 34, "backbeat"),
    "pop": _Band(0, 4, 33, "backbeat"),
    "reggae": _Band(16, 27, 33, "offbeat"),
    "rock": _Band(27, 29, 33, "backbeat"),
    "techno": _Band(81, 90, 38, "four"),
}
_DEFAULT = _Band(0, 25, 32, "light")


def arrange(score: Score, *, bars: int, tempo_bpm: float, genre: str | None, energy: float) -> Arrangement:
    """The parts of a score. ``energy`` (0 to 1) decides loudness and how often chords and drums are struck."""
    band = _BANDS.get(genre or "", _DEFAULT)
    ticks = bars * score.bar_ticks
    beat = beat_ticks(score.meter)
    melody = tuple(
        PlayedNote(note.start, note.length, note.pitch, 100 if note.start % score.bar_ticks == 0 else 90)
        for note in score.notes
    )
    parts = [Part("melody", 0, band.melody, melody)]
    spans = _chord_spans(score, ticks)
    if spans:
        parts.append(Part("chords", 1, band.chords, _chords(spans, beat, energy)))
        parts.append(Part("bass", 2, band.bass, _bass(spans, beat)))
    parts.append(Part("drums", DRUM_CHANNEL, 0, _drums(band.drums, score.bar_ticks, beat, bars, energy)))
    names = tuple((chord.start, chord.symbol.name) for chord in score.chords)
    return Arrangement(tuple(parts), names, score.meter, score.tonic, score.mode, tempo_bpm, ticks)


def beat_ticks(meter: tuple[int, int]) -> int:
    """Ticks of a felt beat: a dotted quarter in 6/8, 9/8 and 12/8, else the meter's unit."""
    numerator, denominator = meter
    unit = 4 * TICKS_PER_QUARTER // denominator
    return 3 * unit if denominator >= 8 and numerator % 3 == 0 else unit


def _chord_spans(score: Score, ticks: int) -> list[tuple[int, int, ChordSymbol]]:
    """(start, end, chord): from change to change, parted at bar lines."""
    spans = []
    for place, chord in enumerate(score.chords):
        end = score.chords[place + 1].start if place + 1 < len(score.chords) else ticks
        start = chord.start
        while start < end:
            stop = min(end, (start // score.bar_ticks + 1) * score.bar_ticks)
            spans.append((start, stop, chord.symbol))
            start = stop
    return spans


def _chords(spans: list[tuple[int, int, ChordSymbol]], beat: int, energy: float) -> tuple[PlayedNote, ...]:
    notes = []
    every = beat if energy >= 0.5 else 1 << 20
    for start, end, symbol in spans:
        voicing = sorted(_CHORD_LOW + (each - _CHORD_LOW) % 12 for each in symbol.pitch_classes)
        for at in range(start, end, every):
            length = min(every, end - at)
            notes += [PlayedNote(at, length, pitch, 62) for pitch in voicing]
    return tuple(notes)


def _bass(spans: list[tuple[int, int, ChordSymbol]], beat: int) -> tuple[PlayedNote, ...]:
    notes = []
    for start, end, symbol in spans:
        root = _BASS_LOW + (symbol.root - _BASS_LOW) % 12
        middle = start + 2 * beat
        notes.append(PlayedNote(start, min(2 * beat, end - start), root, 84))
        if middle < end:
            fifth = _BASS_LOW + (symbol.pitch_classes[2] - _BASS_LOW) % 12
            notes.append(PlayedNote(middle, end - middle, fifth, 76))
    return tuple(notes)


def _drums(pattern: str, bar: int, beat: int, bars: int, energy: float) -> tuple[PlayedNote, ...]:
    """One bar of a pattern, repeated; the last bar has its first beat only."""
    hits: list[tuple[int, int, int]] = []
    half = beat // 2 if beat % 18 else beat // 3
    loud = 50 + round(40 * energy)
    for number, at in enumerate(range(0, bar, beat)):
        strong = number % 2 == 0
        if pattern == "four":
            hits += [(at, KICK, loud), (at + half, CLOSED_HAT, loud - 20)]
        elif pattern == "light":
            hits += [(at, SHAKER, loud - 20 if strong else loud - 30)]
        elif pattern == "offbeat":
            hits += [(at + half, CLOSED_HAT, loud - 20)] + ([] if strong else [(at, KICK, loud)])
        elif pattern == "shuffle":
            hits += [(at, RIDE, loud - 20), (at + beat * 2 // 3, RIDE, loud - 30)]
        else:
            hits += [(at, KICK if strong else SNARE, loud), (at, CLOSED_HAT, loud - 25)]
            hits += [(at + half, CLOSED_HAT, loud - 30)] if pattern == "train" or energy > 0.4 else []
        if pattern in ("four", "shuffle") and not strong and energy > 0.3:
            hits.append((at, SNARE, loud - 10))
    notes = [(number * bar + at, pitch, velocity) for number in range(bars - 1) for at, pitch, velocity in hits]
    notes += [((bars - 1) * bar + at, pitch, velocity) for at, pitch, velocity in hits if at == 0]
    return tuple(PlayedNote(at, 2, pitch, max(20, velocity)) for at, pitch, velocity in sorted(notes))
