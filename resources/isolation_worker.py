"""The child side of `resources.isolation`: takes items from a pipe, runs one function on each, answers on a pipe.

Started as `python -m resources.isolation_worker REQUEST_FD RESPONSE_FD PARENT_PID SIGNAL_DEATH`; nobody else has the
pipes. The messages are length-prefixed pickles: parent and child are one program and one user, and nothing from outside
ever enters the channel as a pickle (items are paths and numbers, not bytes of files to be unpickled).

The module imports only the standard library, so that a worker starts fast and sets its limits before anything else.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import pickle
import resource
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

_HEADER = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1
_MAX_ERROR = 4000


def read_exactly(fd: int, count: int) -> bytes:
    """`count` bytes from a blocking pipe; EOFError when the other side is gone."""
    parts = bytearray()
    while len(parts) < count:
        part = os.read(fd, min(count - len(parts), 1 << 20))
        if not part:
            raise EOFError("the pipe was closed")
        parts += part
    return bytes(parts)


def receive(fd: int) -> Any:
    """The next message of the trusted channel."""
    (length,) = _HEADER.unpack(read_exactly(fd, _HEADER.size))
    return pickle.loads(read_exactly(fd, length))


def send(fd: int, message: Any) -> None:
    """Send one message; blocks until the pipe has taken it."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    view = memoryview(_HEADER.pack(len(data)) + data)
    while view:
        view = view[os.write(fd, view) :]


def resolve(path: str) -> Callable[..., Any]:
    """The function named "package.module:function"."""
    module, _, name = path.partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{path!r} is not a function")
    return found


def _die_with_parent(parent: int, *, signal_death: bool) -> None:
    """Three nets: the kernel's death signal, a watch on the parent, and end of file on the request pipe."""
    if signal_death:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    if os.getppid() != parent:
        os._exit(1)
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def _virtual_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - pathlib costs 10 ms of a worker's start
        return int(file.read().split()[0]) * resource.getpagesize()


def _reset_peak() -> None:
    """Make VmHWM start anew, so that the peak belongs to one item (Linux: clear_refs 5)."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "wb") as file:  # noqa: PTH123
        file.write(b"5")


def _peak_bytes() -> int:
    with contextlib.suppress(OSError), open("/proc/self/status", "rb") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _lower(kind: int, soft: int) -> None:
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(kind, (soft, hard))


def _renew_cpu(seconds: float | None) -> None:
    if seconds is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    # The limit counts the whole life of the process: each item gets its own share on top of what is used.
    _lower(resource.RLIMIT_CPU, int(used.ru_utime + used.ru_stime + seconds) + 1)


def _run(function: Callable[..., Any], item: Any, expand: bool) -> tuple[str, Any, str]:
    try:
        return "ok", function(*item) if expand else function(item), ""
    except MemoryError:
        return "memory", None, "the memory limit of the worker was reached"
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        return "error", error, text[-_MAX_ERROR:]


def _answer(response: int, outcome: tuple[str, Any, str], peak: int, cpu: float) -> None:
    status, value, error = outcome
    try:
        message = (status, value, error, peak, cpu)
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        pickle.loads(data) if status == "error" else None
    except Exception as failure:
        # A value or an exception that cannot travel: its text still does.
        error = error or f"the result cannot be sent back: {failure}"
        data = pickle.dumps((("error" if status == "ok" else status), None, error, peak, cpu))
    view = memoryview(_HEADER.pack(len(data)) + data)
    while view:
        view = view[os.write(response, view) :]


def main(request: int, response: int, parent: int, signal_death: bool) -> None:
    """Serve items until the parent closes the request pipe."""
    _die_with_parent(parent, signal_death=signal_death)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's decision
    setup = receive(request)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if setup["log_level"] is not None:
        import logging

        logging.basicConfig(level=setup["log_level"], format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for name in setup["preload"]:
        importlib.import_module(name)
    if setup["memory_bytes"] is not None:
        # On top of what the interpreter and the preloaded libraries have mapped: that is address space, not memory.
        _lower(resource.RLIMIT_AS, _virtual_bytes() + setup["memory_bytes"])
    send(response, ("ready", time.process_time()))
    function: Callable[..., Any] | None = None
    expand = False
    while True:
        try:
            kind, payload = receive(request)
        except EOFError:
            return
        if kind == "function":
            function = resolve(payload[0]) if isinstance(payload[0], str) else payload[0]
            expand = payload[1]
            continue
        _renew_cpu(setup["cpu_seconds"])
        _reset_peak()
        started = time.process_time()
        assert function is not None
        outcome = _run(function, payload, expand)
        _answer(response, outcome, _peak_bytes(), time.process_time() - started)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "1")
