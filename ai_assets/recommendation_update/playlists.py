"""Playlists from the same query as every surface: familiar, discovery, mixes by genre, and those somebody asked for.

What a list may hold is decided by `rules`; what earlier lists gave is `playlist_memory`, what was asked for `wishes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.diversity import diversify
from ai_assets.recommendation_update.histories import History
from ai_assets.recommendation_update.playlist_memory import Memory
from ai_assets.recommendation_update.query import QuerySnapshot, recommend
from ai_assets.recommendation_update.wished import found_for
from ai_assets.recommendation_update.wishes import Wish

if TYPE_CHECKING:
    import pandas as pd

LENGTH = 15
FEWEST = 3
FAMILIAR_POOL = 3 * LENGTH
Found = list[tuple[int, str]]


def week_of(day: date) -> str:
    """The version of a weekly list, as ISO 8601 writes weeks: `2026-W48`."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02}"


def all_playlists(
    snapshot: QuerySnapshot,
    histories: Mapping[str, History],
    *,
    day: date | None = None,
    memory: Memory | None = None,
    wishes: Sequence[Wish] = (),
    facts: pd.DataFrame | None = None,
) -> list[dict[str, Any]]:
    """Rows of `playlists`, ordered by playlist and position; a list with fewer than three tracks is left out.

    Args:
        day: the (UTC) day the lists are for, today by default; the same day gives the same lists.
        memory: what discovery lists gave before. facts: rows of `tracks`, for themes.
    """
    today = day or datetime.now(UTC).date()
    known = memory or Memory()
    rows: list[dict[str, Any]] = []
    for listener in sorted(histories):
        history = histories[listener]
        familiar = _familiar(snapshot, history, listener, today)
        rows += _rows(snapshot, f"familiar-{listener}", "familiar", str(today), listener, familiar)
        new = _discovery(snapshot, history, listener, today, known)
        rows += _rows(snapshot, f"discovery-{listener}", "discovery", week_of(today), listener, new)
    for genre, found in _genres(snapshot, today).items():
        rows += _rows(snapshot, f"genre-{genre}", "genre", str(today), None, found, {"genre": genre})
    for wish in wishes:
        rows += wished_rows(snapshot, wish, histories.get(wish.listener or ""), facts, today)
    return rows


def wished_rows(
    snapshot: QuerySnapshot, wish: Wish, history: History | None, facts: pd.DataFrame | None, day: date
) -> list[dict[str, Any]]:
    """Rows of one list that somebody asked for."""
    past = history if history is not None else History.of([], wish.listener)
    mask = snapshot.allowed(wish.listener, day)
    mask[past.disliked] = False
    items, reasons, about = found_for(snapshot, wish, past, mask, facts)
    chosen = spread(snapshot, items, wish.length)
    found = [(item, reasons[item]) for item in chosen]
    return _rows(snapshot, wish.name, wish.kind, str(day), wish.listener, found, about)


def spread(snapshot: QuerySnapshot, items: Sequence[int] | NDArray[np.int64], k: int) -> list[int]:
    """The first k of ordered tracks: of each song one version, with the caps per artist and album."""
    codes = np.asarray(items, np.int64)
    chosen = diversify(
        codes, np.linspace(1.0, 0.0, len(codes)), None, snapshot.sources.artists, k, songs=snapshot.songs,
        albums=snapshot.albums, relevance=1.0,
    )  # fmt: skip
    return [item for item, _ in chosen]


def _familiar(snapshot: QuerySnapshot, history: History, listener: str, day: date) -> Found:
    """Tracks that the listener comes back to: another choice every day, the most played most often."""
    mask = snapshot.allowed(history.listener, day)
    mask[history.disliked] = False
    chosen = mask[history.heard] & (history.plays > 1)
    items, plays = history.heard[chosen], history.plays[chosen]
    best = np.lexsort((items, -plays))[:FAMILIAR_POOL]
    seed = int.from_bytes(sha256(f"{listener}:{day}".encode()).digest()[:8])
    drawn = best[np.argsort(-(np.log(plays[best]) + np.random.default_rng(seed).gumbel(size=len(best))))]
    times = dict(zip(items.tolist(), plays.tolist(), strict=True))
    return [(item, f"you have played it {times[item]} times") for item in spread(snapshot, items[drawn], LENGTH)]


def _discovery(snapshot: QuerySnapshot, history: History, listener: str, day: date, memory: Memory) -> Found:
    """Unheard tracks: those given this week stay, with new ones where some were heard or excluded since."""
    codes = snapshot.codes
    given = np.array([codes[track] for track in memory.given.get(listener, ()) if track in codes], np.int64)
    mask = snapshot.allowed(history.listener, day)
    mask[history.disliked] = False
    mask[history.heard] = False
    standing = {codes[track]: reason for track, reason in memory.this_week(listener, week_of(day)) if track in codes}
    kept = [item for item in standing if mask[item]]
    fresh = replace(history, disliked=np.union1d(history.disliked, given).astype(np.int64))
    answers, _ = recommend(snapshot, fresh, LENGTH, day=day) if len(kept) < LENGTH else ([], False)
    reasons = {answer.item: answer.reasons[0] for answer in answers} | standing
    ordered = spread(snapshot, [*kept, *(answer.item for answer in answers)], LENGTH)
    return [(item, reasons[item]) for item in ordered]


def _genres(snapshot: QuerySnapshot, day: date) -> dict[str, Found]:
    mask = snapshot.allowed(day=day)
    genres = np.array([str(item) if item is not None else "" for item in snapshot.catalogue["genre"]])
    plays = snapshot.catalogue["plays"].astype(float)
    mixes = {}
    for genre in sorted(set(genres[mask]) - {"", "nan"}):
        items = np.flatnonzero(mask & (genres == genre))
        best = spread(snapshot, items[np.lexsort((items, -plays[items]))], LENGTH)
        mixes[genre] = [(item, f"{genre}, played {int(plays[item])} times") for item in best]
    return mixes


def _rows(
    snapshot: QuerySnapshot,
    name: str,
    kind: str,
    version: str,
    listener: str | None,
    found: Found,
    about: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    if len(found) < FEWEST:
        return []
    common = {
        "playlist": name, "kind": kind, "version": version, "listener": listener,
        "about": json.dumps(about or {}, sort_keys=True, ensure_ascii=False),
    }  # fmt: skip
    return [
        {
            **common,
            "position": place,
            "track": str(snapshot.catalogue["track"][item]),
            "title": str(snapshot.catalogue["title"][item]),
            "artist": str(snapshot.catalogue["artist"][item]),
            "reason": reason,
        }
        for place, (item, reason) in enumerate(found, start=1)
    ]
