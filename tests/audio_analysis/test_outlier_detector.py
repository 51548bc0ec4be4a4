"""Distance of a recording from the catalogue."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ai_assets.audio_analysis.features import FEATURE_NAMES
from ai_assets.audio_analysis.outlier_detector import DETECTORS, OutlierDetector, TooFewTracks, disturbed, fit

LOADINGS = np.random.default_rng(3).normal(0, 1, (8, 518))


def catalogue(n: int = 80, *, seed: int = 0) -> np.ndarray:
    """Rows that vary along eight directions, as features of one kind of music do."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, 1, (n, 8)) @ LOADINGS + rng.normal(0, 0.3, (n, 518))


@pytest.fixture(scope="module")
def detector() -> OutlierDetector:
    return fit(catalogue())[0]


@pytest.mark.parametrize("name", DETECTORS)
def test_rows_that_break_the_catalogues_pattern_score_above_fresh_usual_ones(
    detector: OutlierDetector, name: str
) -> None:
    usual = detector.score(catalogue(seed=1), detector=name)
    strange = detector.score(np.random.default_rng(2).normal(0, 3, (20, 518)), detector=name)
    assert strange.min() > np.quantile(usual, 0.95)


def test_the_threshold_is_set_on_rows_that_were_held_out(detector: OutlierDetector) -> None:
    training = detector.score(catalogue())
    assert (training > detector.threshold).mean() == 0.0
    assert (detector.score(catalogue(seed=1)) > detector.threshold).mean() <= 0.1
    assert (detector.score(disturbed(catalogue(seed=1))[:80]) > detector.threshold).mean() > 0.9


def test_the_better_detector_on_disturbed_rows_is_served() -> None:
    served, metrics = fit(catalogue())
    assert metrics[f"auroc_{served.served}"] == max(metrics["auroc_mahalanobis"], metrics["auroc_knn"])
    assert all(isinstance(value, float) for value in metrics.values())


def test_the_explanation_names_the_feature_that_is_far_off(detector: OutlierDetector) -> None:
    x = catalogue().mean(0)
    x[100] += 30
    x[200] -= 90
    (first, value), (second, other), *_ = detector.explain(x)
    assert (
        {first, second} == {FEATURE_NAMES[100], FEATURE_NAMES[200]} and min(value, other) < -2 and max(value, other) > 2
    )


def test_fewer_than_ten_tracks_are_refused() -> None:
    with pytest.raises(TooFewTracks, match="there are 9"):
        fit(catalogue(9))
    assert np.isfinite(fit(catalogue(10))[0].score(catalogue(3, seed=1))).all()


def test_missing_and_infinite_values_get_a_finite_score(detector: OutlierDetector) -> None:
    odd = np.stack([np.full(518, np.nan), np.full(518, np.inf), np.full(518, 1e200)])
    for name in DETECTORS:
        assert np.isfinite(detector.score(odd, detector=name)).all()
    assert detector.score(odd)[2] > detector.threshold


def test_disturbed_rows_keep_every_features_distribution_in_the_first_part() -> None:
    X = catalogue(20)
    made = disturbed(X, seed=4)
    assert made.shape == (60, 518) and np.array_equal(np.sort(made[:20], axis=0), np.sort(X, axis=0))
    assert (made[20:40] != X).any(1).all() and (made[20:40] == X).any(1).all()
    assert (made[40:] != X).any(1).all()
    assert np.array_equal(made, disturbed(X, seed=4))


def test_saved_and_loaded_it_scores_the_same(detector: OutlierDetector, tmp_path: Path) -> None:
    detector.save(tmp_path)
    again = OutlierDetector.load(tmp_path)
    X = catalogue(seed=1)
    for name in DETECTORS:
        assert np.allclose(again.score(X, detector=name), detector.score(X, detector=name))
    assert (again.threshold, again.served) == (detector.threshold, detector.served)
