"""The supervisor with real processes: starting, ports, and every way to end."""

from __future__ import annotations

import json
import re
import signal
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest
from conftest import RunningUi, alive, command_of, end_ui, free_port, start_ui, wait_until

pytestmark = pytest.mark.e2e

START = """
import sys
from ai_assets.home import prepare_home
from ai_assets.serving.supervisor import Supervisor
from resources.settings import load_settings
say = lambda line: print(line, flush=True)
sys.exit(Supervisor(prepare_home(load_settings()), say, module="supervised_definitions").run())
"""
LAUNCH = """mutation Launch($asset: String!) { launchRun(executionParams: {
  mode: "default", executionMetadata: {tags: []}, runConfigData: {}, selector: {
  repositoryLocationName: "music_ai", repositoryName: "__repository__", jobName: "__ASSET_JOB",
  assetSelection: [{path: [$asset]}]}}) { __typename ... on LaunchRunSuccess { run { runId } } } }"""
STATUS = "query Status($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"


def start(home: Path, folder: Path, **more: str) -> RunningUi:
    here = str(Path(__file__).parent)
    return start_ui(home, folder, [sys.executable, "-c", START], PYTHONPATH=here, **more)


def ask(ui: RunningUi, query: str, **variables: str) -> dict:
    request = urllib.request.Request(
        f"{ui.address}/graphql",
        data=json.dumps({"query": query, "variables": variables}).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {ui.token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def launch(ui: RunningUi, asset: str) -> str:
    return ask(ui, LAUNCH, asset=asset)["launchRun"]["run"]["runId"]


def status(ui: RunningUi, run: str) -> str:
    return ask(ui, STATUS, run=run)["runOrError"]["status"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def started(home: Path, tmp_path: Path) -> Iterator[RunningUi]:
    ui = start(home, tmp_path)
    try:
        ui.wait_for("Ctrl-C ends everything")
        yield ui
    finally:
        end_ui(ui)


def begin_slow_run(ui: RunningUi) -> tuple[str, list[psutil.Process]]:
    """A run whose step waits for a grandchild in another session; returns the run and every process of the house."""
    run = launch(ui, "slow")
    wait_until(
        lambda: any("sleep" in command_of(process)[:1] for process in alive(ui.family())), 60, "the step's own process"
    )
    return run, ui.family()


def test_everything_answers_and_nothing_without_a_login(started: RunningUi, home: Path) -> None:
    assert re.search(r"^Dagster UI +http://127\.0\.0\.1:\d+/login\?token=\S{40,}$", started.text, re.MULTILINE)
    mlflow = started.wait_for(r"MLflow UI +(\S+)\n")[1]
    assert urllib.request.urlopen(f"{mlflow}/health", timeout=20).read() == b"OK"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"{started.address}/graphql", data=b"{}"), timeout=20)
    assert refused.value.code == 401
    run = launch(started, "quick")
    wait_until(lambda: status(started, run) == "SUCCESS", 60, "the run's success")
    assert "launchRun" in (home / "audit" / "audit.jsonl").read_text()
    for log in (home / "logs").glob("*.log"):
        assert started.token not in log.read_text(), f"the token stands in {log}"
    sockets = [one for process in started.family() for one in process.net_connections() if one.status == "LISTEN"]
    assert {one.laddr.ip for one in sockets} == {"127.0.0.1"}
    assert not [one for one in started.family() if "dagster_webserver" in " ".join(command_of(one))]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl_c", "sigterm"])
def test_a_signal_ends_every_process_and_no_run_stays_open(started: RunningUi, home: Path, number: int) -> None:
    run, family = begin_slow_run(started)
    assert started.signal(number) == 0
    assert alive(family) == []
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        assert instance.get_run_by_id(run).is_finished


def test_kill_9_of_the_parent_leaves_nothing_and_the_next_start_knows_its_history(
    started: RunningUi, home: Path, tmp_path: Path
) -> None:
    run, family = begin_slow_run(started)
    started.signal(signal.SIGKILL)
    wait_until(lambda: not alive(family), 30, "the end of every process")
    again = start(home, tmp_path)
    try:
        again.wait_for("Ctrl-C ends everything")
        assert status(again, run) in ("FAILURE", "CANCELED"), "no run works for ever"
    finally:
        end_ui(again)


def test_a_start_that_is_interrupted_leaves_nothing(home: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ui = start(home, tmp_path, TMPDIR=folder)
        try:
            wait_until(lambda: len(ui.family()) > 2, 60, "the first processes")
            family = ui.family()
            assert ui.signal(signal.SIGINT) == 0
            assert alive(family) == []
            assert list(Path(folder).iterdir()) == []
        finally:
            end_ui(ui)


def test_a_dead_child_ends_the_house_and_is_named(started: RunningUi) -> None:
    family = started.family()
    (daemon,) = [one for one in started.family() if "dagster._daemon" in command_of(one)]
    daemon.kill()
    assert started.process.wait(60) == 1
    assert re.search(r"error: the daemon ended with status -9; see \S+daemon\.log", started.text)
    assert alive(family) == []


def test_the_next_free_port_is_taken_and_a_second_house_on_one_home_is_refused(home: Path, tmp_path: Path) -> None:
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        ui = start(home, tmp_path, AI_ASSETS_UI_PORT=str(port), AI_ASSETS_MLFLOW_PORT=str(port))
        try:
            ui.wait_for("Ctrl-C ends everything")
            ports = [int(found) for found in re.findall(r"UI +http://127\.0\.0\.1:(\d+)", ui.text)]
            assert len(set(ports)) == 2 and all(port < one < port + 20 for one in ports)
            second = start(home, tmp_path)
            assert second.process.wait(60) == 1
            assert "already running" in second.text
            assert ui.process.poll() is None and status(ui, launch(ui, "quick"))
        finally:
            end_ui(ui)
