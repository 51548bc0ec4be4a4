"""Sensors called as Dagster calls them: nothing lost, nothing doubled, also when a tick dies."""

from __future__ import annotations

import importlib
import os
import time
from pathlib import Path

import dagster as dg
import pytest

from ai_assets.data_processing import batches
from ai_assets.home import TABLE_MODULES
from ai_assets.planning import event_inbox
from resources.platform import Platform
from resources.settings import load_settings
from sensors.inputs import event_requests, look_for_vanished, take_new_audio


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = Platform(load_settings(home=tmp_path))
    platform.home.make()
    for module in TABLE_MODULES:
        importlib.import_module(module)
    platform.database.prepare()
    platform.pseudonyms.prepare()
    return platform


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def drop(folder: Path, name: str, text: str, *, age: float = 60) -> Path:
    path = folder / name
    path.write_text(text)
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def keys(result: dg.SensorResult) -> list[str]:
    return [request.run_key or "" for request in result.run_requests or []]


def test_new_audio_makes_one_batch_and_one_run(platform: Platform, instance: dg.DagsterInstance) -> None:
    assert keys(take_new_audio(instance, platform)) == []
    drop(platform.home.landing_audio, "a.wav", "x")
    drop(platform.home.landing_audio, "growing.wav", "x", age=0)
    result = take_new_audio(instance, platform)
    (request,) = result.run_requests or []
    (partitions,) = result.dynamic_partitions_requests or []
    assert request.run_key == f"batch:{request.partition_key}" and list(partitions.partition_keys) == [
        request.partition_key
    ]
    files = batches.AudioInbox(platform.database, platform.home.root).files(str(request.partition_key))
    assert [item["path"] for item in files] == ["a.wav"]


def test_a_tick_that_dies_before_its_partition_is_stored_is_repeated(
    platform: Platform, instance: dg.DagsterInstance
) -> None:
    drop(platform.home.landing_audio, "a.wav", "x")
    lost = take_new_audio(instance, platform)
    again = take_new_audio(instance, platform)
    assert keys(again) == keys(lost) and len(keys(again)) == 1
    assert again.dynamic_partitions_requests and len(platform.database.query(batches.AUDIO_FILES.select())) == 1
    instance.add_dynamic_partitions("audio_batches", [str((lost.run_requests or [])[0].partition_key)])
    once_more = take_new_audio(instance, platform)
    assert keys(once_more) == keys(lost) and not once_more.dynamic_partitions_requests


def test_a_folder_that_is_away_does_not_stop_the_other_roots(
    platform: Platform, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    other = tmp_path / "music"
    other.mkdir()
    batches.AudioInbox(platform.database, platform.home.root).register_root(other)
    drop(platform.home.landing_audio, "a.wav", "x")
    other.rmdir()
    assert len(keys(take_new_audio(instance, platform))) == 1


def test_pending_events_ask_for_one_reading_per_state_of_the_files(platform: Platform) -> None:
    assert list(event_requests(platform)) == []
    path = drop(platform.home.landing_events, "a.jsonl", '{"listener":"a","track":"x - y","played_at":1700000000}\n')
    (first,) = event_requests(platform)
    (same,) = event_requests(platform)
    assert first.run_key == same.run_key and first.asset_selection == [dg.AssetKey("raw_events")]
    path.write_text(path.read_text() * 2)
    (grown,) = event_requests(platform)
    assert grown.run_key != first.run_key


def test_late_events_ask_for_their_day_alone(platform: Platform) -> None:
    from ai_assets.data_processing import assets  # noqa: F401  (declares the contracts)

    inbox = event_inbox(platform)
    line = '{{"listener":"a","track":"x - y","played_at":"2026-05-{:02}T10:00:00Z"}}\n'
    drop(platform.home.landing_events, "a.jsonl", line.format(1) + line.format(2) + line.format(5))
    inbox.ingest("r1")
    inbox.record_days(platform.lake.attempt("r1"))
    found = list(event_requests(platform))
    assert [request.tags.get("dagster/asset_partition_range_end", request.partition_key) for request in found] == [
        "2026-05-02", "2026-05-05"]  # fmt: skip
    assert keys(dg.SensorResult(run_requests=found)) == keys(
        dg.SensorResult(run_requests=list(event_requests(platform)))
    )


def test_a_vanished_file_is_told_once_and_a_lost_cursor_asks_for_the_same_run(platform: Platform) -> None:
    paths = [drop(platform.home.landing_audio, f"{n}.wav", "x" * (n + 1), age=100 + n) for n in range(3)]
    take_new_audio(dg.DagsterInstance.ephemeral(), platform)
    first = look_for_vanished(None, platform)
    assert look_for_vanished(first.cursor, platform).skip_reason is not None
    paths[0].unlink()
    gone = look_for_vanished(first.cursor, platform)
    assert gone.cursor != first.cursor and len(keys(gone)) == 1
    assert keys(look_for_vanished(first.cursor, platform)) == keys(gone)
    assert look_for_vanished(gone.cursor, platform).run_requests in (None, [])


def test_a_stream_under_constant_load_piles_up_no_runs_and_starves_no_day(platform: Platform) -> None:
    inbox = event_inbox(platform)
    given = {"listener": "a", "track": "x - y"}
    platform.event_stream.append([{**given, "played_at": 1700000000}])
    (reading,) = event_requests(platform)
    assert reading.tags["ai_assets/purpose"] == "read_events"
    inbox.ingest("r1")
    inbox.record_days(platform.lake.attempt("r1"))
    platform.event_stream.append([{**given, "played_at": 1700000001}])
    more, day = event_requests(platform)
    assert more.run_key != reading.run_key and day.partition_key == "2023-11-14"
    assert [request.partition_key for request in event_requests(platform, busy={"read_events"})] == ["2023-11-14"]
    assert keys(dg.SensorResult(run_requests=list(event_requests(platform, busy={"rebuild_days"})))) == [more.run_key]
    assert list(event_requests(platform, busy={"read_events", "rebuild_days"})) == []
