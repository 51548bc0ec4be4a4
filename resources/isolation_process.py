"""One limited child process as its parent sees it: start, hand over, listen, end. Used by `resources.isolation` only.

Belongs here: the process, its pipes and its limits. Does not belong here: which item goes to which worker, retries and
deadlines (`isolation`), and the child's own side (`isolation_worker`).
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from resources import isolation_worker, numeric_threads

_HEADER = struct.Struct("<Q")


@dataclass(frozen=True)
class Limits:
    """What one worker may use; None = no limit. See `LimitedPool`."""

    memory_bytes: int | None
    cpu_seconds: float | None
    wall_seconds: float | None
    preload: tuple[str, ...] = ()
    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    log_level: int | None = None


@dataclass
class Task:
    """One item on its way: its place in the input, how often it was tried, when it is overdue (monotonic)."""

    index: int
    item: Any
    attempts: int = 0
    deadline: float = 0.0


def _environment(limits: Limits) -> dict[str, str]:
    environment = {**os.environ, **limits.environment}
    environment.update(dict.fromkeys(numeric_threads.VARIABLES, str(limits.threads)))
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109
    environment["PYTHONSAFEPATH"] = "1"
    return environment


class WorkerProcess:
    """One child process with its pipes; `task` is what it works on."""

    def __init__(self, limits: Limits, output: IO[bytes] | int | None = None) -> None:
        self.limits = limits
        self.task: Task | None = None
        self.ready = False
        self.prepared: object = None
        self.start_cpu_seconds = 0.0
        self.started = time.monotonic()
        self._buffer = bytearray()
        # What native code writes to standard error (a decoder's complaints, an abort message) explains a death.
        self._said: IO[bytes] | None = None
        if output is None:
            self._said = tempfile.TemporaryFile()  # noqa: SIM115
            output = self._said
        child_in, self.request = os.pipe()
        self.response, child_out = os.pipe()
        # The kernel's death signal follows the thread that started the child, not the process: only the main thread
        # surely lives as long.
        signal_death = threading.current_thread() is threading.main_thread()
        arguments = (child_in, child_out, os.getpid(), int(signal_death))
        command = [sys.executable, "-m", "resources.isolation_worker", *map(str, arguments)]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(child_in, child_out),
                env=_environment(limits),
            )
        except BaseException:
            os.close(self.request)
            os.close(self.response)
            raise
        finally:
            os.close(child_in)
            os.close(child_out)
        os.set_blocking(self.response, False)
        isolation_worker.send(
            self.request,
            {
                "preload": limits.preload,
                "memory_bytes": limits.memory_bytes,
                "cpu_seconds": limits.cpu_seconds,
                "log_level": limits.log_level,
            },
        )

    def give(self, task: Task, function: tuple[Any, bool]) -> None:
        """Hand over one item; a worker that is dead already shows it when its answer is read."""
        self.task = task
        task.attempts += 1
        wall = self.limits.wall_seconds
        task.deadline = time.monotonic() + wall if wall is not None else float("inf")
        try:
            if self.prepared is not function:
                isolation_worker.send(self.request, ("function", function))
                self.prepared = function
            isolation_worker.send(self.request, ("item", task.item))
        except BrokenPipeError:
            pass

    def answers(self) -> tuple[list[Any], bool]:
        """Messages that are complete by now, and whether the worker closed its end."""
        closed = False
        while True:
            try:
                part = os.read(self.response, 1 << 20)
            except BlockingIOError:
                break
            if not part:
                closed = True
                break
            self._buffer += part
        messages = []
        while len(self._buffer) >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer)
            if len(self._buffer) < _HEADER.size + length:
                break
            messages.append(pickle.loads(self._buffer[_HEADER.size : _HEADER.size + length]))
            del self._buffer[: _HEADER.size + length]
        return messages, closed

    def said(self, count: int = 500) -> str:
        """The end of what the worker wrote to its standard output and error."""
        if self._said is None:
            return ""
        size = self._said.seek(0, os.SEEK_END)
        self._said.seek(max(0, size - count))
        return self._said.read().decode("utf-8", "replace").strip()

    def forget_output(self) -> None:
        """Drop what was written so far once it grows: a decoder may complain about every frame of every file."""
        if self._said is not None and os.fstat(self._said.fileno()).st_size > 1 << 20:
            self._said.truncate(0)

    def reap(self) -> int:
        """The exit code of a worker that closed its pipe by itself."""
        try:
            return self.process.wait(timeout=2.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def leave(self) -> None:
        """Let the worker end by itself (its request pipe closes), reap it and close everything."""
        os.close(self.request)
        self.request = -1
        self.reap()
        self.forget()

    def forget(self) -> None:
        """Close what is left of a worker that has ended."""
        if self.request >= 0:
            os.close(self.request)
        os.close(self.response)
        if self._said is not None:
            self._said.close()


def describe_death(code: int, said: str) -> str:
    if code < 0:
        try:
            how = f"signal {-code} ({signal.Signals(-code).name})"
        except ValueError:
            how = f"signal {-code}"
    else:
        how = f"exit status {code}"
    return f"the worker died by {how}" + (f"; it said: {said}" if said else "")


def check_importable(function: str | Callable[..., Any]) -> str | Callable[..., Any]:
    """Refuse early what a worker could not import."""
    if isinstance(function, str):
        isolation_worker.resolve(function)
        return function
    data = pickle.dumps(function)
    if b"__main__" in data:
        raise ValueError(f"{function!r} lives in __main__, which a worker cannot import: move it to a module")
    return function
