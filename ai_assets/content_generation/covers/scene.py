"""A cover's scene as numbers, and what of the facts leads it: style, energy, valence, tempo and hue.

Here belong the token layout, the tables from genre to style and from mood to valence, and the condition vector. How a
scene is invented or drawn does not.

A scene is an array [25, 16]: row 0 is the background, rows 1 to 24 are shapes in drawing order. Columns: 0-5 the kind
(``HOT`` at its place, ``-HOT`` elsewhere), 6-7 centre, 8-9 size, 10-11 cosine and sine of twice the rotation, 12-14
sRGB colour, 15 opacity; all but the rotation are a share in [0, 1] stored as 2x-1. The background keeps its second
colour in columns 6-8 and the gradient's direction in 10-11.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass

import numpy as np

from ai_assets.content_generation.facts import FactSet

SHAPES, NUMBERS = 24, 16
KINDS: tuple[str, ...] = ("none", "ellipse", "rectangle", "triangle", "ring", "half_disc")
HOT = 0.7
RING_WIDTH = 0.16
STYLES: tuple[str, ...] = (
    "horizon", "rings", "bubbles", "grid", "hills", "skyline", "arcs", "shards", "stripes", "rays",
)  # fmt: skip
# One style for each genre of the sample library; the four others share the style of their nearest relative.
STYLE_OF_GENRE: dict[str, str] = {
    "blues": "horizon",
    "classical": "rings",
    "country": "hills",
    "disco": "bubbles",
    "electronic": "grid",
    "folk": "hills",
    "funk": "stripes",
    "hip-hop": "skyline",
    "jazz": "arcs",
    "metal": "shards",
    "pop": "bubbles",
    "reggae": "stripes",
    "rock": "rays",
    "techno": "grid",
}
# Pleasantness from 0 to 1, after the places of these words in the circumplex of affect (Russell 1980).
VALENCE_OF_MOOD: dict[str, float] = {
    "aggressive": 0.15,
    "calm": 0.7,
    "dark": 0.1,
    "dreamy": 0.65,
    "energetic": 0.8,
    "happy": 0.95,
    "melancholic": 0.25,
    "relaxed": 0.8,
    "romantic": 0.75,
    "sad": 0.1,
}
NEUTRAL = 0.5
USUAL_TEMPO = 110.0
_TEMPO_BOUNDS = (50.0, 220.0)
_PITCH_CLASS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
CONDITION_WIDTH = len(STYLES) + 5


@dataclass(frozen=True)
class Condition:
    """What leads a scene: a style's number, energy, valence and tempo from 0 to 1, and the hue in degrees."""

    style: int
    energy: float
    valence: float
    tempo: float
    hue: float

    def vector(self) -> np.ndarray:
        """[CONDITION_WIDTH] numbers between -1 and 1."""
        numbers = np.zeros(CONDITION_WIDTH)
        numbers[self.style] = 1.0
        angle = math.radians(self.hue)
        own = (2 * self.energy - 1, 2 * self.valence - 1, 2 * self.tempo - 1, math.cos(angle), math.sin(angle))
        numbers[len(STYLES) :] = own
        return numbers


def key_hue(key: str) -> float:
    """Hue in degrees of a key like ``C# minor``: 30 degrees for each step on the circle of fifths, C = 0."""
    tonic = key.split(" ")[0]
    pitch = _PITCH_CLASS[tonic[0]] + tonic.count("#") - tonic[1:].count("b")
    return float(pitch * 7 % 12 * 30)


def style_of(genre: str) -> str:
    """The style of a genre; one that is not in the table gets a style by its name's checksum, always the same."""
    return STYLE_OF_GENRE.get(genre, STYLES[zlib.crc32(genre.casefold().encode("utf-8")) % len(STYLES)])


def condition(facts: FactSet, rng: np.random.Generator) -> Condition:
    """The condition of a fact set; without a genre or key the item's own random numbers choose style or hue."""
    style = int(rng.integers(len(STYLES)))
    hue = float(rng.random() * 360)
    low, high = (math.log(bound) for bound in _TEMPO_BOUNDS)
    tempo = (math.log(facts.tempo_bpm or USUAL_TEMPO) - low) / (high - low)
    return Condition(
        style=style if facts.genre is None else STYLES.index(style_of(facts.genre)),
        energy=NEUTRAL if facts.energy is None else facts.energy,
        valence=NEUTRAL if facts.mood is None else VALENCE_OF_MOOD[facts.mood],
        tempo=min(1.0, max(0.0, tempo)),
        hue=hue if facts.key is None else key_hue(facts.key),
    )


