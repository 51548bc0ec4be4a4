"""The procedural artist: invents a scene for a condition. It teaches the model and is the baseline beside it.

Here belong the ten styles. High energy means more, larger and more saturated shapes; high valence a lighter page; a
fast tempo a finer division; the hue is the page's own, with neighbours at most 24 degrees away.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable

import numpy as np

from ai_assets.content_generation.covers.scene import STYLES, Backdrop, Condition, Shape, encode

Colour = tuple[float, float, float]


class _Page:
    """The palette of one scene and the random numbers that it is drawn with."""

    def __init__(self, lead: Condition, rng: np.random.Generator) -> None:
        self.lead, self.rng = lead, rng
        self.hue = lead.hue + rng.normal(0, 5)
        self.light = 0.16 + 0.62 * lead.valence
        self.away = 1.0 if self.light < 0.5 else -1.0

    def colour(self, contrast: float, shift: float = 0.0) -> Colour:
        """A colour of the palette: ``contrast`` 0 to 1 away from the page's lightness, ``shift`` degrees of hue."""
        light = min(0.92, max(0.07, self.light + self.away * contrast * 0.55))
        saturation = 0.4 + 0.5 * self.lead.energy
        return colorsys.hls_to_rgb((self.hue + shift) / 360 % 1, light, saturation)

    def backdrop(self, turn: float = 90.0) -> Backdrop:
        return Backdrop(self.colour(0.0), self.colour(0.18, 12), turn)

    def count(self, low: int, high: int, level: float) -> int:
        """A whole number that grows with ``level`` from 0 to 1, with a little chance in it."""
        return int(np.clip(round(low + (high - low) * level + self.rng.normal(0, 0.6)), low, high))

    def between(self, low: float, high: float) -> float:
        return float(self.rng.uniform(low, high))


def scene(lead: Condition, rng: np.random.Generator) -> np.ndarray:
    """Tokens [25, 16] of a new scene; the same condition and random numbers give the same scene."""
    page = _Page(lead, rng)
    turn, shapes = _DRAW[STYLES[lead.style]](page)
    return encode(page.backdrop(turn), shapes)


def scenes(leads: list[Condition], *, seed: int) -> np.ndarray:
    """Tokens [n, 25, 16], one scene per condition."""
    rng = np.random.default_rng(seed)
    return np.stack([scene(lead, rng) for lead in leads])


Drawn = tuple[float, list[Shape]]


def _horizon(page: _Page) -> Drawn:
    level, bands = page.between(0.5, 0.62), page.count(4, 10, page.lead.tempo)
    size = 0.26 + 0.24 * page.lead.energy
    sun = Shape("ellipse", page.between(0.3, 0.7), level - size * 0.2, size, size, 0, page.colour(0.9, -20), 1.0)
    step = (1.04 - level) / bands
    sea = [
        Shape(
            "rectangle",
            0.5,
            level + step * (band + 0.5),
            1.1,
            step * 1.05,
            0,
            page.colour(0.12 + 0.5 * band / bands, 8),
            1.0,
        )
        for band in range(bands)
    ]
    return 90.0, [sun, *sea]


def _rings(page: _Page) -> Drawn:
    x, y, many = page.between(0.35, 0.65), page.between(0.35, 0.6), page.count(4, 10, page.lead.tempo)
    outer = 0.75 + 0.5 * page.lead.energy
    rings = [
        Shape("ring", x, y, size, size, 0, page.colour(0.3 + 0.6 * ring / many, 20 * (ring % 2)), 0.9)
        for ring, size in enumerate(outer * (many - ring) / many for ring in range(many))
    ]
    return 45.0, [*rings, Shape("ellipse", x, y, 0.07, 0.07, 0, page.colour(1.0, -20), 1.0)]


def _bubbles(page: _Page) -> Drawn:
    many = page.count(9, 22, 0.5 * page.lead.energy + 0.5 * page.lead.tempo)
    spots = sorted(page.rng.uniform(0.03, 0.97, (many, 2)).tolist(), key=lambda spot: spot[1])
    shapes = []
    for place, (x, y) in enumerate(spots):
        size = page.between(0.06, 0.14 + 0.16 * page.lead.energy)
        shapes.append(
            Shape("ellipse", x, y, size, size, 0, page.colour(page.between(0.35, 1.0), 24 * (place % 3 - 1)), 0.75)
        )
    return 135.0, shapes


