"""Between retrainings: folding in helps, an item half-step helps more, and a retrain is at the top."""

from __future__ import annotations

import numpy as np
import pytest

from ai_assets.model_training.ials import IalsConfig, fit_ials, half_step
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.update_readout import update_readout

CONFIG = IalsConfig(dim=16, sweeps=8)


@pytest.fixture(scope="module")
def world() -> Interactions:
    """Listeners of ten tastes; a third of the tracks come out late, so that an old model knows nothing of them."""
    rng = np.random.default_rng(0)
    users, items, times = [], [], []
    for user in range(200):
        taste = user % 10
        for step in range(40):
            open_items = np.arange(20 if step < 18 else 30)
            place = int(rng.choice(open_items)) if step < 18 else int(rng.choice(np.r_[open_items, 20:30, 20:30]))
            users.append(user)
            items.append((taste if rng.random() < 0.9 else int(rng.integers(10))) * 30 + place)
            times.append(step + rng.random())
    return Interactions(
        np.array(users), np.array(items), np.array(times), np.ones(len(users)),
        np.array([f"u{n}" for n in range(200)]), np.array([f"i{n}" for n in range(300)]),
    )  # fmt: skip


def test_each_way_is_worth_more_than_the_one_before(world: Interactions) -> None:
    means = {name: float(np.nanmean(values)) for name, values in update_readout(world, config=CONFIG).items()}
    assert means["stale"] <= means["fold_in"] + 0.01 and means["half_step"] > means["fold_in"] + 0.05
    assert means["retrain"] > means["stale"] + 0.05 and means["half_step"] > 0.7 * means["retrain"]


def test_a_half_step_keeps_what_nobody_played_and_changes_nothing_at_the_solution(world: Interactions) -> None:
    model = fit_ials(world, config=IalsConfig(dim=16, sweeps=60))
    again = half_step(model, world)
    played = np.bincount(world.items, minlength=300) > 0
    assert np.abs(again.items - model.items)[played].max() < 0.05 * np.abs(model.items).max()
    few = half_step(model, world.take(world.items < 100))
    assert (few.items[100:] == model.items[100:]).all() and (few.items[:100] != model.items[:100]).any()
