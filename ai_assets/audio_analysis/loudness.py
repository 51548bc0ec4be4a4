"""Loudness as broadcasting measures it: ITU-R BS.1770-5 and EBU R128.

Belongs here: integrated loudness, loudness range (EBU Tech 3342), true peak, dynamic range, the energy index, and the
family that gathers them block by block at the file's own sample rate. Does not belong here: judging whether a value is
a fault (`defects`).

The state is one number per 100 ms for the loudness and two per channel for the dynamic range: about 15 MB for three
hours of stereo.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
RANGE_GATE_LU = -20.0
GATING_STEPS = 4  # a gating block is 400 ms, in steps of 100 ms: 75 % overlap
SHORT_TERM_STEPS = 30  # 3 s
DYNAMIC_RANGE_STEPS = 30
READ_BLOCK = 65_536
_OFFSET = -0.691


@dataclass(frozen=True)
class Loudness:
    """What `LoudnessFamily` finds. A field without a value is None and `reason` says why."""

    integrated_lufs: float | None
    range_lu: float | None
    true_peak_dbtp: float | None
    sample_peak_dbfs: float | None
    dynamic_range_db: float | None
    reason: str | None = None


def k_weighting(sample_rate: int) -> FloatArray:
    """The K-weighting filter as two second-order sections (2, 6) for `scipy.signal.sosfilt`.

    BS.1770 tabulates it for 48 kHz only. These are its two analogue prototypes (a high shelf at 1681.97 Hz, a high pass
    at 38.14 Hz), brought to `sample_rate` by the bilinear transform as in libebur128; at 48 kHz they are the table's
    values. The table leaves the high pass with a gain of 1.005, which libebur128 lets grow to 1.015 at 16 kHz; here it
    is kept, so that a recording has the same loudness at every sample rate.
    """
    shelf_hz, gain_db, shelf_q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k = np.tan(np.pi * shelf_hz / sample_rate)
    high = 10.0 ** (gain_db / 20.0)
    band = high**0.4996667741545416
    a0 = 1.0 + k / shelf_q + k * k
    shelf = [
        (high + band * k / shelf_q + k * k) / a0,
        2.0 * (k * k - high) / a0,
        (high - band * k / shelf_q + k * k) / a0,
        1.0,
        2.0 * (k * k - 1.0) / a0,
        (1.0 - k / shelf_q + k * k) / a0,
    ]
    pass_hz, pass_q = 38.13547087602444, 0.5003270373238773
    reference = np.tan(np.pi * pass_hz / 48_000)
    k = np.tan(np.pi * pass_hz / sample_rate)
    a0 = 1.0 + k / pass_q + k * k
    gain = (1.0 + reference / pass_q + reference * reference) / a0
    high_pass = [gain, -2.0 * gain, gain, 1.0, 2.0 * (k * k - 1.0) / a0, (1.0 - k / pass_q + k * k) / a0]
    return np.array([shelf, high_pass])


def channel_weights(channels: int) -> FloatArray:
    """BS.1770 weights for the channel order of WAVE files (FL FR FC LFE BL BR SL SR): surround 1.41, LFE 0."""
    known = {4: [1.0, 1.0, 1.41, 1.41], 5: [1.0, 1.0, 1.0, 1.41, 1.41], 6: [1.0, 1.0, 1.0, 0.0, 1.41, 1.41]}
    known[7] = [1.0, 1.0, 1.0, 0.0, 1.0, 1.41, 1.41]
    known[8] = [1.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.41, 1.41]
    return np.array(known.get(channels, [1.0] * channels))


def gated_loudness(step_energy: NDArray[Any]) -> float | None:
    """Integrated loudness in LUFS from the weighted mean square of each 100 ms (steps,).

    Gating of BS.1770-5: 400 ms blocks above -70 LUFS, then those above the level that is 10 LU under their mean. None
    when no block passes: shorter than 400 ms, or silent.
    """
    blocks = _sliding_mean(step_energy, GATING_STEPS)
    blocks = blocks[blocks > _energy(ABSOLUTE_GATE_LUFS)]
    if not len(blocks):
        return None
    return _lufs(float(blocks[blocks > blocks.mean() * 10.0 ** (RELATIVE_GATE_LU / 10.0)].mean()))


def gated_range(step_energy: NDArray[Any]) -> float | None:
    """Loudness range in LU (EBU Tech 3342): 10th to 95th percentile of the gated short-term loudness, None without any.

    Short-term blocks of 3 s every 100 ms, above -70 LUFS and above 20 LU under the mean of those.
    """
    blocks = _sliding_mean(step_energy, SHORT_TERM_STEPS)
    blocks = blocks[blocks > _energy(ABSOLUTE_GATE_LUFS)]
    if not len(blocks):
        return None
    blocks = blocks[blocks > blocks.mean() * 10.0 ** (RANGE_GATE_LU / 10.0)]
    low, high = np.quantile(10.0 * np.log10(blocks), (0.10, 0.95))
    return float(high - low)


def integrated_loudness(samples: NDArray[Any], sample_rate: int) -> float | None:
    """Integrated loudness in LUFS of samples (n,) or (n, channels), full scale 1.0; None if silent or under 400 ms."""
    return measure_loudness(samples, sample_rate).integrated_lufs


def loudness_range(samples: NDArray[Any], sample_rate: int) -> float | None:
    """Loudness range in LU of samples (n,) or (n, channels); None when silent or under 3 s."""
    return measure_loudness(samples, sample_rate).range_lu


def true_peak(samples: NDArray[Any], sample_rate: int) -> float | None:
    """True peak in dBTP of samples (n,) or (n, channels); None for digital silence."""
    return measure_loudness(samples, sample_rate).true_peak_dbtp


def measure_loudness(samples: NDArray[Any], sample_rate: int) -> Loudness:
    """All loudness descriptors of samples (n,) or (n, channels), full scale 1.0."""
    frames = np.asarray(samples, dtype=np.float32)
    frames = frames[:, None] if frames.ndim == 1 else frames
    family = LoudnessFamily()
    family.start(sample_rate, frames.shape[1])
    for start in range(0, len(frames), READ_BLOCK):
        family.push(frames[start : start + READ_BLOCK])
    return family.finish()


def energy_index(
    *, loudness_lufs: float | None, onset_rate_hz: float | None, dynamic_range_db: float | None
) -> float | None:
    """How intense a recording is, 0 to 1, by a fixed formula; None when it has no loudness.

    Half is the loudness (-35 LUFS = 0, -5 LUFS = 1), three tenths the onset rate (6 per second = 1), two tenths the
    lack of dynamics (20 dB = 0, 0 dB = 1), each clipped; a part that is None is left out and the rest weighted up. It
    rises with gain and with density. It is this platform's own index, not a perceptual model and not any service's
    "energy".
    """
    if loudness_lufs is None:
        return None
    parts = [(0.5, (loudness_lufs + 35.0) / 30.0)]
    if onset_rate_hz is not None:
        parts.append((0.3, onset_rate_hz / 6.0))
    if dynamic_range_db is not None:
        parts.append((0.2, 1.0 - dynamic_range_db / 20.0))
    total = sum(weight * min(max(value, 0.0), 1.0) for weight, value in parts)
    return total / sum(weight for weight, _ in parts)


class LoudnessFamily:
    """Filters, squares and sums native samples block by block; answers with `Loudness`."""

    name = "loudness"
    version = "1"

    def start(self, sample_rate: int, channels: int) -> None:
        """Begin a recording of `channels` channels at `sample_rate` Hz."""
        self._step = (sample_rate + 5) // 10
        self._sections = k_weighting(sample_rate)
        self._state = np.zeros((2, 2, channels))
        self._weights = channel_weights(channels)
        self._weighted = _StepSums(self._step)
        self._squares = [_StepSums(self._step) for _ in range(channels)]
        self._peaks = [_StepPeaks(self._step) for _ in range(channels)]
        self._true_peak = _TruePeak(sample_rate, channels)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples (n, channels)."""
        from scipy.signal import sosfilt

        if not len(samples):
            return
        filtered, self._state = sosfilt(self._sections, samples, axis=0, zi=self._state)
        self._weighted.push(np.square(filtered, out=filtered) @ self._weights)
        for channel, (squares, peaks) in enumerate(zip(self._squares, self._peaks, strict=True)):
            column = np.ascontiguousarray(samples[:, channel])
            squares.push(column * column)
            peaks.push(np.abs(column))
        self._true_peak.push(samples)

    def finish(self) -> Loudness:
        """Loudness of everything pushed."""
        energy = self._weighted.result() / self._step
        peak = max((float(each.result().max(initial=0.0)) for each in self._peaks), default=0.0)
        integrated = gated_loudness(energy)
        over = self._true_peak.result()
        reason = None
        if integrated is None:
            short = len(energy) < GATING_STEPS
            reason = "shorter than one 400 ms gating block" if short else "silent: nothing above -70 LUFS"
        elif len(energy) < SHORT_TERM_STEPS:
            reason = "loudness range needs 3 s"
        return Loudness(
            integrated_lufs=integrated,
            range_lu=gated_range(energy),
            true_peak_dbtp=_decibel(max(over, peak)),
            sample_peak_dbfs=_decibel(peak),
            dynamic_range_db=None if integrated is None else self._dynamic_range(),
            reason=reason,
        )

    def _dynamic_range(self) -> float | None:
        """DR of the Pleasurize Music Foundation: second highest 3 s peak over the loudest fifth's RMS, channel mean."""
        ranges = []
        for squares, peaks in zip(self._squares, self._peaks, strict=True):
            sums, tops = squares.result(), peaks.result()
            count = len(sums) // DYNAMIC_RANGE_STEPS
            if count == 0:
                return None
            used = count * DYNAMIC_RANGE_STEPS
            mean_square = sums[:used].reshape(count, -1).sum(axis=1) / (DYNAMIC_RANGE_STEPS * self._step)
            loudest = np.sort(mean_square)[-max(1, round(0.2 * count)) :]
            highest = np.sort(tops[:used].reshape(count, -1).max(axis=1))[-min(2, count)]
            if loudest.mean() > 0.0 and highest > 0.0:
                # The factor 2 makes a full-scale sine read 0 dB RMS, as that meter does.
                ranges.append(20.0 * np.log10(highest) - 10.0 * np.log10(2.0 * loudest.mean()))
        return float(np.mean(ranges)) if ranges else None


