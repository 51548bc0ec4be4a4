"""Technical faults of a recording, found by fixed rules: no training, no chance.

Belongs here: the `Anomaly` record, the family that measures samples, the thresholds, and the rules that turn measures
into anomalies. Does not belong here: how a measure is taken (`defect_measures`), outliers against a catalogue (a
trained model), decoding.

Measuring and judging are apart on purpose: the measures are stored, so that another threshold needs no second decode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis.defect_measures import (
    CHUNK_SECONDS,
    QUIET,
    Ceiling,
    DefectMeasures,
    Dropout,
    FlatTops,
    StereoSums,
    UpperEdge,
    find_dropouts,
    quiet_runs,
)
from ai_assets.audio_analysis.key_profiles import key_distance, parse_key
from ai_assets.audio_analysis.loudness import Loudness
from ai_assets.audio_analysis.rhythm import Rhythm
from ai_assets.audio_analysis.tonality import Tonality

Severity = Literal["info", "warning", "error"]
LOSSLESS_FORMATS = frozenset({"WAV", "FLAC", "AIFF", "ALAC"})
# Without 32 kHz: what ends near 16 kHz was far more often a lossy file.
_RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)


@dataclass(frozen=True)
class Anomaly:
    """One finding: what, how bad, where (seconds; None = everywhere), the measured value, the threshold it passed."""

    kind: str
    severity: Severity
    time: float | None
    value: float
    threshold: float
    suggested_action: str


@dataclass(frozen=True)
class TagClaims:
    """What a file's tags claim about its sound; None where they say nothing."""

    bpm: float | None = None
    key: str | None = None
    duration_seconds: float | None = None


class DecodeFacts(Protocol):
    """What the rules need of the decode report of a file."""

    @property
    def status(self) -> str: ...
    @property
    def detected_format(self) -> str | None: ...
    @property
    def declared_seconds(self) -> float | None: ...
    @property
    def duration_seconds(self) -> float: ...
    @property
    def nonfinite_samples(self) -> int: ...


@dataclass(frozen=True)
class DefectThresholds:
    """Where a measure becomes a finding. Shares are 0..1, levels in dB, the rest in seconds or Hz."""

    clipped_share: float = 1e-6
    dropouts: int = 1
    silent_share: float = 0.25
    gap_seconds: float = 1.0
    leading_silence: float = 1.0
    trailing_silence: float = 3.0
    dc_offset: float = 1e-3
    side_to_mid_db: float = -60.0
    correlation: float = -0.9
    cutoff_hz: float = 17_000.0
    cutoff_drop_db: float = 30.0
    quietest_lufs: float = -40.0
    loudest_lufs: float = -5.0
    true_peak_dbtp: float = 0.0
    tempo_tolerance: float = 0.04
    tempo_confidence: float = 0.4
    key_confidence: float = 0.5
    duration_share: float = 0.02
    duration_seconds: float = 2.0


@dataclass(frozen=True)
class Evidence:
    """All that is known about one recording; whatever is None is not judged."""

    measures: DefectMeasures
    report: DecodeFacts | None = None
    loudness: Loudness | None = None
    rhythm: Rhythm | None = None
    tonality: Tonality | None = None
    tags: TagClaims = field(default_factory=TagClaims)


