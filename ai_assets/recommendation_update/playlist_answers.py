"""Playlists as people and programs get them: the lists of the table as they may be shown at this moment.

What rules, deletions or dislikes exclude now is left out, and so is what was heard since from a discovery list. A list
that was asked for after the table was made is found at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from ai_assets.data_processing.batches import full_path
from ai_assets.recommendation_update.answers import NothingToAnswer, snapshot_of
from ai_assets.recommendation_update.current import histories, listener_history
from ai_assets.recommendation_update.histories import History
from ai_assets.recommendation_update.playlist_files import Entry, jspf, m3u8
from ai_assets.recommendation_update.playlists import wished_rows
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.wishes import Wish, WishStore
from resources.platform import Platform

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

Rows = list[dict[str, Any]]


def playlist_lists(platform: Platform, listener: str | None = None) -> dict[str, Rows]:
    """The rows of every list by name, in order; of one listener (pseudonym) and for all, where one is named."""
    snapshot = snapshot_of(platform)
    found: dict[str, Rows] = {}
    for row in _table_rows(platform):
        if listener is None or row["listener"] in (None, listener):
            found.setdefault(row["playlist"], []).append(row)
    store = WishStore(platform.database)
    wishes, newer = {wish.name: wish for wish in store.current()}, _newer(platform, store)
    names = {name for name, rows in found.items() if rows[0]["kind"] not in ("theme", "seeds") or name in wishes}
    pasts = {} if listener is not None else histories(platform, snapshot)
    if listener is not None:
        pasts = {listener: listener_history(platform, snapshot, listener)}
    shown = {name: _shown(snapshot, rows, pasts) for name, rows in found.items() if name in names}
    for name, wish in wishes.items():
        if (name not in found or name in newer) and (listener is None or wish.listener in (None, listener)):
            shown[name] = _live(platform, snapshot, wish, pasts.get(wish.listener or ""))
    return {name: rows for name, rows in shown.items() if rows}


def playlist_rows(platform: Platform, playlist: str, snapshot: QuerySnapshot | None = None) -> Rows:
    """The rows of one list, in order; none where nothing of it may be shown. Raises NothingToAnswer."""
    snapshot = snapshot or snapshot_of(platform)
    store = WishStore(platform.database)
    wish = next((item for item in store.current() if item.name == playlist), None)
    rows = [row for row in _table_rows(platform) if row["playlist"] == playlist]
    if wish is None and (not rows or rows[0]["kind"] in ("theme", "seeds")):
        raise NothingToAnswer(f"there is no playlist {playlist!r}: ai-assets playlists list names them")
    listener = wish.listener if wish is not None else rows[0]["listener"]
    pasts = {} if listener is None else {listener: listener_history(platform, snapshot, listener)}
    if wish is not None and (not rows or playlist in _newer(platform, store)):
        return _live(platform, snapshot, wish, pasts.get(wish.listener or ""))
    return _shown(snapshot, rows, pasts)


def playlist_file(
    platform: Platform, playlist: str, form: Literal["m3u8", "jspf"], *, title: str = "", text: str = ""
) -> str:
    """A playlist as the text of a file, under its name where no title is given. Raises NothingToAnswer."""
    snapshot = snapshot_of(platform)
    home = platform.home.root
    entries = [
        _entry(snapshot, snapshot.codes[row["track"]], row["reason"], home)
        for row in playlist_rows(platform, playlist, snapshot)
    ]
    if form == "m3u8":
        return m3u8(title or playlist, entries)
    return json.dumps(jspf(title or playlist, entries, name=playlist, text=text), ensure_ascii=False)


def _table_rows(platform: Platform) -> Rows:
    table = platform.lake.table("playlists")
    if not table.exists:
        return []
    rows: Rows = table.frame().sort_values(["playlist", "position"], kind="stable").to_dict("records")
    older = {"version": "", "about": "{}"}  # columns that an earlier release did not write
    return [older | row | {"listener": row["listener"] if isinstance(row["listener"], str) else None} for row in rows]


def _shown(snapshot: QuerySnapshot, rows: Rows, pasts: Mapping[str, History]) -> Rows:
    listener = rows[0]["listener"]
    mask = snapshot.allowed(listener)
    past = pasts.get(listener or "")
    if past is not None:
        mask[past.disliked] = False
        if rows[0]["kind"] == "discovery":
            mask[past.heard] = False
    kept = [row for row in rows if (item := snapshot.codes.get(row["track"])) is not None and mask[item]]
    return [{**row, "position": place} for place, row in enumerate(kept, start=1)]


def _newer(platform: Platform, store: WishStore) -> set[str]:
    """Wishes that were entered or changed after the table was made."""
    entry = platform.lake.ledger.entry("playlists")
    made = datetime.fromisoformat(entry.written_at) if entry is not None else datetime.min.replace(tzinfo=UTC)
    return {row["playlist"] for row in store.rows() if datetime.fromisoformat(row["added_at"]) > made}


def _live(platform: Platform, snapshot: QuerySnapshot, wish: Wish, past: History | None) -> Rows:
    return wished_rows(snapshot, wish, past, track_facts(platform), datetime.now(UTC).date())


def track_facts(platform: Platform) -> pd.DataFrame | None:
    """What themes ask of the catalogue; None before there is one."""
    table = platform.lake.table("tracks")
    return table.frame(["track", "mood", "tempo_bpm", "energy_index", "year"]) if table.exists else None


def _entry(snapshot: QuerySnapshot, item: int, reason: str, home: Path) -> Entry:
    names = ("track", "title", "artist", "album", "root", "path", "duration_seconds")
    row = {name: snapshot.catalogue[name][item] for name in names}
    seconds = row["duration_seconds"]
    return Entry(
        str(row["track"]), str(row["title"]), str(row["artist"]), album=str(row["album"]) if row["album"] else None,
        path=full_path(f"{row['root']}/{row['path']}", home) if row["path"] is not None else None,
        seconds=float(seconds) if seconds == seconds else None, reason=reason,
    )  # fmt: skip
