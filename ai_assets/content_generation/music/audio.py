"""A small additive synthesiser for arrangements, and the level that finished audio has.

Here belong timbres, mixing, loudness by ITU-R BS.1770-4 and the true-peak limit. It is meant for listening to what the
model wrote, not as a production instrument. scipy is imported when used.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ai_assets.content_generation.music.arrangement import DRUM_CHANNEL, KICK, SNARE, Arrangement, Part
from ai_assets.content_generation.music.scores import TICKS_PER_QUARTER
from ai_assets.content_generation.provenance import DIGITAL_SOURCE_TYPE

LOUDNESS_LUFS = -14.0
CEILING_DBTP = -1.5
_TAIL_SECONDS = 1.2
_RATE_FACTOR, _HALF_TAPS = 4, 10  # of the interpolation that finds true peaks
_LEVELS = {"melody": 0.5, "chords": 0.16, "bass": 0.42, "drums": 0.3}
_PANS = {"melody": 0.08, "chords": -0.25, "bass": 0.0, "drums": 0.15}
# General MIDI family (program // 8): strength of the harmonics, decay a second (0 = held), attack in seconds.
_TIMBRES: dict[int, tuple[tuple[float, ...], float, float]] = {
    0: ((1, 0.5, 0.3, 0.16, 0.1, 0.06), 2.2, 0.004),
    2: ((1, 0.6, 0.5, 0.3, 0.2), 0.0, 0.02),
    3: ((1, 0.6, 0.35, 0.22, 0.14, 0.08), 2.8, 0.003),
    4: ((1, 0.4, 0.2, 0.1), 2.4, 0.006),
    5: ((1, 0.7, 0.5, 0.35, 0.26, 0.2, 0.15), 0.4, 0.05),
    6: ((1, 0.6, 0.4, 0.26, 0.2, 0.12), 0.3, 0.08),
    7: ((1, 0.8, 0.6, 0.42, 0.3, 0.2), 0.3, 0.03),
    8: ((1, 0.4, 0.7, 0.25, 0.4, 0.15), 0.3, 0.03),
    9: ((1, 0.25, 0.08, 0.03), 0.2, 0.05),
    10: ((1, 0.5, 0.33, 0.25, 0.2, 0.16, 0.14), 0.5, 0.01),
    11: ((1, 0.4, 0.25, 0.12), 0.2, 0.12),
}


def render(arrangement: Arrangement, sample_rate: int = 44_100) -> NDArray[np.float32]:
    """Stereo sound [frames, 2] of an arrangement at -14 LUFS, true peak below -1 dBTP; the same bytes every time."""
    second_per_tick = 60.0 / arrangement.tempo_bpm / TICKS_PER_QUARTER
    frames = round((arrangement.seconds + _TAIL_SECONDS) * sample_rate)
    mix = np.zeros((frames, 2))
    for part in arrangement.parts:
        voice = np.zeros(frames)
        for note in part.notes:
            sound = _note_sound(part, note.pitch, note.length * second_per_tick, sample_rate) * (note.velocity / 127)
            start = round(note.start * second_per_tick * sample_rate)
            room = min(len(sound), frames - start)
            voice[start : start + room] += sound[:room]
        angle = (_PANS[part.name] + 1) * np.pi / 4
        mix += _LEVELS[part.name] * voice[:, None] * np.array([np.cos(angle), np.sin(angle)])
    return levelled(mix, sample_rate)


def flac(samples: NDArray[np.float32], sample_rate: int) -> bytes:
    """Samples [frames] or [frames, channels] as 16-bit FLAC, marked as made by a model (a Vorbis comment)."""
    import io

    import soundfile

    buffer = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(buffer, "w", sample_rate, channels, "PCM_16", format="FLAC") as file:
        file.comment = f"digitalSourceType={DIGITAL_SOURCE_TYPE}"
        file.write(samples)
    return buffer.getvalue()


def loudness(samples: NDArray[np.float64], sample_rate: int) -> float:
    """Integrated loudness in LUFS of [frames, channels] by BS.1770-4 with both gates; -inf for silence."""
    from scipy.signal import lfilter

    weighted = samples
    for numerator, denominator in _k_weighting(sample_rate):
        weighted = lfilter(numerator, denominator, weighted, axis=0)
    block, hop = round(0.4 * sample_rate), round(0.1 * sample_rate)
    if len(samples) < block:
        return -np.inf
    energy = np.concatenate([[0.0], np.cumsum((weighted**2).sum(axis=1))])
    starts = np.arange(0, len(samples) - block + 1, hop)
    power = (energy[starts + block] - energy[starts]) / block
    with np.errstate(divide="ignore"):
        levels = -0.691 + 10 * np.log10(power)
    gated = power[levels > -70.0]
    if not len(gated):
        return -np.inf
    relative = -0.691 + 10 * np.log10(gated.mean()) - 10.0
    return float(-0.691 + 10 * np.log10(power[levels > max(-70.0, relative)].mean()))


def true_peak(samples: NDArray[np.float64]) -> float:
    """True peak in dBTP of [frames, channels]: the largest sample at four times the rate (BS.1770-4, annex 2)."""
    return float(20 * np.log10(_largest(samples).max(initial=0.0) + 1e-12))


def _largest(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest magnitude [frames] of every frame's four interpolated samples, over all channels.

    The same as `scipy.signal.resample_poly` by four, one phase after the other: three times as fast.
    """
    largest = np.zeros(len(samples))
    for channel in np.ascontiguousarray(samples.reshape(len(samples), -1).T):
        for phase in range(_RATE_FACTOR):
            found = np.convolve(channel, _interpolator()[phase::_RATE_FACTOR])
            np.maximum(largest, np.abs(found[_HALF_TAPS : _HALF_TAPS + len(channel)]), out=largest)
    return largest


