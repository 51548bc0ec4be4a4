"""What the samples themselves say about technical faults, gathered block by block at the file's own sample rate.

Belongs here: counting flat tops, quiet runs, offsets, stereo sums and the spectrum's upper edge. Does not belong here:
deciding what is a fault (`defects`), and what another measure already knows (loudness, truncation).

The basic four (clipping, quiet runs, offset, stereo) look at every sample once and cost about 2 ms per 30 s of stereo.
The state is one float per 5 ms, 9 MB for three hours, and a few histograms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

CHUNK_SECONDS = 0.005
DIGITAL_SILENCE = 1e-5  # -100 dBFS: below half a step of 16 bits
QUIET = 1e-4  # -80 dBFS
SHORTEST_DROPOUT_CHUNKS = 2
LONGEST_DROPOUT_CHUNKS = 200  # a second: what is longer is a gap, not a dropout
CONTEXT_CHUNKS = 20
DROPOUT_EDGE = 1e-3
FLAT_TOP_SAMPLES = 3
LEVELS_PER_DECIBEL = 4
LOWEST_LEVEL_DB = -120
LEVEL_BINS = 160 * LEVELS_PER_DECIBEL
EDGE_FFT = 4096
EDGE_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Dropout:
    """A short stretch of digital silence that cuts into sound: seconds from the start, and seconds long."""

    time: float
    seconds: float


@dataclass(frozen=True)
class DefectMeasures:
    """Numbers about technical faults of one recording.

    Attributes
    ----------
    peak : highest absolute sample.
    clipped_share : share of samples that are cut off, in flat tops (three and more equal samples above half the peak,
        entered by a step) or on a ceiling. clip_time : seconds of the first, None without.
    dropouts : at most the first hundred; dropout_count counts all.
    silent_share : share of 5 ms chunks below -80 dBFS.
    leading_silence, trailing_silence : seconds.
    longest_gap : seconds of the longest silence in between; gap_time : where it begins.
    dc_offset : mean of the channel where it is largest, with its sign.
    side_to_mid_db : energy of L-R over that of L+R; correlation : of L and R. None unless two channels sound.
    cutoff_hz, cutoff_drop_db : where the mean spectrum ends most abruptly above 3 kHz, and how deep it falls there;
        None when too short or silent.
    """

    sample_rate: int
    channels: int
    duration_seconds: float
    peak: float
    clipped_share: float
    clip_time: float | None
    dropouts: tuple[Dropout, ...]
    dropout_count: int
    silent_share: float
    leading_silence: float
    trailing_silence: float
    longest_gap: float
    gap_time: float | None
    dc_offset: float
    side_to_mid_db: float | None
    correlation: float | None
    cutoff_hz: float | None
    cutoff_drop_db: float | None


class Ceiling:
    """Counts the samples that lie exactly on the extreme value of one polarity, and those just below it.

    Just below: within 1 %, or four quantisation steps where these are coarser.

    A wave passes quickly through its crest's highest value and dwells below it; a clipped one dwells on it. This finds
    clipping whose tops are one or two samples long, also after a later change of gain.
    """

    def __init__(self, polarity: Literal[1, -1]) -> None:
        self._polarity = polarity
        self._top = 0.0
        self._on = 0
        self._below = 0
        self._first = 0
        self._step: float | None = None

    def push(self, flat: NDArray[np.float32], extreme: float, channels: int, first_frame: int) -> None:
        """Take interleaved samples; `extreme` is their maximum, or their minimum for the negative polarity."""
        highest = extreme * self._polarity
        if self._step is None and highest > DIGITAL_SILENCE:
            self._step = _quantum(flat)
        margin = max(0.01 * max(highest, self._top), 4.0 * (self._step or 0.0))
        if highest > self._top:
            # What lay on the old top lies below the new one, and counts if it is just below.
            near = self._top > highest - margin
            self._top, self._on, self._below = highest, 0, self._on + self._below if near else 0
        if self._top <= DIGITAL_SILENCE or highest <= self._top - margin:
            return
        edge = np.float32((self._top - margin) * self._polarity)
        where = np.flatnonzero(flat > edge if self._polarity > 0 else flat < edge)
        on = where[flat[where] == np.float32(self._top * self._polarity)]
        if len(on) and not self._on:
            self._first = first_frame + int(on[0]) // channels
        self._on += len(on)
        self._below += len(where) - len(on)

    def result(self) -> tuple[int, int | None]:
        """Samples on the ceiling and the frame of the first; none unless they outnumber those just below."""
        clipped = self._on >= 2 and self._on > self._below
        return (self._on, self._first) if clipped else (0, None)


class FlatTops:
    """Counts samples in flat tops by level, because what "half the peak" means is known only at the end."""

    def __init__(self) -> None:
        self._samples = np.zeros(LEVEL_BINS, dtype=np.int64)
        self._first = np.full(LEVEL_BINS, np.iinfo(np.int64).max)
        self._peak = 0.0

    def push(self, samples: NDArray[np.float32], block_peak: float, first_frame: int) -> None:
        """Take samples (n, channels) whose highest absolute value is `block_peak`."""
        self._peak = max(self._peak, block_peak)
        if block_peak <= max(0.5 * self._peak, DIGITAL_SILENCE):
            return
        channels = samples.shape[1]
        flat = samples.reshape(-1)
        same = flat[channels:] == flat[:-channels]
        triple = np.flatnonzero(same[channels:] & same[:-channels])
        triple = triple[np.abs(flat[triple]) > 0.5 * self._peak]
        if len(triple):
            self._count(flat, triple, channels, first_frame)

    def result(self) -> tuple[int, int | None]:
        """Samples in flat tops above half the peak of the whole recording, and the frame of the first."""
        lowest = _level_bin(np.array([0.5 * self._peak]))[0] if self._peak > 0.0 else LEVEL_BINS
        samples = int(self._samples[lowest:].sum())
        return samples, int(self._first[lowest:].min()) if samples else None

    def _count(self, flat: NDArray[np.float32], triple: NDArray[np.int64], channels: int, first_frame: int) -> None:
        # Runs: triples of one channel that follow each other. Sorting by channel makes them neighbours.
        triple = triple[np.argsort(triple % channels, kind="stable")]
        opens = np.r_[True, np.diff(triple) != channels]
        start = triple[opens]
        length = np.diff(np.r_[np.flatnonzero(opens), len(triple)]) + FLAT_TOP_SAMPLES - 1
        level = np.abs(flat[start])
        # A crest of a slow wave is flat too once it is quantised, but it is entered by a few quantisation steps.
        before = np.abs(flat[start] - flat[np.maximum(start - channels, start % channels)])
        after_index = start + length * channels
        after = np.abs(flat[start] - flat[np.where(after_index < len(flat), after_index, start)])
        abrupt = np.maximum(before, after) > np.maximum(1e-3 * level, 4.0 * _quantum(flat))
        bins = _level_bin(level[abrupt])
        np.add.at(self._samples, bins, length[abrupt])
        np.minimum.at(self._first, bins, first_frame + start[abrupt] // channels)


class StereoSums:
    """Offset of each channel and, of two channels, the energies of their sum and difference."""

    def __init__(self, channels: int) -> None:
        self._frames = 0
        self._sums = np.zeros(channels)
        self._energy = np.zeros((2, 2))
        self._side = 0.0

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take samples (n, channels), contiguous."""
        self._frames += len(samples)
        if samples.shape[1] != 2:
            self._sums += np.ones(len(samples), dtype=np.float32) @ samples
            return
        # As complex numbers L + iR, two dot products give all three energies without taking the channels apart.
        pair = samples.reshape(-1).view(np.complex64)
        total = complex(pair.sum())
        self._sums += (total.real, total.imag)
        both, square = float(np.vdot(pair, pair).real), complex(np.dot(pair, pair))
        left, right, cross = (both + square.real) / 2, (both - square.real) / 2, square.imag / 2
        self._energy += ((left, cross), (cross, right))
        # Taken from the samples: as a difference of energies it would drown in rounding at -60 dB.
        side = samples[:, 0] - samples[:, 1]
        self._side += float(np.dot(side, side))

    def offset(self) -> float:
        """Mean of the channel whose mean is farthest from 0."""
        means = self._sums / max(self._frames, 1)
        return float(means[np.argmax(np.abs(means))])

    def stereo(self) -> tuple[float | None, float | None]:
        """Side to mid energy in dB and the correlation of left and right; None unless both channels sound."""
        left, right, cross = self._energy[0, 0], self._energy[1, 1], self._energy[0, 1]
        if len(self._sums) != 2 or min(left, right) <= self._frames * DIGITAL_SILENCE**2:
            return None, None
        mid = max(float(left + right + 2.0 * cross), 1e-12 * float(left + right))
        ratio = 10.0 * np.log10(max(self._side, 1e-12 * mid) / mid)
        return float(ratio), float(np.clip(cross / np.sqrt(left * right), -1.0, 1.0))


