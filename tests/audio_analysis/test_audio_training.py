"""Audio models as they are trained for the registry: kept apart from those that judge them, and explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai_assets.audio_analysis.feature_models import MODELS
from ai_assets.audio_analysis.genre_classifier import GenreClassifier
from ai_assets.audio_analysis.genre_training import TrainingData, fit_classifier, fit_embedder, fit_outliers, held_out
from ai_assets.model_training.training_run import Trained

PNG = b"\x89PNG"


def _data(rows: int = 160, seed: int = 0) -> TrainingData:
    """Two genres that differ in the first two of twelve features; forty artists; every tenth row without a tag."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    X = rng.standard_normal((rows, 12))
    X[:, 0] += 2.0 * y
    X[:, 1] -= 1.5 * y
    labels = np.where(np.arange(rows) % 10 == 9, None, np.array(["folk", "rock"], dtype=object)[y])
    return TrainingData(X, labels, np.array([f"artist {place // 2 % 40}" for place in range(rows)]))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    folder = tmp_path_factory.mktemp("classifier")
    found = fit_classifier(_data(), folder)
    assert isinstance(found, Trained)
    return found, folder


@pytest.mark.parametrize("name", sorted(MODELS))
def test_contributions_and_the_base_sum_to_the_score(name: str) -> None:
    data = _data()
    y = np.arange(len(data.features)) % 2
    model = MODELS[name].fit(data.features, y, classes=2)
    for x in data.features[:20]:
        for place in (0, 1):
            base, score = model.margin(x, place)
            assert base + model.contributions(x, place).sum() == pytest.approx(score, abs=1e-6)
    margins = np.array([[model.margin(x, place)[1] for place in (0, 1)] for x in data.features[:20]])
    assert (margins.argmax(1) == model.probabilities(data.features[:20]).argmax(1)).all()


def test_the_artists_of_the_judged_rows_are_the_same_every_time_and_about_a_fifth() -> None:
    names = np.array([f"artist {place}" for place in range(1_000)])
    apart = held_out(names)
    assert 0.15 < apart.mean() < 0.25
    assert held_out(np.concatenate([names[::-1], ["new"]]))[:1_000].tolist() == apart[::-1].tolist()


def test_a_candidate_and_the_champion_are_compared_on_artists_that_both_were_kept_from(
    trained: tuple[Trained, Path],
) -> None:
    found, folder = trained
    data = _data()
    apart = held_out(data.groups) & np.array([label is not None for label in data.labels])
    standing = found.champion_scores(folder)
    assert standing is not None and standing.tolist() == found.scores.tolist() and len(standing) == apart.sum() > 10
    twin, served = GenreClassifier.load(folder / "judged"), GenreClassifier.load(folder)
    assert not np.allclose(twin.predict(data.features)[1], served.predict(data.features)[1])
    assert found.guards is not None
    guards = found.guards(folder)
    assert guards["calibration"][0] == guards["calibration"][1] > 0.5
    assert guards["rows_per_second"][0] == pytest.approx(guards["rows_per_second"][1], rel=0.5)


def test_what_tells_the_classes_apart_leads_the_importance(trained: tuple[Trained, Path]) -> None:
    found, folder = trained
    shares = np.abs(GenreClassifier.load(folder).contribution_table(_data().features)).mean(0)
    assert set(np.argsort(-shares)[:2]) == {0, 1}
    assert {"confusion.png", "importance.png", "dependence.png"} == set(found.plots)
    assert all(png.startswith(PNG) for png in found.plots.values())
    assert found.groups["folk"]["recall"] > 0.7 and found.groups["folk"]["recordings"] == 80


def test_the_embedder_and_the_detector_leave_twins_or_pictures_too(tmp_path: Path) -> None:
    (tmp_path / "e").mkdir()
    embedder = fit_embedder(_data(), tmp_path / "e")
    assert isinstance(embedder, Trained) and (tmp_path / "e" / "judged").is_dir()
    standing = embedder.champion_scores(tmp_path / "e")
    assert standing is not None and np.array_equal(standing, embedder.scores, equal_nan=True)
    assert len(standing) == held_out(_data().groups).sum() and embedder.groups["rock"]["precision_at_5"] > 0.5
    outliers = fit_outliers(_data().features, tmp_path / "o")
    assert isinstance(outliers, Trained) and outliers.plots["furthest_features.png"].startswith(PNG)


def test_one_artist_alone_is_judged_by_cross_validation(tmp_path: Path) -> None:
    """Where keeping artists apart would leave nothing to learn from, nobody is kept apart."""
    data = _data()
    alone = TrainingData(data.features, data.labels, np.full(len(data.labels), "one"))
    found = fit_classifier(alone, tmp_path)
    assert isinstance(found, Trained) and len(found.scores) == 144 and (tmp_path / "judged").is_dir()
    standing = found.champion_scores(tmp_path)
    assert standing is not None and standing.mean() >= found.scores.mean()
    assert found.guards is not None and set(found.guards(tmp_path)) == {"rows_per_second"}
