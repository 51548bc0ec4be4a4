"""The one constant-Q transform of a recording and the tuning it is made for.

Belongs here: estimating the tuning from spectral peaks, the constant-Q magnitudes, the chroma made from them. Does not
belong here: the filters (`tables`), statistics over time (`statistics`).

As in librosa 0.11: `estimate_tuning` over `piptrack`, and `cqt` with 84 bins from C1, 12 per octave.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.tables import (
    BINS_PER_OCTAVE,
    CQT_FFT,
    HOP_LENGTH,
    N_FFT,
    OCTAVES,
    SAMPLE_RATE,
    tuning_tables,
)

# piptrack looks at 150 to 4000 Hz, for maxima within a tenth of the frame's highest bin.
_FIRST_BIN = int(np.ceil(150.0 * N_FFT / SAMPLE_RATE))
_LAST_BIN = int(np.ceil(4000.0 * N_FFT / SAMPLE_RATE))
_THRESHOLD = 0.1
# What lies this many frames away cannot be heard through the longest filter and six resamplers.
CONTEXT_FRAMES = 64


class TuningEstimator:
    """Gathers spectral peaks; answers with the tunings that librosa finds on |X| (constant-Q) and |X|^2 (chroma)."""

    def __init__(self) -> None:
        self._peaks: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {"magnitude": [], "power": []}

    def push(self, magnitude: NDArray[np.float32], power: NDArray[np.float32], highest: NDArray[np.float32]) -> None:
        """Take the next frames (frames, 1025) and the highest magnitude of each (frames,)."""
        centre, before, after = (magnitude[:, _FIRST_BIN + shift : _LAST_BIN + shift] for shift in (0, -1, 1))
        candidates = (centre > before) & (centre >= after) & (centre > _THRESHOLD * highest[:, None])
        flat = np.flatnonzero(candidates)
        frames, bins = np.divmod(flat, _LAST_BIN - _FIRST_BIN)
        bins += _FIRST_BIN
        at = frames * magnitude.shape[1] + bins
        self._add("magnitude", magnitude.reshape(-1), at, bins)
        strong = power.reshape(-1)[at] > _THRESHOLD * (highest * highest)[frames]
        self._add("power", power.reshape(-1), at[strong], bins[strong])

    def _add(self, kind: str, spectrum: NDArray[Any], at: NDArray[Any], bins: NDArray[Any]) -> None:
        before, centre, after = spectrum[at - 1], spectrum[at], spectrum[at + 1]
        curvature = after + before - 2 * centre
        slope = (after - before) / 2
        flat = np.abs(slope) >= np.abs(curvature)
        shift = np.where(flat, 0.0, -slope / np.where(flat, 1.0, curvature)).astype(np.float32)
        self._peaks[kind].append((bins + shift, centre + 0.5 * slope * shift))

    def result(self, kind: str) -> int:
        """The tuning on "magnitude" or "power" in hundredths of a semitone, -50 to 49; 0 without any peak."""
        if not self._peaks[kind]:
            return 0
        position = np.concatenate([each for each, _ in self._peaks[kind]])
        height = np.concatenate([each for _, each in self._peaks[kind]])
        if not len(position):
            return 0
        position = position[height >= np.median(height)].astype(np.float64)
        residual = np.mod(BINS_PER_OCTAVE * np.log2(position * SAMPLE_RATE / N_FFT / (440.0 / 16)), 1.0)
        residual[residual >= 0.5] -= 1.0
        counts, _ = np.histogram(residual, np.linspace(-0.5, 0.5, 101))
        return int(np.argmax(counts)) - 50


def constant_q_chroma(
    signal: NDArray[np.float32],
    first_frame: int,
    last_frame: int,
    offset: int,
    tuning_hundredths: int,
    *,
    cache_dir: Path | None = None,
) -> NDArray[np.float32]:
    """Constant-Q magnitudes of frames first_frame to last_frame (exclusive), folded into chroma (frames, 12) from C.

    `signal` is a stretch of the canonical signal from sample `offset` on, a multiple of the hop; it should reach 64
    frames beyond the frames wanted, or to the ends of the recording.
    """
    filters = tuning_tables(tuning_hundredths, cache_dir).cqt
    chroma = np.zeros((last_frame - first_frame, BINS_PER_OCTAVE), dtype=np.float32)
    for octave, samples, hop in _halvings(signal):
        begin = first_frame * hop - offset * hop // HOP_LENGTH - CQT_FFT // 2
        response = _frames(samples, begin, len(chroma), hop) @ filters
        np.multiply(response, response, out=response)
        energy = response[:, :BINS_PER_OCTAVE] + response[:, BINS_PER_OCTAVE:]
        # The resampler of librosa keeps energy, its filters keep amplitude: a factor of sqrt(2) per octave remains.
        chroma += np.sqrt(energy) * np.float32(2.0 ** (octave / 2))
    return chroma


def _halvings(signal: NDArray[np.float32]) -> list[tuple[int, NDArray[np.float32], int]]:
    """The signal at each octave from the top, with its hop."""
    import soxr

    levels = [(0, signal, HOP_LENGTH)]
    for octave in range(1, OCTAVES):
        samples = levels[-1][1]
        halved = soxr.resample(samples, 2, 1, quality="HQ")
        length = (len(samples) + 1) // 2
        halved = np.pad(halved[:length], (0, max(0, length - len(halved))))
        levels.append((octave, halved, HOP_LENGTH >> octave))
    return levels


def _frames(samples: NDArray[np.float32], begin: int, count: int, hop: int) -> NDArray[np.float32]:
    """Frames of 256 samples, a copy (count, 256), zero outside the samples."""
    frames = np.empty((count, CQT_FFT), dtype=np.float32)
    # Only the few frames at the ends need padding; the signal itself is not copied.
    first = min(count, max(0, -(begin // hop)))
    last = max(first, min(count, (len(samples) - CQT_FFT - begin) // hop + 1))
    if last > first:
        inner = samples[begin + first * hop : begin + (last - 1) * hop + CQT_FFT]
        frames[first:last] = np.lib.stride_tricks.sliding_window_view(inner, CQT_FFT)[::hop]
    for row in (*range(first), *range(last, count)):
        start = begin + row * hop
        frames[row] = 0.0
        part = samples[max(start, 0) : max(start + CQT_FFT, 0)]
        frames[row, max(-start, 0) : max(-start, 0) + len(part)] = part
    return frames
