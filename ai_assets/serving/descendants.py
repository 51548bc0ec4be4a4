"""Every process that a supervisor has started, directly or through others, and their end.

They are known by a mark in their environment, which children inherit: process groups and parents are no answer, since a
grandchild may have left both. A guardian (`python -m ai_assets.serving.descendants MARK`) waits for the supervisor's
death, whatever the cause, and then ends what is left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MARK_VARIABLE = "AI_ASSETS_SUPERVISOR"
GUARDIAN_SECONDS = 10.0


def marked(mark: str) -> list[int]:
    """Process ids of everything that carries `mark`, this process excepted."""
    import psutil

    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARK_VARIABLE) == mark:
                found.append(process.pid)
    return found


def end_marked(mark: str, *, seconds: float) -> int:
    """Ask everything with this mark to end, and kill what is still there after `seconds`; returns how many were killed.

    Looks again until nothing is found: a process may start another while it is being ended.
    """
    _signal(marked(mark), signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not marked(mark):
            return 0
        time.sleep(0.1)
    killed: set[int] = set()
    while left := marked(mark):
        _signal(left, signal.SIGKILL)
        killed.update(left)
        time.sleep(0.05)
    return len(killed)


def _signal(processes: list[int], number: int) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, number)


def guard_over(mark: str, folder: Path | None) -> None:
    """Wait until standard input is closed (the supervisor is gone), then end all that it left; never returns early."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C goes to the whole terminal; this one has to outlive it
    while os.read(0, 4096):
        pass
    end_marked(mark, seconds=GUARDIAN_SECONDS)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    guard_over(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else None)
