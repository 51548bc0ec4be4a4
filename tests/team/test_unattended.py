"""What nobody has to look after: a lost host, a sensor killed at the worst moment, PostgreSQL away in mid-run."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import HERE, ROOT, wait_for

from ai_assets.home import open_instance, prepare_home
from resources.settings import load_settings

pytestmark = [pytest.mark.team, pytest.mark.timeout(400)]


class Host:
    """A machine with a home of its own: code server and daemon, which die together."""

    def __init__(self, home: Path) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
        self.home = home
        self.variables = {
            **clean, "AI_ASSETS_HOME": str(home), "DAGSTER_HOME": str(home / "dagster"), "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.platform = prepare_home(load_settings(home=home))
        self.socket = home / "code.sock"
        self.workspace = home / "workspace.yaml"
        server = {"socket": str(self.socket), "location_name": "lost"}
        self.workspace.write_text(yaml.safe_dump({"load_from": [{"grpc_server": server}]}))
        self.processes: list[subprocess.Popen] = []

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)
        file = str(HERE / "lost_host.py")
        self._spawn("dagster", "api", "grpc", "-f", file, "-s", str(self.socket), "--location-name", "lost")
        wait_for(self.socket.exists, 60, "the code server listens")
        self._spawn("dagster._daemon", "run", "-w", str(self.workspace))

    def _spawn(self, *module: str) -> None:
        log = (self.home / f"{len(self.processes)}.log").open("w")
        self.processes.append(
            subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=self.variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        )

    def lose(self) -> None:
        """Everything at once, without a goodbye."""
        family = [child for item in self.processes if item.poll() is None
                  for child in [psutil.Process(item.pid), *psutil.Process(item.pid).children(recursive=True)]]  # fmt: skip
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        for item in self.processes:
            item.wait()
        self.processes.clear()

    def notes(self, word: str) -> list[str]:
        path = self.home / "notes"
        return [line for line in path.read_text().splitlines() if line.startswith(word)] if path.exists() else []

    def statuses(self) -> list[str]:
        with open_instance(self.platform) as instance:
            return [run.status.value for run in reversed(instance.get_runs())]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("DAGSTER_HOME", "")  # open_instance sets it; restored afterwards
    monkeypatch.setenv("AI_ASSETS_HOME", "")
    found = Host(tmp_path / "home")
    yield found
    found.lose()


def test_a_run_lost_with_its_host_ends_in_success_and_nobody_did_anything(host: Host) -> None:
    host.start()
    wait_for(lambda: host.notes("begin"), 90, "the run works")
    time.sleep(7)  # one beat at least
    host.lose()
    assert host.statuses() == ["STARTED"]
    host.start()
    wait_for(lambda: host.notes("end"), 180, "another run has done the work")
    wait_for(lambda: host.statuses()[-1] == "SUCCESS", 60, "and has ended")
    assert host.statuses() == ["FAILURE", "SUCCESS"]


@pytest.fixture
def audio_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("AI_ASSETS_HOME", "")
    home = tmp_path / "home"
    platform = prepare_home(load_settings(home=home))
    for number in range(3):
        with wave.open(str(platform.home.landing_audio / f"{number}.wav"), "wb") as file:
            file.setparams((1, 2, 22050, 0, "NONE", ""))
            file.writeframes(os.urandom(22050))
    return home


@pytest.mark.parametrize("point", ["TICK_CREATED", "RUN_CREATED", "RUN_LAUNCHED"])
def test_a_sensor_killed_anywhere_requests_exactly_one_run_per_batch(audio_home: Path, point: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    variables = {**clean, "AI_ASSETS_HOME": str(audio_home), "AI_ASSETS_SETTLE_SECONDS": "0",
                 "AI_ASSETS_SENSOR_SECONDS": "1", "OMP_NUM_THREADS": "1"}  # fmt: skip
    script = str(HERE / "crash_sensor.py")
    killed = subprocess.run([sys.executable, script, "new_audio", point], cwd=ROOT, env=variables, timeout=200)
    assert killed.returncode == -signal.SIGKILL
    subprocess.run([sys.executable, script], cwd=ROOT, env=variables, timeout=200, check=True)
    platform = prepare_home(load_settings(home=audio_home))
    with open_instance(platform) as instance:
        runs = [run for run in instance.get_runs() if run.job_name == "audio_batches_job"]
        batches = list(instance.get_dynamic_partitions("audio_batches"))
    assert len(batches) == 1
    assert [run.tags["dagster/partition"] for run in runs] == batches


PG = Path("/usr/lib/postgresql")


class OwnPostgres:
    """A PostgreSQL of the test's own, to be killed."""

    def __init__(self, folder: Path, port: int) -> None:
        self.bin = max(PG.glob("*/bin"), key=lambda path: int(path.parent.name))
        self.folder, self.port = folder, port
        self.user = "postgres"
        folder.mkdir()
        folder.chmod(0o777)
        self._run(str(self.bin / "initdb"), "-D", str(folder / "data"), "-A", "trust", "-U", "postgres")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql+psycopg2://postgres@127.0.0.1:{self.port}/postgres"

    def _run(self, *command: str) -> None:
        wrapped = ["setpriv", "--reuid", self.user, "--clear-groups", *command] if os.geteuid() == 0 else list(command)
        subprocess.run(wrapped, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1"
        self._run(str(self.bin / "pg_ctl"), "-D", str(self.folder / "data"), "-o", options, "-w", "-l",
                  str(self.folder / "log"), "start")  # fmt: skip

    def kill(self) -> None:
        main = int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])
        family = [psutil.Process(main), *psutil.Process(main).children(recursive=True)]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(family, timeout=10)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)


