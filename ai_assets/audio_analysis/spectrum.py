"""The one shared spectrum of a recording: mono, 22,050 Hz, double-precision FFT, in blocks that stay in the cache.

Belongs here: mixing and resampling to the canonical signal, the short-time Fourier transform and its mel bands. Does
not belong here: what is derived from the spectrum (`features`, `rhythm`, `tonality`, `fingerprint`, `log_mel`).

Frames are time-major and as librosa's: centred on multiples of the hop, zeros outside the signal, periodic Hann window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.tables import HOP_LENGTH, N_FFT, SAMPLE_RATE, SpectrumTables

BLOCK_FRAMES = 96
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class SpectrumBlock:
    """A few frames of the spectrum, time-major float32.

    Attributes
    ----------
    first_frame : number of the first frame; frame t is centred on sample 512 t.
    magnitude, power : |X| and |X|^2, (frames, 1025).
    mel : power in 128 Slaney mel bands, (frames, 128).
    """

    first_frame: int
    magnitude: FloatArray
    power: FloatArray
    mel: FloatArray


class MonoResampler:
    """Mixes native blocks to mono by the mean and brings them to 22,050 Hz (soxr HQ), as `librosa.load` does."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        import soxr

        self._rate, self._received, self._given = sample_rate, 0, 0
        self._mix = np.full(channels, 1.0 / channels, dtype=np.float32)
        same = sample_rate == SAMPLE_RATE
        self._stream = None if same else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def push(self, samples: NDArray[np.float32]) -> FloatArray:
        """The canonical samples that are ready after these native ones (n, channels)."""
        self._received += len(samples)
        # The matrix product is bit-identical to the mean of two channels and forty times as fast.
        mono = samples @ self._mix if len(self._mix) > 1 else samples[:, 0].copy()
        if self._stream is not None:
            mono = self._stream.resample_chunk(mono)
        self._given += len(mono)
        return np.asarray(mono, dtype=np.float32)

    def finish(self) -> FloatArray:
        """The last canonical samples; all together are ceil(n * 22050 / rate)."""
        if self._stream is None:
            return np.zeros(0, dtype=np.float32)
        rest = self._stream.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        expected = -(-self._received * SAMPLE_RATE // self._rate) - self._given
        return np.pad(rest[:expected], (0, max(0, expected - len(rest))))


def frame_count(samples: int) -> int:
    """How many centred frames a signal of so many samples has."""
    return 1 + samples // HOP_LENGTH


def spectrum_blocks(
    signal: NDArray[np.float32], first_frame: int, last_frame: int, offset: int, tables: SpectrumTables
) -> Iterator[SpectrumBlock]:
    """The spectrum of frames first_frame to last_frame (exclusive) in blocks of 96.

    `signal` is a stretch of the canonical signal whose first sample has the number `offset`; what lies outside counts
    as zero.
    """
    from scipy.fft import rfft

    windowed = np.empty((BLOCK_FRAMES, N_FFT))
    for start in range(first_frame, last_frame, BLOCK_FRAMES):
        count = min(BLOCK_FRAMES, last_frame - start)
        begin = start * HOP_LENGTH - N_FFT // 2 - offset
        end = begin + (count - 1) * HOP_LENGTH + N_FFT
        stretch = signal[max(begin, 0) : max(end, 0)].astype(np.float64)
        if begin < 0 or end > len(signal):
            before = max(-begin, 0)
            stretch = np.pad(stretch, (before, end - begin - before - len(stretch)))
        frames = np.lib.stride_tricks.sliding_window_view(stretch, N_FFT)[::HOP_LENGTH]
        block = np.multiply(frames, tables.window, out=windowed[:count])
        magnitude = np.abs(rfft(block, axis=1, overwrite_x=True).astype(np.complex64))
        power = magnitude * magnitude
        yield SpectrumBlock(start, magnitude, power, mel_bands(power, tables))


def mel_bands(power: NDArray[Any], tables: SpectrumTables) -> FloatArray:
    """Power (frames, 1025) in 128 mel bands: one small product per group of bands, because each covers few bins."""
    mel = np.empty((len(power), tables.mel.shape[0]), dtype=np.float32)
    for bands, bins in tables.mel_groups:
        np.matmul(power[:, bins], tables.mel[bands, bins].T, out=mel[:, bands])
    return mel
