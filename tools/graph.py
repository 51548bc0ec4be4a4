"""The definitions of an empty home, for pages that describe them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import dagster as dg

GROUPS = (
    "landing", "audio_analysis", "data_processing", "model_training", "recommendation_update", "content_generation",
    "quality",
)  # fmt: skip


@functools.cache
def definitions() -> dg.Definitions:
    """Every asset, check, job, sensor and schedule."""
    from ai_assets.definitions import build_definitions
    from resources.settings import load_settings

    with tempfile.TemporaryDirectory() as folder:
        return build_definitions(load_settings(home=Path(folder)))


def graph() -> dg.AssetGraph:
    """The assets with their inputs."""
    return definitions().resolve_asset_graph()
