"""Chords and keys as symbols: chord names read and written, chords recognised from notes, the key a melody suggests.

Here belong pitch classes, chord qualities and key profiles. Times, tokens and sound do not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PITCH_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
QUALITIES: Mapping[str, tuple[int, ...]] = {
    "": (0, 4, 7),
    "m": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "m7": (0, 3, 7, 10),
    "maj7": (0, 4, 7, 11),
    "dim": (0, 3, 6),
    "aug": (0, 4, 8),
    "sus4": (0, 5, 7),
}
_SPELLINGS = {
    "": "", "maj": "", "M": "", "6": "", "add9": "", "sus2": "", "5": "", "69": "", "m": "m", "min": "m", "-": "m",
    "m6": "m", "7": "7", "9": "7", "13": "7", "11": "7", "7sus4": "sus4", "m7": "m7", "min7": "m7", "-7": "m7",
    "m9": "m7", "maj7": "maj7", "M7": "maj7", "maj9": "maj7", "dim": "dim", "dim7": "dim", "o": "dim", "m7b5": "dim",
    "aug": "aug", "+": "aug", "sus4": "sus4", "sus": "sus4",
}  # fmt: skip
_NAME = re.compile(r"^([A-G])([#b♯♭]?)([^/\s]*)(?:/[A-G][#b♯♭]?)?$")
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# Krumhansl & Kessler 1982 (probe tones) ranks candidates; Temperley's corpus profile (The Cognition of Basic Musical
# Structures, 2001, Kostka-Payne counts as in Temperley 2007) reports, so that what is reported was not optimised.
PROFILES: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "krumhansl": (
        (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    ),
    "temperley": (
        (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400),
        (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330),
    ),
}
SCALES: Mapping[str, frozenset[int]] = {
    "major": frozenset((0, 2, 4, 5, 7, 9, 11)),
    # Natural minor with the raised sixth and seventh of the melodic and harmonic forms.
    "minor": frozenset((0, 2, 3, 5, 7, 8, 9, 10, 11)),
}


@dataclass(frozen=True)
class ChordSymbol:
    """Root as pitch class (0 = C) and a quality of ``QUALITIES``."""

    root: int
    quality: str

    @property
    def name(self) -> str:
        """Like ``Bb7``."""
        return PITCH_NAMES[self.root] + self.quality

    @property
    def pitch_classes(self) -> tuple[int, ...]:
        """The chord's pitch classes, root first."""
        return tuple((self.root + step) % 12 for step in QUALITIES[self.quality])

    def transposed(self, semitones: int) -> ChordSymbol:
        """The chord moved by ``semitones``."""
        return ChordSymbol((self.root + semitones) % 12, self.quality)


def parse_chord(text: str) -> ChordSymbol | None:
    """A chord name such as ``F#m7`` or ``C/G`` with its quality reduced to ``QUALITIES``; None when it is not one."""
    match = _NAME.match(text.strip())
    if match is None:
        return None
    letter, accidental, rest = match.groups()
    quality = _SPELLINGS.get(rest.replace("(", "").replace(")", ""))
    if quality is None:
        return None
    step = {"#": 1, "♯": 1, "b": -1, "♭": -1}.get(accidental, 0)
    return ChordSymbol((_LETTERS[letter] + step) % 12, quality)


def recognise_chord(pitches: Iterable[int]) -> ChordSymbol | None:
    """The chord whose pitch classes fit best, the lowest note preferred as root; None for fewer than three classes."""
    struck = sorted(pitches)
    classes = {pitch % 12 for pitch in struck}
    if len(classes) < 3:
        return None

    def fit(symbol: ChordSymbol) -> tuple[int, bool, int]:
        wanted = set(symbol.pitch_classes)
        return (-len(wanted ^ classes), symbol.root == struck[0] % 12, -len(wanted))

    return max((ChordSymbol(root, quality) for root in sorted(classes) for quality in QUALITIES), key=fit)


def key_scores(weights: NDArray[np.float64], profile: str = "krumhansl") -> NDArray[np.float64]:
    """Correlation of pitch-class weights [12] with the profiles of 24 keys [24]: 12 major from C, then 12 minor.

    Krumhansl and Schmuckler's method (Krumhansl, Cognitive Foundations of Musical Pitch, 1990). Even weights give 0.
    """
    centred = weights - weights.mean()
    size = float(np.linalg.norm(centred))
    if size == 0.0:
        return np.zeros(24)
    rows = np.array([np.roll(each, tonic) for each in PROFILES[profile] for tonic in range(12)])
    rows = rows - rows.mean(axis=1, keepdims=True)
    found: NDArray[np.float64] = rows @ centred / (np.linalg.norm(rows, axis=1) * size)
    return found


def key_index(tonic: int, mode: str) -> int:
    """Place of a key in ``key_scores``."""
    return tonic + (12 if mode == "minor" else 0)


def key_name(index: int) -> str:
    """Like ``Bb major`` for a place in ``key_scores``."""
    return f"{PITCH_NAMES[index % 12]} {'minor' if index >= 12 else 'major'}"


def parse_key(text: str) -> tuple[int, str] | None:
    """Tonic (pitch class) and mode of a fact such as ``C# minor`` or a MIDI key signature such as ``F#m``."""
    match = re.fullmatch(r"([A-G])([#b♯♭]?)\s*(major|minor|m|)", text.strip())
    if match is None:
        return None
    letter, accidental, mode = match.groups()
    step = {"#": 1, "♯": 1, "b": -1, "♭": -1}.get(accidental, 0)
    return (_LETTERS[letter] + step) % 12, "minor" if mode in ("m", "minor") else "major"
