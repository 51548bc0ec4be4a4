"""Listeners' histories as sequences of item codes, from the events in the lake."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ai_assets.recommendation_update.query import Play
from resources.lake.tables import LakeTable

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 500


def all_histories(events: LakeTable, codes: Mapping[str, int]) -> dict[str, list[Play]]:
    """Histories of all listeners, oldest first, at most the last 500 plays each; unknown tracks are left out."""
    if not events.exists:
        return {}
    data = events.arrow(["listener", "track", "played_at", "liked"])
    return _by_listener(data, codes)


def history_of(events: LakeTable, listener: str, codes: Mapping[str, int]) -> list[Play]:
    """One listener's history (pseudonym)."""
    import pyarrow.dataset as ds

    if not events.exists:
        return []
    columns = ["listener", "track", "played_at", "liked"]
    data = events.dataset().to_table(columns=columns, filter=ds.field("listener") == listener)
    return _by_listener(data, codes).get(listener, [])


def _by_listener(data: pa.Table, codes: Mapping[str, int]) -> dict[str, list[Play]]:
    ordered = data.sort_by([("listener", "ascending"), ("played_at", "ascending"), ("track", "ascending")])
    found: dict[str, list[Play]] = {}
    columns = (ordered[name].to_pylist() for name in ("listener", "track", "liked"))
    for listener, track, liked in zip(*columns, strict=True):
        code = codes.get(track)
        if code is not None:
            found.setdefault(listener, []).append(Play(code, liked))
    return {listener: plays[-LONGEST:] for listener, plays in found.items()}
