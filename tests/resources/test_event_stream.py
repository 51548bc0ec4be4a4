"""The event stream: one suite for both engines. Durable, in order, given again until acknowledged, pseudonymised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from resources import event_stream
from resources.database import Database
from resources.event_stream import DatabaseStream, EventStream, RedisStream, StreamUnavailable
from resources.pseudonyms import Pseudonyms

REDIS = os.environ.get("AI_ASSETS_TEST_REDIS", "redis://127.0.0.1:6379/7")
POSTGRES = os.environ.get("AI_ASSETS_TEST_POSTGRES", "postgresql+psycopg2://root@127.0.0.1:5432/postgres")


def absent(reason: str) -> None:
    if os.environ.get("AI_ASSETS_REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)


def redis_stream(name: str, pseudonym: Any) -> RedisStream:
    import redis

    try:
        redis.Redis.from_url(REDIS, socket_connect_timeout=2).ping()
    except redis.RedisError as error:
        absent(f"no Redis at {REDIS}: {type(error).__name__}")
    return RedisStream(REDIS, name, pseudonym)


@pytest.fixture
def pseudonyms(tmp_path: Path) -> Pseudonyms:
    return Pseudonyms(tmp_path / "secrets", "key-of-the-test")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.team),
                        pytest.param("redis", marks=pytest.mark.team)])  # fmt: skip
def stream(request: pytest.FixtureRequest, tmp_path: Path, pseudonyms: Pseudonyms) -> Iterator[EventStream]:
    if request.param == "redis":
        made = redis_stream(uuid.uuid4().hex, pseudonyms.of)
        yield made
        made._redis.delete(made.key)
        return
    if request.param == "sqlite":
        database = Database(f"sqlite:///{tmp_path}/p.db", tmp_path)
        database.prepare()
        yield DatabaseStream(database, pseudonyms.of)
        return
    name = f"stream_{uuid.uuid4().hex[:12]}"
    server = sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    try:
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.OperationalError as error:
        absent(f"no PostgreSQL at {POSTGRES}: {type(error).__name__}")
    database = Database(POSTGRES.rsplit("/", 1)[0] + f"/{name}", tmp_path)
    database.prepare()
    yield DatabaseStream(database, pseudonyms.of)
    database.engine.dispose()
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def record(number: int, listener: Any = "anna@example.org") -> dict[str, Any]:
    return {"event_id": f"e{number}", "listener": listener, "track": "a - b", "played_at": "2026-05-01T10:00:00Z"}


def ids(found: list[tuple[int, Any]]) -> list[str]:
    return [item["event_id"] for _, item in found]


def test_records_come_back_in_order_behind_any_sequence(stream: EventStream) -> None:
    assert stream.last() == 0 and stream.read_after(0) == [] and stream.waiting() == 0
    assert stream.append([]) == 0
    first = stream.append([record(1), record(2)])
    second = stream.append([record(3)])
    assert 0 < first < second == stream.last()
    found = stream.read_after(0)
    assert ids(found) == ["e1", "e2", "e3"] and found[1][0] == first
    assert ids(stream.read_after(first)) == ["e3"] and stream.read_after(second) == []
    assert ids(stream.read_after(0, 2)) == ["e1", "e2"]


def test_the_raw_listener_id_is_never_stored(stream: EventStream, pseudonyms: Pseudonyms, tmp_path: Path) -> None:
    disguised = "l" + "a" * 24  # a raw id that looks like a pseudonym is a raw id
    stream.append([record(1) | {"user": "anna@example.org"}, record(2, 4711), record(3, disguised), record(4, ["x"])])
    found = [item for _, item in stream.read_after(0)]
    wanted = [pseudonyms.of("anna@example.org"), pseudonyms.of("4711"), pseudonyms.of(disguised), None]
    assert [item.get("listener") for item in found] == wanted
    assert all("user" not in item for item in found)
    if isinstance(stream, RedisStream):
        stored = repr(stream._redis.xrange(stream.key)).encode()
    else:
        assert isinstance(stream, DatabaseStream)
        stored = repr(stream._database.query(sa.select(event_stream.EVENT_STREAM))).encode()
    assert b"anna@example" not in stored and disguised.encode() not in stored


def test_what_is_not_acknowledged_is_given_again_and_acknowledged_ones_stay_readable(stream: EventStream) -> None:
    stream.append([record(number) for number in range(5)])
    taken = stream.pending(3)
    assert ids(taken) == ["e0", "e1", "e2"] == ids(stream.pending(3))
    stream.acknowledge([number for number, _ in taken[:2]])
    assert ids(stream.pending(10)) == ["e2", "e3", "e4"] and stream.waiting() == 3
    stream.acknowledge([number for number, _ in stream.pending(10)])
    assert stream.pending(10) == [] and stream.waiting() == 0
    assert len(stream.read_after(0)) == 5


def test_only_taken_records_are_dropped_after_an_hour(stream: EventStream, monkeypatch: pytest.MonkeyPatch) -> None:
    stream.append([record(number) for number in range(300)])
    monkeypatch.setattr(event_stream, "RETAINED_SECONDS", -10.0)
    stream.acknowledge([number for number, _ in stream.pending(200)])
    left = ids(stream.read_after(0))
    assert left[-100:] == [f"e{number}" for number in range(200, 300)] and len(left) < 300
    assert ids(stream.pending(300)) == [f"e{number}" for number in range(200, 300)]


def test_forgetting_erases_a_listener_and_nobody_else(stream: EventStream, pseudonyms: Pseudonyms) -> None:
    stream.append([record(1), record(2, "ben"), record(3)])
    stream.pending(1)
    assert stream.forget(pseudonyms.of("anna@example.org")) == 2 and stream.forget("l" + "0" * 24) == 0
    assert ids(stream.read_after(0)) == ["e2"] and ids(stream.pending(9)) == ["e2"] and stream.waiting() == 1
    assert stream.append([record(4)]) > stream.read_after(0)[0][0]


@pytest.mark.parametrize("bad", [["no mapping"], [{"listener": "a", "track": {1, 2}}], [{"track": "x" * 70_000}]])
def test_a_bad_record_is_named_and_nothing_of_its_list_is_stored(stream: EventStream, bad: list[Any]) -> None:
    with pytest.raises(ValueError, match="record 1"):
        stream.append([record(1), *bad])
    assert stream.last() == 0


def test_writers_at_once_lose_nothing_and_a_follower_misses_nothing(stream: EventStream) -> None:
    seen: list[str] = []
    done = threading.Event()

    def follow() -> None:
        position, last_round = 0, False
        while not last_round:
            last_round = done.is_set()
            found = stream.read_after(position)
            seen.extend(ids(found))
            position = found[-1][0] if found else position

    def write(writer: int) -> None:
        for number in range(20):
            stream.append([record(writer * 100 + number)])

    follower = threading.Thread(target=follow)
    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in [follower, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    follower.join()
    assert sorted(seen) == sorted(f"e{writer * 100 + number}" for writer in range(4) for number in range(20))


@pytest.mark.team
def test_a_sender_may_write_to_redis_itself_and_its_rubbish_is_marked(pseudonyms: Pseudonyms) -> None:
    stream = redis_stream(uuid.uuid4().hex, pseudonyms.of)
    try:
        plain = {name: str(value) for name, value in record(1).items()}
        for fields in (plain, {"record": json.dumps(record(2))}, {"record": "{half"}, {b"\xff": b"\xfe"}):
            stream._redis.xadd(stream.key, fields)
        found = stream.pending(10)
        assert [item and item["event_id"] for _, item in found] == ["e1", "e2", None, None]
        assert {item["listener"] for _, item in found if item} == {pseudonyms.of("anna@example.org")}
        assert ids(stream.read_after(0)) == ["e1", "e2"]
    finally:
        stream._redis.delete(stream.key)


def test_a_redis_that_does_not_answer_is_named_without_its_password(pseudonyms: Pseudonyms) -> None:
    stream = RedisStream("redis://user:hunter22@127.0.0.1:1/0", "x", pseudonyms.of)
    with pytest.raises(StreamUnavailable, match=r"127\.0\.0\.1:1") as error:
        stream.append([record(1)])
    assert "hunter22" not in str(error.value)


APPENDER = """
import sys
from pathlib import Path
from resources.database import Database
from resources.event_stream import DatabaseStream
stream = DatabaseStream(Database("sqlite:///" + sys.argv[1] + "/p.db", Path(sys.argv[1])), lambda raw: "l" + "0" * 24)
for number in range(10**6):
    print(stream.append([{"event_id": str(number), "listener": "x"}]), flush=True)
"""


@pytest.mark.team
def test_what_append_returned_survives_a_kill(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/p.db", tmp_path)
    database.prepare()
    process = subprocess.Popen([sys.executable, "-c", APPENDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    confirmed = {int(process.stdout.readline()) for _ in range(50)}
    process.kill()
    process.wait()
    kept = {number for number, _ in DatabaseStream(database, str).read_after(0, 10**6)}
    assert confirmed <= kept
