"""Everything that is computed from the sound of one file, with one decode.

Belongs here: feeding the families and gathering their answers in one `TrackAnalysis`, for a notebook (`analyse`) and
for worker processes (`analyse_for_pool`). Does not belong here: how a family computes its answer, storing it, models.

>>> analyse("track.mp3", families=frozenset({"features"})).features     # doctest: +SKIP

Up to twenty minutes are held as one mono signal; longer files go through in segments of that length, so that three
hours need no more memory than 512 MB.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ai_assets.audio_analysis import features as features_module
from ai_assets.audio_analysis.cqt import CONTEXT_FRAMES
from ai_assets.audio_analysis.danceability import Danceability, DanceabilityFamily
from ai_assets.audio_analysis.decode import AudioReader, AudioRefused, DecodeLimits, DecodeReport, open_audio
from ai_assets.audio_analysis.defect_measures import DefectMeasures
from ai_assets.audio_analysis.defects import Anomaly, DefectFamily, Evidence, TagClaims, find_anomalies
from ai_assets.audio_analysis.features import FeatureFamily
from ai_assets.audio_analysis.fingerprint import FingerprintFamily
from ai_assets.audio_analysis.log_mel import LogMelFamily
from ai_assets.audio_analysis.loudness import Loudness, LoudnessFamily, energy_index
from ai_assets.audio_analysis.rhythm import Rhythm, RhythmFamily
from ai_assets.audio_analysis.spectrum import MonoResampler, frame_count, spectrum_blocks
from ai_assets.audio_analysis.tables import HOP_LENGTH, SAMPLE_RATE, spectrum_tables
from ai_assets.audio_analysis.tonality import Tonality, TonalityFamily
from ai_assets.data_processing.tags import read_tags
from resources.roots import PathRefused, open_any, open_confined

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "features": FeatureFamily.version,
        "rhythm": f"{RhythmFamily.version}.{DanceabilityFamily.version}",
        "tonality": TonalityFamily.version,
        "loudness": LoudnessFamily.version,
        "defects": DefectFamily.version,
        "fingerprint": FingerprintFamily.version,
        "log_mel": LogMelFamily.version,
    }
)
ALL = frozenset(FAMILIES)
SEGMENT_FRAMES = 1200 * SAMPLE_RATE // HOP_LENGTH
WAVEFORM_POINTS = 1000
_FIRST_ROOM = 1 << 20
_SPECTRAL = frozenset({"features", "rhythm", "tonality", "fingerprint", "log_mel"})


@dataclass(frozen=True)
class Waveform:
    """Envelope of the mono mix for a picture: lowest and highest sample (points,) of `seconds_per_point` each."""

    lowest: NDArray[np.float32]
    highest: NDArray[np.float32]
    seconds_per_point: float


@dataclass(frozen=True)
class TrackAnalysis:
    """What one decode of one file gave. A family that was not asked for, or has no answer, is None.

    Attributes
    ----------
    report : how the decode ended; everything below describes what was read.
    families : the families that were asked for.
    features : fma518 (518,) float64 in the order of `features.FEATURE_NAMES`.
    danceability, energy_index : with the family "rhythm"; the energy index also needs "loudness".
    fingerprint : bytes for `data_processing.fingerprint_match`.
    log_mel : (frames, 64) float16 in dB.
    anomalies : errors first; without the family "defects" there are none.
    claims : what the tags say of the sound, as it was compared with it.
    cpu_seconds : what the analysis cost.
    reasons : why a value is null, by family or "danceability".
    """

    report: DecodeReport
    families: frozenset[str] = frozenset()
    features: NDArray[np.float64] | None = None
    rhythm: Rhythm | None = None
    danceability: Danceability | None = None
    tonality: Tonality | None = None
    loudness: Loudness | None = None
    energy_index: float | None = None
    defects: DefectMeasures | None = None
    fingerprint: bytes | None = None
    log_mel: NDArray[np.float16] | None = None
    waveform: Waveform | None = None
    anomalies: tuple[Anomaly, ...] = ()
    claims: TagClaims = field(default_factory=TagClaims)
    cpu_seconds: float = 0.0
    reasons: Mapping[str, str] = field(default_factory=dict)


def analyse(
    path_or_reader: str | os.PathLike[str] | AudioReader,
    *,
    families: frozenset[str] = ALL,
    cache_dir: Path | None = None,
    claims: TagClaims | None = None,
    limits: DecodeLimits | None = None,
) -> TrackAnalysis:
    """Analyse one file with one decode.

    Parameters
    ----------
    path_or_reader : a path anywhere, or a reader of `open_audio`, which stays the caller's to close.
    families : which of `FAMILIES` to compute; with "features" alone the audio hash and the FLAC MD5 are left out.
    cache_dir : folder for prepared tables; None keeps them in memory.
    claims : what the tags say, for the anomalies of disagreement.
    limits : limits of the decode of a path.

    Returns
    -------
    A file that is refused gives an analysis with its report only.

    Raises
    ------
    ValueError : an unknown family. StorageFault : the storage failed.
    """
    unknown = sorted(families - ALL)
    if unknown:
        raise ValueError(f"unknown audio families {unknown}; there are {sorted(ALL)}")
    if isinstance(path_or_reader, AudioReader):
        return _analyse(path_or_reader, families, cache_dir, claims or TagClaims())
    checked = families != {"features"}
    try:
        with open_audio(path_or_reader, limits=limits, hash_audio=checked, verify_md5=checked) as reader:
            return _analyse(reader, families, cache_dir, claims or TagClaims())
    except AudioRefused as error:
        return TrackAnalysis(error.report, families)


def analyse_for_pool(item: Mapping[str, Any]) -> TrackAnalysis:
    """`analyse` for `resources.isolation.LimitedPool`: plain values in, one picklable value out.

    Parameters
    ----------
    item : either "root" and "path" (relative to it, opened confined) or "file" (a path anywhere); optional "families"
        (a list, all if missing), "cache_dir" and "limits" (fields of `DecodeLimits`; what lies beyond is not read:
        status "limit").

    Raises
    ------
    StorageFault : the storage failed, which says nothing about the file.
    """
    families = frozenset(item["families"]) if item.get("families") is not None else ALL
    cache_dir = Path(item["cache_dir"]) if item.get("cache_dir") else None
    limits = DecodeLimits(**item.get("limits", {}))
    checked = families != {"features"}
    try:
        file = open_any(item["file"]) if item.get("file") else open_confined(Path(item["root"]), item["path"])
    except PathRefused as error:
        return TrackAnalysis(DecodeReport("refused", error.reason), families)
    with file:
        claims = _claims(file) if checked else TagClaims()
        try:
            reader = open_audio(file, limits=limits, hash_audio=checked, verify_md5=checked)
        except AudioRefused as error:
            return TrackAnalysis(error.report, families)
        with reader:
            return analyse(reader, families=families, cache_dir=cache_dir, claims=claims)


def _claims(file: BinaryIO) -> TagClaims:
    tags = read_tags(file)
    file.seek(0)
    return TagClaims(bpm=tags.bpm, key=tags.key)


def _analyse(reader: AudioReader, families: frozenset[str], cache_dir: Path | None, claims: TagClaims) -> TrackAnalysis:
    begin = time.process_time()
    rate, channels = reader.info.sample_rate, reader.info.channels
    native: list[Any] = []
    loudness, defects, danceability = LoudnessFamily(), DefectFamily(), DanceabilityFamily()
    for family, name in ((loudness, "loudness"), (defects, "defects"), (danceability, "rhythm")):
        if name in families:
            family.start(rate, channels)
            native.append(family)
    spectral = _SpectralPass(families, cache_dir) if families & _SPECTRAL else None
    resampler = MonoResampler(rate, channels)
    for block in reader.blocks():
        for family in native:
            family.push(block)
        if spectral is not None:
            spectral.push(resampler.push(block))
    found: dict[str, Any] = {}
    if spectral is not None:
        spectral.push(resampler.finish())
        found = spectral.finish()
    if "loudness" in families:
        found["loudness"] = loudness.finish()
    if "rhythm" in families:
        found["danceability"] = danceability.finish()
    if "defects" in families:
        found["defects"] = defects.finish()
    gathered = _gathered(reader.report, families, found, claims)
    return replace(gathered, cpu_seconds=time.process_time() - begin)


def _gathered(
    report: DecodeReport, families: frozenset[str], found: dict[str, Any], claims: TagClaims
) -> TrackAnalysis:
    reasons: dict[str, str] = found.pop("reasons", {})
    for name in ("rhythm", "danceability", "tonality", "loudness"):
        value = found.get(name)
        if value is not None and value.reason:
            reasons[name] = value.reason
    loudness, rhythm, measures = found.get("loudness"), found.get("rhythm"), found.get("defects")
    anomalies: tuple[Anomaly, ...] = ()
    if measures is not None:
        anomalies = find_anomalies(Evidence(measures, report, loudness, rhythm, found.get("tonality"), claims))
    energy = None
    if loudness is not None and rhythm is not None:
        energy = energy_index(
            loudness_lufs=loudness.integrated_lufs,
            onset_rate_hz=rhythm.onset_rate_hz,
            dynamic_range_db=loudness.dynamic_range_db,
        )
    return TrackAnalysis(
        report, families, energy_index=energy, anomalies=anomalies, claims=claims, reasons=reasons, **found
    )


class _SpectralPass:
    """Collects the canonical signal and runs the spectral families over it, a segment at a time."""

    def __init__(self, families: frozenset[str], cache_dir: Path | None) -> None:
        self._features = None
        if families & {"features", "tonality"}:
            self._features = FeatureFamily(cache_dir=cache_dir, chroma_only="features" not in families)
        self._wanted = families
        self._rhythm, self._tonality = RhythmFamily(), TonalityFamily()
        self._fingerprint, self._log_mel = FingerprintFamily(), LogMelFamily()
        pairs = (("rhythm", self._rhythm), ("tonality", self._tonality), ("fingerprint", self._fingerprint))
        self._others: list[Any] = [family for name, family in (*pairs, ("log_mel", self._log_mel)) if name in families]
        # It grows to a segment and its context and is moved on from there: no list of pieces has to be joined.
        self._room = (SEGMENT_FRAMES + 2 * CONTEXT_FRAMES) * HOP_LENGTH
        self._signal = np.empty(_FIRST_ROOM, dtype=np.float32)
        self._filled, self._offset, self._next_frame, self._peak = 0, 0, 0, 0.0
        self._envelope: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []

    def push(self, samples: NDArray[np.float32]) -> None:
        """Take the next canonical samples (n,)."""
        while len(samples):
            part = samples[: self._room - self._filled]
            if self._filled + len(part) > len(self._signal):
                grown = np.empty(min(self._room, 4 * len(self._signal)), dtype=np.float32)
                grown[: self._filled] = self._signal[: self._filled]
                self._signal = grown
            self._signal[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            samples = samples[len(part) :]
            if self._filled == self._room and len(samples):
                # Frames within the context of the end wait for what comes after them.
                self._segment((self._offset + self._filled) // HOP_LENGTH - CONTEXT_FRAMES, last=False)
                kept = (self._next_frame - CONTEXT_FRAMES) * HOP_LENGTH - self._offset
                self._signal[: self._filled - kept] = self._signal[kept : self._filled].copy()
                self._offset += kept
                self._filled -= kept

    def finish(self) -> dict[str, Any]:
        """The answers by field of `TrackAnalysis`, and "reasons"."""
        total = self._offset + self._filled
        short = total < features_module.SHORTEST_SAMPLES
        self._segment(frame_count(total), last=True, transform=not short)
        silent = self._peak < features_module.SILENT_PEAK
        found: dict[str, Any] = {"waveform": self._waveform(), "reasons": {}}
        if "rhythm" in self._wanted:
            found["rhythm"] = self._rhythm.finish()
        if "tonality" in self._wanted and self._features is not None:
            found["tonality"] = self._tonality.finish(None if silent else self._features.chroma_cqt_mean)
        if "fingerprint" in self._wanted:
            found["fingerprint"] = self._fingerprint.finish() or None
            if silent:
                found["fingerprint"], found["reasons"]["fingerprint"] = None, features_module.SILENT
            elif found["fingerprint"] is None:
                found["reasons"]["fingerprint"] = "shorter than twelve frames (0.3 s)"
        if "log_mel" in self._wanted:
            found["log_mel"] = self._log_mel.finish()
        if "features" in self._wanted and self._features is not None:
            if silent or short:
                found["reasons"]["features"] = features_module.SILENT if silent else features_module.TOO_SHORT
            else:
                del self._signal
                found["features"] = self._features.finish()
        return found

    def _segment(self, stop: int, *, last: bool, transform: bool = True) -> None:
        signal, start = self._signal[: self._filled], self._next_frame
        for block in spectrum_blocks(signal, start, stop, self._offset, spectrum_tables()):
            if self._features is not None:
                self._features.push(block)
            for family in self._others:
                family.push(block)
        if self._features is not None and transform:
            self._features.close_segment(signal, start, stop, self._offset, last=last)
        own = signal[start * HOP_LENGTH - self._offset : None if last else stop * HOP_LENGTH - self._offset]
        if len(own):
            whole = len(own) // HOP_LENGTH * HOP_LENGTH
            for part in (own[:whole].reshape(-1, HOP_LENGTH), own[None, whole:]):
                if part.size:
                    self._envelope.append((part.min(axis=1), part.max(axis=1)))
                    self._peak = max(self._peak, float(part.max()), -float(part.min()))
        self._next_frame = stop

    def _waveform(self) -> Waveform | None:
        if not self._envelope:
            return None
        lowest, highest = (np.concatenate(each) for each in zip(*self._envelope, strict=True))
        group = -(-len(lowest) // WAVEFORM_POINTS)
        starts = np.arange(0, len(lowest), group)
        return Waveform(
            np.minimum.reduceat(lowest, starts), np.maximum.reduceat(highest, starts), group * HOP_LENGTH / SAMPLE_RATE
        )
