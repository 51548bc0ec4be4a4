"""Metrics by group of listeners (activity) and of items (popularity, cold), each with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.interactions import activity_groups
from ai_assets.model_training import metrics
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.guards import COLD_PLAYS

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Values = NDArray[np.float64]


def activity(plays: NDArray[np.int64]) -> NDArray[np.str_]:
    """(users,) `activity low|medium|high`: thirds of the listeners by number of plays."""
    import pandas as pd

    return np.array([f"activity {name}" for name in activity_groups(pd.Series(plays))], dtype=str)


def popularity(plays: Values) -> NDArray[np.str_]:
    """(items,) `items head|middle|tail|cold`.

    Head and middle: the most played items that make the first and the second third of all plays; cold: at most two.
    """
    order = np.argsort(-plays, kind="stable")
    before = np.empty(len(plays))
    before[order] = np.cumsum(plays[order]) - plays[order]
    third = np.minimum(before * 3 // max(plays.sum(), 1), 2).astype(int)
    names = np.array(["items head", "items middle", "items tail"])[third]
    return np.where(plays <= COLD_PLAYS, "items cold", names)


def judged_by_group(
    ranked: NDArray[np.int64],
    relevant: csr_matrix,
    *,
    users: NDArray[np.str_],
    items: NDArray[np.str_],
    chosen: tuple[str, ...] = ("recall", "ndcg", "map"),
) -> dict[str, dict[str, float]]:
    """Group -> metrics with their 95 % bounds (`ndcg`, `ndcg_low`, `ndcg_high`) and the number of listeners judged.

    A group of listeners keeps their lists; a group of items counts those items alone as right.

    Args:
        ranked: (users, k) item codes. relevant: (users, items). users, items: name of each one's group.
    """
    found = {"all": _summary(metrics.evaluate(ranked, relevant), chosen)}
    for name in np.unique(users):
        rows = np.flatnonzero(users == name)
        found[str(name)] = _summary(metrics.evaluate(ranked[rows], relevant[rows]), chosen)
    for name in np.unique(items):
        part = relevant.multiply((items == name).astype(float)[None, :]).tocsr()
        part.eliminate_zeros()
        found[str(name)] = _summary(metrics.evaluate(ranked, part), chosen)
    return {name: values for name, values in found.items() if values["listeners"] > 0}


def _summary(values: Mapping[str, Values], chosen: tuple[str, ...]) -> dict[str, float]:
    judged = float(np.isfinite(values[chosen[0]]).sum())
    summary = {"listeners": judged}
    if not judged:
        return summary
    for name in chosen:
        low, high = paired_bootstrap(values[name])
        summary |= {name: float(np.nanmean(values[name])), f"{name}_low": low, f"{name}_high": high}
    return summary
