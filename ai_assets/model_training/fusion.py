"""Reciprocal rank fusion of several rankings (Cormack, Clarke and Büttcher, SIGIR 2009)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

CONSTANT = 60.0


def ranks(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """(users, items) places from 0, best first, ties by lower code."""
    order = np.argsort(-scores, axis=1, kind="stable")
    places = np.empty_like(order)
    np.put_along_axis(places, order, np.broadcast_to(np.arange(scores.shape[1]), order.shape), axis=1)
    return places


def reciprocal_rank_fusion(
    score_sets: Sequence[NDArray[np.float32]], *, weights: Sequence[float] | None = None, constant: float = CONSTANT
) -> NDArray[np.float32]:
    """(users, items) fused scores: the sum over models of weight / (constant + place)."""
    weights = weights or [1.0] * len(score_sets)
    parts = [weight / (constant + 1 + ranks(scores)) for weight, scores in zip(weights, score_sets, strict=True)]
    return np.sum(parts, axis=0).astype(np.float32)
