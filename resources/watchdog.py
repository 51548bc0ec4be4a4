"""The watchdog of a step: a step that nobody wants any more ends itself within seconds, under any executor.

Killing a run's process leaves the processes of its steps alive, and cancelling reaches only those that still listen.
(The kernel's parent-death signal does not reach a step under forkserver: its parent is the fork server.) The watchdog
saves work; that a late write changes nothing is the lake's fence.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dagster import DagsterInstance

log = logging.getLogger(__name__)

WATCH_SECONDS = 2.0
ORPHANED = 86


class Unwanted(BaseException):
    """Raised in a step whose process has other work as well, in place of ending the process."""


@contextmanager
def watched(unwanted: Callable[[], str], *, seconds: float = WATCH_SECONDS) -> Iterator[None]:
    """End this step as soon as `unwanted` says why; an error in it says nothing.

    It asks in a thread of its own, every `seconds`, until the block ends. A step in its process's main thread takes
    the process along (status 86); in another thread (a task on a worker) `Unwanted` is raised in that thread.
    """
    over = threading.Event()
    step = threading.current_thread()

    def watch() -> None:
        while not over.wait(seconds):
            try:
                why = unwanted()
            except Exception:  # the storage is away: that does not make a step an orphan
                continue
            if why and not over.is_set():
                log.error("this step ends itself: %s", why)
                _end(step)
                return

    thread = threading.Thread(target=watch, daemon=True, name="watchdog")
    thread.start()
    try:
        yield
    finally:
        over.set()


def _end(step: threading.Thread) -> None:
    if step is threading.main_thread():
        os._exit(ORPHANED)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(step.ident or 0), ctypes.py_object(Unwanted))


def step_is_unwanted(instance: DagsterInstance, run_id: str, step: str, attempt: int) -> Callable[[], str]:
    """The question of a step: is its run over, its run's process gone, or another attempt begun in its place?"""
    parent = multiprocessing.parent_process()

    def ask() -> str:
        if parent is not None and not parent.is_alive():
            return f"the process of run {run_id} is gone"
        run = instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return f"run {run_id} is over"
        if given_up(instance, run_id, step) > attempt:
            return f"attempt {attempt} of {step} was given up"
        return ""

    return ask


def given_up(instance: DagsterInstance, run_id: str, step: str) -> int:
    """How many attempts of a step were ended in favour of another one."""
    from dagster import DagsterEventType

    found = instance.get_records_for_run(run_id, of_type=DagsterEventType.STEP_UP_FOR_RETRY).records
    events = [record.event_log_entry.dagster_event for record in found]
    return sum(event is not None and event.step_key == step for event in events)
