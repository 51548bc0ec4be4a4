"""Hearing one file that another system enters: what it is and its vector. Runs in a limited process, never in the API.

Belongs here: one file to plain values. Does not belong here: the catalogue's own pass over a batch (`batch_pass`), and
where the file comes from (`ai_assets.serving.audio_entry`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

MODEL = "track_embedder"


def hear(item: Mapping[str, Any]) -> dict[str, Any]:
    """One file as plain values.

    Args:
        item: `root` and `path` (below it, opened confined); `embedder`: folder of the fitted embedder, or None.

    Returns:
        `status reason format duration_seconds` of the decode, `file_hash`, `audio_hash` (as the catalogue has it; None
        where nothing was read), `tags`, and `vector` (a list, None without embedder or features).

    Raises:
        resources.roots.StorageFault: the storage failed, which says nothing about the file.
    """
    from ai_assets.audio_analysis.one_pass import analyse_for_pool
    from ai_assets.data_processing.tags import read_tags
    from resources.roots import PathRefused, open_confined

    try:
        with open_confined(Path(item["root"]), item["path"]) as file:
            digest = hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
            file.seek(0)
            tags = asdict(read_tags(file))
    except PathRefused as error:
        return {"status": "refused", "reason": error.reason}
    analysis = analyse_for_pool({"root": item["root"], "path": item["path"], "families": ["features", "fingerprint"]})
    report = analysis.report
    return {
        "status": report.status, "reason": report.reason, "format": report.detected_format,
        "duration_seconds": float(report.duration_seconds), "file_hash": digest, "tags": tags,
        "audio_hash": report.audio_hash.removeprefix("sha256:") if report.audio_hash else None,
        "vector": _vector(analysis.features, item.get("embedder")),
    }  # fmt: skip


def embedder_folder(item: Mapping[str, str]) -> str:
    """Folder of the embedder that `label` (`track_embedder/VERSION`) names in the registry of `home`."""
    from resources.platform import Platform
    from resources.settings import Settings

    registry = Platform(Settings(home=Path(item["home"]))).registry
    return str(registry.fetch(MODEL, item["label"].removeprefix(f"{MODEL}/")))


def _vector(features: Any, embedder: str | None) -> list[float] | None:
    import numpy as np

    from ai_assets.audio_analysis.track_embedder import TrackEmbedder

    if features is None or embedder is None:
        return None
    row = np.asarray(features, float)[None, :]
    return [float(value) for value in TrackEmbedder.load(Path(embedder)).embed(row)[0]]
