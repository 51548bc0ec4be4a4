"""Real ticks of the two triggers of training: by the clock, by volume, by drift; never twice, never by a file alone."""

from __future__ import annotations

import importlib
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from ai_assets.home import TABLE_MODULES
from ai_assets.jobs import REASON, RETRAIN, models_job
from ai_assets.model_training import retraining
from resources.lake.ledger import Entry
from resources.platform import Platform
from resources.settings import load_settings
from sensors.retraining import UNFINISHED, retraining_sensors, weekly

(RETRAIN_SENSOR,) = retraining_sensors(5)
# A queued run cannot be made without a workspace.
STATUSES = [status for status in UNFINISHED if status != dg.DagsterRunStatus.QUEUED]
TODAY = datetime.now(UTC).date()


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    made = Platform(load_settings(home=tmp_path, retrain_events=1_000))
    made.home.make()
    for module in TABLE_MODULES:
        importlib.import_module(module)
    made.database.prepare()
    return made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as made:
        yield made


def made(platform: Platform, asset: str, rows: int | None = None, partition: str = "") -> None:
    """Note in the ledger that the asset was made now."""
    token = platform.lake.attempt(f"r{time.monotonic_ns()}").token
    platform.lake.ledger.record(
        [Entry(asset, partition, "h", "d", "c", token=token, run_id="r", trace_id="t", rows=rows)]
    )


def drift(platform: Platform, psi: float, since: str) -> None:
    frame = pd.DataFrame({"quantity": ["hour", "hour", "popularity"], "bin": ["a", "b", "a"], "reference": 0.5,
                          "current": 0.5, "psi": [psi, psi, 0.01], "since": since})  # fmt: skip
    table = pa.Table.from_pandas(frame, preserve_index=False)
    platform.lake.replace("listening_drift", table, platform.lake.attempt(f"r{time.monotonic_ns()}"))
    made(platform, "listening_drift", rows=3)


def tick(trigger: Any, platform: Platform, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    """One evaluation, as the daemon does it."""
    with dg.build_sensor_context(instance=instance, resources={"platform": platform}) as context:
        if trigger is RETRAIN_SENSOR:
            return list(RETRAIN_SENSOR.evaluate_tick(context).run_requests or [])
    with dg.build_schedule_context(instance=instance, resources={"platform": platform}) as scheduled:
        return list(weekly.evaluate_tick(scheduled).run_requests or [])


def submit(instance: dg.DagsterInstance, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> dg.DagsterRun:
    return instance.add_run(dg.DagsterRun(job_name="models_job", status=status))


@pytest.mark.parametrize("status", [*STATUSES, dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
def test_the_schedule_waits_for_an_unfinished_training_alone(
    platform: Platform, instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    submit(instance, status)
    assert bool(tick(weekly, platform, instance)) == (status not in UNFINISHED)


def test_enough_new_events_train_once_and_then_count_anew(platform: Platform, instance: dg.DagsterInstance) -> None:
    made(platform, "raw_events", rows=5_000, partition="a")
    assert tick(RETRAIN_SENSOR, platform, instance) == [], "no model yet: it is first trained by a run"
    made(platform, "collaborative_model")
    assert tick(RETRAIN_SENSOR, platform, instance) == []
    made(platform, "raw_events", rows=999, partition="b")
    assert tick(RETRAIN_SENSOR, platform, instance) == []
    made(platform, "raw_events", rows=1_000, partition="b")
    (request,) = tick(RETRAIN_SENSOR, platform, instance)
    assert "1,000 new events" in request.tags[REASON]
    assert tick(RETRAIN_SENSOR, platform, instance) == [], "it was asked for a moment ago"
    run = submit(instance)
    assert tick(RETRAIN_SENSOR, platform, instance) == []
    instance.report_run_failed(run)
    assert tick(RETRAIN_SENSOR, platform, instance) == [], "a failed training is not asked for again by the same events"
    made(platform, "raw_events", rows=1_000, partition="c")
    assert len(tick(RETRAIN_SENSOR, platform, instance)) == 1


def test_a_training_by_hand_counts_and_new_audio_does_not(platform: Platform, instance: dg.DagsterInstance) -> None:
    made(platform, "collaborative_model")
    made(platform, "raw_events", rows=100, partition="a")
    assert tick(RETRAIN_SENSOR, platform, instance) == []
    made(platform, "raw_events", rows=1_200, partition="b")
    time.sleep(0.002)  # the ledger's clock counts milliseconds
    made(platform, "collaborative_model")
    for asset in ("landing_files", "tracks", "audio_features", "interactions"):
        made(platform, asset, rows=50_000)
    assert tick(RETRAIN_SENSOR, platform, instance) == []


def test_a_drift_of_days_the_model_does_not_know_trains_once_per_measurement(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    tomorrow = str(TODAY + timedelta(days=1))
    drift(platform, 0.9, tomorrow)
    time.sleep(0.002)
    made(platform, "collaborative_model")
    assert tick(RETRAIN_SENSOR, platform, instance) == [], "measured before the training"
    time.sleep(0.002)
    drift(platform, 0.24, tomorrow)
    assert tick(RETRAIN_SENSOR, platform, instance) == []
    time.sleep(0.002)
    drift(platform, 0.9, str(TODAY - timedelta(days=9)))
    assert tick(RETRAIN_SENSOR, platform, instance) == [], "the model was made from those days"
    time.sleep(0.002)
    drift(platform, 0.3, tomorrow)
    (request,) = tick(RETRAIN_SENSOR, platform, instance)
    assert "hour 0.30" in request.tags[REASON] and "popularity" not in request.tags[REASON]
    instance.report_run_failed(submit(instance))
    assert tick(RETRAIN_SENSOR, platform, instance) == [], "the training failed; drift has not been measured since"
    time.sleep(0.002)
    drift(platform, 0.3, tomorrow)
    assert len(tick(RETRAIN_SENSOR, platform, instance)) == 1


def test_a_request_whose_daemon_died_is_made_again_later(
    platform: Platform, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(platform, "collaborative_model")
    tick(RETRAIN_SENSOR, platform, instance)
    made(platform, "raw_events", rows=1_000, partition="a")
    (lost,) = tick(RETRAIN_SENSOR, platform, instance)
    assert tick(weekly, platform, instance) == []
    monkeypatch.setattr(retraining, "PENDING_SECONDS", 0.0)
    (again,) = tick(RETRAIN_SENSOR, platform, instance)
    assert again.run_key != lost.run_key


def test_two_triggers_in_the_same_moment_ask_for_one_training(platform: Platform, instance: dg.DagsterInstance) -> None:
    made(platform, "collaborative_model")
    tick(RETRAIN_SENSOR, platform, instance)
    made(platform, "raw_events", rows=9_000, partition="a")
    start, asked = threading.Barrier(6), []

    def trigger(one: Any) -> None:
        start.wait(60)
        asked.extend(tick(one, platform, instance))

    threads = [threading.Thread(target=trigger, args=(one,)) for one in [RETRAIN_SENSOR, weekly] * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["local", "team"])
def test_the_queue_lets_one_training_run_at_a_time(name: str) -> None:
    text = (Path(retraining.__file__).parents[2] / "resources" / "instance" / f"{name}.yaml").read_text()
    limits = yaml.safe_load(text)["concurrency"]["runs"]["tag_concurrency_limits"]
    ((key, value),) = RETRAIN.items()
    assert {"key": key, "value": value, "limit": 1} in limits
    assert models_job.tags is not None and models_job.tags.items() >= RETRAIN.items()
