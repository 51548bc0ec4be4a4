"""From tables to trained audio models: which rows a model may learn from, and what is reported of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.audio_analysis import plots
from ai_assets.audio_analysis.features import feature_matrix
from ai_assets.audio_analysis.genre_classifier import GenreClassifier, TooFewLabels, feature_name
from ai_assets.audio_analysis.genre_classifier import fit as fit_genre
from ai_assets.audio_analysis.outlier_detector import OutlierDetector, TooFewTracks
from ai_assets.audio_analysis.outlier_detector import fit as fit_outlier
from ai_assets.audio_analysis.track_embedder import TrackEmbedder
from ai_assets.audio_analysis.track_embedder import fit as fit_embedding
from ai_assets.data_processing.batches import without_canary
from ai_assets.model_training.guards import calibration, paired_speed
from ai_assets.model_training.training_plots import dependence, importance
from ai_assets.model_training.training_run import Trained

if TYPE_CHECKING:
    import pandas as pd

LEAST_TRACKS = 4
EXPLAINED_ROWS = 200


@dataclass(frozen=True)
class TrainingData:
    """Rows to learn from: features (n, 518), genre tags (None where a file has none), artists as groups."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


def training_data(features: pd.DataFrame, quality: pd.DataFrame, manifest: pd.DataFrame) -> TrainingData:
    """One row per recording, its genre and artist from the tags of the first file that holds it."""
    tags = without_canary(quality)[["batch", "root", "path", "audio_hash"]].merge(
        manifest[["batch", "root", "path", "genre", "artist"]], on=["batch", "root", "path"]
    )
    tags = tags.dropna(subset=["audio_hash"]).drop_duplicates("audio_hash")
    rows = features.drop_duplicates("audio_hash").merge(tags[["audio_hash", "genre", "artist"]], on="audio_hash")
    rows = rows.sort_values("audio_hash", kind="stable")
    artists = rows["artist"].fillna(rows["audio_hash"])
    labels = rows["genre"].where(rows["genre"].notna(), None)
    return TrainingData(feature_matrix(rows["features"]), labels.to_numpy(object), artists.to_numpy(str))


def fit_classifier(data: TrainingData, folder: Path) -> Trained | str:
    """Fit on tagged rows, reported by cross-validation grouped by artist, compared on artists that no twin knows."""
    tagged = np.array([label is not None for label in data.labels], bool)
    X, labels, groups = data.features[tagged], data.labels[tagged].astype(str), data.groups[tagged]
    try:
        classifier, report = fit_genre(X, labels, groups)
    except TooFewLabels as error:
        return str(error)
    classifier.save(folder)
    known, kept = np.isin(labels, classifier.classes), held_out(groups)
    if len(np.unique(labels[known & ~kept])) < 2:
        kept = np.zeros(len(kept), bool)
    twin = classifier.refitted(X, labels, ~kept)
    twin.save(folder / "judged")
    judged = X[kept & known], labels[kept & known]

    def champion(other: Path) -> np.ndarray | None:
        # With too few artists to keep any apart, the champion (which knows these rows) is hard to beat, and stays.
        place, rows = (other / "judged", judged) if len(judged[0]) else (other, (X[report.rows], labels[report.rows]))
        if not place.is_dir():
            return None
        standing = GenreClassifier.load(place)
        return _right(standing, *rows) if set(standing.classes) == set(classifier.classes) else None

    def guards(other: Path) -> dict[str, tuple[float, float]]:
        if not (other / "judged").is_dir():
            return {}
        standing = GenreClassifier.load(other / "judged")
        speed = paired_speed(lambda: twin.predict(X), lambda: standing.predict(X), work=(len(X), len(X)))
        if not len(judged[0]):
            return {"rows_per_second": speed}
        calibrations = _calibration(twin, *judged), _calibration(standing, *judged)
        return {"calibration": calibrations, "rows_per_second": speed}

    card = (
        f"# genre_classifier\n\nLearns genres from the tags of {len(X)} recordings, {len(classifier.classes)} classes: "
        f"{', '.join(map(str, classifier.classes))}. Figures are from cross-validation grouped by artist; a random "
        "split, which lets artists leak, would claim `random_split_accuracy`.\n\n"
        f"It abstains below a probability of {classifier.threshold:.2f}. It knows only what the tags call a genre. A "
        f"later candidate is compared with it on {len(judged[0])} recordings of artists that both were kept from.\n"
    )
    shares = classifier.contribution_table(X[report.rows][:EXPLAINED_ROWS])
    return Trained(
        main_metric="accuracy",
        scores=_right(twin, *judged) if len(judged[0]) else np.asarray(report.correct, float),
        champion_scores=champion,
        guards=guards,
        metrics={"accuracy": report.accuracy, "macro_f1": report.macro_f1, "answered": report.answered},
        baselines={"majority": report.majority, "random_split_accuracy": report.random_accuracy},
        groups=_by_class(report.confusion, report.classes),
        params={"rows": len(X), "classes": len(classifier.classes), "model": report.served},
        plots={
            "confusion.png": plots.confusion(report.confusion, [str(name) for name in report.classes]),
            "importance.png": importance(strongest(shares), unit="mean |contribution|, log-odds"),
            "dependence.png": dependence(X[report.rows][:EXPLAINED_ROWS], shares, feature_names(X.shape[1])),
        },
        card=card,
        signature=(X[:2], np.zeros((2, len(classifier.classes)))),
        input_example=X[:1],
    )


