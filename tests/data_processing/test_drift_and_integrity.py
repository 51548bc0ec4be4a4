"""Drift, references and volumes: quiet when nothing has changed, red for each planted case."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ai_assets.data_processing import checks, drift, feature_assets, integrity
from ai_assets.freshness import DAILY, POLICIES, with_freshness
from resources.alerts import ALERTS
from resources.lake.ledger import Entry
from resources.platform import Platform

SINCE = "2026-05-15"
CHECKS = {item.name: item for item in checks.DRIFT}


def listening(seed: int = 1, rows: int = 12_000, **changes: Callable[[pd.DataFrame], Any]) -> pd.DataFrame:
    """Events over thirty days; `changes` replace columns from the fifteenth on."""
    rng = np.random.default_rng(seed)
    day = rng.integers(1, 31, rows)
    hour = rng.choice(24, rows, p=np.r_[np.full(8, 0.01), np.full(16, 0.0575)])
    track = np.minimum(rng.geometric(0.03, rows), 200)
    frame = pd.DataFrame({
        "event_id": [f"e{n}" for n in range(rows)], "listener": [f"l{n % 40:024x}" for n in range(rows)],
        "track": [f"t{n:03}" for n in track], "day": [f"2026-05-{d:02}" for d in day],
        "played_at": pd.to_datetime([f"2026-05-{d:02}T{h:02}:30:00Z" for d, h in zip(day, hour, strict=True)]),
        "source": rng.choice(["search", "playlist", "recommendation"], rows), "skipped": rng.random(rows) < 0.2,
    })  # fmt: skip
    late = frame["day"] >= SINCE
    for name, make in changes.items():
        frame.loc[late, name] = make(frame[late])
    return frame


def tracks() -> pd.DataFrame:
    numbers = np.arange(1, 201)
    return pd.DataFrame({"track": [f"t{n:03}" for n in numbers], "tempo_bpm": 60.0 + numbers % 97,
                         "energy_index": (numbers % 11) / 10, "loudness_lufs": -8.0 - numbers % 13})  # fmt: skip


def measured(frame: pd.DataFrame, features: pd.DataFrame | None = None) -> pd.DataFrame:
    connection = duckdb.connect()
    connection.register("listening_events", frame)
    connection.register("tracks", tracks())
    if features is not None:
        connection.register("listener_features", features)
    return drift.measure(connection, SINCE, has_tracks=True, has_features=features is not None)


def verdicts(rows: pd.DataFrame) -> dict[str, bool]:
    return {name: check.function(rows).passed for name, check in CHECKS.items() if check.function is not None}


def test_psi_is_what_its_definition_says() -> None:
    r, c = np.array([50.0, 30, 20]), np.array([20.0, 30, 50])
    share = [(x + 0.5) / 101.5 for x in r], [(x + 0.5) / 101.5 for x in c]
    wanted = sum((b - a) * np.log(b / a) for a, b in zip(*share, strict=True))
    assert drift.psi(r, c) == pytest.approx(wanted) and drift.psi(r, r * 7) == pytest.approx(0, abs=1e-3)
    assert drift.psi(np.array([100.0, 0]), np.array([0.0, 100])) < np.inf


def test_the_same_listening_is_stable_in_every_quantity() -> None:
    rows = measured(listening())
    assert set(rows["quantity"]) == {"event_mix", "hour", "popularity", *drift.TRACK_QUANTITIES}
    assert all(verdicts(rows).values()) and rows["psi"].max() < 0.05
    sums = rows.groupby("quantity")[["reference", "current"]].sum()
    assert np.allclose(sums, 1.0)


PLANTED: dict[str, dict[str, Callable[[pd.DataFrame], Any]]] = {
    "event_mix_drift": {"source": lambda rows: np.where(np.arange(len(rows)) % 2, "autoplay", rows["source"])},
    "hour_drift": {"played_at": lambda rows: rows["played_at"].dt.floor("D") + pd.Timedelta(hours=3)},
    "popularity_drift": {"track": lambda rows: [f"t{1 + n % 200:03}" for n in range(len(rows))]},
    "feature_drift": {"track": lambda rows: [f"t{1 + 97 * (n % 2):03}" for n in range(len(rows))]},
}


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_change_turns_its_check_red(check: str) -> None:
    found = verdicts(measured(listening(**PLANTED[check])))
    assert not found[check]
    if check in ("event_mix_drift", "hour_drift"):
        assert [name for name, passed in found.items() if not passed] == [check]


def test_listeners_who_play_far_more_are_a_drift_of_features() -> None:
    rng = np.random.default_rng(0)
    days = [f"2026-05-{n:02}" for n in range(1, 31)] * 40
    features = pd.DataFrame(
        {"day": days, "plays_7d": rng.poisson(20, len(days)), "skip_rate_28d": rng.random(len(days))}
    )
    assert verdicts(measured(listening(), features))["feature_drift"]
    more = features.assign(plays_7d=np.where(features["day"] >= SINCE, features["plays_7d"] * 3, features["plays_7d"]))
    rows = measured(listening(), more)
    assert not verdicts(rows)["feature_drift"]
    assert "plays_7d" in CHECKS["feature_drift"].function(rows).description  # type: ignore[misc]


def test_too_few_rows_are_not_judged() -> None:
    rows = measured(listening(rows=600))
    assert rows.empty and all(verdicts(rows).values())
    assert drift.plot(rows).startswith(b"\x89PNG")


def test_few_listeners_are_not_judged_for_their_habits_are_no_drift() -> None:
    frame = listening(**PLANTED["hour_drift"])
    assert not verdicts(measured(frame))["hour_drift"]
    few = frame.assign(listener=[f"l{n % 5:024x}" for n in range(len(frame))])
    assert measured(few).empty


# -- through the real assets ---------------------------------------------------------------------------------------


def put(platform: Platform, name: str, frame: pd.DataFrame) -> None:
    platform.lake.replace(name, pa.Table.from_pandas(frame, preserve_index=False), platform.lake.attempt(f"r-{name}"))


def make(platform: Platform, name: str) -> dg.ExecuteInProcessResult:
    (asset,) = [item for item in feature_assets.ASSETS if item.key.path[-1] == name]
    upstream = [dg.AssetSpec(key) for key in asset.dependency_keys]
    return dg.materialize([asset, *upstream], selection=[name], resources=platform.resources())


def failed(result: dg.ExecuteInProcessResult) -> set[str]:
    return {item.check_name for item in result.get_asset_check_evaluations() if not item.passed}


def test_drift_is_a_warning_with_a_plot_and_an_alert(platform: Platform) -> None:
    days = [f"2026-05-{n:02}" for n in range(1, 31)]
    splits = pd.DataFrame({"day": days, "rows": 400, "listeners": 40, "tracks": 200, "first_plays": 0,
                           "split": ["train"] * 10 + ["validation"] * 4 + ["test"] * 16})  # fmt: skip
    put(platform, "listening_splits", splits)
    put(platform, "tracks", tracks())
    put(platform, "listening_events", listening())
    assert failed(make(platform, "listening_drift")) == set()
    assert platform.database.query(ALERTS.select()) == []
    put(platform, "listening_events", listening(**PLANTED["hour_drift"]))
    result = make(platform, "listening_drift")
    assert result.success and failed(result) == {"hour_drift"}
    (made,) = result.asset_materializations_for_node("listening_drift")
    shown = made.metadata["shares"].value
    assert isinstance(shown, str) and base64.b64decode(shown.split("base64,")[1][:-1]).startswith(b"\x89PNG")
    (alert,) = platform.database.query(ALERTS.select())
    assert alert["code"] == "drift" and "hour" in alert["title"]


def sound(platform: Platform) -> None:
    ids = [f"t{n}" for n in range(20)]
    people = [f"l{n:024x}" for n in range(10)]
    put(platform, "tracks", pd.DataFrame({"track": ids}))
    put(platform, "track_identities", pd.DataFrame({"track": ids, "audio_hash": ids}))
    put(platform, "audio_quality", pd.DataFrame({"audio_hash": ids}))
    put(platform, "listeners", pd.DataFrame({"listener": people}))
    put(platform, "interactions", pd.DataFrame({"track": ids[:10], "listener": people}))
    put(platform, "recommendations", pd.DataFrame({"track": ids[:10], "listener": people}))


def test_tables_that_agree_pass_and_an_empty_home_is_no_fault(platform: Platform) -> None:
    assert failed(make(platform, "data_quality")) == set()
    sound(platform)
    assert failed(make(platform, "data_quality")) == set()
    frame = platform.lake.table("data_quality").frame()
    assert frame["passed"].all() and {"reference", "volume"} == set(frame["kind"])


@pytest.mark.parametrize(
    ("table", "frame", "check"),
    [
        ("tracks", {"track": [f"t{n}" for n in range(19)]}, "references"),
        ("interactions", {"track": ["nobody knows"], "listener": [f"l{0:024x}"]}, "references"),
        ("audio_quality", {"audio_hash": ["other"]}, "references"),
        ("recommendations", {"track": ["t1"], "listener": [f"l{1:024x}"]}, "volumes"),
    ],
)
def test_a_planted_contradiction_turns_its_check_red(
    platform: Platform, table: str, frame: dict[str, list[str]], check: str
) -> None:
    sound(platform)
    put(platform, table, pd.DataFrame(frame))
    assert check in failed(make(platform, "data_quality"))
    broken = platform.lake.table("data_quality").frame().query("not passed")
    assert len(broken) and not broken["example"].fillna("").str.startswith("l0").any()


@pytest.mark.parametrize(("rows", "red"), [(100, False), (12, True), (900, True)])
def test_a_tiny_or_huge_day_turns_the_volume_red(rows: int, red: bool) -> None:
    def entry(day: str, count: int) -> Entry:
        return Entry("listening_events", day, "", "", "", 1, "r", "", rows=count)

    days = {f"2026-05-{n:02}": entry(f"2026-05-{n:02}", 100 + n) for n in range(1, 10)}
    days |= {"2026-05-10": entry("2026-05-10", rows), "2026-05-11": entry("2026-05-11", 1)}
    found = integrity.day_ratio(days, today="2026-05-11")  # the day that is still going on is not judged
    assert found is not None and found[0] == "2026-05-10"
    assert (not integrity.LOW <= found[1] <= integrity.HIGH) == red
    assert integrity.day_ratio(dict(list(days.items())[:3]), today="2026-05-11") is None


def test_an_end_product_that_is_too_old_fails_its_freshness_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    from dagster._core.definitions.freshness_evaluator import TimeWindowFreshnessPolicyEvaluator
    from dagster._core.workspace.context import LoadingContext

    class Context(LoadingContext):
        def __init__(self, instance: dg.DagsterInstance) -> None:
            self._instance, self._loaders = instance, {}

        @property
        def instance(self) -> dg.DagsterInstance:
            return self._instance

        @property
        def loaders(self) -> dict[Any, Any]:
            return self._loaders

    @dg.asset(name="recommendations")
    def product() -> dg.MaterializeResult:
        return dg.MaterializeResult()

    (watched,) = with_freshness([product])
    instance = dg.DagsterInstance.ephemeral()
    dg.materialize([watched], instance=instance)
    node = dg.Definitions([watched]).resolve_asset_graph().get(dg.AssetKey("recommendations"))

    def state(hours: float) -> str:
        module = "dagster._core.definitions.freshness_evaluator.get_current_timestamp"
        monkeypatch.setattr(module, lambda: time.time() + timedelta(hours=hours).total_seconds())
        return asyncio.run(TimeWindowFreshnessPolicyEvaluator().evaluate_freshness(Context(instance), node)).value

    assert POLICIES["recommendations"] is DAILY
    assert [state(hours) for hours in (1, 30, 40)] == ["PASS", "WARN", "FAIL"]
