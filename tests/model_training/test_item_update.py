"""The item half-step between trainings: judged on plays that neither model knows, and compared fairly afterwards."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ai_assets.model_training.gate import compare
from ai_assets.model_training.ials import IalsConfig
from ai_assets.model_training.item_update import update_items
from ai_assets.model_training.listening import (
    Collaborative,
    champion_scores,
    first_plays,
    fit,
    listening_data,
)
from ai_assets.model_training.splits import time_split
from ai_assets.model_training.training_run import Trained
from ai_assets.model_training.two_tower import TowerConfig

SETTINGS = (TowerConfig(dim=16, epochs=6, batch=64), IalsConfig(dim=16, sweeps=8))
START = pd.Timestamp("2026-01-01", tz="UTC")


def plays(days: int) -> pd.DataFrame:
    """Listeners of ten tastes, a play a day; from day 20 on most of them turn to what was hardly played before."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(150):
        for day in range(40):
            late = day >= 20 and rng.random() < 0.8
            place = int(rng.integers(20, 30)) if late or rng.random() < 0.03 else int(rng.integers(20))
            taste = user % 10 if rng.random() < 0.9 else int(rng.integers(10))
            rows.append((f"l{user:03}", f"t{taste * 30 + place:03}", 1.0, START + pd.Timedelta(days=day, seconds=user)))
    found = pd.DataFrame(rows, columns=["listener", "track", "strength", "last_played_at"])
    return found[found["last_played_at"] < START + pd.Timedelta(days=days)]


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the first 20 days, as a training leaves it."""
    folder = tmp_path_factory.mktemp("champion")
    data = listening_data(plays(20))
    before, _ = time_split(data, 0.2)
    for part, place in ((data, folder), (before, folder / "judged")):
        fit(part, settings=SETTINGS)[0].save(place)
    facts = {"ials": asdict(SETTINGS[1]), "until": float(before.times.max()), "seen": float(data.times.max())}
    (folder / "config.json").write_text(json.dumps(facts))
    return folder


def test_new_plays_in_the_items_are_worth_more_on_plays_after_them(champion: Path, tmp_path: Path) -> None:
    trained = update_items(plays(40), champion, tmp_path)
    assert isinstance(trained, Trained)
    standing = trained.champion_scores(champion)
    assert standing is not None and len(standing) == len(trained.scores)
    assert compare(trained.scores, standing).low > 0.01
    old, new = Collaborative.load(champion), Collaborative.load(tmp_path)
    assert (old.tracks == new.tracks).all() and np.array_equal(old.tower.outputs, new.tower.outputs)
    assert not np.allclose(old.ials.items, new.ials.items)
    assert trained.guards is not None and {"coverage"} <= set(trained.guards(champion))


def test_what_is_judged_on_was_not_folded_in(champion: Path, tmp_path: Path) -> None:
    """Turning the last plays into noise changes what is registered, never what was compared before that date."""
    rows = plays(40)
    cut = START + pd.Timedelta(days=30)
    noise = rows.copy()
    later = noise["last_played_at"] > cut
    noise.loc[later, "track"] = np.random.default_rng(1).permutation(noise.loc[later, "track"].to_numpy())
    ours, theirs = (update_items(part, champion, tmp_path / name) for part, name in ((rows, "a"), (noise, "b")))
    assert isinstance(ours, Trained) and isinstance(theirs, Trained)
    assert np.nanmean(theirs.scores) < np.nanmean(ours.scores) / 2


def test_the_next_training_meets_a_twin_that_was_kept_up_to_date_too(champion: Path, tmp_path: Path) -> None:
    assert isinstance(update_items(plays(40), champion, tmp_path), Trained)
    before, after = time_split(listening_data(plays(40)), 0.2)
    relevant = first_plays(before, after).matrix()
    plain, kept = champion_scores(champion, before), champion_scores(tmp_path, before)
    assert plain is not None and kept is not None
    from ai_assets.model_training import metrics

    seen = before.matrix()
    old, new = (metrics.evaluate(metrics.top_k(part, 10, seen=seen), relevant)["ndcg"] for part in (plain, kept))
    assert np.nanmean(new) > np.nanmean(old) + 0.01


def test_it_waits_until_there_is_something_to_fold_in_and_to_judge(champion: Path, tmp_path: Path) -> None:
    assert "takes 50" in str(update_items(plays(20), champion, tmp_path))
    assert update_items(plays(20), None, tmp_path) == "no collaborative model yet: it comes with listening events"
    few = plays(30)
    few = few[(few["last_played_at"] < START + pd.Timedelta(days=20)) | (few["listener"] < "l010")]
    assert "to judge" in str(update_items(few, champion, tmp_path))
    old = tmp_path / "old"
    Collaborative.load(champion).save(old)
    (old / "config.json").write_text(json.dumps({"ials": {}, "until": 0.0}))
    assert "does not say which plays" in str(update_items(plays(40), old, tmp_path))
    assert not (tmp_path / "tower.safetensors").exists() and not (tmp_path / "ials.npz").exists()
