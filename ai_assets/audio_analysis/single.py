"""One file, analysed and classified with the champion models: the body of the job `analyze_audio`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ai_assets.audio_analysis.analyze import describe_track, failed_report
from ai_assets.audio_analysis.batch_pass import CPU_SECONDS, MEMORY_BYTES, WALL_SECONDS
from ai_assets.audio_analysis.one_pass import FAMILIES, TrackAnalysis, analyse_for_pool
from resources.isolation import LimitedPool
from resources.platform import Platform

MOST_NAMED = 10


def analyse_one(platform: Platform, audio_path: str, model_version: str) -> dict[str, Any]:
    """Features, anomalies, classification and what explains them; the file goes through a limited worker."""
    item = {"file": audio_path, "families": [name for name in FAMILIES if name != "log_mel"]}
    with LimitedPool(1, memory_bytes=MEMORY_BYTES, cpu_seconds=CPU_SECONDS, wall_seconds=WALL_SECONDS) as pool:
        outcome = next(iter(pool.map(analyse_for_pool, [item])))
    analysis: TrackAnalysis = outcome.value if outcome.status == "ok" else TrackAnalysis(failed_report(outcome))
    described = describe_track(audio_path, analysis, features=True)
    features = described.pop("features")
    classification, explanation, version = _classified(platform, analysis, model_version)
    return {
        "status": described["status"],
        "reason": described["reason"],
        "features": features,
        "anomalies": described.pop("anomalies"),
        "classification": classification,
        "descriptors": described,
        "model_version": version,
        "explainability": explanation,
    }


def _classified(
    platform: Platform, analysis: TrackAnalysis, model_version: str
) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The class with its probability, and what spoke for it; the furthest features from the catalogue beside it."""
    explanation: dict[str, Any] = {"families": dict(FAMILIES)}
    if analysis.features is None:
        reason = analysis.reasons.get("features", analysis.report.reason or "no features")
        return {"genre": None, "because": reason}, {**explanation, "because": reason}, "none"
    from ai_assets.audio_analysis.genre_classifier import GenreClassifier
    from ai_assets.audio_analysis.outlier_detector import OutlierDetector

    row = np.asarray(analysis.features, float)[None, :]
    if platform.registry.champion("outlier_detector") is not None:
        detector = OutlierDetector.load(platform.registry.fetch("outlier_detector"))
        explanation["furthest_features"] = [list(pair) for pair in detector.explain(row[0])][:MOST_NAMED]
    if platform.registry.champion("genre_classifier") is None:
        reason = "no genre classifier yet: it needs two genres with 20 tagged files each"
        return {"genre": None, "because": reason}, {**explanation, "because": reason}, "none"
    wanted = "champion" if model_version == "latest" else model_version
    version = platform.registry.version("genre_classifier", wanted)
    classifier = GenreClassifier.load(platform.registry.fetch("genre_classifier", wanted))
    labels, probabilities = classifier.predict(row)
    explanation["contributions"] = [list(pair) for pair in classifier.explain(row[0])][:MOST_NAMED]
    shares = {str(name): float(value) for name, value in zip(classifier.classes, probabilities[0], strict=True)}
    return {"genre": labels[0], "probabilities": shares}, explanation, version.label