def random_condition(rng: np.random.Generator) -> Condition:
    """A condition drawn evenly, as training and evaluation use it."""
    energy, valence, tempo, hue = rng.random(4)
    return Condition(int(rng.integers(len(STYLES))), float(energy), float(valence), float(tempo), float(hue * 360))


def tidy(tokens: np.ndarray) -> np.ndarray:
    """Tokens [25, 16] as they are drawn and hashed: exact kinds, empty rows cleared, all in range, three decimals."""
    kinds = tokens[:, :6].argmax(axis=1)
    kinds[0] = 0
    found = np.clip(tokens, -1.0, 1.0)
    length = np.hypot(tokens[:, 10], tokens[:, 11])
    found[:, 10:12] = np.where((length > 0.1)[:, None], tokens[:, 10:12] / np.maximum(length, 0.1)[:, None], (1.0, 0.0))
    found[1:][kinds[1:] == 0] = 0.0
    found[:, :6] = -HOT
    found[np.arange(len(found)), kinds] = HOT
    # Adding zero turns -0.0 into 0.0, so that equal scenes have equal bytes.
    tidied: np.ndarray = np.round(found, 3) + 0.0
    return tidied


@dataclass(frozen=True)
class Shape:
    """One shape to draw; lengths are shares of the edge, ``turn`` is in degrees, ``rgb`` in [0, 1]."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    turn: float
    rgb: tuple[float, float, float]
    alpha: float


@dataclass(frozen=True)
class Backdrop:
    """A linear gradient from ``start`` to ``end`` (both sRGB) along ``turn`` degrees."""

    start: tuple[float, float, float]
    end: tuple[float, float, float]
    turn: float


def decode(tokens: np.ndarray) -> tuple[Backdrop, list[Shape]]:
    """What tokens [25, 16] mean."""
    share = (tokens + 1) / 2
    turns = np.degrees(np.arctan2(tokens[:, 11], tokens[:, 10])) / 2
    backdrop = Backdrop(_rgb(share[0, 12:15]), _rgb(share[0, 6:9]), round(float(turns[0]), 2))
    shapes = []
    for row, turn in zip(share[1:], turns[1:], strict=True):
        kind = KINDS[int(row[:6].argmax())]
        if kind != "none":
            x, y, width, height = (round(float(value), 4) for value in _place(row))
            shapes.append(
                Shape(kind, x, y, width, height, round(float(turn), 2), _rgb(row[12:15]), round(float(row[15]), 3))
            )
    return backdrop, shapes


def encode(backdrop: Backdrop, shapes: list[Shape]) -> np.ndarray:
    """Tokens [25, 16] of a scene, tidied; shapes beyond 24 are refused with ``ValueError``."""
    if len(shapes) > SHAPES:
        raise ValueError(f"a scene holds {SHAPES} shapes, got {len(shapes)}")
    tokens = np.zeros((SHAPES + 1, NUMBERS))
    tokens[:, 0] = HOT
    angle = math.radians(2 * backdrop.turn)
    tokens[0, 6:9] = 2 * np.array(backdrop.end) - 1
    tokens[0, 10:12] = math.cos(angle), math.sin(angle)
    tokens[0, 12:15] = 2 * np.array(backdrop.start) - 1
    for row, shape in zip(tokens[1:], shapes, strict=False):
        row[0] = -HOT
        row[KINDS.index(shape.kind)] = HOT
        angle = math.radians(2 * shape.turn)
        row[6:8] = (shape.x + 0.25) / 0.75 - 1, (shape.y + 0.25) / 0.75 - 1
        row[8:10] = [2 * math.sqrt(max(0.0, size) / _LARGEST) - 1 for size in (shape.width, shape.height)]
        row[10:] = math.cos(angle), math.sin(angle), *(2 * value - 1 for value in shape.rgb), 2 * shape.alpha - 1
    return tidy(tokens)


# Sizes are stored as square roots: an error of the same size then matters less for small shapes.
_LARGEST = 1.6


def _place(row: np.ndarray) -> tuple[float, float, float, float]:
    return row[6] * 1.5 - 0.25, row[7] * 1.5 - 0.25, row[8] ** 2 * _LARGEST, row[9] ** 2 * _LARGEST


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = (round(min(1.0, max(0.0, float(value))), 4) for value in values)
    return red, green, blue
