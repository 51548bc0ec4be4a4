"""The platform database, its locks, the quarantine and the blobs."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from resources import blobs as blobs_module
from resources.blobs import Blobs, write_atomically
from resources.database import METADATA, Database, upsert
from resources.quarantine import Quarantine, Rejected

COUNTERS = sa.Table(
    "test_counters", METADATA, sa.Column("name", sa.String(8), primary_key=True), sa.Column("n", sa.Integer)
)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database(f"sqlite:///{tmp_path / 'p.db'}", tmp_path / "locks")
    database.prepare()
    return database


def test_reading_then_writing_in_one_transaction_loses_no_update(database: Database) -> None:
    def count() -> None:
        for _ in range(20):
            with database.begin() as connection:
                n = connection.execute(sa.select(COUNTERS.c.n)).scalar_one_or_none() or 0
                upsert(connection, COUNTERS, [{"name": "a", "n": n + 1}], update={"n": "new"})

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert database.query(sa.select(COUNTERS)) == [{"name": "a", "n": 80}]


def test_an_error_inside_a_transaction_undoes_it(database: Database) -> None:
    with pytest.raises(RuntimeError), database.begin() as connection:
        upsert(connection, COUNTERS, [{"name": "a", "n": 1}], update={})
        raise RuntimeError
    assert database.query(sa.select(COUNTERS)) == []


def test_an_insert_without_update_leaves_what_is_there(database: Database) -> None:
    with database.begin() as connection:
        upsert(connection, COUNTERS, [{"name": "a", "n": 1}], update={})
        upsert(connection, COUNTERS, [{"name": "a", "n": 2}, {"name": "b", "n": 3}], update={})
        upsert(connection, COUNTERS, [], update={})
    assert database.query(sa.select(COUNTERS).order_by(COUNTERS.c.name)) == [
        {"name": "a", "n": 1}, {"name": "b", "n": 3}]  # fmt: skip


def test_a_lock_is_free_again_when_its_holder_is_killed(database: Database, tmp_path: Path) -> None:
    script = (
        "import os,sys; from pathlib import Path; from resources.database import Database\n"
        f"d = Database('sqlite:///x', Path({str(tmp_path / 'locks')!r}))\n"
        "with d.lock('a'):\n    print('held', flush=True); sys.stdin.read()\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE)
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    order: list[str] = []

    def take() -> None:
        with database.lock("a"):
            order.append("taken")

    waiter = threading.Thread(target=take)
    waiter.start()
    with database.lock("b"):  # another name does not wait
        order.append("other")
    waiter.join(0.3)
    assert order == ["other"]
    holder.kill()
    waiter.join(10)
    assert order == ["other", "taken"]
    holder.wait()


def test_a_lock_that_is_never_given_back_is_an_error(database: Database) -> None:
    with database.lock("a"), pytest.raises(TimeoutError), database.lock("a", wait_seconds=0.1):
        pass


def rejected(source: str, reason: str = "broken") -> Rejected:
    return Rejected("t", source, reason, "code", "digest")


def test_a_thing_met_again_in_another_run_raises_its_attempts_only(database: Database) -> None:
    quarantine = Quarantine(database)
    quarantine.add([rejected("a:1"), rejected("a:2")], "r1")
    quarantine.add([rejected("a:1")], "r1")
    quarantine.add([rejected("a:1", "still broken"), rejected("a:1", "still broken")], "r2")
    found = {row["source"]: (row["attempts"], row["reason"], row["run_id"]) for row in quarantine.rows("t")}
    assert found == {"a:1": (2, "still broken", "r2"), "a:2": (1, "broken", "r1")}
    assert quarantine.rows("other") == []


def test_what_is_accepted_leaves_quarantine_and_nothing_else_does(database: Database) -> None:
    quarantine = Quarantine(database)
    quarantine.add([rejected(f"a:{n}") for n in range(1200)] + [Rejected("u", "a:1", "x", "c")], "r")
    quarantine.accept("t", [f"a:{n}" for n in range(1, 1200)])
    assert [(row["table"], row["source"]) for row in quarantine.rows()] == [("t", "a:0"), ("u", "a:1")]
    assert quarantine.sources("t", "a:") == {"a:0"} and quarantine.sources("t", "_:") == set()


def test_very_long_paths_stay_apart_and_can_leave(database: Database) -> None:
    quarantine = Quarantine(database)
    long = ["x" * 1500 + end for end in ("a", "b")]
    quarantine.add([rejected(name) for name in long], "r")
    assert len(quarantine.rows()) == 2 and all(len(row["source"]) <= 1024 for row in quarantine.rows())
    quarantine.accept("t", long[:1])
    assert len(quarantine.rows()) == 1


def test_a_blob_is_named_by_its_bytes_and_damage_is_seen(tmp_path: Path) -> None:
    store = Blobs(tmp_path)
    name = store.put(b"sound", ".wav")
    assert store.put(b"sound", ".wav") == name and store.get(name) == b"sound"
    store.path(name).write_bytes(b"other")
    with pytest.raises(ValueError, match="damaged"):
        store.get(name)
    for bad in ("../x", "abc", name + "/..", name.replace(".wav", ".exe")):
        with pytest.raises(ValueError):
            store.path(bad)


def test_a_write_that_fails_leaves_the_old_file_and_no_leftover(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(blobs_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]
