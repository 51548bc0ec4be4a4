"""Pictures of a training, as PNG bytes: curves, importance, dependence. What is drawn is computed elsewhere."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLOUR = "#2a6f97"


def learning_curve(series: Mapping[str, Sequence[float]]) -> bytes:
    """One line per series over its steps."""
    figure, axes = _figure(1, 1, width=5.0, height=2.4)
    for name, values in series.items():
        axes[0].plot(range(1, len(values) + 1), values, label=name)
    axes[0].set_xlabel("step")
    axes[0].legend(fontsize=7)
    return _png(figure)


def lines(series: Mapping[str, Sequence[float]], places: Sequence[float], *, across: str, up: str) -> bytes:
    """One line per series over the same places."""
    figure, axes = _figure(1, 1, width=5.0, height=2.6)
    for name, values in series.items():
        axes[0].plot(places, values, marker="o", markersize=3, label=name)
    axes[0].set_xlabel(across, fontsize=8)
    axes[0].set_ylabel(up, fontsize=8)
    axes[0].legend(fontsize=7)
    return _png(figure)


def importance(values: Mapping[str, float], *, unit: str) -> bytes:
    """Bars, the largest on top."""
    names = sorted(values, key=lambda name: values[name])
    figure, axes = _figure(1, 1, width=6.0, height=0.22 * len(names) + 0.8)
    axes[0].barh(names, [values[name] for name in names], color=COLOUR)
    axes[0].set_xlabel(unit)
    return _png(figure)


def dependence(
    features: NDArray[Any], contributions: NDArray[np.float64], names: Sequence[str], *, most: int = 6
) -> bytes:
    """TreeSHAP value over the feature's value, of the features with the largest mean absolute contribution.

    Args:
        features, contributions: (n, d) values and contributions of the same rows.
    """
    mean = np.abs(contributions).mean(0)
    chosen = [place for place in np.argsort(-mean, kind="stable")[:most] if mean[place] > 0] or [0]
    figure, axes = _figure(-(-len(chosen) // 3), 3, width=8.0, height=2.0)
    for axis, place in zip(axes, chosen, strict=False):
        axis.scatter(features[:, place], contributions[:, place], s=3, alpha=0.4, color=COLOUR, linewidths=0)
        axis.axhline(0.0, color="grey", linewidth=0.5)
        axis.set_title(names[place], fontsize=7)
    for axis in axes[len(chosen) :]:
        axis.set_visible(False)
    return _png(figure)


def _figure(rows: int, columns: int, *, width: float, height: float) -> tuple[Any, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height * rows + 0.2), layout="constrained")
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for axis in axes:
        axis.tick_params(labelsize=7)
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
    return buffer.getvalue()
