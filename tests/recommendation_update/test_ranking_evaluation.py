"""The ranker and how it is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from listening_world import World

from ai_assets.model_training import metrics
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.listening import first_plays, listening_data
from ai_assets.model_training.splits import time_split
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.build import candidate_recall, list_ndcg, retrieval_scores
from ai_assets.recommendation_update.candidates import FEATURES
from ai_assets.recommendation_update.pipeline import Pipeline, fit_pipeline
from ai_assets.recommendation_update.rank_training import evaluation_rows, train_ranker


def _test(windows: pd.DataFrame) -> pd.DataFrame:
    return windows[windows["window"] == "test"]


def _predict(text: str, rows: pd.DataFrame) -> np.ndarray:
    return ranking.predict(ranking.load_ranker(text), rows[list(FEATURES)].to_numpy(np.float32))


def test_contributions_sum_to_the_score(windows: pd.DataFrame, ranker: str) -> None:
    features = _test(windows)[list(FEATURES)].head(300).to_numpy(np.float32)
    booster = ranking.load_ranker(ranker)
    parts = ranking.contributions(booster, features)
    assert parts.shape == (300, len(FEATURES) + 1) and np.ptp(parts[:, :-1]) > 0
    np.testing.assert_allclose(parts.sum(1), ranking.predict(booster, features), atol=1e-6)


def test_the_library_gives_the_numbers_of_the_package(windows: pd.DataFrame, ranker: str) -> None:
    import lightgbm as lgb

    features = _test(windows)[list(FEATURES)].head(500).to_numpy(np.float32)
    features[::5, 3] = np.nan
    native, package = ranking.load_ranker(ranker), lgb.Booster(model_str=ranker)
    assert native.predict(features).tolist() == package.predict(features).tolist()
    assert (
        native.predict(features, contributions=True).tolist() == package.predict(features, pred_contrib=True).tolist()
    )
    assert native.predict(features[:0]).shape == (0,)


def test_what_is_no_model_or_has_other_features_is_refused(ranker: str) -> None:
    with pytest.raises(ValueError, match="no LightGBM model"):
        ranking.load_ranker("<html>")
    with pytest.raises(ValueError, match=f"{len(FEATURES)} features"):
        ranking.load_ranker(ranker).predict(np.zeros((2, 10), np.float32))


def test_the_same_rows_give_the_same_model(windows: pd.DataFrame, ranker: str) -> None:
    assert ranking.fit_ranker(windows[windows["window"] == "train"]) == ranker


def test_with_drift_the_ranker_beats_retrieval_ials_and_popularity_for_sure(windows: pd.DataFrame, ranker: str) -> None:
    test = _test(windows)
    ours = list_ndcg(test, _predict(ranker, test))
    assert len(ours) >= 100
    for name, other in (
        ("retrieval", retrieval_scores(test)),
        ("ials", -test["rank_ials"].to_numpy(float)),
        ("popularity", -test["rank_popularity"].to_numpy(float)),
    ):
        low, high = paired_bootstrap(ours - list_ndcg(test, other))
        assert low > 0, f"{name}: [{low:.4f}, {high:.4f}]"


def test_later_plays_outside_the_pool_count_against_the_list() -> None:
    rows = pd.DataFrame({"listener": ["a", "a", "b"], "label": [1, 0, 0], "relevant": [3, 3, 2]})
    values = list_ndcg(rows, np.array([2.0, 1.0, 1.0]))
    ideal = 1 + 1 / np.log2(3) + 1 / np.log2(4)
    assert values.tolist() == pytest.approx([1 / ideal, 0.0])
    assert candidate_recall(rows) == pytest.approx((1 / 3 + 0) / 2)


def test_the_list_metric_agrees_with_the_full_ranking_metric(world: World, windows: pd.DataFrame) -> None:
    """Same listeners, same lists, other code: `metrics.ndcg` over all later first plays."""
    test = _test(windows)
    data = listening_data(world.interactions)
    early, rest = time_split(data, 0.4)
    train_part, test_part = time_split(rest, 0.5)
    before = data.take(data.times <= train_part.times.max())
    relevant = first_plays(before, test_part).matrix()
    order = {str(name): code for code, name in enumerate(data.user_ids)}
    items = {str(name): code for code, name in enumerate(data.item_ids)}
    scores = retrieval_scores(test)
    listeners = list(dict.fromkeys(test["listener"]))
    ranked = np.full((data.user_count, 10), -1, np.int64)
    for name in listeners:
        part = test["listener"].to_numpy() == name
        best = np.argsort(-scores[part], kind="stable")[:10]
        ranked[order[name]] = [items[track] for track in test["track"].to_numpy()[part][best]]
    expected = metrics.evaluate(ranked, relevant)["ndcg"][[order[name] for name in listeners]]
    np.testing.assert_allclose(list_ndcg(test, scores), expected, atol=1e-12)
    assert len(early)


def test_no_candidate_was_heard_before_and_no_label_is_older(world: World, windows: pd.DataFrame) -> None:
    data = listening_data(world.interactions)
    early, _ = time_split(data, 0.4)
    known = set(zip(data.user_ids[early.users], data.item_ids[early.items], strict=True))
    train = windows[windows["window"] == "train"]
    assert not known & set(zip(train["listener"], train["track"], strict=True))


@pytest.mark.parametrize(
    ("gain", "listeners", "passed", "words"),
    [
        (0.05, 200, True, "difference in [0.0"),
        (0.0, 200, False, "difference in [-"),
        (-0.05, 200, False, "difference in [-"),
        (-0.05, 49, True, "too few listeners to decide (49 of 50)"),
    ],
)
def test_the_check_is_quiet_only_above_zero_for_sure(gain: float, listeners: int, passed: bool, words: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, listeners)
    retrieval = np.full(listeners, 0.3)
    frame, verdict = evaluation_rows(retrieval + gain + noise - noise.mean(), retrieval, 0.7)
    assert verdict.passed is passed and words in verdict.description
    values = frame.set_index("metric")
    assert values["value"]["candidate_recall"] == 0.7 and values["value"]["listeners"] == listeners
    assert values["low"]["difference"] < gain < values["high"]["difference"]


def test_a_ranker_brings_retrieval_as_its_baseline_case_by_case(windows: pd.DataFrame, tmp_path: Path) -> None:
    """The gate of a first model compares the two, and can only do so with both on the same listeners."""
    trained = train_ranker(windows, tmp_path)
    assert not isinstance(trained, str)
    retrieval = list_ndcg(_test(windows), retrieval_scores(_test(windows)))
    assert trained.baseline_scores is not None and trained.baseline_scores.tolist() == retrieval.tolist()
    assert np.isfinite(trained.scores).all() and len(trained.scores) == len(retrieval)
    assert 0 < trained.metrics["candidate_recall"] <= 1


def test_with_too_little_to_learn_from_it_says_so(windows: pd.DataFrame, tmp_path: Path) -> None:
    assert "at least 20 later plays" in str(train_ranker(windows.assign(label=0), tmp_path))


@pytest.fixture(scope="module")
def fitted(world: World) -> tuple[Pipeline, Interactions, Interactions]:
    before, after = time_split(listening_data(world.interactions), 0.2)
    return fit_pipeline(before), before, after


def test_the_whole_pipeline_beats_its_parts_on_days_it_has_not_seen(
    fitted: tuple[Pipeline, Interactions, Interactions],
) -> None:
    pipeline, before, after = fitted
    assert pipeline.ranker is not None and pipeline.gain is not None and pipeline.gain[0] > 0
    relevant, seen, histories = first_plays(before, after).matrix(), before.matrix(), before.histories()
    tower, ials = pipeline.sources.tower, pipeline.sources.ials
    assert tower is not None and ials is not None

    def ndcg(scores: np.ndarray) -> np.ndarray:
        return metrics.evaluate(metrics.top_k(scores, 10, seen=seen), relevant)["ndcg"]

    ours = ndcg(pipeline.scores(histories))
    for name, scores in (
        ("two-tower", tower.scores(histories)),
        ("ials", ials.scores(histories)),
        ("popularity", np.tile(pipeline.sources.plays, (len(histories), 1))),
    ):
        low, high = paired_bootstrap(ours - ndcg(scores))
        assert low > 0, f"{name}: [{low:.4f}, {high:.4f}]"


def test_without_times_the_pipeline_still_answers(world: World) -> None:
    data = listening_data(world.interactions)
    flat = Interactions(data.users, data.items, np.zeros(len(data)), data.weights, data.user_ids, data.item_ids)
    scores = fit_pipeline(flat).scores(flat.histories()[:3])
    assert scores.shape == (3, data.item_count) and np.isfinite(scores).all()