class _StepSums:
    """Sums of a series over whole steps of fixed length; an incomplete last step is left out."""

    def __init__(self, step: int) -> None:
        self._step = step
        self._rest = np.zeros(0)
        self._done: list[NDArray[Any]] = []

    def push(self, values: NDArray[Any]) -> None:
        joined = np.concatenate([self._rest, values]) if len(self._rest) else values
        whole = len(joined) // self._step * self._step
        self._done.append(self._reduce(joined[:whole].reshape(-1, self._step)))
        self._rest = joined[whole:].copy()

    def result(self) -> FloatArray:
        return np.concatenate(self._done).astype(np.float64) if self._done else np.zeros(0)

    def _reduce(self, rows: NDArray[Any]) -> NDArray[Any]:
        return rows.sum(axis=1, dtype=np.float64)


class _StepPeaks(_StepSums):
    """Maxima over the steps; the incomplete last step counts too."""

    def _reduce(self, rows: NDArray[Any]) -> NDArray[Any]:
        return rows.max(axis=1, initial=0.0)

    def result(self) -> FloatArray:
        rest = self._rest.max(keepdims=True) if len(self._rest) else self._rest
        return np.concatenate([super().result(), rest])


class _TruePeak:
    """Highest absolute value after oversampling to at least 192 kHz (BS.1770-5 annex 2: 4x up to 96 kHz)."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        import soxr

        self._factor = 4 if sample_rate < 96_000 else 2 if sample_rate < 192_000 else 1
        self._channels = channels
        self._stream = soxr.ResampleStream(1, self._factor, channels, dtype="float32") if self._factor > 1 else None
        self._highest = 0.0

    def push(self, samples: NDArray[np.float32], *, last: bool = False) -> None:
        if self._stream is not None:
            samples = self._stream.resample_chunk(np.ascontiguousarray(samples, dtype=np.float32), last=last)
        if len(samples):
            self._highest = max(self._highest, float(samples.max()), -float(samples.min()))

    def result(self) -> float:
        if self._stream is not None:
            self.push(np.zeros((0, self._channels), dtype=np.float32), last=True)
            self._stream = None
        return self._highest


def _sliding_mean(step_energy: NDArray[Any], steps: int) -> FloatArray:
    energy = np.asarray(step_energy, dtype=np.float64)
    if len(energy) < steps:
        return np.zeros(0)
    return np.lib.stride_tricks.sliding_window_view(energy, steps).mean(axis=1)


def _energy(lufs: float) -> float:
    return float(10.0 ** ((lufs - _OFFSET) / 10.0))


def _lufs(energy: float) -> float:
    return float(_OFFSET + 10.0 * np.log10(energy))


def _decibel(amplitude: float) -> float | None:
    return float(20.0 * np.log10(amplitude)) if amplitude > 0.0 else None
