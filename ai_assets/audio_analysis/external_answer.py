"""One recording through a model from elsewhere: its windows, in a limited worker process that imports no Dagster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.decode import open_audio
from ai_assets.model_training.external_manifest import ExternalModel
from ai_assets.model_training.external_worker import average, opened, window_shape

SILENCE_DB = -100.0


def answer(folder: str, path: str, blob: str | None, features: Sequence[float] | None) -> NDArray[np.float64]:
    """One recording through the model in `folder`, in a worker process."""
    model, run = opened(folder)
    if model.input.kind == "features":
        windows = np.asarray([features], np.float32)
    elif model.input.kind == "log_mel":
        if blob is None:
            raise ValueError(f"{path}: there is no log-mel of it")
        windows = cut(np.load(blob, allow_pickle=False).astype(np.float32), model, SILENCE_DB)
    else:
        windows = cut(waveform(Path(path), model.input.sample_rate), model, 0.0)
    return np.asarray(average(run, windows, model.input.batch))


def waveform(path: Path, sample_rate: int) -> NDArray[np.float32]:
    """Mono samples by the mean of the channels, resampled with soxr (HQ)."""
    import soxr

    with open_audio(path, hash_audio=False, verify_md5=False) as reader:
        rate = reader.info.sample_rate
        parts = [block.mean(1) if block.ndim == 2 else block for block in reader.blocks()]
    samples = np.concatenate(parts) if parts else np.zeros(1, np.float32)
    return np.asarray(samples if rate == sample_rate else soxr.resample(samples, rate, sample_rate), np.float32)


def cut(series: NDArray[np.float32], model: ExternalModel, fill: float) -> NDArray[np.float32]:
    """Windows (n, …) of a recording, spread evenly where it has more than the model is to see; the last one filled."""
    length = window_shape(model)[0]
    hop = max(1, round(length * model.input.hop_seconds / model.input.window_seconds))
    starts = np.arange(0, max(1, len(series) - length + 1), hop)
    if len(starts) > model.input.windows:
        starts = starts[np.linspace(0, len(starts) - 1, model.input.windows).round().astype(int)]
    windows = np.full((len(starts), length, *series.shape[1:]), fill, np.float32)
    for window, start in zip(windows, starts, strict=True):
        piece = series[start : start + length]
        window[: len(piece)] = piece
    return windows