@pytest.fixture
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnPostgres]:
    from conftest import free_port, missing

    if not list(PG.glob("*/bin/pg_ctl")) or not shutil.which("setpriv"):
        missing(f"no PostgreSQL server programs below {PG}")
    folder = Path(os.environ.get("TMPDIR", "/tmp")) / f"pg-{os.getpid()}-{time.monotonic_ns()}"
    server = OwnPostgres(folder, free_port())
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


LONG_RUN = """
import os, sys, time
import dagster as dg
from ai_assets.home import open_instance, prepare_home
from resources.settings import load_settings

@dg.op
def first(context):
    for number in range(10):
        context.log.info(f"tick {number}")
        time.sleep(0.4)

@dg.op(ins={"after": dg.In(dg.Nothing)})
def second():
    pass

@dg.job(executor_def=dg.in_process_executor)
def long_job():
    second(first())

with open_instance(prepare_home(load_settings())) as instance:
    print("ready", flush=True)
    result = long_job.execute_in_process(instance=instance)
    ticks = [e.message for e in instance.all_logs(result.run_id) if "tick" in (e.user_message or "")]
    kinds = [e.dagster_event.event_type_value for e in instance.all_logs(result.run_id) if e.dagster_event]
    print(instance.get_run_by_id(result.run_id).status.value, len(ticks), kinds.count("STEP_SUCCESS"))
"""


@pytest.mark.parametrize("seconds", [1, 20])
def test_postgresql_killed_in_mid_run_loses_no_event(postgres: OwnPostgres, tmp_path: Path, seconds: int) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    variables = {**clean, "AI_ASSETS_HOME": str(tmp_path / "home"), "AI_ASSETS_DATABASE_URL": postgres.url}
    with subprocess.Popen(
        [sys.executable, "-c", LONG_RUN], cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None and run.stdout.readline() == "ready\n"
        time.sleep(2.5)
        postgres.kill()
        time.sleep(seconds)
        postgres.start()
        rest, _ = run.communicate(timeout=200)
    assert rest.split() == ["SUCCESS", "10", "2"]
