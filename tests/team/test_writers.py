"""Every writer, killed at random moments, on a full disk and raced: readers never see a torn write, the next one goes on."""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import HERE, ROOT
from writers import WRITERS

pytestmark = [pytest.mark.team, pytest.mark.timeout(400)]

# One seeded kill per writer by default; the full matrix: AI_ASSETS_TEST_KILLS=10.
KILLS = int(os.environ.get("AI_ASSETS_TEST_KILLS", "3"))
# Where the disk is full, by the size of the largest file there: the log may not grow, the database not be journalled.
FULL = {"lake": lambda _: 8192, "blobs": lambda _: 8192, "index": lambda _: 8192,
        "audit": lambda size: size, "database": lambda size: size // 2}  # fmt: skip


def start(name: str, folder: Path, seed: int, writes: int, limit: int | None = None) -> subprocess.Popen[str]:
    """A writer that waits for `go`; `limit` bounds the size of its files, as a full disk does."""

    def bound() -> None:
        if limit is not None:
            import signal

            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = subprocess.Popen(
        [sys.executable, str(HERE / "writers.py"), name, str(folder), str(seed), str(writes)], cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, preexec_fn=bound,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob(".aside-*"))


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_killed_at_random_moments_nothing_is_torn_and_the_next_write_succeeds(name: str, tmp_path: Path) -> None:
    writer, chance = WRITERS[name], random.Random(7)
    writer.write(tmp_path, 1)
    for number in range(KILLS):
        process = start(name, tmp_path, number + 2, 500)
        go(process)
        time.sleep(chance.uniform(0.02, 0.6))
        process.kill()
        process.wait()
        writer.read(tmp_path)  # raises when torn
        writer.write(tmp_path, 900_000 + number)
        writer.read(tmp_path)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_on_a_full_disk_the_old_stays_readable_and_nothing_is_left_behind(name: str, tmp_path: Path) -> None:
    writer = WRITERS[name]
    writer.write(tmp_path, 1)
    before = writer.read(tmp_path)
    size = max((path.stat().st_size for path in tmp_path.rglob("*") if path.suffix in (".jsonl", ".db")), default=0)
    process = start(name, tmp_path, 2, 1, limit=FULL[name](size))
    go(process)
    _, errors = process.communicate(timeout=60)
    assert process.returncode not in (0, None) and "Error" in errors, errors[-500:]
    assert writer.read(tmp_path) == before
    assert not leftovers(tmp_path)
    writer.write(tmp_path, 3)
    writer.read(tmp_path)


@pytest.mark.parametrize("name", sorted(WRITERS))
def test_six_racing_writers_leave_one_whole_state(name: str, tmp_path: Path) -> None:
    writer = WRITERS[name]
    writer.write(tmp_path, 1)
    processes = [start(name, tmp_path, seed, 3) for seed in range(2, 8)]
    for process in processes:
        go(process)
    while any(process.poll() is None for process in processes):
        writer.read(tmp_path)
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0 or "Fenced" in errors, errors[-800:]
    writer.read(tmp_path)
    if name == "audit":
        assert writer.read(tmp_path) == 19
    assert not leftovers(tmp_path)
