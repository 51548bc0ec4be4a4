"""Answers as people and programs get them: the query module on the current serving generation of a home."""

from __future__ import annotations

import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from ai_assets.data_processing.batches import full_path
from ai_assets.recommendation_update.current import listener_history, open_snapshot
from ai_assets.recommendation_update.experiments import Experiments
from ai_assets.recommendation_update.histories import History
from ai_assets.recommendation_update.impressions import ImpressionLog
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from resources.platform import Platform

NOTHING = "there is nothing to recommend yet; run: ai-assets run --audio DIR --events FILE"


class NothingToAnswer(LookupError):
    """No serving generation exists yet, or the track is unknown."""


def snapshot_of(platform: Platform) -> QuerySnapshot:
    """The current snapshot under the rules of this moment. Raises NothingToAnswer with the command that makes one."""
    snapshot = open_snapshot(platform)
    if snapshot is None:
        raise NothingToAnswer(NOTHING)
    return snapshot


def recommend_answer(platform: Platform, listener: str, k: int) -> dict[str, Any]:
    """The answer of `recommend`; the raw listener id is mapped at once and echoed, nothing else keeps it."""
    snapshot = snapshot_of(platform)
    pseudonym = platform.pseudonyms.of(listener)
    history = listener_history(platform, snapshot, pseudonym)
    experiment, arm = Experiments(platform.database).assigned(pseudonym)
    answer = recommended(snapshot, history, k, home=platform.home.root, arm=arm)
    log = ImpressionLog(platform.database)
    log.shown(answer, pseudonym, experiment=experiment, arm=arm)
    with suppress(SQLAlchemyError):  # the answer is worth more than its entry in the log
        log.flush()
    return {"listener": listener} | answer


def recommended(snapshot: QuerySnapshot, history: History, k: int, *, home: Path, arm: str = "") -> dict[str, Any]:
    """Recommendations for a history, as every surface shows them; `arm` of an experiment changes how.

    Events that come from this list name it as their `list_id`.
    """
    answers, cold = recommend(snapshot, history, k, ranked=arm != "retrieval")
    versions = _versions(snapshot)
    return {
        "recommendations": [
            _track(snapshot, answer.item, home) | {"score": round(answer.score, 6), "reasons": list(answer.reasons)}
            for answer in answers
        ],
        "cold": cold,
        **versions,
        "list_id": versions["trace_id"],
    }


def similar_answer(platform: Platform, reference: str, k: int) -> dict[str, Any]:
    """The answer of `similar`. Raises NothingToAnswer for an unknown track."""
    return alike(snapshot_of(platform), reference, k, home=platform.home.root)


def alike(snapshot: QuerySnapshot, reference: str, k: int, *, home: Path) -> dict[str, Any]:
    """Tracks similar to a track, as every surface shows them. Raises NothingToAnswer for an unknown track."""
    item = find_track(snapshot, reference, home=home)
    found = similar(snapshot, item, k)
    return {
        "track": str(snapshot.catalogue["track"][item]),
        "similar": [_track(snapshot, code, home) | {"score": round(cosine, 6)} for code, cosine in found],
        **_versions(snapshot),
    }


def find_track(snapshot: QuerySnapshot, reference: str, *, home: Path) -> int:
    """Item code of a track named by id, path or "artist - title". Raises NothingToAnswer."""
    item = snapshot.find(reference)
    if item is None and reference.startswith(f"{home}/"):
        item = snapshot.find(reference.removeprefix(f"{home}/"))
    if item is None:
        raise NothingToAnswer(
            f'no track (or more than one) matches {reference!r}: expected an id, a path or "artist - title"'
        )
    return item


def _track(snapshot: QuerySnapshot, item: int, home: Path) -> dict[str, Any]:
    row = {name: snapshot.catalogue[name][item] for name in ("track", "title", "artist", "root", "path")}
    path = full_path(f"{row['root']}/{row['path']}", home) if row["path"] is not None else None
    return {"track": str(row["track"]), "title": str(row["title"]), "artist": str(row["artist"]), "path": path}


def _versions(snapshot: QuerySnapshot) -> dict[str, Any]:
    return {
        "generation": snapshot.name,
        "model": snapshot.facts.get("models", {}),
        "trace_id": uuid.uuid4().hex,
    }
