"""Homes and processes of the end-to-end tests: everything is started as a user would, and nothing may be left."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from chromium import browser  # noqa: F401

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / "tests" / "artifacts"
START_SECONDS = 90.0
MARK = "AI_ASSETS_SUPERVISOR"


@dataclass
class RunningUi:
    """A started `ai-assets ui` (or a supervisor with definitions of the test's own)."""

    process: subprocess.Popen[bytes]
    output: Path

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait until `pattern` stands in the output; fails with the output when it does not come."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.text):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"no {pattern!r} (status {self.process.poll()}) in:\n{self.text}")

    @property
    def text(self) -> str:
        return self.output.read_text()

    @property
    def login(self) -> str:
        return self.wait_for(r"Dagster UI +(\S+)\n")[1]

    @property
    def address(self) -> str:
        return self.login.partition("/login")[0]

    @property
    def token(self) -> str:
        return self.login.partition("token=")[2]

    def family(self) -> list[psutil.Process]:
        """Every process that belongs to it, found by parentage, itself included; none once it has ended."""
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def wait_until(condition, seconds: float, what: str) -> None:
    """Poll until `condition()`; fails naming `what`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those still running (a zombie that nobody reaps here does not run)."""
    left = []
    for process in processes:
        with contextlib.suppress(psutil.Error):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
    return left


def command_of(process: psutil.Process) -> list[str]:
    """Its command line, empty for one that ended between the listing and the question."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(home: Path, **more: str) -> dict[str, str]:
    """A user's environment with nothing of the test run's own settings."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    return {**clean, "AI_ASSETS_HOME": str(home), "OMP_NUM_THREADS": "1", **more}


def start_ui(home: Path, folder: Path, command: list[str] | None = None, **more: str) -> RunningUi:
    """Start it as a terminal would: a group of its own, default signals."""
    more = {"AI_ASSETS_UI_PORT": str(free_port()), "AI_ASSETS_MLFLOW_PORT": str(free_port()), **more}
    output = folder / f"ui-{time.monotonic_ns()}.txt"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command or [sys.executable, "-m", "ai_assets.cli", "ui"],
            cwd=ROOT, env=environment(home, **more), stdout=file, stderr=subprocess.STDOUT, process_group=0,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler) and None,
        )  # fmt: skip
    return RunningUi(process, output)


def end_ui(ui: RunningUi) -> None:
    """Clean up after a test, whatever it did."""
    family = ui.family() if ui.process.poll() is None else []
    with contextlib.suppress(ProcessLookupError):
        ui.process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        ui.process.wait(40)
    for process in alive(family):
        with contextlib.suppress(psutil.Error):
            process.kill()


@pytest.fixture(scope="session")
def tiny_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the whole graph was made once from the smallest sample library."""
    home = tmp_path_factory.mktemp("demo") / "home"
    command = [sys.executable, "-m", "ai_assets.cli", "demo", "--size", "tiny"]
    done = subprocess.run(command, cwd=ROOT, env=environment(home), capture_output=True, text=True, timeout=300)
    assert (home / "platform.db").exists(), done.stderr[-3000:]
    return home


@pytest.fixture(scope="module")
def ui(tiny_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningUi]:
    """`ai-assets ui` on a copy of the tiny home, ready."""
    folder = tmp_path_factory.mktemp("ui")
    shutil.copytree(tiny_home, folder / "home")
    running = start_ui(folder / "home", folder)
    try:
        running.wait_for("Ctrl-C ends everything")
        yield running
    finally:
        end_ui(running)
