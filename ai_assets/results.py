"""What a page of results shows: models beside their baselines, an example listener and track, where content lies."""

from __future__ import annotations

import json
from typing import Any

from ai_assets.recommendation_update.current import histories, open_snapshot
from ai_assets.recommendation_update.query import recommend, similar
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
    snapshot = open_snapshot(platform)
    known = histories(platform, snapshot) if snapshot is not None else {}
    if snapshot is None or not known:
        return None
    listener = max(sorted(known), key=lambda name: len(known[name]))
    answers, _ = recommend(snapshot, known[listener], SHOWN)
    titles, artists = snapshot.catalogue["title"], snapshot.catalogue["artist"]
    rows = [{"title": titles[answer.item], "artist": artists[answer.item], "why": answer.reasons} for answer in answers]
    return {"name": listener, "plays": len(known[listener]), "rows": rows}


def example_track(platform: Platform) -> dict[str, Any] | None:
    """Tracks similar to the most played one."""
    snapshot = open_snapshot(platform)
    if snapshot is None or not len(snapshot.catalogue["track"]):
        return None
    item = int(snapshot.catalogue["plays"].argmax())
    found = similar(snapshot, item, SHOWN)
    columns = {name: snapshot.catalogue[name] for name in ("title", "artist", "genre")}
    rows = [{**{name: column[code] for name, column in columns.items()}, "cosine": cosine} for code, cosine in found]
    return {"name": f"{columns['artist'][item]} - {columns['title'][item]}", "rows": rows} if rows else None


def content_places(platform: Platform, lang: str) -> list[dict[str, Any]]:
    """One row per kind of content: how many there are, and an example: a text, in `lang` if there is one, or files."""
    found = []
    for table, kind in (("track_descriptions", "text"), ("cover_art", "cover"), ("generated_music", "music")):
        handle = platform.lake.table(table)
        rows = handle.arrow(["item", "lang", "text", "files"]).to_pylist() if handle.exists else []
        if not rows:
            continue
        first = next((row for row in rows if row["lang"] == lang), rows[0])
        files = [] if first["text"] else json.loads(first["files"]).values()
        example = first["text"] or "  ".join(str(platform.blobs.path(name)) for name in files)
        found.append({"kind": kind, "count": len(rows), "example": example})
    return found
