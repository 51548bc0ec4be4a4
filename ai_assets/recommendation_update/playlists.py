"""Playlists from the same query as every surface: familiar, discovery, and mixes by genre."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ai_assets.recommendation_update.histories import History
from ai_assets.recommendation_update.query import QuerySnapshot, recommend

LENGTH = 15
FEWEST = 3


def all_playlists(snapshot: QuerySnapshot, histories: Mapping[str, History]) -> list[dict[str, Any]]:
    """Rows of `playlists`, ordered by playlist and position; a list with fewer than three tracks is left out."""
    rows: list[dict[str, Any]] = []
    for listener in sorted(histories):
        history = histories[listener]
        rows += _rows(snapshot, f"familiar-{listener}", "familiar", listener, _familiar(snapshot, history))
        answers, _ = recommend(snapshot, history, LENGTH)
        found = [(answer.item, answer.reasons[0]) for answer in answers]
        rows += _rows(snapshot, f"discovery-{listener}", "discovery", listener, found)
    for genre, found in _genres(snapshot).items():
        rows += _rows(snapshot, f"genre-{genre}", "genre", None, found)
    return rows


def _familiar(snapshot: QuerySnapshot, history: History) -> list[tuple[int, str]]:
    mask = snapshot.allowed(history.listener)
    mask[history.disliked] = False
    chosen = mask[history.heard] & (history.plays > 1)
    items, plays = history.heard[chosen], history.plays[chosen]
    best = np.lexsort((items, -plays))[:LENGTH]
    return [(int(items[place]), f"you have played it {plays[place]} times") for place in best]


def _genres(snapshot: QuerySnapshot) -> dict[str, list[tuple[int, str]]]:
    mask = snapshot.allowed()
    genres = np.array([str(item) if item is not None else "" for item in snapshot.catalogue["genre"]])
    plays = snapshot.catalogue["plays"].astype(float)
    mixes = {}
    for genre in sorted(set(genres[mask]) - {"", "nan"}):
        items = np.flatnonzero(mask & (genres == genre))
        best = items[np.lexsort((items, -plays[items]))][:LENGTH]
        mixes[genre] = [(int(item), f"{genre}, played {int(plays[item])} times") for item in best]
    return mixes


def _rows(
    snapshot: QuerySnapshot, name: str, kind: str, listener: str | None, found: list[tuple[int, str]]
) -> list[dict[str, Any]]:
    if len(found) < FEWEST:
        return []
    return [
        {
            "playlist": name,
            "kind": kind,
            "listener": listener,
            "position": place,
            "track": str(snapshot.catalogue["track"][item]),
            "title": str(snapshot.catalogue["title"][item]),
            "artist": str(snapshot.catalogue["artist"][item]),
            "reason": reason,
        }
        for place, (item, reason) in enumerate(found, start=1)
    ]
