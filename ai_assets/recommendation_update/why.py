"""`why`: from one recommendation back to the bytes it came from. Reads everything, changes nothing.

The chain: place and reasons in the list, what the ranking model counted, the generation and its models with what they
were trained on, the track's row, its batch and versions, and the file with its hash; each with run id and trace id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ai_assets.data_processing.batches import full_path
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.answers import find_track, snapshot_of
from ai_assets.recommendation_update.candidates import FEATURES, candidates
from ai_assets.recommendation_update.current import listener_history
from ai_assets.recommendation_update.histories import History
from ai_assets.recommendation_update.query import CANDIDATES, QuerySnapshot, recommend
from resources.lake.ledger import Entry
from resources.platform import Platform
from resources.roots import PathRefused, open_any

LONGEST_LIST = 100
TRACK_ASSETS = ("audio_manifest", "audio_quality", "audio_features", "audio_embeddings", "track_tags")
WHOLE_ASSETS = ("track_identities", "tracks", "recommendations")


def why_answer(platform: Platform, listener: str, reference: str) -> dict[str, Any]:
    """Everything that led to a track being recommended to a listener, or what keeps it from the list.

    Raises NothingToAnswer for an unknown track or a home without a serving generation.
    """
    snapshot = snapshot_of(platform)
    item = find_track(snapshot, reference, home=platform.home.root)
    history = listener_history(platform, snapshot, platform.pseudonyms.of(listener))
    track = str(snapshot.catalogue["track"][item])
    return {
        "listener": listener,
        "track": track,
        "title": str(snapshot.catalogue["title"][item]),
        "artist": str(snapshot.catalogue["artist"][item]),
        **_place(snapshot, history, item),
        "ranking": _ranking(snapshot, history, item),
        "generation": {"name": snapshot.name, "files": dict(snapshot.facts.get("files", {}))},
        "models": _models(platform, snapshot.facts.get("models", {})),
        "listening": _listening(platform, snapshot, history),
        "sound": _sound(platform, track),
        "made_by": {name: _made(platform.lake.ledger.entry(name)) for name in WHOLE_ASSETS},
    }


def _place(snapshot: QuerySnapshot, history: History, item: int) -> dict[str, Any]:
    """Place, score and reasons, or the first thing that keeps the track off the list."""
    answers, cold = recommend(snapshot, history, LONGEST_LIST)
    for place, answer in enumerate(answers, start=1):
        if answer.item == item:
            shown = {"rank": place, "score": round(answer.score, 6), "reasons": list(answer.reasons)}
            return {"recommended": True, "cold": cold, **shown, "kept_out_by": None}
    return {
        "recommended": False, "cold": cold, "rank": None, "score": None, "reasons": [],
        "kept_out_by": _obstacle(snapshot, history, item),
    }  # fmt: skip


def _obstacle(snapshot: QuerySnapshot, history: History, item: int) -> str:
    if not snapshot.rule_columns.shown[item]:
        return "the track was withdrawn, or its file has vanished"
    if not snapshot.allowed(history.listener)[item]:
        return "a rule excludes it (ai-assets rules list)"
    if item in history.disliked:
        return "the listener dislikes it"
    if item in history.heard:
        return "the listener has heard it"
    return f"others score higher: it is not among the first {LONGEST_LIST}"


def _ranking(snapshot: QuerySnapshot, history: History, item: int) -> dict[str, Any] | None:
    """What the ranking model counted: value and contribution of each feature; None where it does not rank the track."""
    if snapshot.booster is None or len(history) == 0:
        return None
    mask = snapshot.allowed(history.listener)
    mask[history.disliked] = False
    mask[history.heard] = False
    pool = candidates(snapshot.sources, history.recent, mask, max(CANDIDATES, 2 * LONGEST_LIST))
    row = np.flatnonzero(pool.items == item)
    if not len(row):
        return None
    features = pool.features[row]
    parts = ranking.contributions(snapshot.booster, features)[0]
    order = np.argsort(-np.abs(parts[:-1]), kind="stable")
    counted = {
        FEATURES[place]: {"value": _number(features[0, place]), "contribution": float(parts[place])} for place in order
    }
    score = float(ranking.predict(snapshot.booster, features)[0])
    return {"score": score, "base": float(parts[-1]), "candidates": len(pool.items), "contributions": counted}


def _models(platform: Platform, labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The models behind the generation: version, digest, MLflow run, metrics and what they were trained on."""
    found = []
    for name, label in sorted(labels.items()):
        version = platform.registry.version(name, int(str(label).rsplit("/", 1)[1]))
        entry = platform.lake.ledger.entry(name)
        found.append(
            {
                "model": version.label,
                "digest": version.digest,
                "mlflow_run": version.run_id,
                "created_at": version.created_at,
                "metrics": dict(version.metrics),
                "trained_on": version.data_versions,
                "made_by": _made(entry),
            }
        )
    return found


