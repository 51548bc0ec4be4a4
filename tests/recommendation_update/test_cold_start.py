"""The curve of quality over a new listener's events, and the planted cases that turn its check red."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.update_readout import readout_rows
from ai_assets.model_training.update_readout import verdict as update_verdict
from ai_assets.recommendation_update.cold_start import EVENTS, Curves, cold_start_curves, plot, rows_of, verdict
from ai_assets.recommendation_update.query import blended


def world(listeners: int) -> Interactions:
    """Listeners of eight tastes; some tracks are played by everybody."""
    rng = np.random.default_rng(0)
    users, items = [], []
    for user in range(listeners):
        own = 20 + (user % 8) * 25 + rng.permutation(25)[:22]
        mixed = np.concatenate([own, rng.permutation(20)[:12]])
        rng.shuffle(mixed)
        users += [user] * len(mixed)
        items += mixed.tolist()
    names = np.array([f"u{n:03}" for n in range(listeners)]), np.array([f"i{n:03}" for n in range(220)])
    return Interactions(
        np.array(users), np.array(items), np.arange(len(users), dtype=float), np.ones(len(users)), *names
    )


@pytest.fixture(scope="module")
def curves() -> Curves:
    found = cold_start_curves(world(160))
    assert not isinstance(found, str)
    return found


def test_the_curve_begins_at_popularity_and_rises_with_events(curves: Curves) -> None:
    means = {way: [float(np.nanmean(points[count])) for count in EVENTS] for way, points in curves.items()}
    assert means["served"][0] == pytest.approx(means["popularity"][0], abs=1e-9) and means["popularity"][0] > 0
    assert means["served"][-1] > means["popularity"][-1] + 0.05 and means["fold_in"][-1] > means["fold_in"][1]
    assert {len(values) for points in curves.values() for values in points.values()} == {40}
    assert plot(curves).startswith(b"\x89PNG")
    rows = pd.DataFrame(rows_of(curves), columns=["metric", "group", "value", "low", "high", "baseline"])
    assert (
        len(rows) == 4 * len(EVENTS) and (rows["low"] <= rows["value"]).all() and (rows["value"] <= rows["high"]).all()
    )


def test_lists_that_are_worse_than_popularity_turn_the_check_red(curves: Curves) -> None:
    better = {count: values + 0.1 for count, values in curves["popularity"].items()}
    assert verdict({**curves, "served": better}).passed
    found = verdict({**curves, "served": {**better, 3: curves["popularity"][3] * 0.5}})
    assert not found.passed and "after 3 events" in found.description


def test_a_half_step_that_harms_turns_its_check_red() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(200)
    values = {"stale": base - 0.2, "fold_in": base, "half_step": base + 0.05, "retrain": base + 0.1}
    assert update_verdict(values).passed
    assert not update_verdict({**values, "half_step": base - 0.05}).passed
    rows = {(row[0], row[1]): row[2] for row in readout_rows(values)}
    assert rows["gain_over_fold_in", "half_step"] == pytest.approx(0.05) and rows["gain_over_fold_in", "fold_in"] == 0.0


def test_too_few_listeners_are_said_and_no_curve_is_drawn() -> None:
    assert "it takes 20" in str(cold_start_curves(world(40)))


def test_the_blend_is_popularity_first_and_what_was_learned_in_the_end() -> None:
    learned, plays = np.array([3.0, 1.0, 2.0]), np.array([0.0, 9.0, 1.0])
    assert np.argsort(-blended(learned, plays, 0)).tolist() == [1, 2, 0]
    assert np.argsort(-blended(learned, plays, 20)).tolist() == [0, 2, 1]
