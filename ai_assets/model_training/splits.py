"""Interactions into training and test parts. Decisions use the global time cut; other cuts compare with tables."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ai_assets.model_training.interactions import Interactions


def random_split(
    data: Interactions, ratios: Sequence[float] = (0.8, 0.1, 0.1), *, seed: int = 0
) -> tuple[Interactions, ...]:
    """Every user's rows at random into parts of these shares (as RecBole's `RS` with `group_by: user`)."""
    rng = np.random.default_rng(seed)
    return _by_user(data, rng.random(len(data)), ratios)


def tail_split(data: Interactions, ratios: Sequence[float] = (0.75, 0.25)) -> tuple[Interactions, ...]:
    """Every user's rows by time: the last ones are the test part. Other users' later rows leak; say so."""
    return _by_user(data, data.times, ratios)


def time_split(data: Interactions, share: float = 0.25) -> tuple[Interactions, Interactions]:
    """One date for everybody: the last `share` of all rows is the test part."""
    cut = np.quantile(data.times, 1.0 - share)
    return data.take(data.times <= cut), data.take(data.times > cut)


def _by_user(data: Interactions, keys: np.ndarray, ratios: Sequence[float]) -> tuple[Interactions, ...]:
    order = np.lexsort((np.arange(len(data)), keys, data.users))
    users = data.users[order]
    starts = np.searchsorted(users, users, side="left")
    lengths = np.searchsorted(users, users, side="right") - starts
    place = np.arange(len(data)) - starts
    part = np.full(len(data), len(ratios) - 1)
    edge = np.cumsum(ratios)[:-1] / np.sum(ratios)
    bounds = [np.rint(lengths * share).astype(int) for share in edge]
    for index in range(len(bounds) - 1, -1, -1):
        part[place < bounds[index]] = index
    labels = np.empty(len(data), int)
    labels[order] = part
    return tuple(data.take(labels == index) for index in range(len(ratios)))
