"""Genre recognition from feature rows: choice, calibration, abstaining, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ai_assets.audio_analysis.folds import grouped_folds, random_folds
from ai_assets.audio_analysis.genre_classifier import (
    GenreClassifier,
    TooFewLabels,
    abstain_threshold,
    fit,
    fitted_temperature,
    log_loss,
    tempered,
)

GENRES = ("folk", "jazz", "techno")


def rows(*, per_genre: int = 40, spread: float = 1.0, artist_spread: float = 0.5, seed: int = 0):
    """Feature-like rows (30 columns): a centre per genre, an offset per artist of five tracks, noise per track."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (len(GENRES), 30))
    X, labels, artists = [], [], []
    for place, genre in enumerate(GENRES):
        for artist in range(per_genre // 5):
            offset = rng.normal(0, artist_spread, 30)
            X.append(centres[place] + offset + rng.normal(0, spread, (5, 30)))
            labels += [genre] * 5
            artists += [f"{genre}-{artist}"] * 5
    return np.vstack(X), np.array(labels), np.array(artists)


@pytest.fixture(scope="module")
def fitted():
    return fit(*rows())


def test_both_models_are_compared_and_the_more_accurate_one_is_served(fitted) -> None:
    classifier, evaluation = fitted
    assert set(evaluation.models) == {"lightgbm", "lda"}
    best = max(values["accuracy"] for values in evaluation.models.values())
    assert evaluation.models[evaluation.served]["accuracy"] == best == evaluation.accuracy == evaluation.correct.mean()
    assert classifier.model.name == evaluation.served
    assert evaluation.accuracy > 0.8 > 0.4 > evaluation.majority


def test_the_evaluation_has_a_prediction_for_every_row_and_a_confusion_that_adds_up(fitted) -> None:
    _, evaluation = fitted
    _, labels, _ = rows()
    assert len(evaluation.predicted) == len(labels) and evaluation.confusion.sum() == len(labels)
    assert np.array_equal(evaluation.correct, (evaluation.predicted == labels).astype(float))
    assert np.trace(evaluation.confusion) == evaluation.correct.sum()


def test_a_random_split_looks_better_than_the_grouped_one_where_artists_leak() -> None:
    _, evaluation = fit(*rows(artist_spread=3.0, spread=0.3))
    assert evaluation.random_accuracy > evaluation.accuracy + 0.1


def test_grouped_folds_never_split_an_artist_and_random_ones_do() -> None:
    _, labels, artists = rows()
    grouped, leaky = grouped_folds(labels, artists), random_folds(labels)
    assert set(grouped) == set(range(5)) == set(leaky)
    assert all(len(set(grouped[artists == artist])) == 1 for artist in set(artists))
    assert any(len(set(leaky[artists == artist])) > 1 for artist in set(artists))


def test_one_group_alone_cannot_be_held_out() -> None:
    with pytest.raises(ValueError, match="two groups"):
        grouped_folds(np.array(["a", "b"]), np.array(["x", "x"]))


def test_labels_with_fewer_than_twenty_rows_are_left_out() -> None:
    X, labels, artists = rows()
    labels = labels.astype(object)
    labels[:25] = "polka"
    labels[5:25] = "folk"
    classifier, evaluation = fit(X, labels.astype(str), artists)
    assert "polka" not in classifier.classes and len(evaluation.rows) == len(X) - 5


def test_fewer_than_two_frequent_labels_are_refused_with_the_counts() -> None:
    X, _, artists = rows()
    with pytest.raises(TooFewLabels, match="folk 120"):
        fit(X, np.full(len(X), "folk"), artists)


def test_it_abstains_on_what_is_between_the_genres_and_answers_where_it_is_sure() -> None:
    X, labels, artists = rows(spread=2.5, artist_spread=1.0)
    classifier, evaluation = fit(X, labels, artists)
    assert evaluation.accuracy < 0.9
    assert 0 < evaluation.answered < 1 and evaluation.answered_accuracy >= 0.9
    answers, probabilities = classifier.predict(np.vstack([X.mean(0), X]))
    assert answers[0] is None and any(answer is not None for answer in answers)
    assert np.allclose(probabilities.sum(1), 1)
    assert all(
        (answer is None) == (each.max() < classifier.threshold)
        for answer, each in zip(answers, probabilities, strict=True)
    )


def test_one_temperature_repairs_overconfident_probabilities() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet([1.0, 1.0, 1.0], 3000)
    y = np.array([rng.choice(3, p=each) for each in honest])
    boastful = tempered(honest, 1 / 3)
    repaired = tempered(boastful, fitted_temperature(boastful, y))
    assert np.abs(repaired - honest).max() < 0.05 < np.abs(boastful - honest).max()
    assert log_loss(repaired, y) < log_loss(boastful, y)


def test_the_threshold_is_the_lowest_confidence_with_the_wanted_precision() -> None:
    confidence = np.linspace(0.99, 0.5, 100)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    y = np.r_[np.zeros(60), np.ones(40)].astype(int)  # right above the sixtieth, wrong below
    threshold = abstain_threshold(probabilities, y)
    assert (y[confidence >= threshold] == 0).mean() >= 0.9
    assert (y[confidence >= threshold - 0.01] == 0).mean() < 0.9


@pytest.mark.parametrize("served", ["lightgbm", "lda"])
def test_saved_and_loaded_it_answers_the_same_without_pickle(served: str, tmp_path: Path) -> None:
    from ai_assets.audio_analysis.feature_models import MODELS

    X, labels, _ = rows()
    y = np.unique(labels, return_inverse=True)[1]
    classifier = GenreClassifier(MODELS[served].fit(X, y, classes=3), GENRES, 1.7, 0.6)
    classifier.save(tmp_path)
    assert {file.suffix for file in tmp_path.iterdir()} <= {".json", ".npz", ".txt"}
    again = GenreClassifier.load(tmp_path)
    assert np.array_equal(again.predict(X)[1], classifier.predict(X)[1])
    assert again.explain(X[0]) == classifier.explain(X[0])
    facts = json.loads((tmp_path / "classifier.json").read_text()) | {"model": "pickle"}
    (tmp_path / "classifier.json").write_text(json.dumps(facts))
    with pytest.raises(ValueError, match="format"):
        GenreClassifier.load(tmp_path)


@pytest.mark.parametrize("name", ["lightgbm", "lda"])
def test_the_explanation_names_the_feature_that_decides(name: str) -> None:
    from ai_assets.audio_analysis.feature_models import MODELS

    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (200, 12))
    y = (X[:, 7] > 0).astype(np.int64)
    classifier = GenreClassifier(MODELS[name].fit(X, y, classes=2), ("low", "high"), 1.0, 0.0)
    x = np.zeros(12)
    x[7] = 2.0
    top = classifier.explain(x)
    assert top[0][0] == "feature.008" and top[0][1] > 0
    assert classifier.explain(x, label="low")[0][1] < 0


def test_per_case_scores_are_log_probabilities_of_the_truth_and_nan_for_foreign_labels(fitted) -> None:
    classifier, _ = fitted
    X, labels, _ = rows()
    scores = classifier.per_case_scores(X[:2], np.array([labels[0], "polka"]))
    place = classifier.classes.index(labels[0])
    assert scores[0] == pytest.approx(np.log(classifier.predict(X[:1])[1][0, place])) and np.isnan(scores[1])


def test_the_same_rows_and_seed_give_the_same_classifier(fitted) -> None:
    X, labels, artists = rows()
    again, _ = fit(X, labels, artists)
    assert np.array_equal(again.predict(X)[1], fitted[0].predict(X)[1]) and again.threshold == fitted[0].threshold


def test_missing_values_and_constant_columns_do_no_harm(fitted) -> None:
    X, labels, artists = rows()
    X[3, 4], X[5] = np.nan, np.inf
    X[:, 9] = 7.0
    classifier, _ = fit(X, labels, artists)
    assert np.isfinite(classifier.predict(X)[1]).all()
    with pytest.raises(ValueError, match="29 features"):
        classifier.predict(X[:, 1:])
