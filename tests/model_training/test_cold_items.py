"""Items without a play: facts that say something are worth something, facts that say nothing are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ai_assets.benchmarks.cold_items import _ridge, cold_items, hetrec, tag_facts
from ai_assets.benchmarks.labelled_audio import TableError
from ai_assets.model_training.ials import IalsConfig
from ai_assets.model_training.interactions import Interactions

CONFIG = IalsConfig(dim=16, sweeps=5)


@pytest.fixture(scope="module")
def world() -> tuple[Interactions, pd.DataFrame]:
    """120 listeners and 200 artists of ten styles; the tags name the style and, more often, nothing."""
    rng = np.random.default_rng(0)
    rows, tags = [], []
    for user in range(120):
        style = user % 10
        liked = np.where(rng.random(30) < 0.85, style, rng.integers(0, 10, 30)) * 20 + rng.integers(0, 20, 30)
        rows += [(user, int(item)) for item in np.unique(liked)]
    for item in range(200):
        tags += [(item, item // 20)] * 2 + [(item, 10 + int(rng.integers(40))) for _ in range(3)]
    plays = pd.DataFrame(rows, columns=["userID", "artistID"])
    return (
        Interactions.of(plays, user="userID", item="artistID", time=None),
        pd.DataFrame(tags, columns=["artistID", "tagID"]),
    )


def test_tags_find_items_that_nobody_has_played(world: tuple[Interactions, pd.DataFrame]) -> None:
    data, tags = world
    found = {
        way: float(np.nanmean(values))
        for way, values in cold_items(data, tag_facts(tags, data.item_ids), config=CONFIG).items()
    }
    assert found["ridge"] > found["oracle_popularity"] + 0.2 and found["ridge"] > found["random"] + 0.3


def test_tags_that_say_nothing_find_nothing(world: tuple[Interactions, pd.DataFrame]) -> None:
    data, tags = world
    shuffled = tags.assign(artistID=np.random.default_rng(1).permutation(tags["artistID"]))
    plain = cold_items(data, tag_facts(tags, data.item_ids), config=CONFIG)["ridge"]
    noise = cold_items(data, tag_facts(shuffled, data.item_ids), config=CONFIG)["ridge"]
    assert np.nanmean(noise) < np.nanmean(plain) / 2


def test_the_files_are_read_and_tags_of_unknown_artists_left_out(tmp_path: Path) -> None:
    (tmp_path / "user_artists.dat").write_text("userID\tartistID\tweight\n1\t10\t5\n2\t11\t7\n")
    with pytest.raises(TableError, match="user_taggedartists"):
        hetrec(tmp_path)
    (tmp_path / "user_taggedartists.dat").write_text(
        "userID\tartistID\ttagID\tday\tmonth\tyear\n1\t10\t3\t1\t1\t2009\n1\t99\t4\t1\t1\t1957\n"
    )
    data, facts = hetrec(tmp_path)
    assert data.item_ids.tolist() == ["10", "11"] and facts.shape == (2, 1)
    assert np.asarray(facts.todense()).ravel().tolist() == [1.0, 0.0]
    assert hetrec(tmp_path, least=1)[0].item_ids.tolist() == ["10"]


def test_the_regression_is_the_closed_form(world: tuple[Interactions, pd.DataFrame]) -> None:
    data, tags = world
    facts, targets = tag_facts(tags, data.item_ids), np.random.default_rng(0).standard_normal((200, 4))
    dense = np.asarray(facts.todense())
    closed = np.linalg.solve(dense.T @ dense + 0.1 * np.eye(dense.shape[1]), dense.T @ targets)
    np.testing.assert_allclose(_ridge(facts, targets, 0.1), closed, atol=1e-4)
