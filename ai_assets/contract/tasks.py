"""`platform_task`: one decorator gives a callable what assets have: checked arguments, a trace, one run per key.

A task is a Celery shared task (`ai_tasks.<name>`): called directly it works here without a broker, `.delay()` sends it
to the workers of a configured broker. Bad arguments fail once, at once, with an error that names the argument.
"""

import functools
import hashlib
import inspect
import json
import secrets
import threading
import time
import typing
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import pydantic
import sqlalchemy as sa

from resources.celery.app import app
from resources.database import METADATA, Database, upsert
from resources.task_counts import count_task
from resources.tracing import derive_trace_id

TASK_KEYS = sa.Table(
    "task_keys",
    METADATA,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("task", sa.String(128), nullable=False),
    sa.Column("arguments", sa.String(64), nullable=False),
    sa.Column("holder", sa.String(32), nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("result", sa.Text),
)

NAMESPACE = uuid.UUID("6a1d9f0e-5f0c-4b0e-9f57-3d6a6f0f9b11")
# A key is held by beating: its holder was killed when it has not for so long, by the clock of the one who waits.
BEAT_SECONDS = 2.0
KILLED_SECONDS = 15.0
WAIT_SECONDS = 0.3


class BadArguments(ValueError):
    """Arguments that cannot be worked with; the message names each and what was expected."""


class KeyReused(BadArguments):
    """The idempotency key was used before with other arguments."""


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
    hold: Hold | None = None
    if key is not None:
        found = _claim(platform.database, name, run_id, digest)
        if not isinstance(found, Hold):
            return found
        hold = found
    call = TaskCall(run_id, trace_id or derive_trace_id(run_id))
    values = {item: getattr(arguments, item) for item in type(arguments).model_fields}
    with hold if hold is not None else nullcontext(), _counted(platform.database, name):
        result = dict(body(call, **values))
        result = {**result, "trace_id": call.trace_id, "run_id": run_id, "status": result.get("status", "done")}
        if hold is not None:
            hold.finish(result)
    return result


@contextmanager
def _counted(database: Database, name: str) -> Iterator[None]:
    """Count the call and its seconds for the metrics."""
    start = time.monotonic()
    try:
        yield
    except BaseException:
        count_task(database, name, "failed", time.monotonic() - start)
        raise
    count_task(database, name, "done", time.monotonic() - start)


class Hold:
    """The idempotency key of a call, held until the block ends; beats, so that waiters see that its holder lives.

    Leaving the block without `finish` gives the key back, so that the same call may be tried again.
    """

    def __init__(self, database: Database, run_id: str, holder: str) -> None:
        self._database = database
        self._mine = sa.and_(TASK_KEYS.c.run_id == run_id, TASK_KEYS.c.holder == holder, TASK_KEYS.c.result.is_(None))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True, name=f"task {run_id}")

    def __enter__(self) -> "Hold":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        with self._database.begin() as connection:
            connection.execute(sa.delete(TASK_KEYS).where(self._mine))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Keep the result; nothing is kept for a holder that was taken for killed and replaced meanwhile."""
        with self._database.begin() as connection:
            text = json.dumps(result, default=str)
            connection.execute(sa.update(TASK_KEYS).where(self._mine).values(result=text))

    def _beat(self) -> None:
        while not self._over.wait(BEAT_SECONDS):
            with suppress(sa.exc.SQLAlchemyError), self._database.begin() as connection:
                connection.execute(sa.update(TASK_KEYS).where(self._mine).values(beat=TASK_KEYS.c.beat + 1))


def _claim(database: Database, name: str, run_id: str, digest: str) -> Hold | dict[str, Any]:
    """Take the key, or wait for the one who holds it and return its result; a killed holder's key is taken over."""
    seen: tuple[str, int] | None = None
    since = time.monotonic()
    while True:
        with database.begin() as connection:
            row = connection.execute(sa.select(TASK_KEYS).where(TASK_KEYS.c.run_id == run_id)).mappings().first()
            if row is not None and (row["holder"], row["beat"]) != seen:
                seen, since = (row["holder"], row["beat"]), time.monotonic()
            if row is None or (row["result"] is None and time.monotonic() - since > KILLED_SECONDS):
                hold = secrets.token_hex(16)
                values = {
                    "run_id": run_id, "task": name, "arguments": digest, "holder": hold, "beat": 0, "result": None,
                }  # fmt: skip
                upsert(connection, TASK_KEYS, [values], update=dict.fromkeys(("arguments", "holder", "beat"), "new"))
                return Hold(database, run_id, hold)
        if row["arguments"] != digest:
            raise KeyReused(f"{name}: idempotency_key was used before with other arguments; choose a new key")
        if row["result"] is not None:
            return dict(json.loads(row["result"]))
        time.sleep(WAIT_SECONDS)