@lru_cache(maxsize=1)
def _interpolator() -> NDArray[np.float64]:
    from scipy.signal import firwin

    taps = 2 * _HALF_TAPS * _RATE_FACTOR + 1
    low_pass: NDArray[np.float64] = _RATE_FACTOR * firwin(taps, 1 / _RATE_FACTOR, window=("kaiser", 5.0))
    return low_pass


def levelled(mix: NDArray[np.float64], sample_rate: int) -> NDArray[np.float32]:
    """The mix at its loudness; peaks above the ceiling are turned down for a few milliseconds."""
    ceiling = 10 ** (CEILING_DBTP / 20)
    for _ in range(4):
        level = loudness(mix, sample_rate)
        if not np.isfinite(level):
            break
        mix = mix * 10 ** ((LOUDNESS_LUFS - level) / 20)
        largest = _largest(mix)
        if largest.max(initial=0.0) <= ceiling:
            break
        mix = _limited(mix, largest, ceiling, sample_rate)
    peak = 10 ** (true_peak(mix) / 20)
    return (mix * min(1.0, ceiling / peak)).astype(np.float32)


def _limited(
    mix: NDArray[np.float64], largest: NDArray[np.float64], ceiling: float, sample_rate: int
) -> NDArray[np.float64]:
    from scipy.ndimage import minimum_filter1d, uniform_filter1d

    reach = 2 * round(0.004 * sample_rate) + 1
    gain = uniform_filter1d(minimum_filter1d(np.minimum(1.0, ceiling / (largest + 1e-9)), reach), reach)
    limited: NDArray[np.float64] = mix * gain[:, None]
    return limited


def _note_sound(part: Part, pitch: int, seconds: float, sample_rate: int) -> NDArray[np.float64]:
    if part.channel == DRUM_CHANNEL:
        return _drum(pitch, sample_rate)
    return _tone(min(part.program // 8, 11), pitch, round(seconds * sample_rate), sample_rate)


@lru_cache(maxsize=512)
def _tone(family: int, pitch: int, frames: int, sample_rate: int) -> NDArray[np.float64]:
    """A held or decaying tone of ``frames`` and a release of 80 ms."""
    harmonics, decay, attack = _TIMBRES.get(family, _TIMBRES[0])
    release = round(0.08 * sample_rate)
    time = np.arange(frames + release) / sample_rate
    frequency = 440.0 * 2 ** ((pitch - 69) / 12)
    tone = np.zeros(len(time))
    for number, strength in enumerate(harmonics, start=1):
        if number * frequency < 0.45 * sample_rate:
            fade = np.exp(-time * decay * (0.7 + 0.3 * number))
            tone += strength * fade * np.sin(2 * np.pi * number * frequency * time)
    envelope = np.minimum(1.0, time / attack)
    envelope[frames:] *= np.linspace(1.0, 0.0, release)
    return tone * envelope / sum(harmonics) ** 0.5


@lru_cache(maxsize=32)
def _drum(pitch: int, sample_rate: int) -> NDArray[np.float64]:
    time = np.arange(round(0.25 * sample_rate)) / sample_rate
    noise = np.random.default_rng(pitch).standard_normal(len(time))
    if pitch == KICK:
        return np.sin(2 * np.pi * (50 * time + 3.2 * (1 - np.exp(-35 * time)))) * np.exp(-14 * time)
    if pitch == SNARE:
        return 0.5 * noise * np.exp(-22 * time) + 0.5 * np.sin(2 * np.pi * 190 * time) * np.exp(-28 * time)
    bright = np.diff(noise, prepend=0.0)
    return 0.35 * bright * np.exp(-(25 if pitch == 51 else 60) * time)


def _k_weighting(sample_rate: int) -> list[tuple[list[float], list[float]]]:
    """Shelf and high-pass of BS.1770 for any rate (B. De Man, Evaluation of Implementations of the EBU R128, 2018)."""
    k, q = np.tan(np.pi * 1681.9744509555319 / sample_rate), 0.7071752369554193
    high = 10 ** (3.99984385397 / 20)
    middle = high**0.499666774155
    norm = 1 + k / q + k * k
    shelf = (
        [(high + middle * k / q + k * k) / norm, 2 * (k * k - high) / norm, (high - middle * k / q + k * k) / norm],
        [1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm],
    )
    k, q = np.tan(np.pi * 38.13547087613982 / sample_rate), 0.5003270373253953
    norm = 1 + k / q + k * k
    return [shelf, ([1.0, -2.0, 1.0], [1.0, 2 * (k * k - 1) / norm, (1 - k / q + k * k) / norm])]
