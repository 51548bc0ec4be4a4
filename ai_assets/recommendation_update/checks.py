"""Checks of indices and recommendations. Plain functions from frames or facts to verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ai_assets.contract import Check, Verdict

if TYPE_CHECKING:
    import pandas as pd

LEAST_RECALL = 0.95


def recall(facts: Mapping[str, Any]) -> Verdict:
    """Recall@10 of the index against exact search."""
    value = float(facts["recall"])
    return Verdict(value >= LEAST_RECALL, f"recall@10 {value:.3f} over {facts['count']} vectors", {"recall": value})


def absent(reason: str) -> Verdict:
    """There is no index to judge."""
    return Verdict(True, reason)


def _positives(rows: pd.DataFrame) -> Verdict:
    if rows.empty:
        return Verdict(True, "no data yet")
    share = float(rows["label"].mean())
    return Verdict(share > 0, f"{share:.1%} of the candidates were played afterwards", {"positive_share": share})


def _no_repeats(rows: pd.DataFrame) -> Verdict:
    repeats = int(rows.duplicated(["listener", "track"]).sum()) if len(rows) else 0
    return Verdict(repeats == 0, f"{repeats} tracks stand twice in a list", {"repeats": repeats})


def _playlist_length(rows: pd.DataFrame) -> Verdict:
    if rows.empty:
        return Verdict(True, "no playlists yet")
    short = rows.groupby("playlist").size().lt(3).sum()
    return Verdict(short == 0, f"{short} playlists have fewer than three tracks", {"short": int(short)})


def _coverage(rows: pd.DataFrame) -> Verdict:
    found = rows[(rows["metric"] == "coverage") & (rows["group"] == "all")]["value"]
    value = float(found.iloc[0]) if len(found) else 0.0
    return Verdict(
        rows.empty or value >= 0.1, f"{value:.0%} of the catalogue is recommended to somebody", {"coverage": value}
    )


INDEX_RECALL = Check("recall", "The index finds at least 95 % of the exact nearest neighbours.", None, True)
POSITIVES = Check("positives", "Some candidates were played afterwards, so there is something to learn.", _positives)
NO_REPEATS = Check("no_repeats", "No track stands twice in a listener's list.", _no_repeats, True)
PLAYLIST_LENGTH = Check("length", "Every playlist has at least three tracks.", _playlist_length)
COVERAGE = Check("coverage", "At least a tenth of the catalogue is recommended to somebody.", _coverage)
BEATS_RETRIEVAL = Check("beats_retrieval", "Ranking is better than retrieval alone on unseen days, for sure.", None)
