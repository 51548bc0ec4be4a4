"""Services and processes of the team tests: a database of the test's own, a Redis to kill, workers, and their end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
POSTGRES = os.environ.get("AI_ASSETS_TEST_POSTGRES", "postgresql+psycopg2://root@127.0.0.1:5432/postgres")
SMALL_GRAPH = str(HERE / "small_graph.py")


def missing(reason: str) -> None:
    """Skip, or fail where the services are promised."""
    if os.environ.get("AI_ASSETS_REQUIRE_SERVICES"):
        pytest.fail(reason)
    pytest.skip(reason)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Poll until true; returns the seconds it took, fails naming `what`."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        if condition():
            return time.monotonic() - begun
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class OwnRedis:
    """A Redis of the test's own, without persistence: killed, it forgets everything."""

    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = ["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no", "--bind", "127.0.0.1"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for(self._answers, 60, "Redis answers")

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def redis_server() -> Iterator[OwnRedis]:
    server = OwnRedis()
    try:
        server.start()
    except FileNotFoundError:
        missing("redis-server is not installed")
    yield server
    server.kill()


@pytest.fixture
def database_url() -> Iterator[str]:
    """A database of its own on the PostgreSQL server."""
    server = sa.create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
    name = f"team_{uuid.uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.OperationalError as error:
        missing(f"no PostgreSQL at {POSTGRES}: {type(error).__name__}")
    yield POSTGRES.rsplit("/", 1)[0] + f"/{name}"
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


@dataclass
class Team:
    """A home over PostgreSQL and Redis, with processes that are all gone at its end."""

    home: Path
    variables: dict[str, str]
    started: list[subprocess.Popen] = field(default_factory=list)

    def start(self, *command: str, **more: str) -> subprocess.Popen[str]:
        """A process of the team; what it prints lies in `output(process)`."""
        output = self.home.parent / f"process-{len(self.started)}.txt"
        with output.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env={**self.variables, **more}, stdout=file,
                stderr=subprocess.STDOUT, text=True, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    def output(self, process: subprocess.Popen) -> str:
        return (self.home.parent / f"process-{self.started.index(process)}.txt").read_text()

    def worker(self, *arguments: str) -> subprocess.Popen[str]:
        """A worker that listens already."""
        process = self.start("-m", "ai_assets.cli", "worker", *arguments)
        wait_for(lambda: "[queues]" in self.output(process), 60, "the worker listens")
        return process

    def lead(self, job: str = "slow_job", seconds: float = 1.0) -> subprocess.Popen[str]:
        return self.start(SMALL_GRAPH, job, str(seconds))

    def notes(self, word: str) -> list[tuple[int, int]]:
        """(process, attempt) of every time a step wrote this word."""
        path = self.home / "notes"
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(pid), int(attempt)) for found, pid, attempt in lines if found == word]

    def attempts(self) -> list[int]:
        """What lies in the table."""
        from resources.platform import Platform
        from resources.settings import load_settings

        table = Platform(load_settings(home=self.home, database_url=self.variables["AI_ASSETS_DATABASE_URL"])).lake
        return table.read("t").column("attempt").to_pylist()

    def end(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def team(tmp_path: Path, database_url: str, redis_server: OwnRedis) -> Iterator[Team]:
    """A prepared team home whose broker and leases are the test's own Redis."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    variables = {
        **clean, "AI_ASSETS_HOME": str(tmp_path / "home"), "AI_ASSETS_DATABASE_URL": database_url,
        "AI_ASSETS_REDIS_URL": redis_server.url, "AI_ASSETS_BROKER_URL": redis_server.url,
        "AI_ASSETS_EXECUTOR": "celery", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    found = Team(tmp_path / "home", variables)
    prepare = "from ai_assets.home import prepare_home; from resources.settings import load_settings; prepare_home(load_settings())"
    subprocess.run([sys.executable, "-c", prepare], cwd=ROOT, env=variables, check=True)
    yield found
    found.end()


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
