"""What was shown is kept, places in lists bias plays and can be corrected, and two ways to serve are compared."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.build import ranking_windows
from ai_assets.recommendation_update.candidates import FEATURES
from ai_assets.recommendation_update.experiments import ARMS, Experiments, arm_of, read_out
from ai_assets.recommendation_update.histories import History, Play
from ai_assets.recommendation_update.impressions import KEPT_DAYS, ImpressionLog, impressions, old_impressions
from ai_assets.recommendation_update.position_bias import chances, learned_weights, play_weights
from ai_assets.recommendation_update.query import QuerySnapshot, recommend
from resources.database import Database

TRACKS, LISTS = 60, 4_000


@pytest.fixture
def database(tmp_path: Path) -> Database:
    importlib.import_module("ai_assets.recommendation_update.experiments")
    made = Database(f"sqlite:///{tmp_path}/platform.db", tmp_path / "locks")
    made.prepare()
    return made


def _answer(name: str, tracks: list[str]) -> dict[str, object]:
    return {"list_id": name, "generation": "g1", "recommendations": [{"track": track} for track in tracks]}


@pytest.fixture(scope="module")
def biased() -> pd.DataFrame:
    """Lists of ten by an old policy that prefers low numbers; a place is looked at with chance 1 / place ** 0.8."""
    rng = np.random.default_rng(0)
    appeal = rng.uniform(0.1, 0.9, TRACKS)
    rows = []
    for name in range(LISTS):
        shown = np.argsort(np.arange(TRACKS) / 8 + rng.gumbel(size=TRACKS))[:10]
        looked = rng.random(10) < 1.0 / np.arange(1, 11) ** 0.8
        played = looked & (rng.random(10) < appeal[shown])
        rows += [(f"l{name % 400}", str(name), place, f"t{item}", bool(hit), appeal[item], item)
                 for place, (item, hit) in enumerate(zip(shown, played, strict=True), start=1)]  # fmt: skip
    names = ["listener", "list_id", "position", "track", "played", "appeal", "item"]
    return pd.DataFrame(rows, columns=names)


def test_what_was_shown_is_kept_with_its_place_until_it_is_old_or_the_listener_is_forgotten(database: Database) -> None:
    log, listener = ImpressionLog(database), "l" + "0" * 24
    log.shown(_answer("a", ["t1", "t2"]), listener, experiment="x", arm="ranker")
    log.shown(_answer("b", ["t3"]), "l" + "1" * 24)
    log.shown(_answer("c", ["t3"]) | {"cold": True}, "l" + "2" * 24)
    log.flush()
    kept = impressions(database)
    assert kept[["list_id", "position", "track", "arm"]].to_numpy().tolist() == [
        ["a", 1, "t1", "ranker"], ["a", 2, "t2", "ranker"], ["b", 1, "t3", ""],
    ]  # fmt: skip
    assert len(impressions(database, experiment="x")) == 2
    assert old_impressions(database, drop=True) == 0
    database.forget(listener)
    assert impressions(database)["list_id"].tolist() == ["b"]
    late = float(kept["shown_at"].max()) + KEPT_DAYS * 86_400 + 1
    assert old_impressions(database, drop=False, now=late) == 1 and len(impressions(database)) == 1
    assert old_impressions(database, drop=True, now=late) == 1 and impressions(database).empty


def test_the_known_bias_of_places_is_found_from_the_log(biased: pd.DataFrame) -> None:
    true = 1.0 / np.arange(1, 11) ** 0.8
    found = chances(biased)[:10]
    assert np.abs(found - true).max() < 0.08
    # a plain rate per place would also hold the old policy's preference
    naive = biased.groupby("position")["played"].mean().to_numpy()
    fair = biased.assign(played=np.random.default_rng(1).random(len(biased)) < biased["appeal"])
    assert np.abs(chances(fair)[:10] - 1.0).max() < 0.12
    assert np.abs(found - true).mean() <= np.abs(naive / naive[0] - true).mean() + 0.02


def test_a_small_log_changes_nothing() -> None:
    few = pd.DataFrame({"track": ["a", "a"], "position": [1, 2], "played": [1.0, 0.0]})
    assert (chances(few) == 1.0).all() and (chances(few.head(0)) == 1.0).all()
    assert play_weights(np.array([1.0, 4.0, 40.0, np.nan]), 0.05 ** (np.arange(20) / 3)).tolist() == pytest.approx(
        [1.0, 10.0, 10.0, 1.0]
    )


def test_the_weights_make_the_ranker_learn_what_is_liked_not_where_it_stood(biased: pd.DataFrame) -> None:
    """One feature tells the appeal, noisily; another the old policy's place, which caused the plays."""
    rng = np.random.default_rng(2)
    rows = pd.DataFrame(0.0, index=biased.index, columns=list(FEATURES))
    rows["rank_tower"] = -biased["appeal"] + rng.normal(0, 0.1, len(biased))
    rows["rank_popularity"] = biased["position"].astype(float)
    rows = rows.assign(listener=biased["list_id"], label=biased["played"].astype(int), appeal=biased["appeal"])
    train, test = rows.iloc[: LISTS * 8], rows.iloc[LISTS * 8 :]
    looked = chances(biased.iloc[: LISTS * 8])
    weight = np.where(train["label"] == 1, play_weights(biased["position"].to_numpy(float)[: LISTS * 8], looked), 1.0)

    def liked(model: str) -> float:
        scores = ranking.predict(ranking.load_ranker(model), test[list(FEATURES)].to_numpy(np.float32))
        ordered = test.assign(score=scores).sort_values(["listener", "score"], ascending=[True, False])
        return float(ordered.groupby("listener").head(3)["appeal"].mean())

    naive, corrected = liked(ranking.fit_ranker(train)), liked(ranking.fit_ranker(train.assign(weight=weight)))
    best = float(
        test.sort_values(["listener", "appeal"], ascending=[True, False]).groupby("listener").head(3)["appeal"].mean()
    )
    assert corrected - naive > 0.3 * (best - naive) > 0.01


