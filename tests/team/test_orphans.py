"""Steps whose run's process was killed: they end themselves; one that does not meets the fence and changes nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HERE, ROOT, is_alive, wait_for

from resources.platform import Platform
from resources.settings import load_settings

pytestmark = [pytest.mark.team, pytest.mark.timeout(300)]


class Runs:
    """Runs of `orphan_graph` in a home of their own."""

    def __init__(self, home: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
        self.home = home
        self.variables = {**clean, "AI_ASSETS_HOME": str(home), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(HERE / "orphan_graph.py"), *arguments]
        self.started.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.variables,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return self.started[-1]

    def notes(self, word: str) -> list[tuple[int, str]]:
        path = self.home / "notes"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(pid), run) for found, pid, run in lines if found == word]

    def table(self) -> list[str] | None:
        table = Platform(load_settings(home=self.home)).lake.table("who_wrote")
        return table.arrow()["run"].to_pylist() if table.exists else None


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    found = Runs(tmp_path / "home")
    yield found
    for process in found.started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_step_whose_run_s_process_was_killed_ends_itself_within_seconds(runs: Runs, method: str) -> None:
    leader = runs.start(method, "60")
    wait_for(lambda: runs.notes("begin"), 90, "the step works")
    step = runs.notes("begin")[0][0]
    assert step != leader.pid
    leader.kill()
    wait_for(lambda: not is_alive(step), 30, "the orphan has ended itself")
    assert runs.table() is None


def test_a_step_whose_run_was_ended_elsewhere_ends_itself(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    from ai_assets.home import open_instance

    leader = runs.start("forkserver", "60")
    wait_for(lambda: runs.notes("begin"), 90, "the step works")
    step, run_id = runs.notes("begin")[0]
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("AI_ASSETS_HOME", "")
    with open_instance(Platform(load_settings(home=runs.home))) as instance:
        run = instance.get_run_by_id(run_id)
        assert run is not None
        instance.report_run_failed(run, "monitoring took it for lost")
    wait_for(lambda: not is_alive(step), 30, "the step has ended itself")
    leader.wait(60)
    assert runs.table() is None


def test_a_zombie_that_writes_after_its_successor_is_fenced(runs: Runs) -> None:
    zombie = runs.start("forkserver", "25", "blind")
    wait_for(lambda: runs.notes("begin"), 90, "the step works")
    zombie.kill()
    successor = runs.start("forkserver", "0")
    wait_for(lambda: len(runs.notes("begin")) == 2, 90, "its successor works")
    out, _ = successor.communicate(timeout=90)
    assert "success" in out
    newer = runs.notes("begin")[1][1]
    assert runs.table() == [newer]
    pid, older = runs.notes("begin")[0]
    wait_for(lambda: (pid, older) in runs.notes("write"), 60, "the zombie has come to its write")
    wait_for(lambda: not is_alive(pid), 30, "the zombie is done")
    assert runs.table() == [newer]
