"""Answers as people and programs get them: the query module on the current serving generation of a home."""

from __future__ import annotations

import json
import uuid
from typing import Any, Literal

from ai_assets.data_processing.batches import full_path
from ai_assets.recommendation_update.histories import history_of
from ai_assets.recommendation_update.playlist_files import Entry, jspf, m3u8
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from ai_assets.recommendation_update.rule_store import RuleStore
from resources.platform import Platform


class NothingToAnswer(LookupError):
    """No serving generation exists yet, or the track is unknown."""


def snapshot_of(platform: Platform) -> QuerySnapshot:
    """The current snapshot under the rules of this moment. Raises NothingToAnswer with the command that makes one."""
    rules = RuleStore(platform.database).current()
    snapshot = QuerySnapshot.load(platform.home.indices / "serving", rules)
    if snapshot is None:
        raise NothingToAnswer("there is nothing to recommend yet; run: ai-assets run --audio DIR --events FILE")
    return snapshot


def recommend_answer(platform: Platform, listener: str, k: int) -> dict[str, Any]:
    """The answer of `recommend`; the raw listener id is mapped at once and echoed, nothing else keeps it."""
    snapshot = snapshot_of(platform)
    pseudonym = platform.pseudonyms.of(listener)
    history = history_of(platform.lake.table("listening_events"), pseudonym, snapshot.codes)
    answers, cold = recommend(snapshot, history, k)
    return {
        "listener": listener,
        "recommendations": [
            _track(platform, snapshot, answer.item) | {"score": round(answer.score, 6), "reasons": list(answer.reasons)}
            for answer in answers
        ],
        "cold": cold,
        **_versions(snapshot),
    }


def similar_answer(platform: Platform, reference: str, k: int) -> dict[str, Any]:
    """The answer of `similar`. Raises NothingToAnswer for an unknown track."""
    snapshot = snapshot_of(platform)
    item = find_track(platform, snapshot, reference)
    found = similar(snapshot, item, k)
    return {
        "track": str(snapshot.catalogue["track"][item]),
        "similar": [_track(platform, snapshot, code) | {"score": round(cosine, 6)} for code, cosine in found],
        **_versions(snapshot),
    }


def playlist_file(platform: Platform, playlist: str, form: Literal["m3u8", "jspf"]) -> str:
    """A playlist as the text of a file. What rules, deletions or dislikes exclude at this moment is left out.

    Raises:
        NothingToAnswer: there is no playlist of that name.
    """
    snapshot = snapshot_of(platform)
    table = platform.lake.table("playlists")
    rows = table.frame().query("playlist == @playlist").sort_values("position") if table.exists else None
    if rows is None or rows.empty:
        raise NothingToAnswer(f"there is no playlist {playlist!r}: ai-assets table playlists names them")
    listener = rows["listener"].iloc[0]
    mask = snapshot.allowed(listener)
    if listener is not None:
        mask[history_of(platform.lake.table("listening_events"), listener, snapshot.codes).disliked] = False
    entries = []
    for track, reason in zip(rows["track"], rows["reason"], strict=True):
        item = snapshot.codes.get(track)
        if item is not None and mask[item]:
            entries.append(_entry(platform, snapshot, item, reason))
    return m3u8(playlist, entries) if form == "m3u8" else json.dumps(jspf(playlist, entries), ensure_ascii=False)


def _entry(platform: Platform, snapshot: QuerySnapshot, item: int, reason: str) -> Entry:
    shown = _track(platform, snapshot, item)
    album, seconds = (snapshot.catalogue[name][item] for name in ("album", "duration_seconds"))
    return Entry(
        shown["track"], shown["title"], shown["artist"], album=str(album) if album else None, path=shown["path"],
        seconds=float(seconds) if seconds == seconds else None, reason=reason,
    )  # fmt: skip


def find_track(platform: Platform, snapshot: QuerySnapshot, reference: str) -> int:
    """Item code of a track named by id, path or "artist - title". Raises NothingToAnswer."""
    item = snapshot.find(reference)
    if item is None:
        home = f"{platform.home.root}/"
        item = snapshot.find(reference.removeprefix(home)) if reference.startswith(home) else None
    if item is None:
        raise NothingToAnswer(
            f'no track (or more than one) matches {reference!r}: expected an id, a path or "artist - title"'
        )
    return item


def _track(platform: Platform, snapshot: QuerySnapshot, item: int) -> dict[str, Any]:
    row = {name: snapshot.catalogue[name][item] for name in ("track", "title", "artist", "root", "path")}
    path = full_path(f"{row['root']}/{row['path']}", platform.home.root) if row["path"] is not None else None
    return {"track": str(row["track"]), "title": str(row["title"]), "artist": str(row["artist"]), "path": path}


def _versions(snapshot: QuerySnapshot) -> dict[str, Any]:
    return {
        "generation": snapshot.name,
        "model": snapshot.facts.get("models", {}),
        "trace_id": uuid.uuid4().hex,
    }
