"""What the lists are worth beyond accuracy: coverage, concentration and novelty by activity group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training import metrics

if TYPE_CHECKING:
    import pandas as pd

K = 10


def quality_rows(lists: pd.DataFrame, tracks: pd.DataFrame, listeners: pd.DataFrame) -> pd.DataFrame:
    """Rows of `recommendation_quality`; the baseline gives everybody the ten most recommended tracks."""
    import pandas as pd

    columns = ["metric", "group", "value", "baseline"]
    if lists.empty:
        return pd.DataFrame(columns=columns)
    codes = {track: code for code, track in enumerate(tracks["track"])}
    frequency = np.bincount(lists["track"].map(codes).to_numpy(int), minlength=len(codes)).astype(float)
    popular = np.argsort(-frequency, kind="stable")[:K]
    groups = dict(zip(listeners["listener"], listeners["activity_group"], strict=True))
    rows: list[tuple[str, str, float, float | None]] = []
    for group in ("all", "low", "medium", "high"):
        chosen = lists if group == "all" else lists[lists["listener"].map(groups) == group]
        if chosen.empty:
            continue
        ranked = _ranked(chosen, codes)
        same = np.broadcast_to(popular, (len(ranked), len(popular))).astype(np.int64)
        for name, value in (
            ("coverage", metrics.coverage),
            ("gini", metrics.gini),
        ):
            rows.append((name, group, value(ranked, len(codes)), value(same, len(codes))))
        rows.append(("novelty_bits", group, metrics.novelty(ranked, frequency), metrics.novelty(same, frequency)))
        rows.append(("listeners", group, float(len(ranked)), None))
    return pd.DataFrame(rows, columns=columns)


def _ranked(lists: pd.DataFrame, codes: dict[str, int]) -> NDArray[np.int64]:
    """(listeners, K) item codes of each list, -1 where it is shorter."""
    top = lists[lists["rank"] <= K]
    names = {name: row for row, name in enumerate(sorted(top["listener"].unique()))}
    ranked = np.full((len(names), K), -1, np.int64)
    ranked[top["listener"].map(names).to_numpy(int), top["rank"].to_numpy(int) - 1] = (
        top["track"].map(codes).to_numpy(int)
    )
    return ranked
