"""fma518: the 518 features of the FMA data set, 74 series times 7 statistics.

Belongs here: the names, the series of one recording and the vector made of them. Does not belong here: the spectrum
(`spectrum`), the constant-Q transform (`cqt`), decoding, and librosa, which only `reference` calls.

M. Defferrard, K. Benzi, P. Vandergheynst, X. Bresson, "FMA: A Dataset For Music Analysis", ISMIR 2017, `features.py`.
Two things differ from their script on purpose: the sample rate is passed to every feature, so that a recording has the
same description whatever rate its file has; and constant series have moments of 0 instead of NaN. The tonnetz comes
from chroma_cens, as with FMA, and the chroma folds a constant-Q transform of 12 bins per octave.

>>> values = fma518(samples)                          # doctest: +SKIP
>>> dict(zip(FEATURE_NAMES, values))["mfcc.mean.01"]  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.cqt import CONTEXT_FRAMES, TuningEstimator, constant_q_chroma
from ai_assets.audio_analysis.spectrum import SpectrumBlock, frame_count, spectrum_blocks
from ai_assets.audio_analysis.statistics import STATISTICS, seven_statistics
from ai_assets.audio_analysis.tables import (
    HOP_LENGTH,
    N_BINS,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
    spectrum_tables,
    tuning_tables,
)

SERIES: dict[str, int] = {
    "chroma_cens": 12,
    "chroma_cqt": 12,
    "chroma_stft": 12,
    "mfcc": 20,
    "rms": 1,
    "spectral_bandwidth": 1,
    "spectral_centroid": 1,
    "spectral_contrast": 7,
    "spectral_rolloff": 1,
    "tonnetz": 6,
    "zcr": 1,
}
FEATURE_NAMES: tuple[str, ...] = tuple(
    f"{series}.{statistic}.{number:02d}"
    for series, size in SERIES.items()
    for statistic in STATISTICS
    for number in range(1, size + 1)
)
PARAMETERS: dict[str, Any] = {
    "sample_rate": SAMPLE_RATE,
    "mono": "mean",
    "resampler": "soxr HQ",
    "n_fft": N_FFT,
    "hop_length": HOP_LENGTH,
    "window": "hann, centred, zeros outside",
    "n_mels": N_MELS,
    "n_mfcc": 20,
    "top_db": 80,
    "contrast": {"fmin": 200, "bands": 6, "quantile": 0.02},
    "rolloff": 0.85,
    "cqt": {"bins": 84, "bins_per_octave": 12, "fmin": "C1", "tuning": "estimated"},
    "cens_smoothing": 41,
    "statistics": "population, excess kurtosis",
    "series": SERIES,
}
PARAMETER_HASH = hashlib.sha256(json.dumps(PARAMETERS, sort_keys=True).encode()).hexdigest()[:12]
FEATURE_VERSION = f"fma518/v1+{PARAMETER_HASH}"
# -80 dBFS: below it there is nothing to describe.
SILENT_PEAK = 1e-4
SHORTEST_SAMPLES = N_FFT
SILENT = "silent: the mono mix never rises above -80 dBFS"
TOO_SHORT = f"shorter than one frame of {1000 * N_FFT // SAMPLE_RATE} ms"
# The spectra of so many frames (three minutes, 33 MB) are kept until the tuning is known; longer ones are made again.
_KEPT_FRAMES = 8192
_AMIN = 1e-10
_TOP_DB = 80.0
_BIN_HZ = SAMPLE_RATE / N_FFT
_FREQUENCIES = np.arange(N_BINS) * _BIN_HZ
_GROUPS = 32
_LOCAL_MOMENTS = (np.arange(_GROUPS)[:, None] ** np.arange(3)[None, :]).astype(np.float32)
_DECIBEL_STEP = 0.01


def _contrast_bands() -> tuple[tuple[int, int, int], ...]:
    """First bin, last bin (exclusive) and number of extreme bins of librosa's seven contrast bands."""
    edges = np.concatenate(([0.0], 200.0 * 2.0 ** np.arange(7)))
    bands = []
    for band, (low, high) in enumerate(itertools.pairwise(edges)):
        used = np.flatnonzero((low <= _FREQUENCIES) & (high >= _FREQUENCIES))
        first = int(used[0]) - (1 if band else 0)
        last = N_BINS if band == 6 else int(used[-1]) + 1
        # librosa counts the bin that it drops from all bands but the last.
        extremes = max(1, round(0.02 * (last - first)))
        bands.append((first, last if band == 6 else last - 1, extremes))
    return tuple(bands)


