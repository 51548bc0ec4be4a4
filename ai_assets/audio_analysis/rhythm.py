"""Tempo, beats and onsets from one onset envelope.

Belongs here: the onset envelope (spectral flux of the log-mel spectrum), tempo with its confidence and its half or
double candidate, beat positions, onset rate, and the family that gathers the envelope block by block. Does not belong
here: decoding, the spectrum itself, key, loudness, the danceability index (`danceability`).

The envelope is the only state: one float per frame of 23 ms, 1.9 MB for three hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

SAMPLE_RATE = 22_050
HOP_LENGTH = 512
FRAME_RATE = SAMPLE_RATE / HOP_LENGTH

TEMPO_RANGE_BPM = (30.0, 300.0)
PRIOR_BPM = 110.0
PRIOR_OCTAVES = 0.9
SHORTEST_FOR_TEMPO_SECONDS = 3.0
LOG_COMPRESSION = 100.0
DETREND_SECONDS = 1.0
TEMPOGRAM_SECONDS = 8.0
BEAT_TIGHTNESS = 100.0


class HasMel(Protocol):
    """What this family needs of a spectrum block: `mel`, the power mel spectrum, time-major (frames, bands)."""

    @property
    def mel(self) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Tempo:
    """A tempo estimate: beats per minute, confidence in 0..1, and the stronger of its half and its double."""

    bpm: float
    confidence: float
    alternative_bpm: float


@dataclass(frozen=True)
class Rhythm:
    """What `RhythmFamily` finds. A field without a value is None and `reason` says why."""

    tempo_bpm: float | None
    tempo_confidence: float | None
    tempo_alternative_bpm: float | None
    beats_seconds: tuple[float, ...]
    onset_rate_hz: float | None
    reason: str | None = None


def onset_flux(mel: NDArray[Any], previous: NDArray[Any] | None = None) -> tuple[FloatArray, FloatArray]:
    """Half-wave rectified difference of the log-compressed mel spectrum, averaged over the bands.

    `mel` is the power mel spectrum, time-major (frames, bands); `previous` the last compressed row of the block before.
    Returns the flux (frames,), 0 for the very first frame of a recording, and the row to hand to the next call.
    Log compression log(1 + gamma x) and half-wave rectified flux: Klapuri, Eronen and Astola 2006; Müller 2015, ch. 6.
    """
    compressed = np.log1p(LOG_COMPRESSION * np.asarray(mel, dtype=np.float32))
    flux = np.zeros(len(compressed))
    if len(compressed) > 1:
        rise = np.diff(compressed, axis=0)
        flux[1:] = np.maximum(rise, 0.0, out=rise).mean(axis=1)
    if previous is not None and len(compressed):
        flux[0] = np.maximum(compressed[0] - previous, 0.0).mean()
    return flux, compressed[-1].astype(np.float64) if len(compressed) else np.zeros(mel.shape[1])


@dataclass(frozen=True)
class Salience:
    """How strongly an envelope repeats at each tempo: three arrays over the same tempi, without any prior.

    `beat` counts a period alone, `metrical` also twice and four times that period, where bars repeat.
    """

    bpm: FloatArray
    beat: FloatArray
    metrical: FloatArray


def tempo_salience(onset_envelope: NDArray[Any], frame_rate: float = FRAME_RATE) -> Salience:
    """How strongly the envelope (frames,) repeats at each tempo from 30 to 300 bpm.

    The global autocorrelation at the beat period times the square root of the time-averaged Fourier tempogram at the
    beat frequency. The autocorrelation answers to the period and its multiples, the Fourier tempogram to the frequency
    and its multiples: only the true period has both (Peeters 2006; Grosche, Müller and Kurth 2010). For `metrical` the
    autocorrelation is enhanced by that at two and four periods (Percival and Tzanetakis 2014).
    """
    grid = _bpm_grid()
    envelope = _detrended(np.asarray(onset_envelope, dtype=np.float64), frame_rate)
    centred = envelope - envelope.mean()
    autocorrelation, period = _autocorrelation(centred), 60.0 * frame_rate / grid
    lags = np.arange(len(centred))
    once, twice, four = (
        np.maximum(np.interp(times * period, lags, autocorrelation, right=0.0), 0.0) for times in (1, 2, 4)
    )
    fourier = np.sqrt(_fourier_tempogram(centred, frame_rate))
    return Salience(grid, once * fourier, (once + twice + four) * fourier)


def estimate_tempo(onset_envelope: NDArray[Any], frame_rate: float = FRAME_RATE) -> Tempo | None:
    """The tempo of a recording from its onset envelope (frames,) sampled at `frame_rate` Hz.

    Returns None when the envelope is shorter than three seconds or does not repeat at all (silence, a steady tone).
    First the metrical salience finds the pulse up to the octave, because syncopation makes three quarters of a beat
    repeat as strongly as the beat but not its multiples; then the salience of the beat alone chooses between half, same
    and double. Both are weighted by a log-normal prior around 110 bpm with a standard deviation of 0.9 octaves (van
    Noorden and Moelants 1999 for the shape). Confidence is the height of the normalised autocorrelation at the beat
    period, lowered where the half or the double tempo is nearly as salient.
    """
    envelope = np.asarray(onset_envelope, dtype=np.float64)
    if len(envelope) < SHORTEST_FOR_TEMPO_SECONDS * frame_rate or float(np.ptp(envelope)) <= 1e-9:
        return None
    salience = tempo_salience(envelope, frame_rate)
    grid, prior = salience.bpm, _prior(salience.bpm)
    score = salience.beat * prior
    pulse = float(grid[np.argmax(salience.metrical * prior)])
    octaves = np.abs(np.log(grid[:, None] / (pulse * np.array([0.5, 1.0, 2.0])))).min(axis=1)
    best = int(np.argmax(np.where(octaves < 0.03, score, -1.0)))
    if score[best] <= 0.0:
        return None
    bpm = _refined(envelope, float(grid[best]), frame_rate)
    related = {ratio: float(np.interp(bpm * ratio, grid, score, left=0.0, right=0.0)) for ratio in (0.5, 2.0)}
    ratio = max(related, key=lambda each: related[each])
    strength = _periodicity(envelope, bpm, frame_rate)
    clear = 1.0 - 0.5 * min(1.0, related[ratio] / float(score[best]))
    return Tempo(bpm=bpm, confidence=float(np.clip(strength * clear, 0.0, 1.0)), alternative_bpm=bpm * ratio)


def track_beats(onset_envelope: NDArray[Any], bpm: float, frame_rate: float = FRAME_RATE) -> FloatArray:
    """Beat times in seconds for a known tempo, by dynamic programming (Ellis 2007).

    `onset_envelope` is (frames,) at `frame_rate` Hz. A frame's best predecessor lies half to two periods before it, so
    all frames of half a period depend only on earlier ones and are solved together: the result is Ellis' recursion.
    Returns an empty array when there is no onset at all.
    """
    envelope = np.asarray(onset_envelope, dtype=np.float64)
    spread = float(envelope.std())
    if len(envelope) < 2 or spread <= 1e-9 or bpm <= 0.0:
        return np.zeros(0)
    period = 60.0 * frame_rate / bpm
    local = _smoothed(envelope / spread, period / 32.0)
    score, predecessor = _accumulate(local, period)
    beats = _backtrack(local, score, predecessor)
    return beats / frame_rate


def detect_onsets(onset_envelope: NDArray[Any], frame_rate: float = FRAME_RATE) -> FloatArray:
    """Onset times in seconds by peak picking (Böck, Krebs and Schedl 2012, with librosa's default windows).

    A frame is an onset when it is the maximum of the 30 ms before and after it, exceeds the mean of the 100 ms around
    it by 7 % of the envelope's 99th percentile, and comes more than 30 ms after the onset before it.
    """
    from scipy.ndimage import maximum_filter1d, uniform_filter1d

    envelope = np.asarray(onset_envelope, dtype=np.float64)
    if len(envelope) < 3 or float(envelope.max()) <= 1e-9:
        return np.zeros(0)
    reach = max(1, round(0.03 * frame_rate))
    around = 2 * max(1, round(0.1 * frame_rate)) + 1
    threshold = uniform_filter1d(envelope, around) + 0.07 * float(np.quantile(envelope, 0.99))
    peak = (envelope >= maximum_filter1d(envelope, 2 * reach + 1)) & (envelope > threshold)
    frames = np.flatnonzero(peak)
    kept = frames[np.r_[True, np.diff(frames) > reach]] if len(frames) else frames
    return kept / frame_rate


class RhythmFamily:
    """Gathers the onset envelope block by block and answers with tempo, beats and onset rate."""

    name = "rhythm"
    version = "1"

    def __init__(self) -> None:
        self._flux: list[NDArray[np.float32]] = []
        self._last_row: FloatArray | None = None

    def push(self, block: HasMel) -> None:
        """Take the next spectrum block; only its power mel spectrum is read."""
        flux, self._last_row = onset_flux(block.mel, self._last_row)
        self._flux.append(flux.astype(np.float32))

    @property
    def onset_envelope(self) -> FloatArray:
        """The envelope so far, (frames,), at `FRAME_RATE`: what plots of the tempogram need."""
        return np.concatenate(self._flux).astype(np.float64) if self._flux else np.zeros(0)

    def finish(self) -> Rhythm:
        """Tempo, beats and onset rate of everything pushed."""
        return analyze_rhythm(self.onset_envelope)


def analyze_rhythm(onset_envelope: NDArray[Any], frame_rate: float = FRAME_RATE) -> Rhythm:
    """All rhythm descriptors of one onset envelope; what cannot be said is None, with the reason."""
    envelope = np.asarray(onset_envelope, dtype=np.float64)
    if len(envelope) == 0 or float(envelope.max()) <= 1e-6:
        return Rhythm(None, None, None, (), None, "silent: no onset in the whole recording")
    rate = len(detect_onsets(envelope, frame_rate)) / (len(envelope) / frame_rate)
    tempo = estimate_tempo(envelope, frame_rate)
    if tempo is None:
        short = len(envelope) < SHORTEST_FOR_TEMPO_SECONDS * frame_rate
        why = f"shorter than {SHORTEST_FOR_TEMPO_SECONDS:g} s" if short else "the onsets do not repeat"
        return Rhythm(None, None, None, (), float(rate), f"no tempo: {why}")
    beats = tuple(round(float(beat), 4) for beat in track_beats(envelope, tempo.bpm, frame_rate))
    return Rhythm(tempo.bpm, tempo.confidence, tempo.alternative_bpm, beats, float(rate))


@lru_cache(maxsize=1)
def _bpm_grid() -> FloatArray:
    low, high = (float(np.log(bpm)) for bpm in TEMPO_RANGE_BPM)
    return np.exp(np.arange(low, high, 0.005))


def _prior(bpm: FloatArray) -> FloatArray:
    return np.exp(-0.5 * (np.log2(bpm / PRIOR_BPM) / PRIOR_OCTAVES) ** 2)


def _detrended(envelope: FloatArray, frame_rate: float) -> FloatArray:
    from scipy.ndimage import uniform_filter1d

    # A second holds at least one beat above 60 bpm: what is slower than that is dynamics, not pulse.
    return np.maximum(envelope - uniform_filter1d(envelope, int(DETREND_SECONDS * frame_rate) | 1), 0.0)


def _autocorrelation(centred: FloatArray) -> FloatArray:
    """Normalised, biased autocorrelation: 1 at lag 0."""
    from scipy.fft import irfft, next_fast_len, rfft

    size = next_fast_len(2 * len(centred), real=True)
    result = irfft(np.abs(rfft(centred, size)) ** 2, size)[: len(centred)]
    return result / max(float(result[0]), 1e-12)


@lru_cache(maxsize=4)
def _fourier_basis(frame_rate: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    frames = int(TEMPOGRAM_SECONDS * frame_rate)
    phase = 2.0 * np.pi * np.outer(np.arange(frames) / frame_rate, _bpm_grid() / 60.0)
    window = np.hanning(frames)[:, None]
    return np.cos(phase) * window, np.sin(phase) * window


def _fourier_tempogram(centred: FloatArray, frame_rate: float) -> FloatArray:
    """Magnitude at each tempo of `_bpm_grid`, averaged over eight-second windows a quarter apart."""
    cosine, sine = _fourier_basis(frame_rate)
    size = len(cosine)
    padded = np.pad(centred, (0, max(0, size - len(centred))))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[:: size // 4]
    total = np.zeros(cosine.shape[1])
    for start in range(0, len(windows), 256):
        part = windows[start : start + 256]
        total += np.hypot(part @ cosine, part @ sine).sum(axis=0)
    return total / len(windows)


def _refined(envelope: FloatArray, bpm: float, frame_rate: float) -> float:
    """The tempo within 3 % of `bpm` whose period and its multiples the autocorrelation favours most."""
    autocorrelation = _autocorrelation(envelope - envelope.mean())
    candidates = bpm * np.exp(np.linspace(-0.03, 0.03, 121))
    multiples = np.arange(1, 9)
    lags = 60.0 * frame_rate * multiples[None, :] / candidates[:, None]
    inside = lags < len(envelope) - 1
    values = np.interp(lags, np.arange(len(envelope)), autocorrelation)
    mean = np.where(inside, values, 0.0).sum(axis=1) / np.maximum(inside.sum(axis=1), 1)
    return float(candidates[int(np.argmax(mean))])


def _periodicity(envelope: FloatArray, bpm: float, frame_rate: float) -> float:
    """Highest normalised autocorrelation within a frame of the beat period: pulse clarity (Lartillot et al. 2008)."""
    autocorrelation = _autocorrelation(envelope - envelope.mean())
    lag = 60.0 * frame_rate / bpm
    low, high = max(1, int(lag) - 1), min(len(envelope), int(lag) + 3)
    return float(autocorrelation[low:high].max(initial=0.0))


def _smoothed(envelope: FloatArray, deviation: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(envelope, max(deviation, 0.1), mode="constant"))


def _accumulate(local: FloatArray, period: float) -> tuple[FloatArray, NDArray[np.int64]]:
    """Ellis' recursion: the best score of a beat sequence that ends at each frame, and the beat before it (or -1)."""
    reach = round(2 * period)
    nearest = max(1, round(period / 2))
    offsets = np.arange(-reach, -nearest + 1)
    penalty = -BEAT_TIGHTNESS * np.log(-offsets / period) ** 2
    padded = np.concatenate(
        [np.zeros(reach), local]
    )  # before the start every score is 0: a sequence may begin anywhere
    predecessor = np.full(len(local), -1, dtype=np.int64)
    earlier = np.lib.stride_tricks.sliding_window_view(padded, len(offsets))
    for start in range(0, len(local), nearest):
        stop = min(start + nearest, len(local))
        candidates = earlier[start:stop] + penalty
        choice = candidates.argmax(axis=1)
        best = candidates[np.arange(stop - start), choice]
        gained = best > 0.0
        padded[reach + start : reach + stop] = local[start:stop] + np.maximum(best, 0.0)
        origin = np.arange(start, stop) + offsets[choice]
        predecessor[start:stop] = np.where(gained & (origin >= 0), origin, -1)
    return padded[reach:], predecessor


def _backtrack(local: FloatArray, score: FloatArray, predecessor: NDArray[np.int64]) -> FloatArray:
    """The beat frames, without weak ones at either end (Ellis 2007: half the root mean square of the beats)."""
    peaks = np.flatnonzero((score[1:-1] > score[:-2]) & (score[1:-1] >= score[2:])) + 1
    if not len(peaks):
        return np.zeros(0)
    strong = peaks[score[peaks] >= 0.5 * float(np.median(score[peaks]))]
    beats = [int(strong[-1])]
    while predecessor[beats[-1]] >= 0:
        beats.append(int(predecessor[beats[-1]]))
    frames = np.array(beats[::-1])
    heard = np.flatnonzero(local[frames] >= 0.5 * float(np.sqrt(np.mean(local[frames] ** 2))))
    return frames[heard[0] : heard[-1] + 1].astype(np.float64) if len(heard) else np.zeros(0)
