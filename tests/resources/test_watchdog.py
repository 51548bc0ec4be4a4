"""The watchdog: a step that nobody wants ends itself, a wanted one is left alone; lost runs are told from slow ones."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from resources.database import Database
from resources.run_leases import RunLeases
from resources.watchdog import ORPHANED, Unwanted, watched

STEP = """
import sys, time
from resources.watchdog import watched
begun = time.monotonic()
with watched(lambda: sys.argv[1], seconds=0.05):
    time.sleep(float(sys.argv[2]))
print("wrote")
"""


def run_step(why: str, seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", STEP, why, str(seconds)], capture_output=True, text=True, timeout=30)


def test_an_unwanted_step_takes_its_process_along_before_it_writes() -> None:
    done = run_step("its run is over", 20)
    assert done.returncode == ORPHANED and done.stdout == "" and "its run is over" in done.stderr


def test_a_wanted_step_goes_on() -> None:
    assert run_step("", 0.3).stdout == "wrote\n"


def test_a_storage_that_is_away_makes_no_orphan() -> None:
    def away() -> str:
        raise OSError("no connection")

    with watched(away, seconds=0.01):
        time.sleep(0.1)


def test_a_step_in_a_thread_of_a_worker_ends_alone() -> None:
    caught: list[str] = []

    def step() -> None:
        try:
            with watched(lambda: "cancelled", seconds=0.02):
                for _ in range(500):
                    time.sleep(0.01)
        except Unwanted:
            caught.append("ended")

    thread = threading.Thread(target=step)
    thread.start()
    thread.join(4)
    assert caught == ["ended"]


def test_a_run_that_stops_beating_is_lost_and_a_slow_or_ended_one_is_not(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'p.db'}", tmp_path)
    database.prepare()
    leader = RunLeases(database, beat_seconds=0.05)
    watcher = RunLeases(database, lost_seconds=0.6)
    assert not watcher.is_lost("unknown")
    with leader.leading("slow"):
        time.sleep(0.2)
        for _ in range(10):
            assert not watcher.is_lost("slow")
            time.sleep(0.1)
    assert not watcher.is_lost("slow")  # ended: its beat is gone
    leader._beat("dead", 1)
    assert not watcher.is_lost("dead")  # seen for the first time
    time.sleep(0.8)
    assert watcher.is_lost("dead")
    watcher.forget("dead")
    assert not watcher.is_lost("dead")


def test_an_outage_of_the_database_is_no_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'p.db'}", tmp_path)
    database.prepare()
    watcher = RunLeases(database, lost_seconds=0.2)
    watcher._beat("r", 1)
    assert not watcher.is_lost("r")
    query = database.query

    def away(_statement: object) -> list[dict]:
        raise OSError("away")

    monkeypatch.setattr(database, "query", away)
    with pytest.raises(OSError, match="away"):
        watcher.is_lost("r")
    monkeypatch.setattr(database, "query", query)
    time.sleep(0.3)
    assert not watcher.is_lost("r")
