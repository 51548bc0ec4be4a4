"""One tiny home, made by the real `ai-assets demo`, shared by all tests of the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    return {**kept, "AI_ASSETS_HOME": str(home), "OMP_NUM_THREADS": "1", "AI_ASSETS_SETTLE_SECONDS": "0.2"}


def ask(home: Path, *arguments: str, timeout: float = 300) -> Answer:
    """Run `ai-assets` as a user would, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "ai_assets.cli", *arguments],
        env=environment(home), cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """The demo's home and what making it printed; made once, also with several test processes."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "command-line-home"
    home, kept = shared / "home", shared / "demo.json"
    shared.mkdir(exist_ok=True)
    with FileLock(shared / "made.lock"):
        if not kept.exists():
            answer = ask(home, "demo", "--size", "tiny", timeout=600)
            kept.write_text(json.dumps([answer.status, answer.out, answer.err]))
    return home, Answer(*json.loads(kept.read_text()))


@pytest.fixture(scope="session")
def home(made: tuple[Path, Answer]) -> Path:
    """The demo's home; only read it, or use `copied`."""
    return made[0]


@pytest.fixture
def copied(home: Path, tmp_path: Path) -> Path:
    """A copy of the demo's home at another place, to be changed by a test."""
    target = tmp_path / "elsewhere"
    shutil.copytree(home, target)
    return target


@pytest.fixture
def say(home: Path) -> Callable[..., Answer]:
    """Ask the demo's home."""

    def call(*arguments: str, of: Path | None = None) -> Answer:
        return ask(of or home, *arguments)

    return call


def events_file(path: Path, rows: Sequence[dict[str, Any] | str]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path
