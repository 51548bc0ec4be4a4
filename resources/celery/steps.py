"""The worker's half of the Celery executor: one step of a run, worked on in a subprocess of its own.

A step is a subprocess because Celery's own processes may not have children, a native crash must not take the worker
along, and cancelling means killing. A message delivered twice is worked on once. Retries belong to Dagster alone.
"""

from __future__ import annotations

import base64
import ctypes
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from resources.celery import signing
from resources.celery.app import app
from resources.celery.leases import RENEW_SECONDS, Leases
from resources.settings import Settings, load_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

log = logging.getLogger(__name__)

TASK = "ai_steps.run_step"
CANCELLED = "cancelled"
# A worker that cannot reach Redis works on for so long: an outage of Redis costs nothing, but a worker that is cut off
# from everybody ends its step, which somebody else has been given by then.
ALONE_SECONDS = 60.0
OWNER_GONE_SECONDS = 10.0
POLITE_SECONDS = 3.0
WORKER = f"{socket.gethostname()}:{os.getpid()}"
PR_SET_PDEATHSIG = 1


def attempt_name(run_id: str, step: str, attempt: int) -> str:
    """How leases call one attempt of one step of one run."""
    return f"{run_id}:{step}:{attempt}"


def make_leases(settings: Settings) -> Leases:
    """The leases of this home's team. Raises ValueError without AI_ASSETS_REDIS_URL."""
    if settings.redis_url is None:
        raise ValueError("steps on workers need Redis for their leases; set AI_ASSETS_REDIS_URL")
    return Leases(settings.redis_url.get_secret_value(), signing.fingerprint(signing.worker_key(settings)))


@app.task(name=TASK, ignore_result=True, unsigned_may_pass=False)
def run_step(run_id: str, step: str, attempt: int, arguments: str) -> str:
    """Work on one attempt of a step; says in a word what came of it. `arguments` are Dagster's, compressed."""
    settings = load_settings()
    leases, name = make_leases(settings), attempt_name(run_id, step, attempt)
    if not leases.take(name, WORKER):
        return "taken"
    why = why_not(_instance(str(settings.places.dagster)), run_id, step, attempt)
    if why:
        log.warning("step %s of run %s, attempt %s, is not worked on: %s", step, run_id, attempt, why)
        leases.end(name, 0)
        return why
    environment = {**os.environ, "AI_ASSETS_HOME": str(settings.home), "DAGSTER_HOME": str(settings.places.dagster)}
    process = subprocess.Popen(
        command(arguments, str(settings.places.dagster)),
        stdin=subprocess.DEVNULL, env=environment, start_new_session=True, preexec_fn=_die_with_worker,
    )  # fmt: skip
    try:
        status = attend(process, leases, name, run_id)
    finally:
        _end(process, polite=False)
    _persist(lambda: leases.end(name, status))
    return f"exit status {status}"


def attend(process: subprocess.Popen[bytes], leases: Leases, name: str, run_id: str) -> int:
    """Renew the lease until the process ends; end it when nobody wants it any more. Returns its exit status."""
    reached = owned = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(RENEW_SECONDS / 2)
        try:
            why = leases.renew(name, WORKER)
            has_owner = leases.has_owner(run_id)
        except Exception:  # Redis is away: go on, the events go to Dagster's storage
            owned = time.monotonic()
            if time.monotonic() - reached > ALONE_SECONDS:
                return _end(process, polite=False)
            continue
        now = reached = time.monotonic()
        owned = now if has_owner else owned
        if why is not None:
            # Only a cancelled run may still be told how its step ended: an attempt that was given up has a successor.
            return _end(process, polite=why == CANCELLED)
        if now - owned > OWNER_GONE_SECONDS:
            log.warning("the process that leads run %s is gone: its step %s is ended", run_id, name)
            return _end(process, polite=False)


def why_not(instance: DagsterInstance, run_id: str, step: str, attempt: int) -> str:
    """Why an attempt is not to be worked on although its message arrived: "" when it is."""
    from dagster import DagsterEventType as Event

    run = instance.get_run_by_id(run_id)
    if run is None or run.is_finished:
        return "the run is over"
    begun, over = 0, 0
    kinds = {Event.STEP_START, Event.STEP_RESTARTED, Event.STEP_UP_FOR_RETRY, Event.STEP_SUCCESS, Event.STEP_FAILURE}
    for record in instance.get_records_for_run(run_id, of_type=kinds).records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.step_key == step:
            begun += event.event_type in (Event.STEP_START, Event.STEP_RESTARTED)
            over += event.event_type not in (Event.STEP_START, Event.STEP_RESTARTED)
    return "it has ended" if over > attempt else "it was begun before" if begun > attempt else ""


def compress(arguments: Any) -> str:
    """Dagster's `ExecuteStepArgs` as text, without the sender's instance: every machine uses its own home."""
    from dagster_shared.record import replace
    from dagster_shared.serdes import serialize_value

    plain = replace(arguments, instance_ref=None)
    return base64.b64encode(zlib.compress(serialize_value(plain).encode())).decode()


def command(arguments: str, dagster_home: str) -> list[str]:
    """The command that executes a step on this machine, over this machine's instance."""
    from dagster._grpc.types import ExecuteStepArgs
    from dagster_shared.record import replace
    from dagster_shared.serdes import deserialize_value

    found = deserialize_value(zlib.decompress(base64.b64decode(arguments)).decode(), ExecuteStepArgs)
    own = replace(found, instance_ref=_instance(dagster_home).get_ref())
    return [sys.executable, "-m", "dagster", *own.get_command_args()[-4:]]


@lru_cache(maxsize=1)
def _instance(dagster_home: str) -> DagsterInstance:
    from dagster import DagsterInstance

    return DagsterInstance.from_config(dagster_home)


def _die_with_worker() -> None:
    """Runs in the child before exec (Linux): a worker that is killed takes its step along."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], *, polite: bool) -> int:
    """End a process with all it started; returns its exit status."""
    if process.poll() is None and polite:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLITE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _persist(action: Callable[[], None], seconds: float = ALONE_SECONDS) -> None:
    """Do it as soon as Redis answers; give up after a while, its lease then runs out by itself."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            return action()
        except Exception:
            time.sleep(RENEW_SECONDS)
