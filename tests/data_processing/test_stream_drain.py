"""The event stream into `raw_events`: each record once, acknowledged after the commit, with real kills in between."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_home import make_platform
from event_lines import event, raw_ids, write

from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.raw_store import Reading
from ai_assets.planning import Planner, day_ranges
from resources.event_stream import RedisStream, StreamUnavailable
from resources.platform import Platform

REDIS = os.environ.get("AI_ASSETS_TEST_REDIS", "redis://127.0.0.1:6379/7")
HERE = str(Path(__file__).parent)


def record(number: int | str, **changes: Any) -> dict[str, Any]:
    given = {"event_id": str(number), "listener": "anna", "track": "a - b", "played_at": "2026-05-01T10:00:00Z"}
    return {**given, **changes}


def counts(reading: Reading) -> tuple[int, int, int, int]:
    return reading.read, reading.accepted, reading.quarantined, reading.duplicates


def test_stream_and_files_feed_one_table_and_an_event_in_both_counts_once(
    platform: Platform, inbox: EventInbox
) -> None:
    write(platform, "a.jsonl", [event("1"), event("2")])
    platform.event_stream.append([record(2), record(3), record(3)])
    assert inbox.pending() == ["landing/events/a.jsonl", "stream"]
    stream, file = inbox.ingest("r1")
    assert (stream.source, counts(stream), counts(file)) == ("stream", (3, 2, 0, 1), (2, 1, 0, 1))
    assert raw_ids(platform) == ["1", "2", "3"] and inbox.pending() == [] and inbox.pending_digest() == ""
    assert inbox.ingest("r2") == []
    assert {item.source for item in inbox.reports(["r1"])} == {"stream", "landing/events/a.jsonl"}


def test_a_listener_is_the_same_from_stream_and_file(platform: Platform, inbox: EventInbox) -> None:
    write(platform, "a.jsonl", [event("1", listener="anna")])
    platform.event_stream.append([record(2, listener="anna")])
    inbox.ingest("r")
    assert set(platform.lake.table("raw_events").frame()["listener"]) == {platform.pseudonyms.of("anna")}


def test_an_impossible_record_is_one_row_of_quarantine_named_by_its_sequence(
    platform: Platform, inbox: EventInbox
) -> None:
    last = platform.event_stream.append([record(1), record(2, played_at="soon"), record(3)])
    (reading,) = inbox.ingest("r")
    assert counts(reading) == (3, 2, 1, 0) and raw_ids(platform) == ["1", "3"]
    (row,) = platform.quarantine.rows("raw_events")
    assert row["source"] == f"stream:{last - 1}" and row["code"] == "bad_time"


def test_a_stream_that_has_begun_anew_loses_nothing(platform: Platform, inbox: EventInbox) -> None:
    platform.event_stream.append([record(number) for number in range(5)])
    inbox.ingest("r1")
    with platform.database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM event_stream")
        connection.exec_driver_sql("DELETE FROM sqlite_sequence")
    platform.event_stream.append([record("new"), record(4)])
    (reading,) = inbox.ingest("r2")
    assert counts(reading) == (2, 1, 0, 1) and raw_ids(platform) == ["0", "1", "2", "3", "4", "new"]


def test_a_stream_that_does_not_answer_holds_up_no_file(
    platform: Platform, inbox: EventInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(platform, "a.jsonl", [event("1")])
    stream = RedisStream("redis://127.0.0.1:1/0", "x", str)
    monkeypatch.setitem(platform.__dict__, "event_stream", stream)
    assert inbox.pending() == ["landing/events/a.jsonl"]
    with pytest.raises(StreamUnavailable):
        inbox.ingest("r")
    assert raw_ids(platform) == ["1"]


def test_a_drain_ends_although_records_keep_coming(
    platform: Platform, inbox: EventInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = platform.event_stream
    stream.append([record(0)])
    real, numbers = stream.acknowledge, iter(range(1, 1000))

    def acknowledge(sequences: Any) -> None:
        real(sequences)
        stream.append([record(next(numbers))])

    monkeypatch.setattr(stream, "acknowledge", acknowledge)
    inbox.ingest("r")
    assert raw_ids(platform) == ["0"] and stream.waiting() == 1


def test_an_event_of_tomorrow_waits_until_its_day_has_begun(platform: Platform, inbox: EventInbox) -> None:
    from ai_assets.data_processing import assets  # noqa: F401  (declares the contracts)

    write(platform, "a.jsonl", [event("1", day=1), event("2", day=2)])
    inbox.ingest("r")
    inbox.record_days(platform.lake.attempt("r"))

    def wanted(today: str) -> list[str]:
        items = Planner(platform, today=lambda: today).items()
        return [item.key for item in items if item.asset == "listening_events"]

    assert wanted("2026-05-01") == ["2026-05-01"] and wanted("2026-05-02") == ["2026-05-01", "2026-05-02"]


def test_a_run_over_days_holds_a_bounded_number_of_rows() -> None:
    days = [f"2026-05-{n:02}" for n in range(1, 8)]
    rows = dict.fromkeys(days, 100_000) | {"2026-05-05": 900_000}
    assert [len(part) for part in day_ranges(days, rows)] == [3, 1, 1, 2]
    assert [len(part) for part in day_ranges(days, {})] == [7]


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from data_home import make_platform
from ai_assets.data_processing.event_inbox import EventInbox
platform = make_platform(Path(sys.argv[1]))
inbox, moment = EventInbox(platform), sys.argv[3]
def die(*_args, **_options):
    os.kill(os.getpid(), 9)
if moment == "before the commit":
    platform.lake.append = die
elif moment == "before the acknowledgement":
    platform.event_stream.acknowledge = die
else:
    platform.quarantine.add = die
inbox.ingest("r1")
"""


