"""`ai-assets ui`: code server, daemon, Dagster UI and MLflow UI as one thing that starts together and ends together.

All children share one code server, run in process groups of their own, and die with their parent. What each of them
does is theirs; here are ports, order, readiness and the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import yaml

from resources.platform import Platform

READY_SECONDS = 120.0
STOP_SECONDS = 20.0
LOCATION = "music_ai"
PR_SET_PDEATHSIG = 1


class StartFailed(Exception):
    """A process ended or did not answer; the message names it and where its log lies."""


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
    """

    platform: Platform
    say: Callable[[str], None]
    children: list[Child] = field(default_factory=list)
    _stopping: bool = False

    def run(self) -> int:
        """Start everything, wait until told to stop or until a process dies; returns the exit status."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        try:
            self.start()
            return self._watch()
        except StartFailed as error:
            self.say(f"error: {error}")
            return 1
        finally:
            self.stop()

    def start(self) -> None:
        """Start the processes in order, each once the one before answers; prints one line per URL."""
        home, settings = self.platform.home, self.platform.settings
        code_port = free_port(4200)
        self._spawn("code server", ["dagster", "code-server", "start", "-m", "ai_assets.definitions", "-h", "127.0.0.1",
                                    "-p", str(code_port), "--location-name", LOCATION])  # fmt: skip
        self._wait("code server", code_port)
        workspace = home.dagster / "workspace.yaml"
        server = {"host": "127.0.0.1", "port": code_port, "location_name": LOCATION}
        workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        self._spawn("daemon", ["dagster._daemon", "run", "-w", str(workspace)])
        ui_port, mlflow_port = free_port(settings.ui_port), free_port(settings.mlflow_port)
        self._spawn("dagster ui", ["dagster_webserver", "-w", str(workspace), "-h", "127.0.0.1", "-p", str(ui_port)])
        self._spawn("mlflow ui", ["mlflow", "server", "--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1",
                                  "--backend-store-uri", f"sqlite:///{home.mlflow / 'mlflow.db'}",
                                  "--artifacts-destination", str(home.mlflow / "artifacts")])  # fmt: skip
        self._wait("dagster ui", ui_port)
        self.say(f"Dagster UI   http://127.0.0.1:{ui_port}")
        self._wait("mlflow ui", mlflow_port)
        self.say(f"MLflow UI    http://127.0.0.1:{mlflow_port}")
        self.say(f"drop audio   {home.landing_audio}")
        self.say(f"drop events  {home.landing_events}")
        self.say("Ctrl-C ends everything.")

    def stop(self) -> None:
        """End all children: ask, wait, then kill what is left."""
        for child in reversed(self.children):
            _signal_group(child.process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self.children:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.1, deadline - time.monotonic()))
        for child in self.children:
            _signal_group(child.process, signal.SIGKILL)
            child.process.wait()
        self.children.clear()

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _watch(self) -> int:
        while not self._stopping:
            for child in self.children:
                if child.process.poll() is not None:
                    self.say(f"error: the {child.name} ended with status {child.process.returncode}; see {child.log}")
                    return 1
            time.sleep(0.3)
        self.say("stopping …")
        return 0

    def _spawn(self, name: str, module: list[str]) -> None:
        log = self.platform.home.logs / f"{name.replace(' ', '-')}.log"
        with log.open("ab") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=child_environment(self.platform),
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )
        self.children.append(Child(name, process, log))

    def _wait(self, name: str, port: int) -> None:
        child = next(item for item in self.children if item.name == name)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and not self._stopping:
            if child.process.poll() is not None:
                raise StartFailed(f"the {name} ended with status {child.process.returncode}; see {child.log}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
                return
            time.sleep(0.2)
        if not self._stopping:
            raise StartFailed(f"the {name} did not answer within {READY_SECONDS:.0f} s; see {child.log}")


def child_environment(platform: Platform) -> Mapping[str, str]:
    """The environment of every process of this home."""
    return {
        **os.environ,
        "AI_ASSETS_HOME": str(platform.home.root),
        "DAGSTER_HOME": str(platform.home.dagster),
        "DAGSTER_DISABLE_TELEMETRY": "yes",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "true",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "PYTHONWARNINGS": "ignore",
    }


def free_port(wanted: int) -> int:
    """`wanted`, or the next port above it that nobody listens on."""
    for port in range(wanted, min(wanted + 100, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise StartFailed(f"no free port from {wanted} on; set AI_ASSETS_UI_PORT or AI_ASSETS_MLFLOW_PORT")


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _die_with_parent() -> None:
    """Runs in the child before exec: default signals, and SIGTERM when the parent dies (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
