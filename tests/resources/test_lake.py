"""The lake: one partition at a time, never an older attempt, never half a write."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa
from lake_race import lake_of

from resources.lake.fence import RUN_TOKENS, Attempt, DatabaseBehind, Fenced, token
from resources.lake.ledger import Entry
from resources.lake.tables import Lake, Origin, content_hash, reading

SCRIPT = str(Path(__file__).with_name("lake_race.py"))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return lake_of(tmp_path)


def put(lake: Lake, values: list[int], key: str, run: str = "r1", attempt: int = 0) -> int:
    written = lake.replace("t", pa.table({"x": values}), lake.attempt(run, attempt), column="key", key=key)
    return written.table_version


def rows(lake: Lake) -> dict[str, list[int]]:
    frame = lake.table("t", column="key").frame()
    return {str(key): part["x"].tolist() for key, part in frame.groupby("key")}


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, SCRIPT, str(folder), *arguments])


def go(folder: Path, names: list[str]) -> None:
    while not all((folder / f"ready-{name}").exists() for name in names):
        time.sleep(0.01)
    (folder / "go").touch()


def test_a_write_replaces_exactly_its_partition(lake: Lake) -> None:
    put(lake, [1, 2], "a")
    put(lake, [3], "b")
    put(lake, [9], "a", "r2")
    assert rows(lake) == {"a": [9], "b": [3]}
    put(lake, [], "a", "r3")
    assert rows(lake) == {"b": [3]} and lake.partition_rows("t", "key") == {"b": 1}
    assert lake.table("t", keys=["b"], column="key").arrow().num_rows == 1
    assert lake.table("t", keys=[], column="key").arrow().num_rows == 0


def test_an_equal_second_write_makes_no_version_and_another_one_does(lake: Lake) -> None:
    first = put(lake, [1, 2], "a")
    assert put(lake, [1, 2], "a", "r2") == first
    assert put(lake, [2, 1], "a", "r3") == first + 1
    entry = lake.ledger.entry("t", "a")
    assert entry is not None and (entry.run_id, entry.rows) == ("r3", 2)


def test_an_older_attempt_is_refused_and_changes_nothing(lake: Lake) -> None:
    old, new = lake.attempt("old"), lake.attempt("new")
    lake.replace("t", pa.table({"x": [2]}), new, column="key", key="a")
    with pytest.raises(Fenced, match="superseded"):
        lake.replace("t", pa.table({"x": [1]}), old, column="key", key="a")
    lake.replace("t", pa.table({"x": [5]}), old, column="key", key="b")
    assert rows(lake) == {"a": [2], "b": [5]}


def test_an_older_attempt_is_refused_also_after_an_equal_write_by_a_newer_one(lake: Lake) -> None:
    first, orphan, newest = lake.attempt("one"), lake.attempt("two"), lake.attempt("three")
    lake.replace("t", pa.table({"x": [1]}), first, column="key", key="a")
    assert not lake.replace("t", pa.table({"x": [1]}), newest, column="key", key="a").changed
    with pytest.raises(Fenced):
        lake.replace("t", pa.table({"x": [7]}), orphan, column="key", key="a")
    assert rows(lake) == {"a": [1]}


def test_a_retry_of_a_run_stands_above_its_first_attempt(lake: Lake) -> None:
    first, retry = lake.attempt("r", 0), lake.attempt("r", 1)
    assert retry.token > first.token and lake.attempt("r", 1) == retry
    lake.replace("t", pa.table({"x": [1]}), retry, column="key", key="a")
    with pytest.raises(Fenced):
        lake.replace("t", pa.table({"x": [2]}), first, column="key", key="a")


def test_a_new_database_over_an_old_lake_goes_on_above_it(lake: Lake, tmp_path: Path) -> None:
    for number in range(5):
        put(lake, [number], "a", f"r{number}")
    (tmp_path / "platform.db").unlink()
    for leftover in tmp_path.glob("platform.db-*"):
        leftover.unlink()
    fresh = lake_of(tmp_path)
    assert put(fresh, [9], "a", "first run of the new database") and rows(fresh) == {"a": [9]}
    with pytest.raises(Fenced):
        lake._replace("t", pa.table({"x": [1]}), Attempt("orphan", 0, token(epoch=1, sequence=99, attempt=0)), "t/a",
                      "0" * 64, "key", "a", Origin())  # fmt: skip


def test_a_database_restored_from_an_older_copy_goes_on_above_the_lake(lake: Lake, tmp_path: Path) -> None:
    put(lake, [0], "a", "r0")
    saved = tmp_path / "copy.db"
    with sqlite3.connect(tmp_path / "platform.db") as source, sqlite3.connect(saved) as copy:
        source.backup(copy)
    for number in range(1, 6):
        put(lake, [number], "a", f"r{number}")
    for leftover in tmp_path.glob("platform.db*"):
        leftover.unlink()
    saved.rename(tmp_path / "platform.db")
    restored = lake_of(tmp_path)
    with pytest.raises(DatabaseBehind):  # once; the step is then tried again
        put(restored, [9], "a", "after the restore")
    put(restored, [9], "a", "after the restore", attempt=1)
    assert rows(restored) == {"a": [9]}
    with pytest.raises(Fenced):
        lake._replace("t", pa.table({"x": [1]}), Attempt("orphan", 0, token(epoch=1, sequence=7, attempt=0)), "t/a",
                      "0" * 64, "key", "a", Origin())  # fmt: skip


def test_tokens_go_on_growing_after_the_newest_are_pruned(lake: Lake) -> None:
    before = [lake.attempt(f"r{number}").token for number in range(3)]
    with lake.database.begin() as connection:
        connection.execute(sa.delete(RUN_TOKENS))
    assert lake.attempt("next").token > max(before)


def test_six_racing_writers_leave_the_newest_attempt(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    orders = [random.Random(number).sample(range(1, 7), 6) for number in range(3)]
    racers = [start(tmp_path, "race", *map(str, tokens)) for tokens in zip(*orders, strict=True)]
    for number in range(3):
        while len(list(tmp_path.glob(f"ready-{number}-*"))) < 6:
            time.sleep(0.01)
        (tmp_path / f"go-{number}").touch()
    assert [racer.wait() for racer in racers] == [0] * 6
    for number in range(3):
        assert lake.read(f"round{number}")["x"].to_pylist() == [6] * 50


def test_writers_of_different_partitions_lose_nothing_not_even_at_the_first_write(tmp_path: Path) -> None:
    lake_of(tmp_path)
    keys = [[f"{writer}-{n}" for n in range(4)] for writer in "abcd"]
    racers = [start(tmp_path, "many", *own) for own in keys]
    go(tmp_path, [own[0] for own in keys])
    assert [racer.wait() for racer in racers] == [0] * 4
    assert sorted(rows(lake_of(tmp_path))) == sorted(key for own in keys for key in own)


def test_a_first_write_waits_for_another_first_write(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    import deltalake

    real = deltalake.write_deltalake
    other = lake_of(Path(lake.root).parent)
    import threading

    threads: list[threading.Thread] = []

    def slow(table: object, *args: object, **kwargs: object) -> None:
        if not threads:
            threads.append(threading.Thread(target=put, args=(other, [2], "b", "r2")))
            threads[0].start()
            time.sleep(0.3)
        real(table, *args, **kwargs)  # type: ignore[arg-type]

    lake.attempt("r1"), other.attempt("r2")
    monkeypatch.setattr(deltalake, "write_deltalake", slow)
    put(lake, [1], "a")
    threads[0].join()
    assert rows(lake) == {"a": [1], "b": [2]}


def test_a_writer_killed_anywhere_leaves_the_old_version_and_its_retry_succeeds(tmp_path: Path) -> None:
    lake = lake_of(tmp_path)
    put(lake, [1, 2, 3], "a")
    for number, pause in enumerate([0.0, 0.05, 0.1, 0.2, 0.4]):
        before = lake.read("t").num_rows
        writer = start(tmp_path, "big", str(number), "400000")
        while not (tmp_path / f"ready-{number}").exists():
            time.sleep(0.005)
        time.sleep(pause)
        writer.kill()
        writer.wait()
        assert lake.read("t").num_rows in (before, 400_000)
        put(lake, [number], "a", f"run-{number}", attempt=1)
        assert rows(lake) == {"a": [number]}


def test_a_full_disk_leaves_the_old_version(lake: Lake, tmp_path: Path) -> None:
    put(lake, [1], "a")
    before = lake.versions("t")[0].version
    limited = f"""
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
sys.argv = ["x", {str(tmp_path)!r}, "big", "s", "200000"]
sys.path.insert(0, {str(Path(SCRIPT).parent)!r})
runpy.run_path({SCRIPT!r}, run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "large" in done.stderr.lower(), done.stderr[-500:]
    assert lake.versions("t")[0].version == before and rows(lake) == {"a": [1]}
    entry = lake.ledger.entry("t", "a")
    assert entry is not None and entry.run_id == "r1"


def test_rows_are_appended_once_per_source_and_offset(lake: Lake) -> None:
    data = pa.table({"x": [1], "day": ["d"]})
    assert lake.append("t", data, source="f#0", offset=10, column="day")
    assert not lake.append("t", data, source="f#0", offset=10, column="day")
    assert not lake.append("t", data, source="f#0", offset=5, column="day")
    assert lake.append("t", data, source="f#1", offset=10, column="day")
    assert lake.append("t", data, source="f#0", offset=11, column="day")
    assert lake.read("t").num_rows == 3 and lake.appended("t", "f#0") == 11 and lake.appended("t", "g") == 0


def test_old_versions_can_be_read_and_say_what_made_them(lake: Lake) -> None:
    lake.replace("t", pa.table({"x": [1]}), lake.attempt("r1"), origin=Origin("in", "3", "trace"))
    lake.replace("t", pa.table({"x": [2, 3]}), lake.attempt("r2"))
    newest, first = lake.versions("t")
    assert (newest.version, first.version) == (1, 0)
    assert first.metadata == {"run_id": "r1", "trace_id": "trace", "code_version": "3"}
    assert lake.read("t", version=0)["x"].to_pylist() == [1]
    with pytest.raises(LookupError, match="no version 7: there are 0 to 1"):
        lake.read("t", version=7)
    with pytest.raises(LookupError, match="materialize the asset absent first"):
        lake.read("absent")


@pytest.mark.parametrize("key", ["", "a/b", "..", "a' OR '1'='1", "a b", "-a", "x" * 200, "a\n"])
def test_keys_that_could_escape_are_refused(lake: Lake, key: str) -> None:
    with pytest.raises(ValueError, match="no partition key"):
        lake.replace("t", pa.table({"x": [1]}), lake.attempt("r"), column="key", key=key)
    assert lake.open("t") is None


@pytest.mark.parametrize("name", ["", "../t", "T", "a-b", "1a", "a" * 64, "a\n"])
def test_table_names_that_could_escape_are_refused(lake: Lake, name: str) -> None:
    with pytest.raises(ValueError, match="no table name"):
        lake.replace(name, pa.table({"x": [1]}), lake.attempt("r"))


def test_rows_of_another_partition_are_refused(lake: Lake) -> None:
    with pytest.raises(ValueError, match="other partitions"):
        lake.replace("t", pa.table({"x": [1, 2], "key": ["a", "b"]}), lake.attempt("r"), column="key", key="a")


def test_the_content_hash_sees_values_names_types_and_order_but_not_chunks() -> None:
    base = pa.table({"x": [1, 2]})
    others = [pa.table({"y": [1, 2]}), pa.table({"x": [1.0, 2.0]}), pa.table({"x": [2, 1]}), pa.table({"x": [1, None]})]
    assert len({content_hash(item) for item in [base, *others]}) == 5
    assert content_hash(pa.concat_tables([base.slice(0, 1), base.slice(1)])) == content_hash(base)


def test_the_ledger_keeps_the_entry_of_the_newer_token(lake: Lake) -> None:
    def entry(mark: str, fence: int) -> Entry:
        return Entry("a", "p", mark, "", "1", fence, "run", "trace")

    lake.ledger.record([entry("new", 5)])
    lake.ledger.record([entry("old", 4)])
    found = lake.ledger.entry("a", "p")
    assert found is not None and found.content_hash == "new"
    lake.ledger.record([entry("same", 5)])
    assert lake.ledger.entries("a")["p"].content_hash == "same"
    lake.ledger.forget("a", ["p"])
    assert lake.ledger.entry("a", "p") is None


def test_a_table_can_be_queried_by_its_name(lake: Lake) -> None:
    put(lake, [1, 2], "a")
    with reading(lake.table("t")) as connection:
        assert connection.execute("SELECT sum(x) FROM t").fetchone() == (3,)
    assert lake.tables() == ["t"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket="music")
    yield {"AWS_ENDPOINT_URL": endpoint, "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "testing",
           "AWS_SECRET_ACCESS_KEY": "testing", "AWS_ALLOW_HTTP": "true"}  # fmt: skip
    server.stop()


@pytest.mark.team
def test_an_object_store_keeps_the_same_promises(s3: dict[str, str], tmp_path: Path) -> None:
    database = lake_of(tmp_path).database
    lake = Lake("s3://music/lake", database, s3)
    first = put(lake, [1, 2], "a")
    assert put(lake, [1, 2], "a", "r2") == first and put(lake, [3], "b", "r3") == first + 1
    with pytest.raises(Fenced):
        put(lake, [8], "b", "r1")
    assert rows(lake) == {"a": [1, 2], "b": [3]}
    assert lake.append("u", pa.table({"x": [1]}), source="f", offset=1)
    assert not lake.append("u", pa.table({"x": [1]}), source="f", offset=1)
    assert lake.tables() == ["t"] and lake.read("t", version=first).num_rows == 2