@pytest.fixture(params=["database", pytest.param("redis", marks=pytest.mark.team)])
def engine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    if request.param == "database":
        yield make_platform(tmp_path / "home")
        return
    import redis

    try:
        redis.Redis.from_url(REDIS, socket_connect_timeout=2).ping()
    except redis.RedisError as error:
        reason = f"no Redis at {REDIS}: {type(error).__name__}"
        if os.environ.get("AI_ASSETS_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    monkeypatch.setenv("AI_ASSETS_REDIS_URL", REDIS)
    platform = make_platform(tmp_path / f"home-{uuid.uuid4().hex}")
    assert isinstance(platform.event_stream, RedisStream)
    yield platform
    platform.event_stream._redis.delete(platform.event_stream.key)


@pytest.mark.team
@pytest.mark.parametrize("moment", ["before the commit", "before the acknowledgement", "before the quarantine"])
def test_a_drain_killed_anywhere_doubles_and_loses_nothing(engine: Platform, moment: str) -> None:
    engine.event_stream.append([record(1), record(2, played_at="soon"), record(3), record(1)])
    done = subprocess.run([sys.executable, "-c", KILLED, str(engine.home.root), HERE, moment], check=False)
    assert done.returncode == -9
    assert raw_ids(engine) == (["1", "3"] if moment == "before the acknowledgement" else [])
    assert engine.event_stream.waiting() == 4
    engine.event_stream.append([record(4)])
    inbox = EventInbox(engine)
    (reading,) = inbox.ingest("r2")
    assert counts(reading) == (5, 3, 1, 1)
    assert raw_ids(engine) == ["1", "3", "4"] and engine.lake.table("raw_events").arrow().num_rows == 3
    assert [row["code"] for row in engine.quarantine.rows("raw_events")] == ["bad_time"]
    assert engine.event_stream.waiting() == 0 and inbox.pending() == []


REPEATING = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from data_home import make_platform
from ai_assets.data_processing.event_inbox import EventInbox
inbox = EventInbox(make_platform(Path(sys.argv[1])))
print("ready", flush=True)
while True:
    inbox.ingest("r")
"""


@pytest.mark.team
def test_drains_killed_at_any_moment_under_load_keep_every_event_once(engine: Platform) -> None:
    appended = 0
    for round_ in range(6):
        command = [sys.executable, "-c", REPEATING, str(engine.home.root), HERE]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for _ in range(5 + 3 * round_):
            engine.event_stream.append([record(appended + number) for number in range(7)])
            appended += 7
        process.kill()
        process.wait()
    EventInbox(engine).ingest("last")
    assert raw_ids(engine) == sorted(str(number) for number in range(appended))
    assert engine.lake.table("raw_events").arrow().num_rows == appended and engine.event_stream.waiting() == 0
