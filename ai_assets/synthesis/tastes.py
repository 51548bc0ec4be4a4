"""Who the invented listeners are: a latent space of their own, tastes in it, habits, and how both change.

Here belongs what is drawn once, before anybody listens. The space is drawn from the seed and knows styles and artists
by name only; nothing in it comes from sound, so no model can find it again by sharing its features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_DIMENSIONS = 16
_DEVICES = ("phone", "desktop", "speaker", "car", "web")


@dataclass(frozen=True)
class World:
    """The tracks as listeners feel them: places in the latent space, log popularity, tempo, energy (standardised)."""

    paths: list[str]
    names: list[str]
    styles: list[str]
    artists: list[str]
    seconds: Floats
    place: Floats
    popularity: Floats
    tempo: Floats
    energy: Floats


@dataclass(frozen=True)
class Listener:
    """One listener. ``early`` and ``late`` are utilities of all tracks before and after the drift around ``drift_day``
    (None: no drift); ``hours`` are the probabilities of the 24 hours in UTC."""

    name: str
    early_styles: dict[str, float]
    late_styles: dict[str, float]
    favourite_artists: list[str]
    preferred_tempo: float
    preferred_energy: float
    drift_day: float | None
    early: Floats
    late: Floats
    activity: float
    repeating: float
    impatience: float
    device: str
    hours: Floats

    def utility(self, day: float) -> Floats:
        """Utility of every track on a day, sliding from early to late taste within about a week."""
        if self.drift_day is None:
            return self.early
        late = 1.0 / (1.0 + np.exp(-(day - self.drift_day) / 2.0))
        mixed: Floats = (1.0 - late) * self.early + late * self.late
        return mixed


def build_world(tracks: Sequence[Mapping[str, Any]], rng: np.random.Generator) -> World:
    """Place tracks in the latent space: style centre, artist's offset, own offset; popularity is Zipf's law with famous
    artists. Raises ``ValueError`` when there are fewer than ten tracks to listen to."""
    whole = [t for t in tracks if t.get("odd") is None]
    if len(whole) < 10:
        raise ValueError(f"{len(whole)} whole tracks in the truth of the library; listeners need at least 10")
    styles, artists = [t["style"] for t in whole], [t["artist"] for t in whole]
    centres = {s: rng.standard_normal(_DIMENSIONS) / 4.0 for s in sorted(set(styles))}
    offsets = {a: rng.standard_normal(_DIMENSIONS) / 5.0 for a in sorted(set(artists))}
    fame = {a: 0.35 * rng.standard_normal() for a in sorted(set(artists))}
    own = rng.standard_normal((len(whole), _DIMENSIONS)) / 8.0
    place = np.array([centres[s] + offsets[a] for s, a in zip(styles, artists, strict=True)]) + own
    rank = rng.permutation(len(whole)) + 1
    popularity = -0.65 * np.log(rank) + np.array([fame[a] for a in artists])
    return World(
        paths=[t["path"] for t in whole],
        names=[f"{t['artist']} - {t['title']}" for t in whole],
        styles=styles, artists=artists,
        seconds=np.array([t["seconds"] for t in whole]),
        place=place,
        popularity=popularity - popularity.mean(),
        tempo=_standardised([t["tempo_bpm"] for t in whole]),
        energy=_standardised([t["energy"] for t in whole]),
    )  # fmt: skip


def _standardised(values: Sequence[float]) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    return (array - array.mean()) / (array.std() or 1.0)


def build_listeners(count: int, days: int, world: World, rng: np.random.Generator) -> list[Listener]:
    """Draw ``count`` listeners; three in five of them change their taste once within ``days`` days."""
    return [_listener(f"listener-{i + 1:04d}", days, world, rng) for i in range(count)]


def _listener(name: str, days: int, world: World, rng: np.random.Generator) -> Listener:
    early_styles = _style_weights(world, rng)
    drifts = rng.random() < 0.6
    late_styles = _style_weights(world, rng) if drifts else early_styles
    liked = [a for a, s in zip(world.artists, world.styles, strict=True) if s in early_styles or s in late_styles]
    favourites = sorted({str(a) for a in rng.choice(liked, size=3)})
    tempo, energy = rng.normal(0.0, 0.8, size=2)
    fit = -0.25 * (world.tempo - tempo) ** 2 - 0.35 * (world.energy - energy) ** 2
    artist_bonus = 0.9 * np.isin(world.artists, favourites)
    taste = rng.standard_normal(_DIMENSIONS) * 0.6
    base = fit + artist_bonus + world.place @ taste
    return Listener(
        name=name, early_styles=early_styles, late_styles=late_styles, favourite_artists=favourites,
        preferred_tempo=float(tempo), preferred_energy=float(energy),
        drift_day=float(rng.uniform(0.3, 0.8) * days) if drifts else None,
        early=base + _style_utility(world, early_styles), late=base + _style_utility(world, late_styles),
        activity=float(rng.lognormal(0.0, 0.6)), repeating=float(rng.uniform(0.3, 0.65)),
        impatience=float(rng.normal(0.0, 0.6)), device=str(rng.choice(_DEVICES, p=(0.45, 0.2, 0.13, 0.1, 0.12))),
        hours=_hours(rng),
    )  # fmt: skip


def _style_weights(world: World, rng: np.random.Generator) -> dict[str, float]:
    known = sorted(set(world.styles))
    chosen = rng.choice(known, size=min(int(rng.integers(1, 4)), len(known)), replace=False)
    weights = rng.dirichlet(np.full(len(chosen), 2.0))
    return {str(style): round(float(weight), 3) for style, weight in zip(chosen, weights, strict=True)}


def _style_utility(world: World, weights: dict[str, float]) -> Floats:
    # the floor keeps every style possible: people meet music they did not look for
    return np.log(np.array([weights.get(style, 0.0) + 0.03 for style in world.styles]))


def _hours(rng: np.random.Generator) -> Floats:
    """A morning and an evening hump at the listener's own hours."""
    clock = np.arange(24)
    centres = (rng.normal(7.5, 1.0), rng.normal(19.5, 2.0))
    humps = [
        weight * np.exp(-0.5 * (_around(clock, c) / width) ** 2)
        for c, weight, width in zip(centres, (0.6, 1.0), (1.5, 2.8), strict=True)
    ]
    density: Floats = humps[0] + humps[1] + 0.02
    return density / density.sum()


def _around(clock: NDArray[np.int64], centre: float) -> Floats:
    distance: Floats = np.asarray((clock - centre + 12.0) % 24.0 - 12.0, dtype=np.float64)
    return distance
