"""Key, mode and tuning from chroma and from spectral peaks.

Belongs here: the harmonic pitch class profile (HPCP), the key estimate, and the family that gathers the profile block
by block. Does not belong here: the constant-Q chroma, which is a feature and is handed in; the profile values
(`key_profiles`).

Two views of the pitch content are asked, because they err on different music: the constant-Q chroma resolves the bass,
the HPCP follows spectral peaks and ignores the noise between them. The state is one histogram of 120 bins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.key_profiles import KEY_NAMES, PITCH_CLASSES, ProfileName, key_templates

FloatArray = NDArray[np.float64]

SAMPLE_RATE = 22_050
N_FFT = 2048
BINS_PER_SEMITONE = 10
HISTOGRAM_BINS = 12 * BINS_PER_SEMITONE
# Gómez 2006 and the defaults of Essentia's HPCP: 40-5000 Hz, squared cosine over 4/3 semitones.
LOWEST_HZ, HIGHEST_HZ = 40.0, 5000.0
WINDOW_SEMITONES = 4.0 / 3.0
# Faraldo et al. 2017: pitch classes under a fifth of the strongest are noise.
GATE = 0.2
FRAME_STEP = 4
PEAK_FLOOR = 1e-3
# A frame is silent when no bin reaches what a sine of -80 dBFS gives under a Hann window of 2048 samples.
SILENT_MAGNITUDE = 1e-4 * N_FFT / 4


class HasMagnitude(Protocol):
    """What this family needs of a spectrum block: the magnitude (frames, 1025), and the number of its first frame."""

    @property
    def magnitude(self) -> NDArray[Any]: ...
    @property
    def first_frame(self) -> int: ...


@dataclass(frozen=True)
class Key:
    """A key estimate: tonic with sharps, mode, confidence in 0..1, and the next best key."""

    tonic: str
    mode: str
    confidence: float
    alternative: str

    @property
    def name(self) -> str:
        """As "C# minor"."""
        return f"{self.tonic} {self.mode}"


@dataclass(frozen=True)
class Tonality:
    """What `TonalityFamily` finds. A field without a value is None and `reason` says why."""

    key: str | None
    key_confidence: float | None
    key_alternative: str | None
    tuning_cents: float | None
    hpcp: tuple[float, ...]
    reason: str | None = None


def peak_histogram(magnitude: NDArray[Any]) -> FloatArray:
    """Energy of the spectral peaks by pitch: 120 bins of 10 cents, bin 0 = C in equal temperament at A = 440 Hz.

    `magnitude` is (frames, 1025) at 22,050 Hz. Peaks are local maxima between 40 and 5000 Hz within 60 dB of their
    frame's highest bin; their frequency and height come from a parabola through the logarithms of three bins (Smith and
    Serra 1987). Silent frames add nothing.
    """
    spectrum = np.asarray(magnitude, dtype=np.float64)
    width = SAMPLE_RATE / N_FFT
    first, last = int(LOWEST_HZ / width), int(HIGHEST_HZ / width)
    centre, left, right = (spectrum[:, first + shift : last + shift] for shift in (0, -1, 1))
    highest = spectrum.max(axis=1, keepdims=True, initial=0.0)
    floor = np.maximum(PEAK_FLOOR * highest, 1e-12)
    frames, bins = np.nonzero((centre > left) & (centre >= right) & (centre > floor) & (highest > SILENT_MAGNITUDE))
    if not len(frames):
        return np.zeros(HISTOGRAM_BINS)
    top, before, after = (np.log(part[frames, bins] + 1e-12) for part in (centre, left, right))
    curvature = before - 2.0 * top + after
    shift = np.clip(0.5 * (before - after) / np.minimum(curvature, -1e-12), -0.5, 0.5)
    height = np.exp(top - 0.25 * (before - after) * shift)
    semitone = 12.0 * np.log2((bins + first + shift) * width / 440.0) + 9.0
    position = np.round(semitone * BINS_PER_SEMITONE).astype(np.int64) % HISTOGRAM_BINS
    return np.bincount(position, weights=height**2, minlength=HISTOGRAM_BINS).astype(np.float64)


def estimate_tuning_cents(histogram: NDArray[Any]) -> float:
    """How far the recording lies above (+) or below A = 440 Hz, -50 to 50 cents: the circular mean of the peaks."""
    phase = np.exp(2j * np.pi * np.arange(HISTOGRAM_BINS) / BINS_PER_SEMITONE)
    return float(np.angle(np.sum(np.asarray(histogram) * phase)) / (2.0 * np.pi) * 100.0)


def hpcp_from_histogram(histogram: NDArray[Any], tuning_cents: float = 0.0) -> FloatArray:
    """The harmonic pitch class profile (12,), from C, highest value 1, under a fifth of it 0 (Gómez 2006)."""
    position = np.arange(HISTOGRAM_BINS) / BINS_PER_SEMITONE - tuning_cents / 100.0
    distance = np.abs((position[None, :] - np.arange(12)[:, None] + 6.0) % 12.0 - 6.0)
    weight = np.where(distance < WINDOW_SEMITONES / 2, np.cos(np.pi * distance / WINDOW_SEMITONES) ** 2, 0.0)
    profile = weight @ np.asarray(histogram, dtype=np.float64)
    peak = float(profile.max())
    if peak <= 0.0:
        return np.zeros(12)
    profile /= peak
    return np.where(profile < GATE, 0.0, profile)


def key_correlations(pitch_classes: NDArray[Any], profile: ProfileName = "bgate") -> FloatArray:
    """Pearson correlation of a pitch class vector (12,), from C, with the 24 keys of `KEY_NAMES`; 0 for a flat one."""
    vector = np.asarray(pitch_classes, dtype=np.float64)
    if vector.shape != (12,):
        raise ValueError(f"a pitch class vector has 12 values from C to B, got shape {vector.shape}")
    vector = vector - vector.mean()
    templates = key_templates(profile)
    templates = templates - templates.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(vector) * np.linalg.norm(templates, axis=1)
    return np.where(norm > 1e-12, templates @ vector / np.maximum(norm, 1e-12), 0.0)


def estimate_key(
    chroma: NDArray[Any] | None, hpcp: NDArray[Any] | None = None, *, profile: ProfileName = "bgate"
) -> Key | None:
    """The key from the mean constant-Q chroma (12,) and the HPCP (12,), either of which may be None.

    The correlations of both with the profile's 24 keys are averaged; the highest wins. None when neither holds anything
    but zeros (silence). Confidence is the winner's correlation times its lead over the best other key, the lead counted
    as full at .2: a lead is worth nothing where no key fits.
    """
    vectors = [np.asarray(each, dtype=np.float64) for each in (chroma, hpcp) if each is not None]
    vectors = [each for each in vectors if np.all(np.isfinite(each)) and float(np.max(np.abs(each), initial=0.0)) > 0.0]
    if not vectors:
        return None
    score = np.mean([key_correlations(each, profile) for each in vectors], axis=0)
    order = np.argsort(-score, kind="stable")
    best, second = int(order[0]), int(order[1])
    lead = min(1.0, float(score[best] - score[second]) / 0.2)
    return Key(
        tonic=PITCH_CLASSES[best % 12],
        mode="major" if best < 12 else "minor",
        confidence=float(np.clip(score[best], 0.0, 1.0) * lead),
        alternative=KEY_NAMES[second],
    )


class TonalityFamily:
    """Gathers the peak histogram block by block and answers with key, confidence and tuning."""

    name = "tonality"
    version = "1"

    def __init__(self) -> None:
        self._histogram = np.zeros(HISTOGRAM_BINS)
        self._heard = False

    def push(self, block: HasMagnitude) -> None:
        """Take the next spectrum block; every fourth frame is read (93 ms apart, as long as one)."""
        offset = -int(block.first_frame) % FRAME_STEP
        self._histogram += peak_histogram(block.magnitude[offset::FRAME_STEP])
        self._heard = self._heard or float(block.magnitude.max(initial=0.0)) > SILENT_MAGNITUDE

    def finish(self, chroma_cqt_mean: NDArray[Any] | None = None) -> Tonality:
        """Key of everything pushed; `chroma_cqt_mean` (12,) is the mean constant-Q chroma of the same recording.

        Sound without any pitch between 40 and 5000 Hz still gets a key, with confidence 0 and a reason.
        """
        if not self._heard:
            return Tonality(None, None, None, None, (0.0,) * 12, "silent: no frame above -80 dBFS")
        tuning = estimate_tuning_cents(self._histogram) if self._histogram.any() else None
        hpcp = hpcp_from_histogram(self._histogram, tuning or 0.0)
        key = estimate_key(chroma_cqt_mean, hpcp)
        profile = tuple(float(each) for each in hpcp)
        if key is None:
            return Tonality(KEY_NAMES[0], 0.0, KEY_NAMES[12], tuning, profile, "no pitched sound: the key is arbitrary")
        return Tonality(key.name, key.confidence, key.alternative, tuning, profile)