_CONTRAST_BANDS = _contrast_bands()


class FeatureFamily:
    """Gathers the 74 series segment by segment; answers with the 518 values.

    A segment is a stretch of the canonical signal whose frames are pushed in order (`push`), then closed
    (`close_segment`). The tuning is estimated on the first segment; one segment holds a whole track of up to twenty
    minutes, so that only longer recordings are tuned by their beginning.

    Parameters
    ----------
    cache_dir : folder of prepared tables; None keeps them in memory only.
    chroma_only : gather nothing but the constant-Q chroma (what the key needs).
    """

    name = "features"
    version = FEATURE_VERSION

    def __init__(self, *, cache_dir: Path | None = None, chroma_only: bool = False) -> None:
        self._cache_dir, self._chroma_only = cache_dir, chroma_only
        self._tuning = TuningEstimator()
        self._tunings: tuple[int, int] | None = None
        self._kept: list[NDArray[np.float32]] | None = []
        self._series: dict[str, list[NDArray[np.float32]]] = {}
        self._mel: list[NDArray[Any]] = []
        self._frames = 0

    def push(self, block: SpectrumBlock) -> None:
        """Take the next frames of the spectrum."""
        magnitude, power = block.magnitude, block.power
        self._frames += len(magnitude)
        if self._tunings is None:
            self._tuning.push(magnitude, power, magnitude.max(axis=1))
        if self._chroma_only:
            return
        if self._tunings is not None:
            self._add("chroma_stft", power @ tuning_tables(self._tunings[1], self._cache_dir).chroma.T)
        elif self._kept is not None:
            self._kept.append(power)
            if self._frames > _KEPT_FRAMES:
                self._kept = None
        for name, values in _spectral_shape(magnitude).items():
            self._add(name, values)
        self._add("contrast", _spectral_extremes(magnitude))
        energy = power.sum(axis=1) - 0.5 * (power[:, 0] + power[:, -1])
        self._add("rms", np.sqrt(2.0 * energy)[:, None] / N_FFT)
        self._mel.append(_decibel(block.mel))

    def close_segment(
        self, signal: NDArray[np.float32], first_frame: int, last_frame: int, offset: int, *, last: bool
    ) -> None:
        """Take the samples from number `offset` on that belong to frames first_frame to last_frame (exclusive)."""
        first_segment = self._tunings is None
        if self._tunings is None:
            self._tunings = self._tuning.result("magnitude"), self._tuning.result("power")
            self._tuning = TuningEstimator()
        # In stretches, so that the copies of seven octaves stay small for long recordings too.
        for start in range(first_frame, last_frame, _KEPT_FRAMES):
            stop = min(start + _KEPT_FRAMES, last_frame)
            begin = max(0, (start - CONTEXT_FRAMES) * HOP_LENGTH - offset)
            end = (stop + CONTEXT_FRAMES) * HOP_LENGTH - offset
            self._add(
                "chroma_cqt",
                constant_q_chroma(
                    signal[begin:end], start, stop, offset + begin, self._tunings[0], cache_dir=self._cache_dir
                ),
            )
            if not self._chroma_only:
                self._add("zcr", zero_crossing_rate(signal[begin:end], start, stop, offset + begin))
        if self._chroma_only:
            return
        if first_segment:
            self._first_chroma(signal, first_frame, last_frame, offset)
        if not last:
            # A segment that is not the last is twenty minutes long: a hundredth of a decibel is enough from there on.
            coarse = [each for each in self._mel if each.dtype == np.int16]
            fine = [each for each in self._mel if each.dtype != np.int16]
            rounded = np.empty((sum(map(len, fine)), N_MELS), dtype=np.int16)
            for at, each in zip(itertools.accumulate(map(len, fine), initial=0), fine, strict=False):
                rounded[at : at + len(each)] = np.rint(each / np.float32(_DECIBEL_STEP))
            self._mel = [*coarse, rounded]
            # One array per segment instead of hundreds: small ones would leave holes in the memory.
            self._series = {name: [np.concatenate(parts)] for name, parts in self._series.items()}

    def _first_chroma(self, signal: NDArray[np.float32], first_frame: int, last_frame: int, offset: int) -> None:
        assert self._tunings is not None
        filters = tuning_tables(self._tunings[1], self._cache_dir).chroma.T
        if self._kept is not None:
            for power in self._kept:
                self._add("chroma_stft", power @ filters)
        else:
            for block in spectrum_blocks(signal, first_frame, last_frame, offset, spectrum_tables()):
                self._add("chroma_stft", block.power @ filters)
        self._kept = None

    def _add(self, name: str, values: NDArray[Any]) -> None:
        self._series.setdefault(name, []).append(np.asarray(values, dtype=np.float32))

    @property
    def chroma_cqt_mean(self) -> NDArray[np.float64] | None:
        """Mean constant-Q chroma (12,) from C, every frame normalised to its maximum; None before any segment."""
        parts = self._series.get("chroma_cqt")
        if not parts:
            return None
        return _normalised(np.concatenate(parts), np.inf).mean(axis=0, dtype=np.float64)

    def each_series(self) -> Iterator[tuple[str, NDArray[np.float32]]]:
        """Name and series (size, frames) in the order of `SERIES`; empties the family as it goes."""
        if self._chroma_only:
            raise RuntimeError("this family was told to gather the constant-Q chroma only")
        chroma = np.concatenate(self._series.pop("chroma_cqt"))
        cens = chroma_cens(chroma)
        yield "chroma_cens", cens.T
        yield "chroma_cqt", _normalised(chroma, np.inf).T
        del chroma
        yield "chroma_stft", _normalised(np.concatenate(self._series.pop("chroma_stft")), np.inf).T
        yield "mfcc", self._mfcc()
        for name in ("rms", "spectral_bandwidth", "spectral_centroid"):
            yield name, np.concatenate(self._series.pop(name)).T
        extremes = _decibel(np.concatenate(self._series.pop("contrast")))
        yield "spectral_contrast", (_clipped(extremes[:, 7:]) - _clipped(extremes[:, :7])).T
        yield "spectral_rolloff", np.concatenate(self._series.pop("spectral_rolloff")).T
        yield "tonnetz", tonnetz(cens).T
        yield "zcr", np.concatenate(self._series.pop("zcr")).T

    def _mfcc(self) -> NDArray[np.float32]:
        """Cosine transform of the mel decibels, not further than 80 dB under the highest of the recording."""
        scales = [_DECIBEL_STEP if each.dtype == np.int16 else 1.0 for each in self._mel]
        highest = max(float(each.max()) * scale for each, scale in zip(self._mel, scales, strict=True))
        transform, parts = _cosine_transform(), []
        for each, scale in zip(self._mel, scales, strict=True):
            decibels = np.maximum(each * np.float32(scale), np.float32(highest - _TOP_DB))
            parts.append(decibels @ transform)
        self._mel = []
        return np.concatenate(parts).T

    def finish(self) -> NDArray[np.float64]:
        """The 518 values in the order of `FEATURE_NAMES`; empties the family."""
        # One series at a time: all rows of three hours in double precision would take 275 MB.
        return np.concatenate([seven_statistics(rows).reshape(-1) for _, rows in self.each_series()])


