"""Analysis of single files, without a catalogue: what `ai-assets analyze` and `analyze_audio_task` give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ai_assets.audio_analysis.batch_pass import CPU_SECONDS, MEMORY_BYTES, WALL_SECONDS, plain
from ai_assets.audio_analysis.decode import failure_report
from ai_assets.audio_analysis.one_pass import FAMILIES, TrackAnalysis, analyse_for_pool
from resources.isolation import LimitedPool


def analyse_paths(
    paths: Sequence[str],
    *,
    workers: int,
    features: bool = False,
    only_features: bool = False,
    cache: Path | None = None,
) -> Iterator[dict[str, Any]]:
    """One mapping per file, in the order given, keys as the interface promises; no file stops the others."""
    families = ["features"] if only_features else [name for name in FAMILIES if features or name != "features"]
    families = [name for name in families if name != "log_mel"]
    item = {"families": families, "cache_dir": str(cache) if cache is not None else None}
    describe = partial(describe_features if only_features else describe_track, features=features)
    with LimitedPool(
        max(1, min(workers, len(paths))),
        memory_bytes=MEMORY_BYTES,
        cpu_seconds=CPU_SECONDS,
        wall_seconds=WALL_SECONDS,
        preload=("ai_assets.audio_analysis.one_pass",),
    ) as pool:
        for outcome in pool.map(analyse_for_pool, [{**item, "file": path} for path in paths]):
            path = paths[outcome.item_index]
            if outcome.status == "ok":
                analysis: TrackAnalysis = outcome.value
            else:
                analysis = TrackAnalysis(failed_report(outcome))
            yield describe(path, analysis)


def failed_report(outcome: Any) -> Any:
    """The report of a file whose worker failed; a fault of the storage becomes a refusal that says so."""
    from ai_assets.audio_analysis.decode import DecodeReport
    from resources.roots import StorageFault

    try:
        return failure_report(outcome)
    except StorageFault as fault:
        return DecodeReport("refused", f"the file cannot be read: {fault.strerror or fault}")


def describe_track(path: str, analysis: TrackAnalysis, *, features: bool = False) -> dict[str, Any]:
    """Everything about one file, as plain values."""
    report, rhythm, tonality, loudness = analysis.report, analysis.rhythm, analysis.tonality, analysis.loudness
    answer: dict[str, Any] = {
        "path": path,
        "status": report.status,
        "reason": report.reason,
        "detected_format": report.detected_format,
        "duration_seconds": report.duration_seconds,
        "sample_rate": report.sample_rate,
        "channels": report.channels,
        "tempo_bpm": rhythm.tempo_bpm if rhythm else None,
        "tempo_confidence": rhythm.tempo_confidence if rhythm else None,
        "tempo_alternative_bpm": rhythm.tempo_alternative_bpm if rhythm else None,
        "beats_seconds": list(rhythm.beats_seconds) if rhythm else [],
        "key": tonality.key if tonality else None,
        "key_confidence": tonality.key_confidence if tonality else None,
        "loudness_lufs": loudness.integrated_lufs if loudness else None,
        "loudness_range_lu": loudness.range_lu if loudness else None,
        "true_peak_dbtp": loudness.true_peak_dbtp if loudness else None,
        "onset_rate_hz": rhythm.onset_rate_hz if rhythm else None,
        "energy_index": analysis.energy_index,
        "danceability_index": analysis.danceability.index if analysis.danceability else None,
        "fingerprint": analysis.fingerprint.hex() if analysis.fingerprint else None,
        "anomalies": [plain(item) for item in analysis.anomalies],
        "null_reasons": dict(analysis.reasons),
        "feature_version": FAMILIES["features"],
    }
    if features:
        answer["features"] = named_features(analysis)
    return dict(plain(answer))


def describe_features(path: str, analysis: TrackAnalysis, *, features: bool = True) -> dict[str, Any]:
    """The 518 features of one file and nothing else."""
    return {
        "path": path,
        "status": analysis.report.status,
        "reason": analysis.report.reason or analysis.reasons.get("features", ""),
        "feature_version": FAMILIES["features"],
        "features": named_features(analysis),
    }


def named_features(analysis: TrackAnalysis) -> dict[str, float] | None:
    """Name to value of the 518 features, None where there are none."""
    from ai_assets.audio_analysis.features import FEATURE_NAMES

    if analysis.features is None:
        return None
    return dict(zip(FEATURE_NAMES, (float(value) for value in analysis.features), strict=True))
