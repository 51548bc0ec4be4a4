"""`ai-assets ui` and `up --team`: code server, daemon, guarded Dagster UI, MLflow UI and workers, which end together.

All share one code server. It listens on a socket in a private folder: whoever reaches it may run code. What each
process does is theirs; here are ports, order, readiness and the end. How nothing is left behind: `descendants`.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import yaml
from filelock import FileLock, Timeout

from ai_assets.serving.descendants import MARK_VARIABLE, end_marked
from ai_assets.serving.interrupted import close_interrupted_runs
from ai_assets.serving.readiness import answers, free_port, load_error
from resources.guard.identity import tokens_of
from resources.mlflow_tracking import SAFE_ENVIRONMENT, prepare, tracking_uri
from resources.platform import Platform

READY_SECONDS = 180.0
STOP_SECONDS = 15.0
LOCATION = "music_ai"
PR_SET_PDEATHSIG = 1
WORKER = "worker"
WORKER_PAUSE_SECONDS = 2.0


class StartFailed(Exception):
    """A process ended or did not answer; the message names it and where its log lies."""


class _Stopped(Exception):
    """A signal came while things were still starting."""


@dataclass
class Child:
    """One running process of the house."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


@dataclass
class Supervisor:
    """Starts the processes of one home and ends every one of them.

    Args:
        platform: of a prepared home.
        say: prints one line.
        module: where the code server finds the definitions.
        workers: how many Celery workers to start and to keep alive.
        concurrency: of each worker.
    """

    platform: Platform
    say: Callable[[str], None]
    module: str = "ai_assets.definitions"
    workers: int = 0
    concurrency: int = 1
    children: list[Child] = field(default_factory=list)
    mark: str = field(default_factory=lambda: secrets.token_hex(16))
    _stopping: bool = False
    _guardian: subprocess.Popen[bytes] | None = None
    _private: Path | None = None

    def run(self) -> int:
        """Start everything, wait until told to stop or until a process dies; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        lock = FileLock(self.platform.home.locks / "ui.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.say(f"error: the UI of {self.platform.home.root} is already running; stop it first or use it")
            return 1
        try:
            self.start()
            return self._watch()
        except StartFailed as error:
            self.say(f"error: {error}")
            return 1
        except _Stopped:
            return 0
        finally:
            self.stop()
            lock.release()

    def start(self) -> None:
        """Start the processes in order, each once the one before answers; prints one line per URL."""
        home, settings = self.platform.home, self.platform.settings
        self._end_predecessor()
        self._close_interrupted()
        prepare(home.mlflow)
        self._private = Path(tempfile.mkdtemp(prefix="ai-assets-ui-"))
        self._start_guardian()
        workspace = self._start_code_server()
        mlflow_port = self._start_mlflow(_port(settings.mlflow_port))
        self._wait("code server", lambda: answers(self._code_socket))
        self._spawn("daemon", ["dagster._daemon", "run", "-w", str(workspace)])
        for number in range(self.workers):
            self._start_worker(f"{WORKER} {number + 1}")
        ui_port = _port(settings.ui_port, besides=mlflow_port)
        self._spawn("dagster ui", ["ai_assets.cli", "serve-ui", "--port", str(ui_port), "--workspace", str(workspace)])
        self._wait("dagster ui", lambda: answers(ui_port))
        token = self._token()
        self.say(f"Dagster UI   http://127.0.0.1:{ui_port}/login?token={token}")
        self._wait("mlflow ui", lambda: answers(mlflow_port))
        self.say(f"MLflow UI    http://127.0.0.1:{mlflow_port}")
        self.say(f"drop audio   {home.landing_audio}")
        self.say(f"drop events  {home.landing_events}")
        fault = load_error(ui_port, token)
        if fault:
            log = home.logs / "code-server.log"
            self.say(f"error: the definitions could not be loaded: {fault} (see {log}; repair, then Reload in the UI)")
        self.say("Ctrl-C ends everything.")

    def stop(self) -> None:
        """End all children and theirs: ask all of them at once, then kill what is left; runs cut off are closed."""
        end_marked(self.mark, seconds=STOP_SECONDS)
        for child in self.children:
            child.process.wait()
        if self.children:
            self._close_interrupted()
        self.children.clear()
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            self._guardian.wait()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _watch(self) -> int:
        while not self._stopping:
            for child in list(self.children):
                if child.name.startswith(WORKER) and child.process.poll() is not None:
                    self._replace_worker(child)
                self._check(child)
            time.sleep(0.3)
        self.say("stopping …")
        return 0

    def _start_worker(self, name: str) -> None:
        self._spawn(name, ["ai_assets.cli", "worker", "--concurrency", str(self.concurrency)])

    def _replace_worker(self, child: Child) -> None:
        """A worker that died (out of memory, say) takes nothing else along: its step is retried on the next one."""
        self.say(f"the {child.name} ended with status {child.process.returncode}; starting it again (see {child.log})")
        time.sleep(WORKER_PAUSE_SECONDS)
        self.children.remove(child)
        self._start_worker(child.name)

    def _check(self, child: Child) -> None:
        if child.name.startswith(WORKER):
            return
        if child.process.poll() is not None:
            raise StartFailed(f"the {child.name} ended with status {child.process.returncode}; see {child.log}")

    def _token(self) -> str:
        """The token of the printed address: an admin's, else the strongest there is."""
        tokens = tokens_of(self.platform.settings.ui_tokens, self.platform.home.secrets)
        return max(tokens, key=lambda token: tokens[token])

    def _close_interrupted(self) -> None:
        closed = close_interrupted_runs(self.platform)
        if closed:
            self.say(
                f"{closed} runs were cut off when the UI was ended; they are marked as failed and can be started again"
            )

    @property
    def _code_socket(self) -> Path:
        assert self._private is not None
        return self._private / "code.sock"

    def _start_code_server(self) -> Path:
        """Start it and write the workspace file that names it."""
        place = str(self._code_socket)
        command = ["dagster", "code-server", "start", "-m", self.module, "-s", place, "--location-name", LOCATION]
        self._spawn("code server", [*command, "--use-python-environment-entry-point"])
        workspace = self.platform.home.dagster / "workspace.yaml"
        server = {"socket": place, "location_name": LOCATION}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        return workspace

    def _start_mlflow(self, port: int) -> int:
        folder = self.platform.home.mlflow
        stores = ["--backend-store-uri", tracking_uri(folder), "--artifacts-destination", str(folder / "artifacts")]
        address = ["--host", "127.0.0.1", "--port", str(port)]
        self._spawn("mlflow ui", ["mlflow", "server", *address, "--workers", "1", *stores])
        return port

    def _end_predecessor(self) -> None:
        """End what a killed supervisor of this home may just have left; from now on our mark is the known one."""
        file = self.platform.home.locks / "ui.mark"
        if file.exists():
            end_marked(file.read_text(), seconds=STOP_SECONDS)
        file.write_text(self.mark)

    def _start_guardian(self) -> None:
        self._guardian = subprocess.Popen(
            [sys.executable, "-m", "ai_assets.serving.descendants", self.mark, str(self._private)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _spawn(self, name: str, module: Sequence[str]) -> None:
        log = self.platform.home.logs / f"{name.replace(' ', '-')}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**child_environment(self.platform), MARK_VARIABLE: self.mark},
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.children.append(Child(name, process, log))

    def _wait(self, name: str, ready: Callable[[], bool]) -> None:
        child = next(item for item in self.children if item.name == name)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._stopping:
                raise _Stopped
            for other in self.children:
                self._check(other)
            if ready():
                return
            time.sleep(0.2)
        raise StartFailed(f"the {name} did not answer within {READY_SECONDS:.0f} s; see {child.log}")


def child_environment(platform: Platform) -> Mapping[str, str]:
    """The environment of every process of this home."""
    return {
        **os.environ,
        **{name: os.environ.get(name, value) for name, value in SAFE_ENVIRONMENT.items()},
        "AI_ASSETS_HOME": str(platform.home.root),
        "DAGSTER_HOME": str(platform.home.dagster),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "HF_HUB_OFFLINE": "1",
        "PYTHONWARNINGS": "ignore",
        "PYTHONUNBUFFERED": "1",
    }


def _port(wanted: int, *, besides: int = 0) -> int:
    found = free_port(wanted, besides=besides)
    if found is None:
        raise StartFailed(f"no free port from {wanted} on; set AI_ASSETS_UI_PORT or AI_ASSETS_MLFLOW_PORT")
    return found


def _die_with_parent() -> None:
    """Runs in the child before exec: default signals, and SIGTERM when the parent dies (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
