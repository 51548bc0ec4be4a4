"""What the lists are worth beyond accuracy, by group of listeners and of tracks, beside popular tracks for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training import metrics
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.groups import popularity

if TYPE_CHECKING:
    import pandas as pd

K = 10
COLUMNS = ("metric", "group", "value", "low", "high", "baseline")
Lists = NDArray[np.int64]
Row = tuple[str, str, float, float | None, float | None, float | None]


def quality_rows(
    lists: pd.DataFrame,
    tracks: pd.DataFrame,
    listeners: pd.DataFrame,
    plays: NDArray[np.float32],
    content: NDArray[np.float32] | None = None,
) -> pd.DataFrame:
    """Rows of `recommendation_quality`; the baseline gives everybody the ten most played tracks.

    Args:
        plays: (tracks,) how often each track was played. content: (tracks, dim) sound vectors, for diversity.
    """
    import pandas as pd

    if lists.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    codes = {track: code for code, track in enumerate(tracks["track"])}
    popular = np.argsort(-plays, kind="stable")[:K]
    names, ranked = _ranked(lists, codes)
    held = dict(zip(listeners["listener"], listeners["activity_group"], strict=True))
    groups = np.array([str(held.get(name)) for name in names])
    rows: list[Row] = []
    for group in ("all", "low", "medium", "high"):
        chosen = ranked if group == "all" else ranked[groups == group]
        if len(chosen):
            same = np.broadcast_to(popular, (len(chosen), len(popular))).astype(np.int64)
            rows += _of_group(group, chosen, same, plays.astype(float), content)
    rows += _exposure(ranked, popular, plays.astype(float))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _of_group(
    group: str, ranked: Lists, same: Lists, plays: NDArray[np.float64], content: NDArray[np.float32] | None
) -> list[Row]:
    """Coverage and concentration of a group's lists as a whole; novelty and diversity list by list, with intervals."""
    count = len(plays)
    rows: list[Row] = [
        ("coverage", group, metrics.coverage(ranked, count), None, None, metrics.coverage(same, count)),
        ("gini", group, metrics.gini(ranked, count), None, None, metrics.gini(same, count)),
    ]
    measures: dict[str, Callable[[Lists], float]] = {"novelty_bits": lambda part: metrics.novelty(part, plays)}
    if content is not None:
        measures["diversity"] = lambda part: metrics.intra_list_distance(part, content)
    for name, measure in measures.items():
        each = np.array([measure(ranked[place : place + 1]) for place in range(len(ranked))])
        low, high = paired_bootstrap(each)
        rows.append((name, group, float(each.mean()), low, high, measure(same[:1])))
    rows.append(("listeners", group, float(len(ranked)), None, None, None))
    return rows


def _exposure(ranked: Lists, popular: Lists, plays: NDArray[np.float64]) -> list[Row]:
    """Share of all places in lists that each popularity group has, and the share of tracks that no list names."""
    names = popularity(plays)
    rows: list[Row] = []
    for group in np.unique(names):
        inside = np.where(ranked >= 0, names[np.maximum(ranked, 0)] == group, False)
        each = inside.sum(1) / np.maximum((ranked >= 0).sum(1), 1)
        low, high = paired_bootstrap(each)
        rows.append(("exposure", str(group), float(each.mean()), low, high, float((names[popular] == group).mean())))
        own = np.flatnonzero(names == group)
        shown = float(np.isin(own, ranked).mean())
        rows.append(("shown", str(group), shown, None, None, float(np.isin(own, popular).mean())))
    return rows


def _ranked(lists: pd.DataFrame, codes: dict[str, int]) -> tuple[list[str], Lists]:
    """Listeners and (listeners, K) item codes of their lists, -1 where one is shorter."""
    top = lists[(lists["rank"] <= K) & lists["track"].isin(codes)]
    names = {name: row for row, name in enumerate(sorted(top["listener"].unique()))}
    ranked = np.full((len(names), K), -1, np.int64)
    ranked[top["listener"].map(names).to_numpy(int), top["rank"].to_numpy(int) - 1] = (
        top["track"].map(codes).to_numpy(int)
    )
    return list(names), ranked
