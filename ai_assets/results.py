"""What a page of results shows: models beside their baselines, an example listener and track, where content lies."""

from __future__ import annotations

import json
from typing import Any

from ai_assets.recommendation_update.histories import all_histories
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from resources.platform import Platform

SHOWN = 5


def model_metrics(platform: Platform) -> list[dict[str, Any]]:
    """Champions with their main metric and its baselines."""
    rows = []
    for version in platform.registry.versions():
        if "champion" not in version.aliases:
            continue
        metric = version.tags.get("main_metric", "")
        baselines = {
            name.removeprefix("baseline_"): value
            for name, value in version.metrics.items()
            if name.startswith("baseline_")
        }
        rows.append(
            {
                "model": version.name,
                "version": version.version,
                "metric": metric,
                "value": version.metrics.get(metric),
                "baselines": ", ".join(f"{name} {value:.3f}" for name, value in sorted(baselines.items())),
            }
        )
    return rows


def example_listener(platform: Platform) -> dict[str, Any] | None:
    """Recommendations of the listener with the longest history, with reasons."""
    snapshot = QuerySnapshot.load(platform.home.indices / "serving")
    histories = all_histories(platform.lake.table("listening_events"), snapshot.codes) if snapshot is not None else {}
    if snapshot is None or not histories:
        return None
    listener = max(sorted(histories), key=lambda name: len(histories[name]))
    answers, _ = recommend(snapshot, histories[listener], SHOWN)
    titles, artists = snapshot.catalogue["title"], snapshot.catalogue["artist"]
    rows = [
        {"title": titles[answer.item], "artist": artists[answer.item], "why": "; ".join(answer.reasons)}
        for answer in answers
    ]
    return {"name": f"{listener} ({len(histories[listener])} plays)", "rows": rows}


def example_track(platform: Platform) -> dict[str, Any] | None:
    """Tracks similar to the most played one."""
    snapshot = QuerySnapshot.load(platform.home.indices / "serving")
    if snapshot is None or not len(snapshot.catalogue["track"]):
        return None
    item = int(snapshot.catalogue["plays"].argmax())
    found = similar(snapshot, item, SHOWN)
    columns = {name: snapshot.catalogue[name] for name in ("title", "artist", "genre")}
    rows = [{**{name: column[code] for name, column in columns.items()}, "cosine": cosine} for code, cosine in found]
    return {"name": f"{columns['artist'][item]} - {columns['title'][item]}", "rows": rows} if rows else None


def content_places(platform: Platform) -> list[str]:
    """One line per kind of generated content: an example and where it lies."""
    lines = []
    for table, word in (("track_descriptions", "text"), ("cover_art", "cover"), ("generated_music", "music")):
        handle = platform.lake.table(table)
        rows = handle.arrow(["item", "lang", "text", "files"]).to_pylist() if handle.exists else []
        if not rows:
            continue
        first = rows[0]
        if first["text"]:
            lines.append(f"{word:6} {len(rows)} made, for example ({first['lang']}): {first['text']}")
        else:
            files = json.loads(first["files"])
            places = "  ".join(str(platform.blobs.path(name)) for name in files.values())
            lines.append(f"{word:6} {len(rows)} made, for example: {places}")
    return lines
