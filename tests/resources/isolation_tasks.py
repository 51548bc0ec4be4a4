"""Functions that workers run in the tests of isolation."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def add(left: int, right: int) -> int:
    return left + right


def process_id(_: object) -> int:
    return os.getpid()


def environment(name: str) -> str | None:
    return os.environ.get(name)


def crash_on_three(number: int) -> int:
    if number == 3:
        ctypes.string_at(0)
    return number


def crash_once(marker: str) -> str:
    """Dies the first time and succeeds the second."""
    if not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


def abort_with_words(_: object) -> None:
    sys.stderr.write("codec assertion failed\n")
    sys.stderr.flush()
    os.abort()


def hang_on_one(number: int) -> int:
    if number == 1:
        time.sleep(600)
    return number


def hang_in_native_code(_: object) -> None:
    """Holds the interpreter lock for ever, as a broken extension does."""
    ctypes.PyDLL(None).pause()


def spin_on_one(number: int) -> int:
    while number == 1:
        pass
    return number


def allocate(count: int) -> int:
    return len(bytearray(count))


def touch_memory(count: int) -> int:
    """Allocates memory that is really used."""
    data = bytearray(count)
    data[::4096] = b"x" * len(data[::4096])
    return len(data)


def fail(number: int) -> None:
    raise ValueError(f"item {number} is bad")


def return_a_lock(_: object) -> object:
    import threading

    return threading.Lock()


def shout(number: int) -> int:
    """Writes where a protocol on standard output would break."""
    print("noise" * 10_000, flush=True)
    return number


def big_result(count: int) -> bytes:
    return bytes(count)


def train(epochs: int) -> dict[str, int]:
    for epoch in range(epochs):
        logging.getLogger("training").info("epoch %d", epoch)
        print(f"loss {epoch}", flush=True)
    return {"epochs": epochs}


def record_and_sleep(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)
