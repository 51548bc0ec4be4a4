"""Seconds and peak memory of a step (Linux: the step's own peak; elsewhere the peak of the process so far)."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


class Stopwatch:
    """Started at creation; `metadata` may be asked for once the work is done."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._cpu = time.process_time()
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")  # resets the peak resident set size, see proc(5)

    def metadata(self, rows: int | None) -> dict[str, float | int]:
        seconds = time.monotonic() - self._start
        result: dict[str, float | int] = {
            "seconds": round(seconds, 3),
            "cpu_seconds": round(time.process_time() - self._cpu, 3),
            "peak_memory_bytes": peak_memory(),
        }
        if rows is not None and seconds > 0:
            result["rows_per_second"] = round(rows / seconds, 1)
        return result


def peak_memory() -> int:
    """Peak resident set size in bytes."""
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