def _gathered(samples: NDArray[np.float32], cache_dir: Path | None) -> FeatureFamily:
    signal = np.ascontiguousarray(samples, dtype=np.float32)
    if signal.ndim != 1 or len(signal) < SHORTEST_SAMPLES:
        raise ValueError(f"a mono signal of at least {SHORTEST_SAMPLES} samples is needed, got shape {signal.shape}")
    family, frames = FeatureFamily(cache_dir=cache_dir), frame_count(len(signal))
    for block in spectrum_blocks(signal, 0, frames, 0, spectrum_tables()):
        family.push(block)
    family.close_segment(signal, 0, frames, 0, last=True)
    return family


def feature_series(samples: NDArray[np.float32], *, cache_dir: Path | None = None) -> NDArray[np.float32]:
    """The series (74, frames) of a mono signal (n,) at 22,050 Hz, n >= 2048, in the order of `SERIES`."""
    return np.concatenate([rows for _, rows in _gathered(samples, cache_dir).each_series()])


def feature_matrix(rows: Iterable[Sequence[float]]) -> NDArray[np.float64]:
    """(n, 518) matrix of the features of n recordings; without any it is as wide as with some."""
    values = np.array(list(rows), float)
    return values if len(values) else np.empty((0, len(FEATURE_NAMES)))


