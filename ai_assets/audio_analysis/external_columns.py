"""What models from elsewhere say of a batch's recordings: columns beside our own, each value with its model's name.

Belongs here: one limited worker per model, what a failed recording becomes. Does not belong here: the windows of a
recording and the model itself, which are the worker's (`external_answer`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.contract import accept, reject
from ai_assets.data_processing.batches import root_folder, source_name
from ai_assets.model_training.external_manifest import ExternalModel
from resources.isolation import LimitedPool
from resources.platform import Platform

if TYPE_CHECKING:
    import pandas as pd


def with_external(
    frame: pd.DataFrame, models: pd.DataFrame, kind: str, recordings: pd.DataFrame, platform: Platform
) -> pd.DataFrame:
    """`frame` (a row per batch and audio_hash) with the columns of every added model of `kind`.

    Args:
        models: the table `external_models`.
        kind: "embedding" or "classes".
        recordings: `audio_hash root path features blob`, one row per recording.
    """
    rows = recordings.drop_duplicates("audio_hash").set_index("audio_hash")
    for held in models[models["output"] == kind].sort_values("name").itertuples():
        model = ExternalModel.model_validate_json(str(held.manifest))
        answers = answers_of(model, str(platform.registry.fetch(model.name, int(str(held.model).rpartition("/")[2]))),
                             rows.loc[frame["audio_hash"].unique()], platform)  # fmt: skip
        found = [answers.get(one) for one in frame["audio_hash"]]
        named = [None if one is None else held.model for one in found]
        if kind == "embedding":
            frame = frame.assign(**{
                f"vector_{model.name}": [None if one is None else one.astype(np.float32) for one in found],
                f"model_{model.name}": named,
            })  # fmt: skip
        else:
            labels = model.output.labels
            frame = frame.assign(**{
                f"label_{model.name}": [None if one is None else labels[int(one.argmax())] for one in found],
                f"probability_{model.name}": [np.nan if one is None else float(one.max()) for one in found],
                f"model_{model.name}": named,
            })  # fmt: skip
    return frame


def answers_of(
    model: ExternalModel, folder: str, rows: pd.DataFrame, platform: Platform
) -> dict[str, NDArray[np.float64]]:
    """Mean answer per audio hash; a recording on which the model fails is put aside with the reason."""
    home = platform.home.root
    items = []
    for row in rows.itertuples():
        blob = str(platform.blobs.path(row.blob)) if isinstance(row.blob, str) else None
        given = [float(value) for value in row.features] if model.input.kind == "features" else None
        items.append((folder, str(root_folder(row.root, home) / row.path), blob, given))
    found: dict[str, NDArray[np.float64]] = {}
    with LimitedPool(
        1, memory_bytes=model.memory_bytes, wall_seconds=model.seconds_per_file,
        environment={"TF_CPP_MIN_LOG_LEVEL": "3", "HF_HUB_OFFLINE": "1"},
    ) as pool:  # fmt: skip
        outcomes = pool.map("ai_assets.audio_analysis.external_answer:answer", items, expand=True)
        for row, outcome in zip(rows.itertuples(), outcomes, strict=True):
            source = source_name(row.root, row.path)
            if outcome.status == "ok":
                found[str(row.Index)] = outcome.value
                accept(source, table=model.name)
            else:
                reason = outcome.error.strip().splitlines()[-1][:300] if outcome.error.strip() else outcome.status
                reject(source, table=model.name, reason=reason, code=f"external_{outcome.status}")
    return found


def recordings_of(features: pd.DataFrame, quality: pd.DataFrame, mels: pd.DataFrame) -> pd.DataFrame:
    """One row per readable recording with its place, features and log-mel blob."""
    places = quality[["audio_hash", "root", "path"]].dropna(subset=["audio_hash"]).drop_duplicates("audio_hash")
    blobs = mels[["audio_hash", "blob"]].drop_duplicates("audio_hash")
    known = features[["audio_hash", "features"]].drop_duplicates("audio_hash")
    return known.merge(places, on="audio_hash").merge(blobs, on="audio_hash", how="left")
