"""Danceability index by detrended fluctuation analysis of the amplitude.

Belongs here: the analysis and the family that gathers the amplitude of each 10 ms at the file's own sample rate. Does
not belong here: tempo and beats (`rhythm`).

S. Streich and P. Herrera, "Detrended Fluctuation Analysis of Music Signals: Danceability Estimation and further
Semantic Characterization", AES 118th Convention, 2005; parameters as in Essentia's Danceability. A strong steady pulse
keeps the amplitude from drifting, so that its fluctuation grows slowly with the time scale (a small exponent): the
index is one over the mean exponent between 0.3 and 8.8 s. It has no upper bound, usually lies between 0.5 and 3, and is
not any service's "danceability".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

STEP_SECONDS = 0.01
SHORTEST_SCALE_STEPS, LONGEST_SCALE_STEPS, SCALE_RATIO = 31, 880, 1.1
SHORTEST_SECONDS = 3.0


@dataclass(frozen=True)
class Danceability:
    """The index, or None and the reason."""

    index: float | None
    reason: str | None = None


def danceability_index(amplitude: NDArray[Any]) -> float | None:
    """The index from the standard deviation of each 10 ms of mono signal (steps,).

    None under 3 s, and when the amplitude does not fluctuate (silence, a steady tone).
    """
    steps = np.asarray(amplitude, dtype=np.float64)
    if len(steps) * STEP_SECONDS < SHORTEST_SECONDS:
        return None
    level = float(steps.mean())
    if level <= 1e-6 or float(steps.std()) <= 1e-6 * level:
        return None
    walk = np.cumsum(steps / level - 1.0)
    scales = _scales(len(walk))
    fluctuation = np.array([_fluctuation(walk, scale) for scale in scales])
    if np.any(fluctuation <= 0.0):
        return None
    # The paper's correction for short scales, where detrending removes part of the fluctuation itself: scale + 3.
    exponents = np.diff(np.log(fluctuation)) / np.diff(np.log(scales + 3.0))
    mean = float(exponents.mean())
    return 1.0 / mean if mean > 0.05 else None


class DanceabilityFamily:
    """Gathers the amplitude of each 10 ms of the mono mix; answers with `Danceability`."""

    name = "danceability"
    version = "1"

    def start(self, sample_rate: int, channels: int) -> None:
        """Begin a recording of `channels` channels at `sample_rate` Hz."""
        self._step = max(2, round(STEP_SECONDS * sample_rate))
        self._mix = np.full(channels, 1.0 / channels, dtype=np.float32)
        self._rest = np.zeros(0, dtype=np.float32)
        self._amplitude: list[NDArray[np.float32]] = []

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples (n, channels)."""
        joined = np.concatenate([self._rest, samples @ self._mix])
        whole = len(joined) // self._step * self._step
        self._amplitude.append(joined[:whole].reshape(-1, self._step).std(axis=1))
        self._rest = joined[whole:]

    def finish(self) -> Danceability:
        """The index of everything pushed."""
        amplitude = np.concatenate(self._amplitude) if self._amplitude else np.zeros(0)
        if not len(amplitude) or float(amplitude.max()) <= 1e-5:
            return Danceability(None, "silent: the amplitude never rises above -100 dBFS")
        index = danceability_index(amplitude)
        if index is None:
            short = len(amplitude) * STEP_SECONDS < SHORTEST_SECONDS
            return Danceability(
                None, f"shorter than {SHORTEST_SECONDS:g} s" if short else "the amplitude does not fluctuate"
            )
        return Danceability(index)


def _scales(steps: int) -> NDArray[np.int64]:
    # A scale that fits the recording fewer than twice says nothing about fluctuation.
    longest = min(LONGEST_SCALE_STEPS, steps // 2)
    count = int(np.log(longest / SHORTEST_SCALE_STEPS) / np.log(SCALE_RATIO)) + 1
    return np.unique((SHORTEST_SCALE_STEPS * SCALE_RATIO ** np.arange(count)).astype(np.int64))


def _fluctuation(walk: FloatArray, scale: int) -> float:
    """Root mean square residual of straight-line fits to windows of `scale` steps, by running sums."""
    hop = max(scale // 50, 1)
    total, count = 0.0, 0
    # In stretches, because running sums over hours would lose the digits that the residual is made of.
    stretch = 8192 // hop * hop
    for start in range(0, len(walk) - scale + 1, stretch):
        part = walk[start : start + stretch + scale - 1]
        residual = _residuals(part - part.mean(), scale, hop)
        total += float(residual.sum())
        count += len(residual)
    return float(np.sqrt(max(total / count, 0.0) / scale))


def _residuals(walk: FloatArray, scale: int, hop: int) -> FloatArray:
    """Squared residual of the straight line through each window of `scale` steps, a window every `hop` steps."""
    starts = np.arange(0, len(walk) - scale + 1, hop)
    index = np.arange(len(walk), dtype=np.float64)
    sums, squares, products = (_window_sums(each, starts, scale) for each in (walk, walk**2, index * walk))
    covariance = products - (starts + (scale - 1) / 2.0) * sums
    return np.asarray(squares - sums**2 / scale - covariance**2 / (scale * (scale**2 - 1) / 12.0))


def _window_sums(values: FloatArray, starts: NDArray[np.int64], scale: int) -> FloatArray:
    running = np.concatenate([[0.0], np.cumsum(values)])
    return np.asarray(running[starts + scale] - running[starts])