def held_out(groups: np.ndarray) -> np.ndarray:
    """(n,) True for rows of the fifth of the groups that no judged twin learns from: by hash, the same every time."""
    chosen = {name: int(hashlib.sha256(str(name).encode()).hexdigest()[:8], 16) % 5 == 0 for name in set(groups)}
    return np.array([chosen[name] for name in groups], bool)


def strongest(contributions: np.ndarray, most: int = 20) -> dict[str, float]:
    """Mean absolute contribution of the features that contribute most."""
    mean = np.abs(contributions).mean(0)
    names = feature_names(len(mean))
    return {names[place]: float(mean[place]) for place in np.argsort(-mean, kind="stable")[:most]}


def feature_names(width: int) -> list[str]:
    return [feature_name(place, width) for place in range(width)]


def _right(classifier: GenreClassifier, X: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return (classifier.predict(X)[1].argmax(1) == _places(classifier, labels)).astype(float)


def _calibration(classifier: GenreClassifier, X: np.ndarray, labels: np.ndarray) -> float:
    return calibration(classifier.predict(X)[1], _places(classifier, labels))


def _by_class(confusion: np.ndarray, classes: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Recall, precision and number of recordings of each class."""
    found = {}
    for place, name in enumerate(classes):
        true, said = confusion[place].sum(), confusion[:, place].sum()
        found[name] = {
            "recordings": float(true),
            "recall": float(confusion[place, place] / max(true, 1)),
            "precision": float(confusion[place, place] / max(said, 1)),
        }
    return found


def _places(classifier: Any, labels: np.ndarray) -> np.ndarray:
    table = {str(name): place for place, name in enumerate(classifier.classes)}
    return np.array([table[label] for label in labels])


def fit_embedder(data: TrainingData, folder: Path) -> Trained | str:
    """Fit on all rows; judged by whether the near neighbours of tracks by artists it was kept from share their genre.

    Two catalogues with too few such tracks are compared on all rows.
    """
    if len(data.features) < LEAST_TRACKS:
        return f"an embedding needs at least {LEAST_TRACKS} recordings, there are {len(data.features)}"
    tagged = np.array([label is not None for label in data.labels], bool)
    embedder, metrics = fit_embedding(data.features, data.labels if tagged.any() else None)
    embedder.save(folder)
    kept = held_out(data.groups)
    if (~kept).sum() < LEAST_TRACKS:
        kept = np.zeros(len(kept), bool)
    known = data.labels[~kept]
    twin, _ = fit_embedding(data.features[~kept], known if any(label is not None for label in known) else None)
    twin.save(folder / "judged")
    asked = kept if (kept & tagged).any() else np.ones(len(kept), bool)

    def judge(vectors: np.ndarray) -> np.ndarray:
        return neighbour_agreement(vectors, data.labels, data.groups)[asked]

    standardised = (data.features - data.features.mean(0)) / np.maximum(data.features.std(0), 1e-9)
    raw, scores = judge(standardised), judge(twin.embed(data.features))

    def champion(other: Path) -> np.ndarray | None:
        if not (other / "judged").is_dir():
            return None
        return judge(TrackEmbedder.load(other / "judged").embed(data.features))

    return Trained(
        main_metric="precision_at_5",
        scores=scores,
        champion_scores=champion,
        metrics={"precision_at_5": _mean(scores), **metrics},
        baselines={"precision_at_5_raw_features": _mean(raw)},
        groups={
            str(name): {"precision_at_5": _mean(scores[data.labels[asked] == name])}
            for name in sorted({label for label in data.labels[asked] if label is not None})
        },
        params={"rows": len(data.features)},
        card=(
            "# track_embedder\n\nUnit vectors from 518 features. precision_at_5: share of a track's five nearest "
            "neighbours by other artists that carry its genre tag, for tracks of artists that the judged twin was kept "
            "from.\n\nLimits: the features are statistics over time, so the order of what is heard is lost.\n"
        ),
        signature=(data.features[:2], embedder.embed(data.features[:2])),
        input_example=data.features[:1],
    )


def _mean(values: np.ndarray) -> float:
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


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
    furthest = detector.deviations(features[np.argsort(-detector.score(features))[:EXPLAINED_ROWS]])

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
        params={"rows": len(features), "detector": detector.served},
        plots={"furthest_features.png": importance(strongest(furthest), unit="mean |standard deviations|")},
        card=(
            "# outlier_detector\n\nHow far a recording lies from the catalogue in the 518 features. It does not see "
            "noise 20 dB below the signal, nor reversed audio (see the module's documentation).\n"
        ),
        signature=(features[:2], detector.score(features[:2])),
        input_example=features[:1],
    )
