"""The side of a model from elsewhere that runs in a limited process: opened once, tried on noise, asked.

Imports no Dagster, so that such a process starts in a tenth of the time. Who starts it: `external_models` to try a
model, audio analysis to fill its columns.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.model_training.external_manifest import ExternalModel
from ai_assets.model_training.external_runtimes import Run, load, manifest_of


def attempt(folder: str) -> None:
    """Load the model and run it on noise, one window and a batch; raises WrongModel where it differs."""
    model, run = opened(folder)
    rng = np.random.default_rng(0)
    for count in {1, min(2, model.input.batch)} if model.input.kind != "features" else {1}:
        run((0.1 * rng.standard_normal((count, *window_shape(model)))).astype(np.float32))


@lru_cache(maxsize=4)
def opened(folder: str) -> tuple[ExternalModel, Run]:
    """Manifest and function of the model in `folder`; loaded once in a process."""
    import os

    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    model = manifest_of(Path(folder))
    return model, load(model, Path(folder))


def window_shape(model: ExternalModel) -> tuple[int, ...]:
    """Shape of one window."""
    if model.input.kind == "features":
        return (518,)
    if model.input.kind == "log_mel":
        return (max(1, round(model.input.window_seconds * 22_050 / 512)), 64)
    return (max(1, round(model.input.window_seconds * model.input.sample_rate)),)


def average(run: Run, windows: np.ndarray, batch: int) -> Any:
    """(width,) mean of the answers over windows, computed in batches."""
    parts = [run(windows[start : start + batch]) for start in range(0, len(windows), batch)]
    return np.concatenate(parts).mean(0)