def fma518(samples: NDArray[np.float32], *, cache_dir: Path | None = None) -> NDArray[np.float64] | None:
    """The 518 features of a mono signal (n,) at 22,050 Hz, in the order of `FEATURE_NAMES`.

    None for a silent signal (nothing above -80 dBFS). Raises ValueError for a signal under 2048 samples.
    """
    if len(samples) and float(np.max(np.abs(samples))) < SILENT_PEAK:
        return None
    return _gathered(samples, cache_dir).finish()


def zero_crossing_rate(
    signal: NDArray[np.float32], first_frame: int, last_frame: int, offset: int
) -> NDArray[np.float32]:
    """Share of sign changes per frame (frames, 1): `librosa.feature.zero_crossing_rate` with frames of 2048 samples.

    `signal` begins at sample `offset`; what lies outside it repeats its first or last sample.
    """
    if offset % HOP_LENGTH:
        raise ValueError(f"the stretch must begin on a multiple of {HOP_LENGTH} samples, got {offset}")
    negative = signal < -1e-10
    hops = len(signal) // HOP_LENGTH + 1
    changes = np.zeros(hops * HOP_LENGTH, dtype=bool)
    np.not_equal(negative[1:], negative[:-1], out=changes[1 : len(signal)])
    packed = np.packbits(changes).view(np.uint64).reshape(hops, -1)
    counts = np.bitwise_count(packed).sum(axis=1, dtype=np.int64)
    # Frames are four hops; the first sample of a frame has no predecessor in it.
    reach = N_FFT // HOP_LENGTH
    total = np.concatenate(([0], np.cumsum(counts)))
    starts = np.arange(first_frame, last_frame) - reach // 2 - offset // HOP_LENGTH
    low, high = np.clip(starts, 0, hops), np.clip(starts + reach, 0, hops)
    inside = (starts >= 0) & (starts < hops)
    own = changes[np.where(inside, starts, 0) * HOP_LENGTH] & inside
    return ((total[high] - total[low] - own) / N_FFT).astype(np.float32)[:, None]


