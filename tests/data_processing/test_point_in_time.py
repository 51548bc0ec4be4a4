"""Features as they were known before each day, and splits in the order of time: a planted leak is found."""

from __future__ import annotations

from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pytest

from ai_assets.contract.validation import arrow_table
from ai_assets.data_processing import checks, feature_assets, point_in_time, schemas
from resources.platform import Platform

KEYS: tuple[point_in_time.Key, ...] = ("listener", "track")


def world(seed: int = 0, days: int = 40, rows: int = 1500) -> pd.DataFrame:
    """Rows of `interactions` at random."""
    rng = np.random.default_rng(seed)
    first = np.datetime64("2026-04-01")
    frame = pd.DataFrame({
        "day": [str(first + np.timedelta64(int(d), "D")) for d in rng.integers(0, days, rows)],
        "listener": [f"l{x:024x}" for x in rng.integers(0, 25, rows)],
        "track": [f"t{x}" for x in rng.integers(0, 40, rows)],
    }).drop_duplicates().sort_values(["day", "listener", "track"], ignore_index=True)  # fmt: skip
    size = len(frame)
    plays = rng.integers(1, 5, size)
    times = pd.to_datetime(frame["day"] + "T10:00:00Z", utc=True)
    liked = pd.array(rng.choice([True, False, None], size, p=[0.1, 0.05, 0.85]), dtype="boolean")
    return frame.assign(
        plays=plays, skips=rng.integers(0, 2, size), seconds_played=plays * 30.0, strength=plays * 0.7, liked=liked,
        sessions=1, first_played_at=times, last_played_at=times,
    )  # fmt: skip


def computed(frame: pd.DataFrame, key: point_in_time.Key) -> pd.DataFrame:
    connection = duckdb.connect()
    connection.register("interactions", frame)
    return connection.execute(point_in_time.features_query(key)).df()


def leaks(frame: pd.DataFrame, key: point_in_time.Key) -> list[str]:
    connection = duckdb.connect()
    connection.register("interactions", frame)
    return point_in_time.looked_ahead(connection.execute(point_in_time.features_query(key)).df(), connection, key)


@pytest.mark.parametrize("key", KEYS)
def test_what_comes_later_changes_no_earlier_row(key: point_in_time.Key) -> None:
    frame = world()
    everything = computed(frame, key)
    for day in ("2026-04-02", "2026-04-20", "2026-05-05"):
        as_known_then = computed(frame[frame["day"] <= day], key)
        pd.testing.assert_frame_equal(
            everything[everything["day"] <= day].reset_index(drop=True), as_known_then.reset_index(drop=True)
        )


@pytest.mark.parametrize("key", KEYS)
def test_a_rows_own_day_changes_nothing_in_it(key: point_in_time.Key) -> None:
    frame = world()
    day = "2026-04-20"
    louder = frame.assign(plays=np.where(frame["day"] == day, 1000, frame["plays"]), liked=frame["liked"])
    one, other = (computed(item, key) for item in (frame, louder))
    pd.testing.assert_frame_equal(one[one["day"] == day], other[other["day"] == day])
    assert not one[one["day"] > day].equals(other[other["day"] > day])


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("leak", ["CURRENT ROW", "INTERVAL 1 DAY FOLLOWING"])
def test_a_planted_leak_turns_the_check_red(key: point_in_time.Key, leak: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert leaks(world(), key) == []
    assert checks.point_in_time([]).passed
    monkeypatch.setattr(point_in_time, "UNTIL", leak)
    found = leaks(world(), key)
    assert found and not checks.point_in_time(found).passed
    assert "l0000" not in checks.point_in_time(found).description


def stored(platform: Platform, frame: pd.DataFrame) -> None:
    data = arrow_table(schemas.Interactions.validate(frame), schemas.Interactions)
    platform.lake.replace("interactions", data, platform.lake.attempt("r0"))


def make(platform: Platform, *names: str) -> dg.ExecuteInProcessResult:
    upstream = [dg.AssetSpec(name) for name in ("interactions",)]
    chosen: list[Any] = [item for item in feature_assets.ASSETS if item.key.path[-1] in names]
    return dg.materialize(
        [*chosen, *upstream], selection=list(names), resources=platform.resources(), raise_on_error=False
    )


def test_a_leaking_table_is_never_published(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(platform, world())
    names = ("listener_features", "track_features", "listening_splits")
    assert make(platform, *names).success
    version = platform.lake.versions("listener_features")[0].version
    monkeypatch.setattr(point_in_time, "UNTIL", "CURRENT ROW")
    result = make(platform, "listener_features")
    assert not result.success and platform.lake.versions("listener_features")[0].version == version
    (red,) = [item for item in result.get_asset_check_evaluations() if item.check_name == "point_in_time"]
    assert not red.passed and red.blocking


def test_training_examples_join_each_row_with_what_was_known_before_its_day(platform: Platform) -> None:
    frame = world()
    stored(platform, frame)
    assert make(platform, "listener_features", "track_features", "listening_splits").success
    connection = duckdb.connect()
    for name in ("interactions", "listener_features", "track_features", "listening_splits"):
        connection.register(name, platform.lake.table(name).dataset())
    rows = connection.execute(point_in_time.EXAMPLES_QUERY).df()
    assert len(rows) == len(frame)
    assert (
        rows.groupby("split")["day"]
        .agg(["min", "max"])
        .loc[["train", "validation", "test"]]
        .stack()
        .is_monotonic_increasing
    )
    row = rows[rows["day"] > "2026-04-20"].iloc[0]
    before = frame[(frame["listener"] == row["listener"]) & (frame["day"] < row["day"])]
    assert row["listener_plays_before"] == before["plays"].sum()
    assert (
        row["track_plays_before"]
        == frame[(frame["track"] == row["track"]) & (frame["day"] < row["day"])]["plays"].sum()
    )


@pytest.mark.parametrize("rows", [[5], [5, 5], [1, 1, 1], [10, 1, 1, 1], [1, 1, 1, 10], [3] * 50])
def test_whole_days_are_split_in_the_order_of_time(rows: list[int]) -> None:
    days = pd.DataFrame(
        {
            "day": [f"2026-05-{n:02}" if n <= 31 else f"2026-06-{n - 31:02}" for n in range(1, len(rows) + 1)],
            "rows": rows,
        }
    )
    splits = point_in_time.split_days(days)
    assert point_in_time.overlapping_splits(splits) == [] and checks.SPLITS_IN_ORDER.function(splits).passed  # type: ignore[misc]
    wanted = ["train", "validation", "test"] if len(rows) >= 3 else ["train", "test"][: len(rows)]
    assert splits["split"].drop_duplicates().tolist() == wanted
    if len(rows) == 50:
        assert splits["split"].value_counts().to_dict() == {"train": 35, "validation": 7, "test": 8}


def test_a_day_in_the_wrong_part_turns_the_check_red() -> None:
    splits = point_in_time.split_days(pd.DataFrame({"day": [f"2026-05-{n:02}" for n in range(1, 11)], "rows": 5}))
    judge = checks.SPLITS_IN_ORDER.function
    assert judge is not None and judge(splits).passed
    late = splits.assign(split=splits["split"].where(splits["day"] != "2026-05-10", "train"))
    assert not judge(late).passed
    twice = pd.concat([splits, splits.iloc[[0]].assign(split="test")])
    assert not judge(twice).passed
