"""Prepared tables: window, mel and chroma filters, constant-Q filters; by formula, cached in memory and on disk.

Belongs here: everything that depends on the canonical setting and on the tuning only. Does not belong here: using them.

The formulas are those of librosa 0.11 (`filters.mel`, `filters.chroma`, `filters.wavelet`), written out so that a
worker need not import librosa (2.5 s of CPU). There are 101 tunings: a hundredth of a semitone each.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 22_050
N_FFT = 2048
HOP_LENGTH = 512
N_BINS = N_FFT // 2 + 1
N_MELS = 128
OCTAVES = 7
BINS_PER_OCTAVE = 12
C1_HZ = 440.0 * 2.0 ** (-45 / 12)
CQT_FFT = 256
TABLES_VERSION = "1"
_MEL_GROUP = 16


@dataclass(frozen=True)
class SpectrumTables:
    """Tables that depend on nothing: window (2048,), mel (128, 1025), and its groups of (bands, bins)."""

    window: NDArray[np.float64]
    mel: NDArray[np.float32]
    mel_groups: tuple[tuple[slice, slice], ...]


@dataclass(frozen=True)
class TuningTables:
    """Tables of one tuning.

    Attributes
    ----------
    chroma : (12, 1025) float32, power spectrum to chroma.
    cqt : (256, 24) float32, samples to the real (12) and imaginary (12) part of one octave; the same at every octave.
    """

    chroma: NDArray[np.float32]
    cqt: NDArray[np.float32]


@lru_cache(maxsize=1)
def spectrum_tables() -> SpectrumTables:
    """The tables of the short-time spectrum."""
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(N_FFT) / N_FFT)
    mel = mel_filters()
    groups = []
    for first in range(0, N_MELS, _MEL_GROUP):
        bands = slice(first, first + _MEL_GROUP)
        used = np.flatnonzero(mel[bands].any(axis=0))
        groups.append((bands, slice(int(used[0]), int(used[-1]) + 1)))
    return SpectrumTables(window, mel, tuple(groups))


@lru_cache(maxsize=128)
def tuning_tables(hundredths: int, cache_dir: Path | None = None) -> TuningTables:
    """The tables of a tuning in hundredths of a semitone (-50 to 50), from the cache folder if they are there."""
    path = None
    if cache_dir is not None:
        path = Path(cache_dir) / f"audio-tables-{TABLES_VERSION}" / f"tuning{hundredths:+03d}.npz"
        stored = _load(path)
        if stored is not None:
            return stored
    tuning = hundredths / 100.0
    tables = TuningTables(chroma_filters(tuning), constant_q_filters(tuning))
    if path is not None:
        _save(path, tables)
    return tables


def mel_filters() -> NDArray[np.float32]:
    """Slaney mel filters (128, 1025) with area normalisation, 0 to 11,025 Hz."""
    step, corner, log_step = 200.0 / 3, 1000.0, np.log(6.4) / 27.0
    corner_mel = corner / step
    highest = corner_mel + np.log(SAMPLE_RATE / 2 / corner) / log_step
    mels = np.linspace(0.0, highest, N_MELS + 2)
    edges = np.where(mels < corner_mel, step * mels, corner * np.exp(log_step * (mels - corner_mel)))
    ramps = edges[:, None] - np.fft.rfftfreq(N_FFT, 1.0 / SAMPLE_RATE)[None, :]
    width = np.diff(edges)
    rising, falling = -ramps[:-2] / width[:-1, None], ramps[2:] / width[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(weights * (2.0 / (edges[2:] - edges[:-2]))[:, None], dtype=np.float32)


def chroma_filters(tuning: float) -> NDArray[np.float32]:
    """Chroma filters (12, 1025) from C for a tuning in semitones: Gaussian bumps, weighted around the fifth octave."""
    a440 = 440.0 * 2.0 ** (tuning / 12)
    frequencies = np.linspace(0, SAMPLE_RATE, N_FFT, endpoint=False)[1:]
    bins = 12 * np.log2(frequencies / (a440 / 16))
    bins = np.concatenate(([bins[0] - 1.5 * 12], bins))
    widths = np.concatenate((np.maximum(bins[1:] - bins[:-1], 1.0), [1.0]))
    distance = np.subtract.outer(bins, np.arange(12.0)).T
    distance = np.remainder(distance + 6 + 120, 12) - 6
    weights = np.exp(-0.5 * (2 * distance / widths[None, :]) ** 2)
    weights /= np.sqrt(np.sum(weights**2, axis=0, keepdims=True))
    weights *= np.exp(-0.5 * ((bins / 12 - 5.0) / 2.0) ** 2)[None, :]
    return np.asarray(np.roll(weights, -3, axis=0)[:, :N_BINS], dtype=np.float32)


def constant_q_filters(tuning: float) -> NDArray[np.float32]:
    """Filters of the top octave (256, 24) for a tuning in semitones: real parts, then imaginary parts.

    librosa applies sparse filters to the Fourier transform of 256 samples without a window; the same filters, brought
    back to the time domain, need no transform. Each lower octave sees the same filters at half the sample rate.
    """
    ratio = 2.0 ** (1 / BINS_PER_OCTAVE)
    quality = (ratio**2 + 1) / (ratio**2 - 1)
    lowest = C1_HZ * 2.0 ** (tuning / BINS_PER_OCTAVE + OCTAVES - 1)
    frequencies = lowest * ratio ** np.arange(BINS_PER_OCTAVE)
    lengths = quality * SAMPLE_RATE / frequencies
    basis = np.zeros((BINS_PER_OCTAVE, CQT_FFT), dtype=np.complex128)
    for row, length, frequency in zip(basis, lengths, frequencies, strict=True):
        time = np.arange(-length // 2, length // 2)
        wave = np.exp(2j * np.pi * frequency / SAMPLE_RATE * time)
        wave *= 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(len(time)) / len(time))
        wave /= np.abs(wave).sum()
        start = (CQT_FFT - len(wave)) // 2
        row[start : start + len(wave)] = wave
    basis *= lengths[:, None] / CQT_FFT
    spectra = _sparse(np.fft.fft(basis, axis=1)[:, : CQT_FFT // 2 + 1], 0.01)
    times = np.outer(np.arange(CQT_FFT // 2 + 1), np.arange(CQT_FFT))
    filters = (spectra @ np.exp(-2j * np.pi * times / CQT_FFT)) / np.sqrt(lengths)[:, None]
    return np.ascontiguousarray(np.concatenate((filters.real, filters.imag)).T, dtype=np.float32)


def _sparse(rows: NDArray[Any], share: float) -> NDArray[Any]:
    """Each row without its smallest values, which together make up less than `share` of its magnitude."""
    magnitude = np.abs(rows)
    ordered = np.sort(magnitude, axis=1)
    cumulative = np.cumsum(ordered / magnitude.sum(axis=1, keepdims=True), axis=1)
    threshold = np.take_along_axis(ordered, np.argmin(cumulative < share, axis=1)[:, None], axis=1)
    return np.where(magnitude >= threshold, rows, 0.0)


def _load(path: Path) -> TuningTables | None:
    try:
        with np.load(path, allow_pickle=False) as stored:
            chroma, cqt = stored["chroma"], stored["cqt"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None  # absent or damaged: it is computed again
    if chroma.shape != (12, N_BINS) or cqt.shape != (CQT_FFT, 2 * BINS_PER_OCTAVE):
        return None
    return TuningTables(chroma.astype(np.float32), cqt.astype(np.float32))


def _save(path: Path, tables: TuningTables) -> None:
    """Write through a temporary file, because several workers may prepare the same table at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as file:
            np.savez(file, chroma=tables.chroma, cqt=tables.cqt)
        Path(name).replace(path)
    except OSError:
        return  # a cache that cannot be written costs time, not results
