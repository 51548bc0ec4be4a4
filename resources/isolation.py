"""Subprocess workers with limits: memory, CPU and wall time per item, so that one bad file costs one row.

Belongs here: which item goes to which worker, deadlines and retries (`LimitedPool` for many items, `run_limited` for
one heavy job). Does not belong here: one child as its parent sees it (`isolation_process`), the child's own side
(`isolation_worker`), what the functions do, and retries of a whole step.

Workers are `python -m resources.isolation_worker` processes over inherited pipes and not multiprocessing: they neither
re-import `__main__` nor care whether their parent is daemonic (a Celery child is), never fork a process that has
threads, and a hang or a native crash in one of them harms no other. Each lives for many items.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from resources.isolation_process import Limits, Task, WorkerProcess, check_importable, describe_death

log = logging.getLogger(__name__)

OutcomeStatus = Literal["ok", "timeout", "killed", "error", "memory"]
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Outcome:
    """What became of one item.

    Attributes
    ----------
    item_index : position of the item in the input, from 0.
    status : "ok"; "error" (the function raised); "memory" (it raised MemoryError); "timeout" (wall or CPU limit, its
        worker was killed); "killed" (two workers died with it, for instance by a segmentation fault).
    value : what the function returned; None unless "ok".
    error : a traceback or a sentence; "" for "ok".
    exception : the exception itself for "error", if it can be pickled.
    peak_bytes : highest resident memory of the worker during the item; 0 when it died.
    cpu_seconds : CPU time the item took in the worker; 0.0 when it died.
    """

    item_index: int
    status: OutcomeStatus
    value: Any = None
    error: str = ""
    exception: BaseException | None = None
    peak_bytes: int = 0
    cpu_seconds: float = 0.0


class LimitedError(RuntimeError):
    """A job of `run_limited` ended by a limit or died; `status` as in `Outcome`."""

    def __init__(self, status: OutcomeStatus, error: str) -> None:
        super().__init__(f"{status}: {error}")
        self.status = status
        self.error = error

    def __reduce__(self) -> tuple[type[LimitedError], tuple[OutcomeStatus, str]]:
        return type(self), (self.status, self.error)


class LimitedPool:
    """A few worker processes, each with limits, for many items; a context manager.

    No worker outlives its parent: an idle one sees its pipe close, a busy one is killed by the kernel (pools opened in
    the main thread) or ends itself within a second.

    Parameters
    ----------
    workers : how many processes; started at once, and again when one is lost.
    memory_bytes : address space a worker may add to what it has mapped after preloading (RLIMIT_AS); None = no limit.
    cpu_seconds : CPU time per item (RLIMIT_CPU, renewed for each item).
    wall_seconds : wall time per item; the worker that exceeds it is killed alone.
    preload : modules imported before the memory limit is set and before the first item.
    threads : threads of OpenMP, BLAS and numba, set before numpy is imported.
    environment : further environment variables of the workers.

    Examples
    --------
    >>> with LimitedPool(2, wall_seconds=60.0) as pool:                        # doctest: +SKIP
    ...     for outcome in pool.map("ai_assets.audio_analysis.decode:decode_report", paths):
    ...         outcome.status, outcome.value
    """

    def __init__(
        self,
        workers: int,
        *,
        memory_bytes: int | None = None,
        cpu_seconds: float | None = None,
        wall_seconds: float | None = None,
        preload: tuple[str, ...] = (),
        threads: int = 1,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; at least 1 is needed")
        self._limits = Limits(memory_bytes, cpu_seconds, wall_seconds, preload, threads, environment or {})
        self._count = workers
        self._workers: list[WorkerProcess] = []
        self._busy = False
        self._failed_starts = 0
        self.started_workers = 0

    def __enter__(self) -> LimitedPool:
        self._fill()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; idle ones leave by themselves, busy ones are killed."""
        workers, self._workers = self._workers, []
        for worker in workers:
            if worker.task is not None or not worker.ready:
                worker.process.kill()
            worker.leave()

    @property
    def start_cpu_seconds(self) -> list[float]:
        """CPU seconds each living worker needed until it was ready."""
        return [worker.start_cpu_seconds for worker in self._workers if worker.ready]

    def _fill(self) -> None:
        while len(self._workers) < self._count:
            self._workers.append(WorkerProcess(self._limits))
            self.started_workers += 1

    def map(
        self,
        function: str | Callable[..., Any],
        items: Iterable[Any],
        *,
        ordered: bool = True,
        expand: bool = False,
    ) -> Iterator[Outcome]:
        """Run `function` on every item, in the workers.

        Parameters
        ----------
        function : "package.module:function", or an importable function (also a `functools.partial` of one).
        items : picklable; consumed lazily, only a little ahead of what is yielded.
        ordered : yield in input order; otherwise as completed.
        expand : call `function(*item)` instead of `function(item)`.

        Yields
        ------
        One Outcome per item, whatever happens. An item whose worker dies is tried once more in a fresh worker.
        """
        if self._busy:
            raise RuntimeError("this pool is mapping already; use one pool per concurrent map")
        payload = (check_importable(function), expand)
        self._busy = True
        try:
            yield from _Run(self, payload, enumerate(items), ordered).outcomes()
        finally:
            self._busy = False
            for worker in [worker for worker in self._workers if worker.task is not None]:
                self._discard(worker)

    def _discard(self, worker: WorkerProcess) -> None:
        worker.process.kill()
        worker.reap()
        worker.forget()
        self._workers.remove(worker)


