"""From tables to trained audio models: which rows a model may learn from, and what is reported of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.audio_analysis import plots
from ai_assets.audio_analysis.genre_classifier import GenreClassifier, TooFewLabels
from ai_assets.audio_analysis.genre_classifier import fit as fit_genre
from ai_assets.audio_analysis.outlier_detector import OutlierDetector, TooFewTracks
from ai_assets.audio_analysis.outlier_detector import fit as fit_outlier
from ai_assets.audio_analysis.track_embedder import TrackEmbedder
from ai_assets.audio_analysis.track_embedder import fit as fit_embedding
from ai_assets.model_training.training_run import Trained

if TYPE_CHECKING:
    import pandas as pd

LEAST_TRACKS = 4


@dataclass(frozen=True)
class TrainingData:
    """Rows to learn from: features (n, 518), genre tags (None where a file has none), artists as groups."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def training_data(features: pd.DataFrame, quality: pd.DataFrame, manifest: pd.DataFrame) -> TrainingData:
    """One row per recording, its genre and artist from the tags of the first file that holds it."""
    tags = quality[["batch", "root", "path", "audio_hash"]].merge(
        manifest[["batch", "root", "path", "genre", "artist"]], on=["batch", "root", "path"]
    )
    tags = tags.dropna(subset=["audio_hash"]).drop_duplicates("audio_hash")
    rows = features.drop_duplicates("audio_hash").merge(
        tags[["audio_hash", "genre", "artist"]], on="audio_hash", how="left"
    )
    rows = rows.sort_values("audio_hash", kind="stable")
    artists = rows["artist"].fillna(rows["audio_hash"])
    labels = rows["genre"].where(rows["genre"].notna(), None)
    matrix = np.array(rows["features"].tolist(), float).reshape(len(rows), -1)
    return TrainingData(matrix, labels.to_numpy(object), artists.to_numpy(str))


def fit_classifier(data: TrainingData, folder: Path) -> Trained | str:
    """Fit on tagged rows, judged by cross-validation grouped by artist."""
    tagged = np.array([label is not None for label in data.labels], bool)
    X, labels, groups = data.features[tagged], data.labels[tagged].astype(str), data.groups[tagged]
    try:
        classifier, report = fit_genre(X, labels, groups)
    except TooFewLabels as error:
        return str(error)
    classifier.save(folder)

    def champion(other: Path) -> np.ndarray | None:
        standing = GenreClassifier.load(other)
        if set(map(str, standing.classes)) != set(map(str, classifier.classes)):
            return None
        kept = np.isin(labels, [str(name) for name in classifier.classes])
        return (standing.predict(X[kept])[1].argmax(1) == _places(standing, labels[kept])).astype(float)

    card = (
        f"# genre_classifier\n\nLearns genres from the tags of {len(X)} recordings, {len(classifier.classes)} classes: "
        f"{', '.join(map(str, classifier.classes))}. Accuracy {report.accuracy:.3f}, macro F1 {report.macro_f1:.3f} by "
        f"cross-validation grouped by artist; majority class {report.majority:.3f}; a random split would claim "
        f"{report.random_accuracy:.3f}.\n\nIt abstains below its threshold. It knows only what the tags call a genre.\n"
    )
    return Trained(
        main_metric="accuracy",
        scores=np.asarray(report.correct, float),
        champion_scores=champion,
        metrics={"accuracy": report.accuracy, "macro_f1": report.macro_f1},
        baselines={"majority": report.majority, "random_split_accuracy": report.random_accuracy},
        params={"rows": len(X), "classes": len(classifier.classes)},
        plots={"confusion.png": plots.confusion(report.confusion, [str(name) for name in report.classes])},
        card=card,
        signature=(X[:2], np.zeros((2, len(classifier.classes)))),
        input_example=X[:1],
    )


def _places(classifier: Any, labels: np.ndarray) -> np.ndarray:
    table = {str(name): place for place, name in enumerate(classifier.classes)}
    return np.array([table[label] for label in labels])


def fit_embedder(data: TrainingData, folder: Path) -> Trained | str:
    """Fit on all rows; judged by whether near neighbours share the genre tag (another artist's tracks only)."""
    if len(data.features) < LEAST_TRACKS:
        return f"an embedding needs at least {LEAST_TRACKS} recordings, there are {len(data.features)}"
    tagged = np.array([label is not None for label in data.labels], bool)
    embedder, metrics = fit_embedding(data.features, data.labels if tagged.any() else None)
    embedder.save(folder)

    def judge(model: TrackEmbedder) -> np.ndarray:
        return neighbour_agreement(model.embed(data.features), data.labels, data.groups)

    standardised = (data.features - data.features.mean(0)) / np.maximum(data.features.std(0), 1e-9)
    raw = neighbour_agreement(standardised, data.labels, data.groups)
    scores = judge(embedder)
    return Trained(
        main_metric="precision_at_5",
        scores=scores,
        champion_scores=lambda other: judge(TrackEmbedder.load(other)),
        metrics={"precision_at_5": float(np.nanmean(scores)) if np.isfinite(scores).any() else 0.0, **metrics},
        baselines={"precision_at_5_raw_features": float(np.nanmean(raw)) if np.isfinite(raw).any() else 0.0},
        params={"rows": len(data.features)},
        card=(
            "# track_embedder\n\nUnit vectors from 518 features. precision_at_5: share of a track's five nearest "
            "neighbours by other artists that carry its genre tag; fitted and judged on the same catalogue.\n"
        ),
        signature=(data.features[:2], embedder.embed(data.features[:2])),
        input_example=data.features[:1],
    )


def neighbour_agreement(vectors: np.ndarray, labels: np.ndarray, groups: np.ndarray, k: int = 5) -> np.ndarray:
    """(n,) share of the k nearest rows of other groups with the same label; NaN without a label."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    cosines[groups[:, None] == groups[None, :]] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    same = labels[order] == labels[:, None]
    usable = np.take_along_axis(cosines, order, axis=1) > -np.inf
    counts = usable.sum(1)
    share = np.divide((same & usable).sum(1), counts, out=np.full(len(labels), np.nan), where=counts > 0)
    share[[label is None for label in labels]] = np.nan
    return share


def fit_outliers(features: np.ndarray, folder: Path) -> Trained | str:
    """Fit on all recordings; judged by how well it tells them from disturbed ones."""
    try:
        detector, metrics = fit_outlier(features)
    except TooFewTracks as error:
        return str(error)
    detector.save(folder)
    rng = np.random.default_rng(0)
    strange = np.take_along_axis(features, np.argsort(rng.random(features.shape), axis=0), axis=0)

    def judge(model: OutlierDetector) -> np.ndarray:
        """Per disturbed row (every feature from another track): share of real rows that it ranks below."""
        real, made = np.sort(model.score(features)), model.score(strange)
        return np.searchsorted(real, made) / len(real)

    scores = judge(detector)
    return Trained(
        main_metric="auroc_shuffled",
        scores=scores,
        champion_scores=lambda other: judge(OutlierDetector.load(other)),
        metrics={"auroc_shuffled": float(scores.mean()), **metrics},
        baselines={"auroc_chance": 0.5},
        params={"rows": len(features)},
        card=(
            "# outlier_detector\n\nHow far a recording lies from the catalogue in the 518 features. It does not see "
            "noise 20 dB below the signal, nor reversed audio (see the module's documentation).\n"
        ),
        signature=(features[:2], detector.score(features[:2])),
        input_example=features[:1],
    )