class UpperEdge:
    """Mean power spectrum of one frame every half second, for the steepest fall at its upper end."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._every = max(EDGE_FFT, round(EDGE_EVERY_SECONDS * sample_rate))
        self._mix = np.full(channels, 1.0 / channels, dtype=np.float32)
        self._window = np.hanning(EDGE_FFT)
        self._power = np.zeros(EDGE_FFT // 2 + 1)
        self._next = 0

    def push(self, samples: NDArray[np.float32], first_frame: int) -> None:
        """Take samples (n, channels); a frame that does not fit into its block moves to the next block's start."""
        from scipy.fft import rfft

        start = max(self._next - first_frame, 0)
        while start + EDGE_FFT <= len(samples):
            mono = samples[start : start + EDGE_FFT] @ self._mix
            self._power += np.abs(rfft(mono * self._window)) ** 2
            start += self._every
        self._next = first_frame + start

    def result(self) -> tuple[float | None, float | None]:
        """Frequency in Hz and depth in dB of the upper edge, between 3 kHz and 500 Hz under Nyquist.

        Depth: what falls within 600 Hz, or, if that is less, the median level of the 1 kHz below less the ninth decile
        of all that is above. So a note's partials with gaps between them are no edge, and neither is a slow decay.
        """
        width = self._rate / EDGE_FFT
        span = max(1, round(200.0 / width))
        bands = len(self._power) // span
        level = self._power[: bands * span].reshape(bands, span).mean(axis=1)
        top = float(level.max(initial=0.0))
        if top <= 0.0:
            return None, None
        decibel = 10.0 * np.log10(np.maximum(level, 1e-13 * top))
        hertz = (np.arange(bands) + 1) * span * width
        edges = np.flatnonzero((hertz > 3000.0) & (hertz < self._rate / 2 - 900.0))
        edges = edges[edges >= 4]
        if not len(edges):
            return None, None
        overall = [float(np.median(decibel[k - 4 : k + 1]) - np.quantile(decibel[k + 2 :], 0.9)) for k in edges]
        fall = np.minimum(decibel[edges] - decibel[edges + 3], overall)
        best = int(np.argmax(fall))
        return float(hertz[edges[best]]), float(fall[best])


