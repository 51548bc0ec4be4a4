"""Pictures for the asset pages, as PNG bytes."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

MOST_WAVEFORMS = 6


def waveforms(quality: pd.DataFrame) -> bytes | None:
    """Envelopes of the first files of a batch, or None where there is nothing to draw."""
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
        axis.set_title(row.path, fontsize=7, loc="left", pad=2)
    axes[-1].set_xlabel("seconds", fontsize=7)
    return png(figure)


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


def png(figure: Any) -> bytes:
    """A figure as PNG bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()
