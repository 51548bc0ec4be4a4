"""Acoustic fingerprint: 32 bits per 23 ms that survive re-encoding, gain and trimming.

Belongs here: making the bytes. Does not belong here: comparing them (`ai_assets.data_processing.fingerprint_match`).

J. Haitsma and T. Kalker, "A Highly Robust Audio Fingerprinting System", ISMIR 2002: 33 bands between 300 and 2000 Hz,
a bit is the sign of the energy difference between neighbouring bands and frames. The paper's frames of 370 ms every
11.6 ms become sums of eight of our frames every 23.2 ms, compared four frames apart.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.spectrum import SpectrumBlock
from ai_assets.audio_analysis.tables import N_BINS, N_FFT, SAMPLE_RATE

LOWEST_HZ, HIGHEST_HZ, BANDS = 300.0, 2000.0, 33
SMOOTHING_FRAMES = 8
DIFFERENCE_FRAMES = 4
_REACH = SMOOTHING_FRAMES + DIFFERENCE_FRAMES


def band_weights() -> NDArray[np.float32]:
    """Weights (1025, 33) that share each bin among logarithmic bands by their overlap."""
    edges = np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1)
    width = SAMPLE_RATE / N_FFT
    low = (np.arange(N_BINS) - 0.5)[:, None] * width
    overlap = np.minimum(low + width, edges[None, 1:]) - np.maximum(low, edges[None, :-1])
    return np.asarray(np.maximum(overlap, 0.0) / width, dtype=np.float32)


class FingerprintFamily:
    """Gathers band energies block by block; answers with the fingerprint."""

    name = "fingerprint"
    version = "1"

    def __init__(self) -> None:
        weights = band_weights()
        used = np.flatnonzero(weights.any(axis=1))
        self._bins = slice(int(used[0]), int(used[-1]) + 1)
        self._weights = weights[self._bins]
        self._tail = np.zeros((0, BANDS), dtype=np.float32)
        self._words: list[NDArray[np.uint32]] = []

    def push(self, block: SpectrumBlock) -> None:
        """Take the next spectrum block."""
        energy = np.concatenate([self._tail, block.power[:, self._bins] @ self._weights])
        self._words.append(sub_fingerprints(energy))
        self._tail = energy[-(_REACH - 1) :].copy()

    def finish(self) -> bytes:
        """Little-endian uint32 words, one per frame but the first eleven; empty under twelve frames."""
        return b"".join(words.astype("<u4").tobytes() for words in self._words)


def sub_fingerprints(energy: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Words (frames - 11,) from band energies (frames, 33); digital silence gives 0."""
    if len(energy) < _REACH:
        return np.zeros(0, dtype=np.uint32)
    windows = np.lib.stride_tricks.sliding_window_view(energy, SMOOTHING_FRAMES, axis=0)
    smooth = windows.sum(axis=2, dtype=np.float64)
    slope = smooth[:, :-1] - smooth[:, 1:]
    bits = slope[DIFFERENCE_FRAMES:] > slope[:-DIFFERENCE_FRAMES]
    return np.packbits(bits, axis=1, bitorder="little").view("<u4")[:, 0].astype(np.uint32)