def _grid(page: _Page) -> Drawn:
    side = 3 if page.lead.tempo < 0.45 else 4
    pitch, fill = 0.8 / side, 0.5 + 0.35 * page.lead.energy
    bright = int(page.rng.integers(side * side))
    shapes = []
    for cell in range(side * side):
        x, y = 0.1 + pitch * (cell % side + 0.5), 0.1 + pitch * (cell // side + 0.5)
        contrast = 1.0 if cell == bright else page.between(0.25, 0.75)
        shapes.append(Shape("rectangle", x, y, pitch * fill, pitch * fill, 0, page.colour(contrast, 10), 1.0))
    return 90.0, shapes


def _hills(page: _Page) -> Drawn:
    size = page.between(0.12, 0.2)
    shapes = [
        Shape("ellipse", page.between(0.2, 0.8), page.between(0.15, 0.28), size, size, 0, page.colour(1.0, -24), 1.0)
    ]
    peaks = page.count(3, 6, page.lead.tempo)
    height = 0.34 + 0.26 * page.lead.energy
    for peak in range(peaks):
        x = (peak + 0.5) / peaks + page.between(-0.05, 0.05)
        shapes.append(
            Shape(
                "triangle",
                x,
                0.72 - height / 2,
                page.between(0.4, 0.55),
                height,
                0,
                page.colour(0.3 + 0.3 * (peak % 2)),
                1.0,
            )
        )
    for slope in range(3):
        shapes.append(
            Shape(
                "ellipse",
                page.between(0.1, 0.9),
                0.9 + 0.08 * slope,
                1.4,
                0.5,
                0,
                page.colour(0.5 + 0.2 * slope, 16),
                1.0,
            )
        )
    return 90.0, shapes


def _skyline(page: _Page) -> Drawn:
    many = page.count(6, 11, page.lead.tempo)
    width = 1.0 / many
    shapes = []
    for tower in range(many):
        height = page.between(0.25, 0.5 + 0.35 * page.lead.energy)
        x, contrast = width * (tower + 0.5), 0.35 + 0.5 * (tower % 2)
        shapes.append(Shape("rectangle", x, 1.0 - height / 2, width * 0.92, height, 0, page.colour(contrast, 10), 1.0))
        if len(shapes) + many - tower < 24 and page.rng.random() < page.lead.energy:
            shapes.append(Shape("rectangle", x, 1.06 - height, width * 0.4, 0.05, 0, page.colour(0.05, -20), 1.0))
    return 90.0, shapes[:24]


def _arcs(page: _Page) -> Drawn:
    side = 3 if page.lead.tempo < 0.5 else 4
    pitch = 1.0 / side
    size = pitch * (0.7 + 0.28 * page.lead.energy)
    shapes = []
    for cell in range(side * side):
        x, y = pitch * (cell % side + 0.5), pitch * (cell // side + 0.5)
        turn = 0.0 if (cell % side + cell // side) % 2 else 90.0
        shapes.append(
            Shape("half_disc", x, y, size, size, turn, page.colour(page.between(0.3, 0.95), 20 * (cell % 2)), 1.0)
        )
    return 0.0, shapes


def _shards(page: _Page) -> Drawn:
    many = page.count(10, 23, page.lead.energy)
    spots = sorted(page.rng.uniform(0.0, 1.0, (many, 2)).tolist())
    shapes = []
    for place, (x, y) in enumerate(spots):
        width, height = page.between(0.08, 0.3 - 0.12 * page.lead.tempo), page.between(0.35, 0.75)
        turn, contrast = page.between(-85, 85), page.between(0.2, 1.0)
        shapes.append(Shape("triangle", x, y, width, height, turn, page.colour(contrast, 16 * (place % 2)), 0.85))
    return 45.0, shapes


def _stripes(page: _Page) -> Drawn:
    many, turn = page.count(5, 14, page.lead.tempo), 45.0 if page.rng.random() < 0.5 else -45.0
    step = 1.5 / many
    fill = 0.45 + 0.4 * page.lead.energy
    shapes = []
    for stripe in range(many):
        off = (stripe - (many - 1) / 2) * step
        x, y = 0.5 - off * math.sin(math.radians(turn)), 0.5 + off * math.cos(math.radians(turn))
        contrast = 0.3 + 0.6 * (stripe % 3) / 2
        shapes.append(Shape("rectangle", x, y, 1.6, step * fill, turn, page.colour(contrast, 12 * (stripe % 3)), 1.0))
    return 90.0, shapes


def _rays(page: _Page) -> Drawn:
    many, x, y = page.count(5, 11, page.lead.tempo), page.between(0.4, 0.6), page.between(0.4, 0.6)
    width = 0.03 + 0.07 * page.lead.energy
    first = page.between(0, 180 / many)
    shapes = []
    for ray in range(many):
        turn = first + 180 * ray / many - 90
        shapes.append(
            Shape("rectangle", x, y, 1.6, width, turn, page.colour(0.35 + 0.45 * (ray % 2), 14 * (ray % 2)), 1.0)
        )
    size = 0.2 + 0.15 * page.lead.energy
    return 90.0, [*shapes, Shape("ellipse", x, y, size, size, 0, page.colour(1.0, -20), 1.0)]


_DRAW: dict[str, Callable[[_Page], Drawn]] = {
    "horizon": _horizon,
    "rings": _rings,
    "bubbles": _bubbles,
    "grid": _grid,
    "hills": _hills,
    "skyline": _skyline,
    "arcs": _arcs,
    "shards": _shards,
    "stripes": _stripes,
    "rays": _rays,
}
