"""Pictures for the asset pages, as PNG bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.audio_analysis.key_profiles import PITCH_CLASSES
from ai_assets.audio_analysis.rhythm import FRAME_RATE, TEMPOGRAM_SECONDS

if TYPE_CHECKING:
    import pandas as pd

MOST_WAVEFORMS = 6
MOST_SPECTROGRAMS = 3
# Of longer recordings the first minute and a half is drawn.
MOST_FRAMES = 4096
_LAGS = int(TEMPOGRAM_SECONDS * FRAME_RATE / 2)


def waveforms(quality: pd.DataFrame) -> bytes | None:
    """Envelopes of the first files of a batch with their findings marked, or None where there is nothing to draw."""
    rows = quality[quality["waveform"].notna()].head(MOST_WAVEFORMS)
    if rows.empty:
        return None
    figure, axes = _figure(len(rows), height=0.9)
    for axis, row in zip(axes, rows.itertuples(), strict=True):
        envelope = np.asarray(row.waveform, float)
        low, high = np.split(envelope, 2)
        seconds = np.linspace(0.0, row.duration_seconds, len(low))
        axis.fill_between(seconds, low, high, color="#2a6f97", linewidth=0)
        axis.set_ylim(-1.05, 1.05)
        axis.set_yticks([])
        for finding in json.loads(row.findings):
            if finding["time"] is not None:
                axis.axvline(finding["time"], color="#c1121f", linewidth=1)
                axis.annotate(finding["kind"], (finding["time"], 0.8), fontsize=6, color="#c1121f")
        axis.set_title(row.path, fontsize=7, loc="left", pad=2)
    axes[-1].set_xlabel("seconds", fontsize=7)
    return png(figure)


def spectrograms(log_mels: Mapping[str, np.ndarray]) -> bytes | None:
    """The log-mel (frames, 64) in dB of each recording by name, over seconds; None without any."""
    shown = {name: mel.astype(np.float32).T for name, mel in log_mels.items() if len(mel)}
    return _heat(shown, "mel band", lowest=-60.0, highest=40.0)


def tempograms(log_mels: Mapping[str, np.ndarray]) -> bytes | None:
    """How strongly the onsets of each recording repeat at 30 to 240 bpm, over seconds: autocorrelation over 8 s."""
    return _heat({name: tempogram(mel) for name, mel in log_mels.items() if len(mel) > 2 * _LAGS}, "beats per minute",
                 extent=(30.0, 240.0))  # fmt: skip


def chroma(features: pd.DataFrame) -> bytes | None:
    """Mean constant-Q chroma of each recording (rows of `audio_features`): one column a recording, C at the bottom."""
    from ai_assets.audio_analysis.features import FEATURE_NAMES

    if features.empty:
        return None
    columns = [FEATURE_NAMES.index(f"chroma_cqt.mean.{number:02d}") for number in range(1, 13)]
    figure, (axis,) = _figure(1, height=2.4)
    axis.imshow(np.stack(features["features"].to_numpy())[:, columns].T, aspect="auto", origin="lower", cmap="magma")
    axis.set_yticks(range(12), PITCH_CLASSES, fontsize=6)
    axis.set_xlabel("recordings of the batch, in the order of the table", fontsize=7)
    return png(figure)


def tempogram(mel: np.ndarray) -> np.ndarray:
    """Autocorrelation of the onset strength over 8 s, read at 30 to 240 bpm: (tempi, frames / 8)."""
    flux = np.maximum(np.diff(mel.astype(np.float32), axis=0), 0).mean(axis=1)
    flux -= flux.mean()
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(flux, _LAGS), 2 * _LAGS)[::8]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(2 * _LAGS), 4 * _LAGS, axis=1)) ** 2
    strength = np.fft.irfft(spectrum, axis=1)
    strength /= np.maximum(strength[:, :1], 1e-9)
    lags = 60.0 * FRAME_RATE / np.linspace(30.0, 240.0, 106)
    return np.stack([np.interp(lags, np.arange(2 * _LAGS), row[: 2 * _LAGS]) for row in strength], axis=1)


def _heat(
    shown: Mapping[str, np.ndarray],
    label: str,
    *,
    extent: tuple[float, float] = (0.0, 64.0),
    lowest: float = 0.0,
    highest: float = 1.0,
) -> bytes | None:
    """Pictures (values, time) below each other, with their length in seconds left to the frames."""
    if not shown:
        return None
    figure, axes = _figure(len(shown), height=1.3)
    for axis, (name, picture) in zip(axes, shown.items(), strict=True):
        hop = 8 if label.startswith("beats") else 1
        axis.imshow(picture, aspect="auto", origin="lower", cmap="magma", vmin=lowest, vmax=highest,
                    extent=(0.0, picture.shape[1] * hop / FRAME_RATE, *extent))  # fmt: skip
        axis.set_ylabel(label, fontsize=6)
        axis.set_title(name, fontsize=7, loc="left", pad=2)
    axes[-1].set_xlabel("seconds", fontsize=7)
    return png(figure, dpi=65)


def confusion(matrix: np.ndarray, classes: list[str]) -> bytes:
    """A confusion matrix with counts; rows are true classes."""
    figure, axes = _figure(1, height=0.5 * max(len(classes), 4) + 1.0, width=0.6 * max(len(classes), 4) + 2.0)
    axis = axes[0]
    axis.imshow(matrix, cmap="Blues")
    for (row, column), count in np.ndenumerate(matrix):
        axis.text(column, row, f"{int(count)}", ha="center", va="center", fontsize=7)
    axis.set_xticks(range(len(classes)), classes, rotation=45, ha="right", fontsize=7)
    axis.set_yticks(range(len(classes)), classes, fontsize=7)
    axis.set_xlabel("recognised", fontsize=8)
    axis.set_ylabel("true", fontsize=8)
    return png(figure)


def _figure(rows: int, *, height: float, width: float = 7.0) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * rows + 0.3), layout="constrained")
    axes = figure.subplots(rows, 1, squeeze=False, sharex=False)
    for axis in axes[:, 0]:
        axis.tick_params(labelsize=7)
    return figure, list(axes[:, 0])


def png(figure: Any, *, dpi: int = 90) -> bytes:
    """A figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