def chroma_cens(chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Chroma energy normalised statistics (frames, 12) of raw chroma (Müller and Ewert 2011), as librosa makes them."""
    shares = _normalised(chroma, 1)
    quantised = np.zeros(shares.shape)
    for step in (0.4, 0.2, 0.1, 0.05):
        quantised += 0.25 * (shares > np.float32(step))
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(1, 42) / 42)
    window /= window.sum()
    smooth = np.empty(shares.shape, dtype=np.float32)
    for pitch_class in range(12):
        smooth[:, pitch_class] = np.convolve(quantised[:, pitch_class], window)[20:-20]
    return _normalised(smooth, 2)


def tonnetz(chroma: NDArray[np.float32]) -> NDArray[np.float32]:
    """Tonal centroids (frames, 6) of chroma (frames, 12): Harte, Sandler and Gasser 2006."""
    scale = np.array([7 / 6, 7 / 6, 3 / 2, 3 / 2, 2 / 3, 2 / 3])
    angles = np.multiply.outer(scale, np.arange(12.0))
    angles[::2] -= 0.5
    radius = np.array([1, 1, 1, 1, 0.5, 0.5])
    return _normalised(chroma, 1) @ (radius[:, None] * np.cos(np.pi * angles)).T.astype(np.float32)


def _spectral_shape(magnitude: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """Centroid, bandwidth and roll-off (frames, 1) in Hz, from the moments of the magnitude.

    Sums over groups of 32 bins come first, in single precision about the group's own first bin; everything that could
    cancel is added up in double precision.
    """
    count = len(magnitude)
    grouped = magnitude[:, :-1].reshape(count * _GROUPS, _GROUPS)
    local = (grouped @ _LOCAL_MOMENTS).reshape(count, _GROUPS, 3).astype(np.float64)
    first_bin = np.arange(_GROUPS) * float(_GROUPS)
    nyquist = magnitude[:, -1].astype(np.float64)
    zeroth = local[:, :, 0]
    total = zeroth.sum(axis=1) + nyquist
    safe = np.where(total < np.finfo(np.float32).tiny, 1.0, total)
    centroid = ((local[:, :, 1] + first_bin * zeroth).sum(axis=1) + (N_BINS - 1) * nyquist) / safe
    distance = first_bin - centroid[:, None]
    spread = (local[:, :, 2] + distance * (2 * local[:, :, 1] + distance * zeroth)).sum(axis=1)
    spread += (N_BINS - 1 - centroid) ** 2 * nyquist
    rolloff = _rolloff(grouped.reshape(count, _GROUPS, _GROUPS), zeroth, total)
    return {
        "spectral_centroid": _BIN_HZ * centroid[:, None],
        "spectral_bandwidth": _BIN_HZ * np.sqrt(np.maximum(spread / safe, 0.0))[:, None],
        "spectral_rolloff": rolloff[:, None],
    }


def _rolloff(
    grouped: NDArray[np.float32], sums: NDArray[np.float64], total: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The frequency under which 85 % of the magnitude lie: first the group of 32 bins is found, then the bin in it."""
    coarse = np.cumsum(sums, axis=1)
    threshold = 0.85 * total
    group = np.minimum((coarse < threshold[:, None]).sum(axis=1), _GROUPS - 1)
    rows = np.arange(len(grouped))
    before = np.where(group > 0, coarse[rows, group - 1], 0.0)
    fine = np.cumsum(grouped[rows, group], axis=1, dtype=np.float64) + before[:, None]
    return _FREQUENCIES[group * _GROUPS + (fine < threshold[:, None]).sum(axis=1)]


def _spectral_extremes(magnitude: NDArray[np.float32]) -> NDArray[np.float32]:
    """Valleys (7) and peaks (7) of the contrast bands (frames, 14): means of the lowest and highest 2 % of the bins."""
    extremes = np.empty((len(magnitude), 14), dtype=np.float32)
    for band, (first, last, count) in enumerate(_CONTRAST_BANDS):
        ordered = np.sort(magnitude[:, first:last], axis=1)
        share = np.full(count, 1.0 / count, dtype=np.float32)
        extremes[:, band] = ordered[:, :count] @ share
        extremes[:, 7 + band] = ordered[:, -count:] @ share
    return extremes


def _decibel(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.float32(10.0) * np.log10(np.maximum(values, np.float32(_AMIN)))


def _clipped(decibels: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.maximum(decibels, decibels.max() - np.float32(_TOP_DB))


def _normalised(values: NDArray[np.float32], order: float) -> NDArray[np.float32]:
    """Each frame divided by its norm; frames of zeros stay zeros."""
    norm = np.linalg.norm(values, order, axis=1, keepdims=True)
    norm[norm < np.finfo(np.float32).tiny] = 1.0
    return np.divide(values, norm, dtype=np.float32)


def _cosine_transform() -> NDArray[np.float32]:
    """The first 20 rows of the orthonormal DCT-II over 128 bands, as (128, 20)."""
    rows = np.cos(np.pi / N_MELS * np.outer(np.arange(N_MELS) + 0.5, np.arange(20))) * np.sqrt(2.0 / N_MELS)
    rows[:, 0] = 1.0 / np.sqrt(N_MELS)
    return rows.astype(np.float32)
