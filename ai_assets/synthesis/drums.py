"""Percussion: swept sines, filtered noise and inharmonic metal, in four kits.

Here belongs how a drum sounds; where it is struck stands in ``styles``. The recipes are the classic ones of analogue
drum machines: a falling sine for kick and tom, tone plus noise for the snare, square-wave clusters for metal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_assets.synthesis.styles import CLAP, COWBELL, CRASH, HAT, KICK, OPEN_HAT, RIDE, RIM, SHAKER, SNARE, TOM

Audio = NDArray[np.float32]


@dataclass(frozen=True)
class Kit:
    """A drum kit: kick pitch (Hz) and length (s), snare tone (Hz), noise share and length (s), brightness of metal."""

    kick: tuple[float, float]
    snare: tuple[float, float, float]
    metal: float


KITS: dict[str, Kit] = {
    "acoustic": Kit((55, 0.28), (190, 0.6, 0.18), 1.0),
    "rock": Kit((62, 0.22), (175, 0.75, 0.24), 1.1),
    "machine": Kit((46, 0.55), (210, 0.7, 0.16), 1.25),
    "brushes": Kit((60, 0.2), (220, 0.9, 0.12), 0.85),
}


def strike(kit: Kit, key: int, *, samplerate: int, rng: np.random.Generator) -> Audio:
    """One stroke of the percussion ``key`` (General MIDI number) at full level, mono float32, peak 1."""
    recipes: dict[int, Callable[[], Audio]] = {
        KICK: lambda: _sweep(kit.kick[0], 3.2, kit.kick[1], samplerate, rng),
        TOM: lambda: _sweep(98.0, 1.6, 0.3, samplerate, rng),
        SNARE: lambda: _snare(kit, samplerate, rng),
        CLAP: lambda: _clap(samplerate, rng),
        RIM: lambda: _band(0.05, 0.012, 1400, 3200, samplerate, rng),
        HAT: lambda: _metal(0.09, 0.022, 7000 * kit.metal, samplerate, rng),
        OPEN_HAT: lambda: _metal(0.4, 0.13, 6500 * kit.metal, samplerate, rng),
        RIDE: lambda: _metal(0.55, 0.2, 5000 * kit.metal, samplerate, rng),
        CRASH: lambda: _metal(1.6, 0.55, 3500 * kit.metal, samplerate, rng),
        SHAKER: lambda: _band(0.09, 0.025, 4500, 9500, samplerate, rng),
        COWBELL: lambda: _cowbell(samplerate),
    }
    sound = recipes[key]()
    return (sound / np.float32(np.max(np.abs(sound)) or 1.0)).astype(np.float32)


def _time(seconds: float, samplerate: int) -> NDArray[np.float64]:
    return np.arange(int(seconds * samplerate)) / samplerate


def _sweep(frequency: float, octaves: float, seconds: float, samplerate: int, rng: np.random.Generator) -> Audio:
    t = _time(seconds * 1.6, samplerate)
    instant = frequency * (1.0 + octaves * np.exp(-t / 0.018))
    body = np.sin(2 * np.pi * np.cumsum(instant) / samplerate) * np.exp(-t / (seconds * 0.4))
    click = rng.standard_normal(t.size) * np.exp(-t / 0.003) * 0.18
    return np.asarray(body + click, dtype=np.float32)


def _shaped_noise(
    seconds: float, low: float, high: float, samplerate: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """White noise between two frequencies with soft edges (shaped in the spectrum)."""
    count = int(seconds * samplerate)
    spectrum = np.fft.rfft(rng.standard_normal(count))
    hertz = np.fft.rfftfreq(count, 1.0 / samplerate)
    gain = 1.0 / (1.0 + (low / np.maximum(hertz, 1.0)) ** 6) / (1.0 + (hertz / high) ** 6)
    noise: NDArray[np.float64] = np.fft.irfft(spectrum * gain, n=count)
    return noise / (np.std(noise) or 1.0)


def _band(seconds: float, decay: float, low: float, high: float, samplerate: int, rng: np.random.Generator) -> Audio:
    t = _time(seconds, samplerate)
    noise = _shaped_noise(seconds, low, min(high, 0.45 * samplerate), samplerate, rng)
    return np.asarray(noise * np.exp(-t / decay) * np.minimum(t / 0.001, 1.0), dtype=np.float32)


def _snare(kit: Kit, samplerate: int, rng: np.random.Generator) -> Audio:
    tone, share, length = kit.snare
    t = _time(length * 2.2, samplerate)
    body = np.sin(2 * np.pi * tone * t * (1 + 0.25 * np.exp(-t / 0.01))) * np.exp(-t / (length * 0.35))
    rattle = _shaped_noise(length * 2.2, 1200, min(8500, 0.45 * samplerate), samplerate, rng) * np.exp(
        -t / (length * 0.5)
    )
    return np.asarray((1 - share) * 1.6 * body + share * 0.5 * rattle, dtype=np.float32)


def _clap(samplerate: int, rng: np.random.Generator) -> Audio:
    t = _time(0.26, samplerate)
    noise = _shaped_noise(0.26, 900, min(4200, 0.45 * samplerate), samplerate, rng)
    hands = sum(np.where(t >= d, np.exp(-(t - d).clip(0) / 0.006), 0.0) for d in (0.0, 0.011, 0.022))
    return np.asarray(noise * (hands + 0.7 * np.exp(-t / 0.06)), dtype=np.float32)


def _metal(seconds: float, decay: float, low: float, samplerate: int, rng: np.random.Generator) -> Audio:
    t = _time(seconds, samplerate)
    low = min(low, 0.3 * samplerate)
    partials = [low * ratio for ratio in (0.52, 0.71, 1.0, 1.19, 1.43, 1.78) if low * ratio < 0.45 * samplerate]
    ring = sum(np.sin(2 * np.pi * f * t + i) for i, f in enumerate(partials)) / max(len(partials), 1)
    noise = _shaped_noise(seconds, low, 0.47 * samplerate, samplerate, rng)
    return np.asarray((0.5 * ring + 0.4 * noise) * np.exp(-t / decay), dtype=np.float32)


def _cowbell(samplerate: int) -> Audio:
    t = _time(0.22, samplerate)
    tone = np.sin(2 * np.pi * 587 * t) + np.sin(2 * np.pi * 845 * t) + 0.3 * np.sin(2 * np.pi * 1690 * t)
    return np.asarray(tone * np.exp(-t / 0.06), dtype=np.float32)
