"""Which part of a spectrogram a network's answer rests on: parts are silenced one by one, and the answer falls.

Source: M. Zeiler, R. Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014. Works with any function
from log-mels to probabilities; no gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def occlusion(
    log_mel: NDArray[Any], probability: Callable[[Sequence[NDArray[Any]]], Floats], *, frames: int = 22, bands: int = 8
) -> Floats:
    """(ceil(frames / step), ceil(bands / step)) by how much the probability falls when each tile is silent.

    Args:
        log_mel: (frames, bands) in dB; the quietest value stands for silence.
        probability: (n,) probabilities of the class in question for n log-mels.
        frames, bands: size of a tile.
    """
    tiles = [(start, low) for start in range(0, log_mel.shape[0], frames) for low in range(0, log_mel.shape[1], bands)]
    silent = []
    for start, low in tiles:
        copy = np.array(log_mel)
        copy[start : start + frames, low : low + bands] = log_mel.min()
        silent.append(copy)
    whole = float(probability([log_mel])[0])
    fall = whole - np.asarray(probability(silent), float)
    return fall.reshape(-(-log_mel.shape[0] // frames), -(-log_mel.shape[1] // bands))


def picture(log_mel: NDArray[Any], fall: Floats, *, label: str, hop_seconds: float) -> bytes:
    """The spectrogram with the tiles that speak for the label (red) and against it (blue), as a PNG."""
    from matplotlib.figure import Figure

    from ai_assets.audio_analysis.plots import png

    seconds = log_mel.shape[0] * hop_seconds
    extent = (0.0, seconds, 0.0, float(log_mel.shape[1]))
    figure = Figure(figsize=(7.0, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.imshow(np.asarray(log_mel).T, origin="lower", aspect="auto", cmap="gray", extent=extent)
    strength = max(float(np.abs(fall).max()), 1e-9)
    axis.imshow(
        fall.T, origin="lower", aspect="auto", cmap="bwr", alpha=0.45, vmin=-strength, vmax=strength, extent=extent
    )
    axis.set_xlabel("seconds")
    axis.set_ylabel("mel band")
    axis.set_title(f"what speaks for {label} (red) and against it (blue)", fontsize=8)
    return png(figure)