def _listening(platform: Platform, snapshot: QuerySnapshot, history: History) -> dict[str, Any]:
    """What the listener's history is made of: the day partitions its events lie in."""
    table = platform.lake.table("listening_events")
    days: list[str] = []
    if table.exists and history.listener is not None:
        frame = table.frame(columns=["listener", "day"])
        days = sorted(frame.loc[frame["listener"] == history.listener, "day"].unique())
    last = [str(snapshot.catalogue["title"][code]) for code in history.recent[-3:][::-1]]
    ledger = platform.lake.ledger
    return {
        "events": len(history),
        "tracks_heard": len(history.heard),
        "last_played": last,
        "days": [{"day": day, **(_made(ledger.entry("listening_events", day)) or {})} for day in days[-5:]],
    }


def _sound(platform: Platform, track: str) -> list[dict[str, Any]]:
    """The files that hold the track: batch, hashes, whether the bytes are still those, versions, and who made each."""
    table = platform.lake.table("track_identities")
    if not table.exists:
        return []
    frame = table.frame()
    return [_file(platform, row) for row in frame[frame["track"] == track].to_dict("records")]


def _file(platform: Platform, row: Mapping[Any, Any]) -> dict[str, Any]:
    path = full_path(f"{row['root']}/{row['path']}", platform.home.root)
    ledger, batch = platform.lake.ledger, str(row["batch"])
    return {
        "path": path,
        "batch": batch,
        "file_hash": row["file_hash"],
        "file_now": _compared(path, str(row["file_hash"])),
        "audio_hash": row["audio_hash"],
        "matched_by": row["matched_by"],
        "versions": _versions(platform, batch, str(row["audio_hash"])),
        "made_by": {name: _made(ledger.entry(name, batch)) for name in TRACK_ASSETS},
    }


def _versions(platform: Platform, batch: str, audio_hash: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, column in (("audio_features", "feature_version"), ("audio_embeddings", "model")):
        table = platform.lake.table(name)
        if table.exists:
            frame = table.frame(columns=["batch", "audio_hash", column])
            own = frame[(frame["batch"] == batch) & (frame["audio_hash"] == audio_hash)]
            if len(own):
                found[name] = str(own[column].iloc[-1])
    return found


def _compared(path: str, expected: str) -> str:
    """`unchanged`, `changed` or `gone`: the file's bytes today against the hash they had when they were read."""
    try:
        with open_any(Path(path)) as file:
            return (
                "unchanged" if hashlib.file_digest(cast("Any", file), "sha256").hexdigest() == expected else "changed"
            )
    except (PathRefused, OSError):
        return "gone"


def _made(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    return {
        "run_id": entry.run_id, "trace_id": entry.trace_id, "content_hash": entry.content_hash,
        "code_version": entry.code_version, "table_version": entry.table_version, "written_at": entry.written_at,
    }  # fmt: skip


def _number(value: Any) -> float | None:
    return float(value) if value == value else None


def steps(answer: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """The chain as lines for people: what, and the evidence."""
    if answer["recommended"]:
        yield "in the list", f"place {answer['rank']}, score {answer['score']:.3f}"
        yield "because", "; ".join(answer["reasons"])
    else:
        yield "not in the list", str(answer["kept_out_by"])
    if answer["ranking"] is not None:
        strongest = list(answer["ranking"]["contributions"].items())[:4]
        counted = ", ".join(f"{name} {part['contribution']:+.2f}" for name, part in strongest)
        yield "the ranker counted", f"{counted} (all sum to {answer['ranking']['score']:.3f})"
    heard = answer["listening"]
    yield "from a history of", f"{heard['events']} plays, last {', '.join(heard['last_played']) or 'nothing'}"
    yield "generation", str(answer["generation"]["name"])
    for model in answer["models"]:
        made = model["made_by"] or {}
        yield "model", f"{model['model']} ({model['digest'][:12]}), run {made.get('run_id', 'unknown')}"
        data = ", ".join(f"{name} {version[:12]}" for name, version in model["trained_on"].items())
        yield "  trained on", data or "not recorded"
    for file in answer["sound"]:
        yield "file", f"{file['path']} (sha256 {file['file_hash'][:12]}, {file['file_now']})"
        yield "  batch", f"{file['batch']}, {', '.join(f'{k} {v}' for k, v in file['versions'].items())}"
        for name, made in file["made_by"].items():
            if made:
                yield f"  {name}", f"run {made['run_id']}, trace {made['trace_id']}"
    for name, made in answer["made_by"].items():
        if made:
            yield name, f"run {made['run_id']}, trace {made['trace_id']}"
