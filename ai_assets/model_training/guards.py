"""What a better model must not pay for its gain: guard values, higher is better, of candidate and champion."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training import metrics

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

REPEATS = 15
COLD_PLAYS = 2
BINS = 10


def list_guards(ranked: NDArray[np.int64], relevant: csr_matrix, plays: NDArray[np.float64]) -> dict[str, float]:
    """Coverage, novelty in bits, and recall of the cold items (played by at most two listeners so far).

    Args:
        ranked: (users, k) item codes, -1 where a list is shorter.
        relevant: (users, items) ones where a user plays an item later.
        plays: (items,) number of listeners who played each item before.
    """
    cold = relevant.multiply((plays <= COLD_PLAYS).astype(float)[None, :]).tocsr()
    cold.eliminate_zeros()
    found = metrics.recall(metrics.hits(ranked, cold), cold)
    return {
        "coverage": metrics.coverage(ranked, len(plays)),
        "novelty_bits": metrics.novelty(ranked, plays),
        "cold_item_recall": float(np.nanmean(found)) if np.isfinite(found).any() else 0.0,
    }


def paired_speed(
    candidate: Callable[[], object], champion: Callable[[], object], *, work: tuple[float, float]
) -> tuple[float, float]:
    """Units of work per CPU second of both, run in turn: the fastest of fifteen, so that a busy hour decides nothing.

    Args:
        work: how much each call does (pairs scored, rows predicted): catalogues of another size remain comparable.
    """
    best = [np.inf, np.inf]
    for _ in range(REPEATS):
        for place, call in enumerate((candidate, champion)):
            start = time.process_time()
            call()
            best[place] = min(best[place], time.process_time() - start)
    return work[0] / max(best[0], 1e-9), work[1] / max(best[1], 1e-9)


def calibration(probabilities: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """1 - expected calibration error over ten bins of confidence (Guo et al., ICML 2017).

    Args:
        probabilities: (n, classes). truth: (n,) class numbers.
    """
    if len(truth) == 0:
        return 0.0
    confidence, right = probabilities.max(1), probabilities.argmax(1) == truth
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = sum(
        (place == at).mean() * abs(right[place == at].mean() - confidence[place == at].mean())
        for at in np.unique(place)
    )
    return float(1.0 - error)