def test_weights_reach_the_ranking_dataset(world, windows: pd.DataFrame) -> None:  # type: ignore[no-untyped-def]
    shown = pd.DataFrame(
        [(str(name), place, f"t{place:04}") for name in range(600) for place in range(1, 5)],
        columns=["list_id", "position", "track"],
    )
    late = windows[windows["label"] == 1].iloc[0]
    events = pd.DataFrame(
        {"listener": late["listener"], "track": late["track"], "list_id": ["599"], "skipped": [False],
         "played_at": world.events["played_at"].max()}
    )  # fmt: skip
    assert learned_weights(shown, events).empty  # played, but the list had not shown it
    weights = pd.Series([4.0], pd.MultiIndex.from_tuples([(late["listener"], late["track"])]))
    weights.index.names = ["listener", "track"]
    rows = ranking_windows(world.interactions, world.catalogue, world.content, weights)
    changed = rows[rows["weight"] != 1]
    assert (changed["weight"] == 4).all() and len(changed) >= 1 and (changed["label"] == 1).all()
    assert (windows["weight"] == 1).all()


def test_rows_of_one_listener_at_two_dates_are_two_lists(windows: pd.DataFrame) -> None:
    """One list of both would compare a track that was played in March with one that was not in June."""
    import lightgbm

    seen: list[np.ndarray] = []
    plain = lightgbm.Dataset.__init__

    def watched(self, *arguments, **options):  # type: ignore[no-untyped-def]
        seen.append(options["group"])
        plain(self, *arguments, **options)

    lightgbm.Dataset.__init__ = watched  # type: ignore[method-assign]
    try:
        ranking.fit_ranker(windows, rounds=1)
    finally:
        lightgbm.Dataset.__init__ = plain  # type: ignore[method-assign]
    expected = windows.groupby(["window", "listener"], sort=False).size().to_numpy()
    assert seen[0].tolist() == expected.tolist()


def test_arms_are_stable_shares_and_experiments_are_independent() -> None:
    listeners = [f"l{number}" for number in range(4_000)]
    first = np.array([arm_of("one", name, 0.3) == ARMS[0] for name in listeners])
    other = np.array([arm_of("two", name, 0.3) == ARMS[0] for name in listeners])
    assert 0.27 < first.mean() < 0.33 and abs(np.corrcoef(first, other)[0, 1]) < 0.05
    assert first.tolist() == [arm_of("one", name, 0.3) == ARMS[0] for name in listeners]


def test_one_experiment_at_a_time_and_none_twice(database: Database) -> None:
    experiments = Experiments(database)
    assert experiments.assigned("l1") == ("", "")
    experiments.start("one", 0.5)
    with pytest.raises(ValueError, match="'one' is running"):
        experiments.start("two")
    assert Experiments(database).assigned("l1") == ("one", arm_of("one", "l1"))
    experiments.stop("one")
    with pytest.raises(LookupError):
        experiments.stop("one")
    with pytest.raises(ValueError, match="before"):
        experiments.start("one")
    with pytest.raises(ValueError, match="between 0 and 1"):
        experiments.start("two", 1.0)
    assert Experiments(database).assigned("l1") == ("", "")


@pytest.mark.parametrize(("gain", "decided"), [(0.2, True), (0.0, False)])
def test_the_read_out_finds_a_difference_that_is_there_and_none_that_is_not(gain: float, decided: bool) -> None:
    rng = np.random.default_rng(3)
    shown, events = [], []
    for number in range(400):
        listener = f"l{number}"
        arm = arm_of("e", listener)
        taste = rng.beta(2, 5)
        for place in range(1, 11):
            shown.append((f"list{number}", place, listener, f"t{place}", arm))
            if rng.random() < taste + gain * (arm == ARMS[0]):
                events.append((f"list{number}", f"t{place}", bool(rng.random() < 0.1)))
    found = read_out(
        pd.DataFrame(shown, columns=["list_id", "position", "listener", "track", "arm"]),
        pd.DataFrame(events, columns=["list_id", "track", "skipped"]),
    )
    assert found.decided is decided and found.low < 0.9 * gain < found.high and sum(found.listeners.values()) == 400


def test_the_arm_without_the_ranking_model_answers_otherwise(snapshot: QuerySnapshot) -> None:
    history = History.of([Play(item) for item in range(30)])
    served = [one.item for one in recommend(snapshot, history, 10)[0]]
    plain = [one.item for one in recommend(snapshot, history, 10, ranked=False)[0]]
    assert served != plain and len(plain) == 10
