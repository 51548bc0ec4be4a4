"""Tasks: bad arguments named, one run per key, a caller's trace id kept."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import pytest
import sqlalchemy as sa

from ai_assets.contract import tasks
from ai_assets.contract.tasks import BadArguments, KeyReused, TaskCall, platform_task
from resources.settings import load_settings
from resources.tracing import derive_trace_id

CALLS: list[TaskCall] = []
BEHAVIOUR: dict[str, Any] = {}


@platform_task
def small_task(call: TaskCall, number: int, kind: Literal["a", "b"] = "a") -> dict[str, Any]:
    """Doubles a number."""
    CALLS.append(call)
    time.sleep(BEHAVIOUR.get("seconds", 0))
    if "error" in BEHAVIOUR:
        raise BEHAVIOUR["error"]
    return {"output": number * 2, "kind": kind}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path))
    monkeypatch.setattr("ai_assets.home.prepare_home", light_home)
    CALLS.clear()
    BEHAVIOUR.clear()


def light_home(settings: Any) -> Any:
    """The home's database without a Dagster instance, which these tasks never ask."""
    from resources.platform import Platform

    platform = Platform(settings)
    platform.home.make()
    platform.database.prepare()
    return platform


@pytest.mark.parametrize(
    ("arguments", "named"),
    [({"number": "many"}, "number"), ({}, "number"), ({"number": 1, "kind": "c"}, "kind"),
     ({"number": 1, "colour": 2}, "colour")],
)  # fmt: skip
def test_a_bad_argument_is_named_and_nothing_is_done(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadArguments, match=named):
        small_task(**arguments)
    assert CALLS == []


def test_too_many_or_doubled_arguments_are_refused() -> None:
    with pytest.raises(BadArguments, match="at most 2"):
        small_task(1, "a", 3)
    with pytest.raises(BadArguments, match="number"):
        small_task(1, number=2)


def test_a_caller_s_trace_id_comes_back_verbatim_and_another_is_derived() -> None:
    assert small_task(1, trace_id="Order 66/ä")["trace_id"] == "Order 66/ä" == CALLS[0].trace_id
    result = small_task(1)
    assert result["trace_id"] == derive_trace_id(result["run_id"]) and result["status"] == "done"
    assert small_task(1)["run_id"] != result["run_id"]


def test_two_callers_with_one_key_share_one_run() -> None:
    BEHAVIOUR["seconds"] = 0.5
    results: list[dict[str, Any]] = []
    threads = [threading.Thread(target=lambda: results.append(small_task(4, idempotency_key="k"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(CALLS) == 1 and results[0] == results[1] and results[0]["output"] == 8
    assert small_task(4, kind="a", idempotency_key="k") == results[0] and len(CALLS) == 1


def test_a_key_with_other_arguments_is_refused() -> None:
    small_task(4, idempotency_key="k")
    with pytest.raises(KeyReused, match="choose a new key"):
        small_task(5, idempotency_key="k")
    assert small_task(5, idempotency_key="other")["output"] == 10


def test_a_failure_gives_the_key_back() -> None:
    BEHAVIOUR["error"] = RuntimeError("disk")
    with pytest.raises(RuntimeError, match="disk"):
        small_task(4, idempotency_key="k")
    BEHAVIOUR.clear()
    assert small_task(4, idempotency_key="k")["output"] == 8


def test_a_worker_runs_it_by_name() -> None:
    from resources.celery.app import app

    app.conf.task_always_eager = True
    try:
        assert small_task.name == "ai_tasks.small_task"
        assert small_task.delay(3, trace_id="t").get()["output"] == 6
        with pytest.raises(BadArguments, match="number"):
            small_task.delay("x").get()
    finally:
        app.conf.task_always_eager = False
    assert len(CALLS) == 1


HOLDER = """
import sys, time
from pathlib import Path
from ai_assets.contract import tasks
from resources.database import Database
tasks.BEAT_SECONDS = 0.1
database = Database(sys.argv[1], Path(sys.argv[2]))
with tasks._claim(database, "small_task", sys.argv[3], sys.argv[4]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_key_of_a_killed_task_is_free_after_seconds_and_a_living_one_s_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = light_home(load_settings())
    monkeypatch.setattr(tasks, "KILLED_SECONDS", 1.5)
    run_id = str(uuid.uuid5(tasks.NAMESPACE, "small_task:k"))
    digest = hashlib.sha256(json.dumps({"number": 4, "kind": "a"}, sort_keys=True).encode()).hexdigest()
    command = [sys.executable, "-c", HOLDER, platform.settings.database, str(tmp_path / "locks"), run_id, digest]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        results: list[dict[str, Any]] = []
        waiter = threading.Thread(target=lambda: results.append(small_task(4, idempotency_key="k")))
        waiter.start()
        waiter.join(3)
        assert waiter.is_alive() and not CALLS  # it beats, so it is waited for
        holder.kill()
        waiter.join(10)
    assert results[0]["output"] == 8 and len(CALLS) == 1


def test_a_holder_that_was_replaced_keeps_no_result() -> None:
    database = light_home(load_settings()).database
    first = tasks._claim(database, "small_task", "r", "d")
    assert isinstance(first, tasks.Hold)
    with first, database.begin() as connection:
        connection.execute(sa.update(tasks.TASK_KEYS).values(holder="another"))
        connection.commit()
        first.finish({"late": True})
    rows = database.query(sa.select(tasks.TASK_KEYS))
    assert [(row["holder"], row["result"]) for row in rows] == [("another", None)]
