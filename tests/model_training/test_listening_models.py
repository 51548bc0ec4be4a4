"""The listening models against popularity on planted clusters, against brute force, and through save and load."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ai_assets.model_training import metrics
from ai_assets.model_training.ease import Ease, TooLargeError, fit_ease
from ai_assets.model_training.gate import paired_bootstrap
from ai_assets.model_training.gfcf import GraphFilter, fit_gfcf
from ai_assets.model_training.ials import fit_ials
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.item_knn import ItemNeighbours, fit_item_knn, fit_sar
from ai_assets.model_training.popularity import fit_popularity
from ai_assets.model_training.splits import random_split
from ai_assets.model_training.two_tower import TowerConfig, fit_two_tower

FITS: dict[str, Callable[[Interactions], Any]] = {
    "sar": fit_sar,
    "itemknn": fit_item_knn,
    "ease": fit_ease,
    "gfcf": lambda data: fit_gfcf(data, dim=16),
    "ials": fit_ials,
    "two_tower": lambda data: fit_two_tower(data, config=TowerConfig(dim=16, epochs=15)),
}


@pytest.fixture(scope="module")
def clustered() -> Interactions:
    """300 listeners who play 15 of their own cluster's 40 items (8 clusters) and 3 of all."""
    rng = np.random.default_rng(3)
    rows = []
    for user in range(300):
        own = rng.choice(40, 15, replace=False) + 40 * (user % 8)
        rows += [(f"u{user:03}", f"i{item:03}") for item in np.concatenate([own, rng.choice(320, 3, replace=False)])]
    return Interactions.of(pd.DataFrame(rows, columns=["user", "item"]))


def _ndcg(model: Any, train: Interactions, test: Interactions) -> np.ndarray:
    ranked = metrics.top_k(model.scores(train.histories()), 10, seen=train.matrix())
    return metrics.evaluate(ranked, test.matrix())["ndcg"]


@pytest.mark.parametrize("name", FITS)
def test_every_model_beats_popularity_on_planted_clusters(name: str, clustered: Interactions) -> None:
    train, _, test = random_split(clustered, seed=1)
    gain = _ndcg(FITS[name](train), train, test) - _ndcg(fit_popularity(train), train, test)
    assert paired_bootstrap(gain)[0] > 0.05


@pytest.mark.parametrize("transposed", [False, True])
def test_ease_equals_its_definition_in_both_forms(transposed: bool) -> None:
    rng = np.random.default_rng(0)
    shape = (12, 30) if transposed else (30, 12)
    dense = (rng.random(shape) < 0.4).astype(float)
    dense[0, :] = dense[:, 0] = 1.0
    users, items = np.nonzero(dense)
    frame = pd.DataFrame({"user": [f"{u:02}" for u in users], "item": [f"{i:02}" for i in items]})
    inverse = np.linalg.inv(dense.T @ dense + 5.0 * np.eye(shape[1]))
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0.0)
    np.testing.assert_allclose(fit_ease(Interactions.of(frame), reg=5.0).weights, expected, atol=1e-5)


def test_ease_past_its_memory_limit_is_refused_with_the_sizes(clustered: Interactions) -> None:
    with pytest.raises(TooLargeError, match="GiB"):
        fit_ease(clustered, memory_limit=1_000)


def test_saved_models_answer_the_same_after_loading(clustered: Interactions, tmp_path: Path) -> None:
    loads: dict[str, Callable[[Path], Any]] = {
        "sar": lambda folder: ItemNeighbours.load(folder, "sar"),
        "itemknn": lambda folder: ItemNeighbours.load(folder, "itemknn"),
        "ease": Ease.load,
        "gfcf": GraphFilter.load,
    }
    histories = clustered.histories()[:20]
    for name, load in loads.items():
        model = FITS[name](clustered)
        model.save(tmp_path)
        np.testing.assert_array_equal(load(tmp_path).scores(histories), model.scores(histories))