class _Run:
    """One `map`: what is still to do, what is under way, what is finished."""

    def __init__(
        self, pool: LimitedPool, function: tuple[Any, bool], source: Iterator[tuple[int, Any]], ordered: bool
    ) -> None:
        self.pool, self.function, self.source, self.ordered = pool, function, source, ordered
        self.again: deque[Task] = deque()
        self.done: dict[int, Outcome] = {}
        self.next_index = 0
        self.taken = 0
        self.exhausted = False
        self.window = 16 * pool._count

    def outcomes(self) -> Iterator[Outcome]:
        while True:
            self.pool._fill()
            self._dispatch()
            yield from self._finished()
            busy = any(worker.task is not None for worker in self.pool._workers)
            if not busy and not self.again and self.exhausted and not self.done:
                return
            self._wait()
            yield from self._finished()

    def _finished(self) -> Iterator[Outcome]:
        if not self.ordered:
            while self.done:
                yield self.done.pop(next(iter(self.done)))
            return
        while self.next_index in self.done:
            yield self.done.pop(self.next_index)
            self.next_index += 1

    def _next_task(self) -> Task | None:
        if self.again:
            return self.again.popleft()
        if self.exhausted or (self.ordered and self.taken - self.next_index >= self.window):
            return None
        try:
            index, item = next(self.source)
        except StopIteration:
            self.exhausted = True
            return None
        self.taken += 1
        return Task(index, item)

    def _dispatch(self) -> None:
        for worker in self.pool._workers:
            if worker.ready and worker.task is None:
                task = self._next_task()
                if task is None:
                    return
                worker.give(task, self.function)

    def _wait(self) -> None:
        """Wait for an answer, a death or a deadline, and deal with all that have come."""
        workers = list(self.pool._workers)
        now = time.monotonic()
        deadlines = [self._deadline(worker) for worker in workers]
        with selectors.DefaultSelector() as selector:
            for worker in workers:
                selector.register(worker.response, selectors.EVENT_READ, worker)
            timeout = max(0.0, min(deadlines) - now)
            events = selector.select(None if timeout == float("inf") else timeout)
        for key, _ in events:
            self._hear(key.data)
        now = time.monotonic()
        for worker in workers:
            if worker in self.pool._workers and now >= self._deadline(worker):
                self._overdue(worker)

    @staticmethod
    def _deadline(worker: WorkerProcess) -> float:
        if not worker.ready:
            return worker.started + _START_SECONDS
        return worker.task.deadline if worker.task is not None else float("inf")

    def _hear(self, worker: WorkerProcess) -> None:
        messages, closed = worker.answers()
        for message in messages:
            if message[0] == "ready":
                worker.ready, worker.start_cpu_seconds = True, message[1]
                self.pool._failed_starts = 0
                continue
            task, worker.task = worker.task, None
            assert task is not None
            status, value, error, peak, cpu = message
            exception = value if status == "error" else None
            value = value if status == "ok" else None
            self.done[task.index] = Outcome(task.index, status, value, error, exception, peak, cpu)
            worker.forget_output()
        if closed:
            self._died(worker)

    def _died(self, worker: WorkerProcess) -> None:
        code, task = worker.reap(), worker.task
        reason = describe_death(code, worker.said())
        worker.forget()
        self.pool._workers.remove(worker)
        if not worker.ready:
            self.pool._failed_starts += 1
            if self.pool._failed_starts >= 2:
                raise RuntimeError(f"workers cannot start: {reason}")
        if task is None:
            return
        if code == -signal.SIGXCPU:
            text = f"more than {self.pool._limits.cpu_seconds:g} s of CPU time"
            self.done[task.index] = Outcome(task.index, "timeout", error=text)
        elif task.attempts < 2:
            log.warning("item %d: %s; it is tried once more in a fresh worker", task.index, reason)
            self.again.append(task)
        else:
            self.done[task.index] = Outcome(task.index, "killed", error=f"{reason}; twice, in two workers")

    def _overdue(self, worker: WorkerProcess) -> None:
        task = worker.task
        self.pool._discard(worker)
        if task is None:
            raise RuntimeError(f"a worker was not ready after {_START_SECONDS:g} s")
        text = f"not finished after {self.pool._limits.wall_seconds:g} s; its worker was killed"
        self.done[task.index] = Outcome(task.index, "timeout", error=text)


