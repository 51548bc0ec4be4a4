"""Answers as people and programs get them: the query module on the current serving generation of a home."""

from __future__ import annotations

import uuid
from typing import Any

from ai_assets.data_processing.batches import full_path
from ai_assets.recommendation_update.histories import history_of
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
