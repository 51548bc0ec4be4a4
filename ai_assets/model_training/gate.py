"""Is the candidate better than the champion? A paired bootstrap over the same cases decides, with guards beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 2_000
GUARD_SHARE = 0.05


@dataclass(frozen=True)
class Comparison:
    """Difference of means (candidate - champion) with its 95 % interval, and what follows."""

    difference: float
    low: float
    high: float
    promoted: bool
    reason: str


def paired_bootstrap(difference: NDArray[np.float64], *, draws: int = DRAWS, seed: int = 0) -> tuple[float, float]:
    """95 % interval of the mean of per-case differences (Efron, 1979; percentile method)."""
    cases = difference[np.isfinite(difference)]
    if len(cases) == 0:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = np.empty(draws)
    for start in range(0, draws, 100):
        picks = rng.integers(0, len(cases), (min(100, draws - start), len(cases)))
        means[start : start + 100] = cases[picks].mean(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def compare(
    candidate: NDArray[np.float64],
    champion: NDArray[np.float64],
    *,
    guards: Mapping[str, tuple[float, float]] | None = None,
) -> Comparison:
    """Promote when the lower bound is above zero and no guard is worse by more than 5 %.

    Args:
        candidate, champion: (n,) values of the main metric on the same cases, higher is better.
        guards: name -> (candidate, champion), higher is better.
    """
    difference = np.asarray(candidate, float) - np.asarray(champion, float)
    low, high = paired_bootstrap(difference)
    mean = float(np.nanmean(difference)) if np.isfinite(difference).any() else 0.0
    worse = [name for name, (new, old) in (guards or {}).items() if old > 0 and (old - new) / old > GUARD_SHARE]
    if worse:
        return Comparison(mean, low, high, False, f"kept the champion: {', '.join(worse)} worse by more than 5 %")
    if low > 0:
        return Comparison(mean, low, high, True, f"promoted: better by {mean:.4f} [{low:.4f}, {high:.4f}]")
    return Comparison(mean, low, high, False, f"kept the champion: {mean:+.4f} [{low:.4f}, {high:.4f}] is no sure gain")
