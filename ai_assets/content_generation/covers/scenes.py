"""Scenes as numbers, the styles, and the procedural artist who draws what the model learns from.

A scene is (25, 16): a background and 24 shapes, each `type one-hot (6), centre (2), size (2), cos 2r, sin 2r, RGB (3),
alpha`, positions and sizes in units of the edge. What a genre or mood means for a cover is said in the two tables here.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_assets.content_generation.facts import FactSet

Scene = NDArray[np.float32]

SHAPES, FIELDS = 24, 16
TYPES = ("background", "ellipse", "ring", "rectangle", "triangle", "absent")
STYLES = ("rings", "grid", "waves", "rays", "bubbles", "stripes", "shards", "constellation")

GENRE_STYLE = {
    "blues": "waves", "classical": "rings", "country": "stripes", "disco": "bubbles", "electronic": "grid",
    "folk": "constellation", "funk": "bubbles", "hip-hop": "stripes", "jazz": "waves", "metal": "shards",
    "pop": "bubbles", "reggae": "stripes", "rock": "rays", "techno": "grid",
}  # fmt: skip
"""Style by genre; any other genre, and none, is drawn as a constellation."""

MOOD_VALENCE = {
    "aggressive": 0.25, "calm": 0.6, "dark": 0.15, "dreamy": 0.55, "energetic": 0.7, "happy": 0.95,
    "melancholic": 0.2, "relaxed": 0.7, "romantic": 0.7, "sad": 0.1,
}  # fmt: skip
"""Valence (0 gloomy to 1 bright) by mood; 0.5 without one."""

TONICS = {"C": 0, "C#": 1, "D": 2, "D#": 3, "E": 4, "F": 5, "F#": 6, "G": 7, "G#": 8, "A": 9, "A#": 10, "B": 11,
          "Db": 1, "Eb": 3, "Gb": 6, "Ab": 8, "Bb": 10}  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """What a cover is to express: a style, energy and valence in 0..1, tempo in bpm, hue in 0..1."""

    style: str
    energy: float = 0.5
    valence: float = 0.5
    tempo: float = 110.0
    hue: float = 0.5

    def vector(self) -> NDArray[np.float32]:
        """(13,) condition of the model."""
        kind = [float(self.style == name) for name in STYLES]
        angle = 2 * np.pi * self.hue
        numbers = [self.energy, self.valence, (self.tempo - 110.0) / 60.0, np.cos(angle), np.sin(angle)]
        return np.array(kind + numbers, np.float32)


def wish_of(facts: FactSet) -> Wish:
    """The wish that facts express; absent facts are neutral."""
    tonic = facts.key.split()[0] if facts.key else None
    fifths = (TONICS.get(tonic, 6) * 7) % 12 if tonic else 6  # neighbours in the circle of fifths look alike
    return Wish(
        GENRE_STYLE.get((facts.genre or "").lower(), "constellation"),
        0.5 if facts.energy is None else facts.energy,
        MOOD_VALENCE.get(facts.mood or "", 0.5),
        float(facts.tempo_bpm or 110.0),
        fifths / 12.0,
    )


def random_wish(rng: np.random.Generator) -> Wish:
    """A wish drawn evenly over all that can be wished."""
    style = STYLES[int(rng.integers(len(STYLES)))]
    return Wish(
        style, float(rng.random()), float(rng.random()), float(rng.uniform(60, 180)), float(rng.integers(12)) / 12
    )


def draw_scene(wish: Wish, rng: np.random.Generator) -> Scene:
    """One scene by the procedural artist."""
    scene = np.zeros((SHAPES + 1, FIELDS), np.float32)
    scene[:, 5] = 1.0
    scene[0] = _token(0, 0.5, 0.5, 1.0, 1.0, 0.0, _colour(wish, rng, 0.0, ground=True), 1.0)
    for place, token in enumerate(_ARTISTS[wish.style](wish, rng)[:SHAPES], start=1):
        scene[place] = token
    return scene


def _token(
    kind: int, x: float, y: float, w: float, h: float, turn: float, rgb: tuple[float, float, float], alpha: float
) -> NDArray[np.float32]:
    hot = [float(kind == place) for place in range(len(TYPES))]
    return np.array([*hot, x, y, w, h, np.cos(2 * turn), np.sin(2 * turn), *rgb, alpha], np.float32)


def _colour(wish: Wish, rng: np.random.Generator, step: float, *, ground: bool = False) -> tuple[float, float, float]:
    """A colour near the wished hue; valence makes it light, energy makes it strong."""
    hue = (wish.hue + 0.08 * step + rng.normal(0, 0.015)) % 1.0
    light = (0.16 + 0.5 * wish.valence) if ground else (0.35 + 0.4 * wish.valence + 0.1 * step)
    strong = 0.35 + 0.55 * wish.energy
    return colorsys.hls_to_rgb(hue, min(max(light, 0.05), 0.92), min(strong, 0.95))


def _rings(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    x, y = 0.5 + rng.normal(0, 0.06, 2)
    count = 6 + int(12 * wish.energy)
    return [_token(2, x, y, size, size, 0, _colour(wish, rng, i / count), 0.9)
            for i, size in enumerate(np.linspace(0.95, 0.12, count))]  # fmt: skip


def _grid(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    edge = 3 if wish.energy < 0.5 else 4
    cell = 0.8 / edge
    tokens = []
    for row in range(edge):
        for column in range(edge):
            x, y, tall = 0.1 + cell * (column + 0.5), 0.1 + cell * (row + 0.5), cell * (0.25 + 0.5 * rng.random())
            tokens.append(_token(3, x, y, cell * 0.75, tall, 0, _colour(wish, rng, (row + column) / (2 * edge)), 0.95))
    return tokens


def _waves(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    phase = rng.uniform(0, 2 * np.pi)
    swing = 0.05 + 0.2 * wish.energy
    return [_token(1, (i + 0.5) / SHAPES, 0.5 + swing * np.sin(phase + i * wish.tempo / 240), 0.05, 0.35, 0,
                   _colour(wish, rng, i / SHAPES), 0.75)
            for i in range(SHAPES)]  # fmt: skip


def _rays(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    count = 8 + int(14 * wish.energy)
    start = rng.uniform(0, np.pi)
    return [_token(3, 0.5 + 0.3 * np.cos(a), 0.5 + 0.3 * np.sin(a), 0.6, 0.03, a, _colour(wish, rng, i / count), 0.85)
            for i, a in enumerate(start + np.arange(count) * 2 * np.pi / count)]  # fmt: skip


def _bubbles(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    count = 8 + int(15 * wish.energy)
    tokens = []
    for i in range(count):
        size = 0.08 + 0.3 * (1 - i / count) * (0.6 + 0.4 * rng.random())
        x, y = (float(value) for value in rng.uniform(0.1, 0.9, 2))
        tokens.append(_token(1, x, y, size, size, 0, _colour(wish, rng, i / count), 0.7))
    return tokens


def _stripes(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    count = 5 + int(9 * wish.energy)
    turn = rng.choice([-1, 1]) * (np.pi / 6 + rng.normal(0, 0.05))
    return [_token(3, (i + 0.5) / count, 0.5, 0.55 / count, 1.6, turn, _colour(wish, rng, i / count), 0.9)
            for i in range(count)]  # fmt: skip


def _shards(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    count = 10 + int(13 * wish.energy)
    tokens = []
    for i in range(count):
        x, y, w, h = *rng.uniform(0.1, 0.9, 2), rng.uniform(0.1, 0.3), rng.uniform(0.2, 0.6)
        tokens.append(_token(4, x, y, w, h, rng.uniform(0, np.pi), _colour(wish, rng, i / count), 0.85))
    return tokens


def _constellation(wish: Wish, rng: np.random.Generator) -> list[NDArray[np.float32]]:
    count = 12 + int(11 * wish.energy)
    tokens = []
    for size in rng.uniform(0.015, 0.05, count):
        x, y = (float(value) for value in rng.uniform(0.08, 0.92, 2))
        tokens.append(_token(1, x, y, size, size, 0, _colour(wish, rng, 1.0), 0.95))
    return tokens


_ARTISTS: dict[str, Callable[[Wish, np.random.Generator], list[NDArray[np.float32]]]] = {
    "rings": _rings, "grid": _grid, "waves": _waves, "rays": _rays, "bubbles": _bubbles, "stripes": _stripes,
    "shards": _shards, "constellation": _constellation,
}  # fmt: skip
