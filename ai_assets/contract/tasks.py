"""`platform_task`: one decorator gives a callable what assets have: checked arguments, a trace, one run per key.

A task is a Celery shared task (`ai_tasks.<name>`): called directly it works here without a broker, `.delay()` sends it
to the workers of a configured broker. Bad arguments fail once, at once, with an error that names the argument.
"""

import functools
import hashlib
import inspect
import json
import time
import typing
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pydantic
import sqlalchemy as sa

from resources.celery_app import app
from resources.database import METADATA, Database, upsert
from resources.tracing import derive_trace_id

TASK_CALLS = sa.Table(
    "task_calls",
    METADATA,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("task", sa.String(128), nullable=False),
    sa.Column("arguments", sa.String(64), nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("result", sa.Text),
)

NAMESPACE = uuid.UUID("6a1d9f0e-5f0c-4b0e-9f57-3d6a6f0f9b11")
STALE_SECONDS = 6 * 3600.0


class BadArguments(ValueError):
    """Arguments that cannot be worked with; the message names each and what was expected."""


class KeyReused(BadArguments):
    """The idempotency key was used before with other arguments."""


class TaskFailed(RuntimeError):
    """The task's run failed; the message says at which asset and why."""


@dataclass(frozen=True)
class TaskCall:
    """One call: its run id and trace id, to be handed to what the task launches."""

    run_id: str
    trace_id: str


def platform_task(body: Callable[..., Mapping[str, Any]]) -> Any:
    """Make a function a task. Its first parameter is the `TaskCall`; the others are the caller's arguments.

    The caller may also give `trace_id` and `idempotency_key`; the result is the body's mapping with `trace_id`,
    `run_id` and `status`. The same key gives the same run: a second caller waits for the first and gets its result.
    """
    model = _argument_model(body)

    @functools.wraps(body)
    def task(
        *args: Any, trace_id: str | None = None, idempotency_key: str | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        arguments = _checked(model, body, args, kwargs)
        return _once(body, arguments, trace_id, idempotency_key)

    signature = inspect.signature(body)
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=str | None)
        for name in ("trace_id", "idempotency_key")
    ]
    task.__signature__ = signature.replace(parameters=[*list(signature.parameters.values())[1:], *extra])  # type: ignore[attr-defined]
    return app.task(name=f"ai_tasks.{body.__name__}", typing=False, shared=True)(task)


def _argument_model(body: Callable[..., Any]) -> type[pydantic.BaseModel]:
    hints = typing.get_type_hints(body)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if item.default is inspect.Parameter.empty else item.default)
        for name, item in list(inspect.signature(body).parameters.items())[1:]
    }
    config = pydantic.ConfigDict(extra="forbid", protected_namespaces=())
    return pydantic.create_model(f"{body.__name__}_arguments", __config__=config, **fields)


def _checked(model: type[pydantic.BaseModel], body: Callable[..., Any], args: tuple, kwargs: Mapping[str, Any]) -> Any:
    names = list(model.model_fields)
    if len(args) > len(names):
        raise BadArguments(f"{body.__name__} takes at most {len(names)} arguments: {', '.join(names)}")
    try:
        return model(**dict(zip(names, args, strict=False)), **kwargs)
    except TypeError as error:
        raise BadArguments(str(error)) from None
    except pydantic.ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise BadArguments(f"{body.__name__}: {faults}") from None


def _once(body: Callable[..., Any], arguments: Any, trace_id: str | None, key: str | None) -> dict[str, Any]:
    from ai_assets.home import prepare_home
    from resources.settings import load_settings

    platform = prepare_home(load_settings())
    name = body.__name__
    run_id = str(uuid.uuid5(NAMESPACE, f"{name}:{key}") if key is not None else uuid.uuid4())
    digest = hashlib.sha256(json.dumps(arguments.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()
    if key is not None:
        found = _claim(platform.database, name, run_id, digest)
        if found is not None:
            return found
    call = TaskCall(run_id, trace_id or derive_trace_id(run_id))
    try:
        result = dict(body(call, **{item: getattr(arguments, item) for item in type(arguments).model_fields}))
    except BaseException:
        _release(platform.database, run_id)
        raise
    result = {**result, "trace_id": call.trace_id, "run_id": run_id, "status": result.get("status", "done")}
    if key is not None:
        _finish(platform.database, run_id, result)
    return result


def _claim(database: Database, name: str, run_id: str, digest: str) -> dict[str, Any] | None:
    """Take the key (None), or wait for the one who holds it and return its result."""
    while True:
        with database.begin() as connection:
            row = connection.execute(sa.select(TASK_CALLS).where(TASK_CALLS.c.run_id == run_id)).mappings().first()
            if row is None or (row["result"] is None and time.time() - row["started_at"] > STALE_SECONDS):
                values = {
                    "run_id": run_id,
                    "task": name,
                    "arguments": digest,
                    "started_at": time.time(),
                    "result": None,
                }
                upsert(connection, TASK_CALLS, [values], update=dict.fromkeys(("arguments", "started_at"), "new"))
                return None
        if row["arguments"] != digest:
            raise KeyReused(f"{name}: idempotency_key was used before with other arguments; choose a new key")
        if row["result"] is not None:
            return dict(json.loads(row["result"]))
        time.sleep(0.3)


def _release(database: Database, run_id: str) -> None:
    """Give the key back after a failure, so that the same call may be tried again."""
    with database.begin() as connection:
        connection.execute(sa.delete(TASK_CALLS).where(TASK_CALLS.c.run_id == run_id, TASK_CALLS.c.result.is_(None)))


def _finish(database: Database, run_id: str, result: Mapping[str, Any]) -> None:
    with database.begin() as connection:
        text = json.dumps(result, default=str)
        connection.execute(sa.update(TASK_CALLS).where(TASK_CALLS.c.run_id == run_id).values(result=text))