def quiet_runs(peaks: NDArray[Any], below: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Starts and ends (exclusive) of the runs in which `peaks` stays below a value."""
    edges = np.diff(np.r_[0, (np.asarray(peaks) < below).astype(np.int8), 0])
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def find_dropouts(peaks: NDArray[Any]) -> list[tuple[int, int]]:
    """Chunk ranges of digital silence of 10 ms to 1 s that begin and end abruptly inside sound.

    `peaks` holds the highest absolute value of each 5 ms. Abrupt: the 10 ms before and after reach -60 dBFS, and a
    hundredth of the highest value within 100 ms on their side. So a note that dies away before the next is no dropout.
    """
    values = np.asarray(peaks)
    found = []
    for start, end in zip(*quiet_runs(values, DIGITAL_SILENCE), strict=True):
        inside = start > 0 and end < len(values)
        if not inside or not SHORTEST_DROPOUT_CHUNKS <= end - start <= LONGEST_DROPOUT_CHUNKS:
            continue
        before, after = values[max(0, start - CONTEXT_CHUNKS) : start], values[end : end + CONTEXT_CHUNKS]
        edges = (float(before[-2:].max()), float(after[:2].max()))
        abrupt = edges[0] > 0.01 * float(before.max()) and edges[1] > 0.01 * float(after.max())
        if abrupt and min(edges) > DROPOUT_EDGE:
            found.append((int(start), int(end)))
    return found


def _level_bin(level: NDArray[Any]) -> NDArray[np.int64]:
    decibel = 20.0 * np.log10(np.maximum(level, 1e-9))
    return np.clip(((decibel - LOWEST_LEVEL_DB) * LEVELS_PER_DECIBEL).astype(np.int64), 0, LEVEL_BINS - 1)


def _quantum(flat: NDArray[np.float32]) -> float:
    """The smallest step between neighbours among the first samples: the quantisation step, if there is one."""
    steps = np.abs(np.diff(flat[:8192]))
    steps = steps[steps > 0.0]
    return float(steps.min()) if len(steps) else 0.0
