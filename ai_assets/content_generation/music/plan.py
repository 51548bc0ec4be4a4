"""What the facts of a track ask of a tune: key, tempo and arrangement exactly, mode, style and density as headers.

Here belongs the translation of facts. Missing facts are chosen by the item's own random numbers or left to the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.music.harmony import parse_key
from ai_assets.content_generation.music.scores import ANY_STYLE
from ai_assets.content_generation.music.tokens import DENSITIES

_MINOR_MOODS = frozenset(("aggressive", "dark", "melancholic", "sad"))
_MAJOR_MOODS = frozenset(("calm", "energetic", "happy", "relaxed", "romantic"))
_TONICS = (0, 2, 4, 5, 7, 9, 10)
_DEFAULT_ENERGY = 0.5


@dataclass(frozen=True)
class Plan:
    """``wanted`` header values (None: the model chooses), tonic (pitch class), quarters a minute, genre, energy."""

    wanted: dict[str, str | None]
    tonic: int
    tempo_bpm: float
    genre: str | None
    energy: float


def plan(facts: FactSet, seed: int, *, styles: frozenset[str]) -> Plan:
    """The plan of an item. Without a key the mood decides the mode, without both the model; the tonic is drawn."""
    rng = np.random.default_rng([seed, 1_000_003])
    drawn = int(rng.choice(_TONICS))
    key = parse_key(facts.key) if facts.key is not None else None
    mode = key[1] if key is not None else _mode_of(facts.mood)
    energy = facts.energy
    style = facts.genre if facts.genre in styles else (ANY_STYLE if ANY_STYLE in styles else None)
    density = None if energy is None else str(min(DENSITIES - 1, int(energy * DENSITIES)))
    level = _DEFAULT_ENERGY if energy is None else energy
    tempo = facts.tempo_bpm if facts.tempo_bpm is not None else float(round(76 + 64 * level))
    wanted = {"mode": mode, "style": style, "density": density, "meter": None}
    return Plan(wanted, drawn if key is None else key[0], float(tempo), facts.genre, level)


def _mode_of(mood: str | None) -> str | None:
    if mood in _MINOR_MOODS:
        return "minor"
    return "major" if mood in _MAJOR_MOODS else None