def run_limited(
    function: str | Callable[..., Any],
    *args: Any,
    memory_bytes: int | None = None,
    wall_seconds: float | None = None,
    cpu_seconds: float | None = None,
    preload: tuple[str, ...] = (),
    threads: int = 1,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Any:
    """Run one heavy job (a training, an index build) in a process of its own and return its value.

    Parameters
    ----------
    function, args : "package.module:function" or an importable function (keywords through `functools.partial`).
    memory_bytes, wall_seconds, cpu_seconds, preload, threads, environment : as in `LimitedPool`.
    on_line : called with every line the job logs (level INFO and above) or writes, while it runs; by default the
        lines go to this module's logger.

    Raises
    ------
    LimitedError : a limit was reached, or the process died (status "timeout", "memory" or "killed").
    Exception : whatever the function raised, with the child's traceback as its cause.
    """
    limits = Limits(
        memory_bytes, cpu_seconds, wall_seconds, preload, threads, environment or {}, log_level=logging.INFO
    )
    payload = (check_importable(function), True)
    lines, output = os.pipe()
    try:
        worker = WorkerProcess(limits, output)
    except BaseException:
        os.close(lines)
        raise
    finally:
        os.close(output)
    os.set_blocking(lines, False)
    try:
        return _job(worker, lines, payload, args, on_line or log.info)
    finally:
        worker.process.kill()
        worker.reap()
        worker.forget()
        os.close(lines)


def _job(
    worker: WorkerProcess, lines: int, function: tuple[Any, bool], args: tuple[Any, ...], on_line: Callable[[str], None]
) -> Any:
    forward = _Lines(lines, on_line)
    wall = worker.limits.wall_seconds
    deadline = time.monotonic() + wall if wall is not None else float("inf")
    worker.give(Task(0, args), function)
    with selectors.DefaultSelector() as selector:
        selector.register(worker.response, selectors.EVENT_READ)
        selector.register(lines, selectors.EVENT_READ)
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise LimitedError("timeout", f"not finished after {wall:g} s; the process was killed")
            ready = {key.fd for key, _ in selector.select(None if remaining == float("inf") else remaining)}
            if lines in ready and forward.read():
                selector.unregister(lines)
            if worker.response not in ready:
                continue
            messages, closed = worker.answers()
            for message in messages:
                if message[0] != "ready":
                    forward.read(last=True)
                    return _value(message)
            if closed:
                code = worker.reap()
                forward.read(last=True)
                if code == -signal.SIGXCPU:
                    raise LimitedError("timeout", f"more than {worker.limits.cpu_seconds:g} s of CPU time")
                raise LimitedError("killed", describe_death(code, forward.tail()))


def _value(message: Any) -> Any:
    status, value, error, _, _ = message
    if status == "ok":
        return value
    cause = LimitedError(status, error)
    if status == "error" and isinstance(value, BaseException):
        raise value from cause
    raise cause


class _Lines:
    """Cuts what arrives on a pipe into lines and hands them on."""

    def __init__(self, fd: int, on_line: Callable[[str], None]) -> None:
        self._fd, self._on_line = fd, on_line
        self._rest = b""
        self._recent: deque[str] = deque(maxlen=5)

    def read(self, *, last: bool = False) -> bool:
        """Forward what is there; True when the other side has closed. `last`: also an unfinished line."""
        closed = False
        while True:
            try:
                part = os.read(self._fd, 1 << 16)
            except BlockingIOError:
                break
            if not part:
                closed = True
                break
            self._rest += part
        *whole, self._rest = self._rest.split(b"\n")
        if (last or closed or len(self._rest) > 1 << 16) and self._rest:
            whole.append(self._rest)
            self._rest = b""
        for line in whole:
            text = line.decode("utf-8", "replace").rstrip("\r")
            self._recent.append(text)
            self._on_line(text)
        return closed

    def tail(self) -> str:
        """The last lines, for an error message."""
        return " | ".join(self._recent)[-500:]