class DefectFamily:
    """Measures native samples block by block; answers with `DefectMeasures`."""

    name = "defects"
    version = "1"

    def start(self, sample_rate: int, channels: int) -> None:
        """Begin a recording of `channels` channels at `sample_rate` Hz."""
        self._rate, self._channels, self._frames = sample_rate, channels, 0
        self._chunk = max(1, round(CHUNK_SECONDS * sample_rate))
        self._rest = np.zeros((0, channels), dtype=np.float32)
        self._peaks: list[NDArray[np.float32]] = []
        self._flat_tops, self._above, self._below = FlatTops(), Ceiling(1), Ceiling(-1)
        self._sums = StereoSums(channels)
        self._edge = UpperEdge(sample_rate, channels)

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next samples (n, channels), finite float32."""
        if not len(samples):
            return
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        highest, lowest = self._push_peaks(samples)
        flat = samples.reshape(-1)
        self._above.push(flat, highest, self._channels, self._frames)
        self._below.push(flat, lowest, self._channels, self._frames)
        self._flat_tops.push(samples, max(highest, -lowest), self._frames)
        self._sums.push(samples)
        self._edge.push(samples, self._frames)
        self._frames += len(samples)

    def finish(self) -> DefectMeasures:
        """The measures of everything pushed."""
        if len(self._rest):
            self._peaks.append(np.array([np.abs(self._rest).max()], dtype=np.float32))
        peaks = np.concatenate(self._peaks) if self._peaks else np.zeros(0, dtype=np.float32)
        seconds = self._chunk / self._rate
        clipped, first = self._clipping()
        dropouts = find_dropouts(peaks)
        leading, trailing, gap, gap_time = _silences(peaks)
        side_to_mid, correlation = self._sums.stereo()
        cutoff, drop = self._edge.result()
        return DefectMeasures(
            sample_rate=self._rate,
            channels=self._channels,
            duration_seconds=self._frames / self._rate,
            peak=float(peaks.max(initial=0.0)),
            clipped_share=clipped / max(self._frames * self._channels, 1),
            clip_time=None if first is None else first / self._rate,
            dropouts=tuple(Dropout(start * seconds, (end - start) * seconds) for start, end in dropouts[:100]),
            dropout_count=len(dropouts),
            silent_share=float(np.mean(peaks < QUIET)) if len(peaks) else 1.0,
            leading_silence=leading * seconds,
            trailing_silence=trailing * seconds,
            longest_gap=gap * seconds,
            gap_time=None if gap_time is None else gap_time * seconds,
            dc_offset=self._sums.offset(),
            side_to_mid_db=side_to_mid,
            correlation=correlation,
            cutoff_hz=cutoff,
            cutoff_drop_db=drop,
        )

    def _clipping(self) -> tuple[int, int | None]:
        """Samples cut off and the first frame: flat tops, or the ceilings where tops are too short to be flat."""
        flat, first = self._flat_tops.result()
        ceilings = [each.result() for each in (self._above, self._below)]
        on = sum(count for count, _ in ceilings)
        frames = [frame for frame in (first, *(place for _, place in ceilings)) if frame is not None]
        return max(flat, on), min(frames, default=None)

    def _push_peaks(self, samples: NDArray[np.float32]) -> tuple[float, float]:
        """Peaks of whole chunks; chunks do not end where blocks do. Returns the extremes of these samples."""
        missing = (self._chunk - len(self._rest)) % self._chunk if len(self._rest) else 0
        if missing > len(samples):
            self._rest = np.concatenate([self._rest, samples])
            return float(samples.max()), float(samples.min())
        if missing:
            head = np.concatenate([self._rest, samples[:missing]])
            self._peaks.append(np.array([np.abs(head).max()], dtype=np.float32))
        whole = missing + (len(samples) - missing) // self._chunk * self._chunk
        self._rest = samples[whole:].copy()
        outside = np.concatenate([samples[:missing], self._rest])
        extremes = [(float(outside.max(initial=0.0)), float(outside.min(initial=0.0)))]
        if whole > missing:
            middle = samples[missing:whole].reshape(-1)
            starts = np.arange(0, len(middle), self._chunk * self._channels)
            high, low = np.maximum.reduceat(middle, starts), np.minimum.reduceat(middle, starts)
            self._peaks.append(np.maximum(high, -low))
            extremes.append((float(high.max()), float(low.min())))
        return max(high for high, _ in extremes), min(low for _, low in extremes)


def measure_defects(samples: NDArray[np.float32], sample_rate: int) -> DefectMeasures:
    """The measures of samples (n,) or (n, channels), full scale 1.0."""
    frames = np.asarray(samples, dtype=np.float32)
    frames = frames[:, None] if frames.ndim == 1 else frames
    family = DefectFamily()
    family.start(sample_rate, frames.shape[1])
    for start in range(0, len(frames), 65_536):
        family.push(frames[start : start + 65_536])
    return family.finish()


def find_anomalies(evidence: Evidence, thresholds: DefectThresholds | None = None) -> tuple[Anomaly, ...]:
    """Every fault that the evidence shows, errors first."""
    limits = thresholds or DefectThresholds()
    rules = (_decode_faults, _silence, _sample_faults, _stereo_faults, _bandwidth, _level_faults, _tag_faults)
    found = [anomaly for rule in rules for anomaly in rule(evidence, limits)]
    rank = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda anomaly: rank[anomaly.severity]))


def _decode_faults(evidence: Evidence, limits: DefectThresholds) -> Iterator[Anomaly]:
    report = evidence.report
    if report is None:
        return
    declared, read = report.declared_seconds, report.duration_seconds
    if report.status == "partial":
        expected = declared if declared is not None and declared > read else read
        yield Anomaly("truncation", "error", read, read, expected, "Fetch the file again: it ends early or is damaged.")
    if report.nonfinite_samples:
        action = "Export the file again: it holds samples that are no numbers; they were read as silence."
        yield Anomaly("nonfinite_samples", "error", None, float(report.nonfinite_samples), 0.0, action)


def _silence(evidence: Evidence, limits: DefectThresholds) -> Iterator[Anomaly]:
    measures = evidence.measures
    if measures.peak < QUIET:
        action = "Replace the file: it holds no sound."
        yield Anomaly("silence", "error", 0.0, measures.silent_share, limits.silent_share, action)
        return
    if measures.silent_share >= limits.silent_share:
        action = "Listen: a large part of the recording is silent."
        yield Anomaly("silence", "warning", measures.gap_time, measures.silent_share, limits.silent_share, action)
    elif measures.longest_gap >= limits.gap_seconds:
        action = "Listen at this place: the sound stops and comes back (a hidden track, or lost audio)."
        yield Anomaly("silence", "warning", measures.gap_time, measures.longest_gap, limits.gap_seconds, action)
    if measures.leading_silence >= limits.leading_silence:
        value = measures.leading_silence
        yield Anomaly("leading_silence", "info", 0.0, value, limits.leading_silence, "Trim the start.")
    if measures.trailing_silence >= limits.trailing_silence:
        value, place = measures.trailing_silence, measures.duration_seconds - measures.trailing_silence
        yield Anomaly("trailing_silence", "info", place, value, limits.trailing_silence, "Trim the end.")


def _sample_faults(evidence: Evidence, limits: DefectThresholds) -> Iterator[Anomaly]:
    measures = evidence.measures
    if measures.clipped_share >= limits.clipped_share:
        severity: Severity = "error" if measures.clipped_share >= 1000 * limits.clipped_share else "warning"
        action = "Ask for a master that is not clipped, or repair it with a declipper."
        yield Anomaly("clipping", severity, measures.clip_time, measures.clipped_share, limits.clipped_share, action)
    if measures.dropout_count >= limits.dropouts:
        first = measures.dropouts[0]
        action = f"Fetch or rip the file again: {measures.dropout_count} short gaps cut into the sound."
        yield Anomaly("dropout", "error", first.time, float(measures.dropout_count), float(limits.dropouts), action)
    # The mean of a shorter sound is a part of its wave.
    if abs(measures.dc_offset) >= limits.dc_offset and measures.duration_seconds >= 1.0:
        severity = "warning" if abs(measures.dc_offset) >= 10 * limits.dc_offset else "info"
        action = "Remove the offset with a high pass below 20 Hz."
        yield Anomaly("dc_offset", severity, None, measures.dc_offset, limits.dc_offset, action)


def _stereo_faults(evidence: Evidence, limits: DefectThresholds) -> Iterator[Anomaly]:
    measures = evidence.measures
    if measures.side_to_mid_db is None or measures.correlation is None:
        return
    if measures.side_to_mid_db <= limits.side_to_mid_db:
        action = "Store it as mono, or look for the stereo master: both channels are the same."
        yield Anomaly("mono_as_stereo", "info", None, measures.side_to_mid_db, limits.side_to_mid_db, action)
    if measures.correlation <= limits.correlation:
        action = "Invert one channel: the two cancel each other on a mono loudspeaker."
        yield Anomaly("phase_inversion", "error", None, measures.correlation, limits.correlation, action)


def _bandwidth(evidence: Evidence, limits: DefectThresholds) -> Iterator[Anomaly]:
    measures, report = evidence.measures, evidence.report
    lossless = report is not None and report.detected_format in LOSSLESS_FORMATS
    if not lossless or measures.cutoff_hz is None or measures.cutoff_drop_db is None:
        return
    if measures.cutoff_drop_db < limits.cutoff_drop_db:
        return
    cutoff, rate = measures.cutoff_hz, measures.sample_rate
    # A converter's filter ends between nine tenths of the old rate's Nyquist frequency and that frequency.
    older = [each for each in _RATES if each <= 0.75 * rate and 0.88 * each / 2 <= cutoff <= 1.03 * each / 2]
    if older:
        action = f"Look for the original: nothing is heard above what {older[0]} Hz can hold; the rate was raised."
        yield Anomaly("upsampled", "warning", None, cutoff, older[0] / 2.0, action)
    elif cutoff <= limits.cutoff_hz and rate >= 2.2 * limits.cutoff_hz:
        action = "Look for the original: this lossless file seems to be made from a lossy one."
        yield Anomaly("transcoded", "warning", None, cutoff, limits.cutoff_hz, action)


def _level_faults(evidence: Evidence, limits: DefectThresholds) -> Iterator[Anomaly]:
    loudness = evidence.loudness
    if loudness is None:
        return
    if loudness.integrated_lufs is not None:
        value = loudness.integrated_lufs
        if value < limits.quietest_lufs:
            action = "Raise the gain, or look for a better transfer."
            yield Anomaly("loudness_out_of_range", "warning", None, value, limits.quietest_lufs, action)
        elif value > limits.loudest_lufs:
            action = "Lower the gain before playback, or ask for a less limited master."
            yield Anomaly("loudness_out_of_range", "warning", None, value, limits.loudest_lufs, action)
    if loudness.true_peak_dbtp is not None and loudness.true_peak_dbtp > limits.true_peak_dbtp:
        action = "Leave headroom when encoding: the wave exceeds full scale between samples."
        yield Anomaly("true_peak", "info", None, loudness.true_peak_dbtp, limits.true_peak_dbtp, action)


def _tag_faults(evidence: Evidence, limits: DefectThresholds) -> Iterator[Anomaly]:
    rhythm, tonality = evidence.rhythm, evidence.tonality
    yield from tag_disagreements(
        evidence.tags,
        seconds=evidence.measures.duration_seconds,
        tempo=(rhythm.tempo_bpm, rhythm.tempo_confidence) if rhythm is not None else (None, None),
        key=(tonality.key, tonality.key_confidence) if tonality is not None else (None, None),
        limits=limits,
    )


def tag_disagreements(
    tags: TagClaims,
    *,
    seconds: float,
    tempo: tuple[float | None, float | None],
    key: tuple[str | None, float | None],
    limits: DefectThresholds | None = None,
) -> Iterator[Anomaly]:
    """Where tags and sound disagree (`tag_duration`, `tag_tempo`, `tag_key`); `tempo` and `key` with confidence."""
    limits = limits or DefectThresholds()
    if tags.duration_seconds is not None:
        allowed = max(limits.duration_seconds, limits.duration_share * tags.duration_seconds)
        if abs(seconds - tags.duration_seconds) > allowed:
            action = f"Check the file: its tags say {tags.duration_seconds:g} s."
            yield Anomaly("tag_duration", "warning", None, seconds, tags.duration_seconds, action)
    bpm, heard = tags.bpm, tempo[0]
    if bpm is not None and bpm > 0 and heard is not None:
        sure = (tempo[1] or 0.0) >= limits.tempo_confidence
        if sure and not _same_tempo(heard, bpm, limits.tempo_tolerance):
            yield Anomaly("tag_tempo", "info", None, heard, bpm, f"Check the tempo tag: it says {bpm:g} bpm.")
    claimed = parse_key(tags.key) if tags.key else None
    if claimed is not None and key[0] is not None and (key[1] or 0.0) >= limits.key_confidence:
        distance = key_distance(key[0], claimed)
        if distance > 1:
            action = f"Check the key tag: it says {claimed}, the sound {key[0]}."
            yield Anomaly("tag_key", "info", None, float(distance), 1.0, action)


def _same_tempo(one: float, other: float, tolerance: float) -> bool:
    """Whether two tempi agree up to a factor of 2, 3 or 3/2 either way: listeners differ by these."""
    factors = (1.0, 2.0, 0.5, 3.0, 1 / 3, 1.5, 2 / 3)
    return any(abs(math.log(one / (other * factor))) <= math.log1p(tolerance) for factor in factors)


def _silences(peaks: NDArray[np.float32]) -> tuple[int, int, int, int | None]:
    """Chunks of silence before, after and, at the longest, inside the sound, and where that begins."""
    starts, ends = quiet_runs(peaks, QUIET)
    if not len(starts):
        return 0, 0, 0, None
    if ends[0] - starts[0] == len(peaks):
        return len(peaks), len(peaks), 0, None
    leading = int(ends[0]) if starts[0] == 0 else 0
    trailing = int(len(peaks) - starts[-1]) if ends[-1] == len(peaks) else 0
    inner = (starts > 0) & (ends < len(peaks))
    if not inner.any():
        return leading, trailing, 0, None
    lengths = np.where(inner, ends - starts, 0)
    longest = int(np.argmax(lengths))
    return leading, trailing, int(lengths[longest]), int(starts[longest])
