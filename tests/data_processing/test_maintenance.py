"""Maintenance: files merged and runs pruned, with nothing lost that anything needs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from event_lines import event, raw_ids, write

from ai_assets.data_processing.batches import LANDING, AudioInbox
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.home import open_instance, prepare_home
from ai_assets.maintenance import maintain, prunable_runs
from resources.platform import Platform
from resources.settings import load_settings

DAYS = dg.StaticPartitionsDefinition(["a", "b"])
LATER = timedelta(hours=1)


@dg.asset(partitions_def=DAYS)
def kept(context: dg.AssetExecutionContext) -> None:
    if context.run.tags.get("fail"):
        raise RuntimeError("as asked")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[Platform, dg.DagsterInstance]]:
    platform = prepare_home(load_settings(home=tmp_path / "home"))
    with open_instance(platform) as instance:
        yield platform, instance


def run(instance: dg.DagsterInstance, key: str, **tags: str) -> str:
    result = dg.materialize([kept], partition_key=key, instance=instance, tags=tags, raise_on_error=False)
    return result.run_id


def test_a_run_with_the_latest_result_or_attempt_of_a_partition_is_never_pruned(
    home: tuple[Platform, dg.DagsterInstance],
) -> None:
    platform, instance = home
    old, latest_a = run(instance, "a"), run(instance, "a")
    latest_b, failed_once, failed = run(instance, "b"), run(instance, "b", fail="1"), run(instance, "b", fail="1")
    soon = datetime.now(UTC) + LATER
    assert set(prunable_runs(instance, soon)) == {old, failed_once}
    assert prunable_runs(instance, datetime.now(UTC) - LATER) == []
    assert maintain(platform, instance, apply=False, keep_days=0).runs == 2
    assert instance.get_run_by_id(old) is not None, "without apply nothing goes"
    assert maintain(platform, instance, apply=True, keep_days=0).runs == 2
    assert [instance.get_run_by_id(one) is None for one in (old, failed_once, latest_a, latest_b, failed)] == [
        True, True, False, False, False]  # fmt: skip
    assert not (platform.home.dagster / "history" / "runs" / f"{old}.db").exists()
    assert instance.get_materialized_partitions(dg.AssetKey("kept")) == {"a", "b"}
    assert len(list(platform.audit.records())) == 4, "three materializations were recorded before, and the upkeep"
    assert platform.audit.verify().ok


def test_after_every_run_was_pruned_no_file_is_taken_again_and_no_token_repeats(
    home: tuple[Platform, dg.DagsterInstance],
) -> None:
    platform, instance = home
    (platform.home.landing_audio / "a.wav").write_text("x")
    inbox = AudioInbox(platform.database, platform.home.root)
    inbox.freeze(LANDING, inbox.look(LANDING, settle_seconds=0).ready)
    write(platform, "a.jsonl", [event("1")])
    EventInbox(platform).ingest("r1")
    before = platform.lake.attempt(run(instance, "a")).token
    for record in instance.get_runs():
        instance.delete_run(record.run_id)
    assert inbox.look(LANDING, settle_seconds=0).ready == () and EventInbox(platform).pending() == []
    assert platform.lake.attempt(run(instance, "a")).token > before


def test_small_files_become_one_with_the_same_rows_and_old_versions_go(
    home: tuple[Platform, dg.DagsterInstance],
) -> None:
    platform, instance = home
    for number in range(10):
        write(platform, f"{number}.jsonl", [event(str(number)), event(f"late {number}", day=2)])
        EventInbox(platform).ingest(f"r{number}")
    lake, folder = platform.lake, Path(platform.lake.uri("raw_events")) / "day=2026-05-01"
    EventInbox(platform).record_days(lake.attempt("r"))
    entries, rows = lake.ledger.entries("raw_events"), lake.read("raw_events").num_rows
    orphan = folder / "part-of-a-killed-writer.parquet"
    orphan.write_bytes(b"torn")
    said = maintain(platform, instance, apply=False)
    assert said.compacted == {"raw_events": 2} and len(list(folder.glob("*.parquet"))) == 11
    done = maintain(platform, instance, apply=True)
    assert done.compacted == said.compacted
    assert lake.read("raw_events").num_rows == rows == 20 and len(raw_ids(platform)) == 20
    EventInbox(platform).record_days(lake.attempt("again"))
    assert lake.ledger.entries("raw_events") == entries, "no day is stale by it"
    (only,) = lake.open("raw_events").file_uris([("day", "=", "2026-05-01")])
    write(platform, "0.jsonl", [event("0"), event("late 0", day=2), event("new")])
    EventInbox(platform).ingest("after")
    assert lake.read("raw_events").num_rows == 21, "exactly once goes on after a rewrite"
    assert maintain(platform, instance, apply=True).compacted == {}
    assert Path(folder / only.rsplit("/", 1)[1]).exists()


def test_old_logs_go_and_new_ones_stay(home: tuple[Platform, dg.DagsterInstance]) -> None:
    import os

    platform, instance = home
    old, new = platform.home.logs / "old.log", platform.home.traces / "spans-new.jsonl"
    for path in (old, new):
        path.write_text("x")
    os.utime(old, (1, 1))
    assert maintain(platform, instance, apply=False).logs == 1 and old.exists()
    maintain(platform, instance, apply=True)
    assert not old.exists() and new.exists()


def test_a_compacted_table_keeps_its_fence(home: tuple[Platform, dg.DagsterInstance]) -> None:
    from resources.lake.fence import Fenced
    from resources.lake.upkeep import compact

    platform, _ = home
    lake = platform.lake
    older, newer = lake.attempt("older"), lake.attempt("newer")
    written = lake.replace("t", pa.table({"n": [1]}), newer)
    compact(lake, "t", [""])
    with pytest.raises(Fenced):
        lake.replace("t", pa.table({"n": [2]}), older)
    again = lake.replace("t", pa.table({"n": [1]}), newer)
    assert not again.changed and again.content_hash == written.content_hash


def test_old_impressions_go_and_new_ones_stay(home: tuple[Platform, dg.DagsterInstance]) -> None:
    from ai_assets.recommendation_update.impressions import IMPRESSIONS, impressions
    from resources.database import upsert

    platform, instance = home
    common = {"listener": "l", "track": "t", "generation": "g", "experiment": "", "arm": "", "position": 1}
    now = datetime.now(UTC)
    ages = {"old": timedelta(days=91), "new": timedelta(days=89)}
    rows = [{"list_id": name, "shown_at": (now - age).timestamp(), **common} for name, age in ages.items()]
    with platform.database.begin() as connection:
        upsert(connection, IMPRESSIONS, rows, update={})
    assert maintain(platform, instance, apply=False).impressions == 1 and len(impressions(platform.database)) == 2
    assert maintain(platform, instance, apply=True).impressions == 1
    assert impressions(platform.database)["list_id"].tolist() == ["new"]
    assert maintain(platform, instance, apply=True).impressions == 0
