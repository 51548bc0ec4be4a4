"""`reject` and `accept`: how a body names bad input without failing; the contract writes both to the one quarantine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from resources.quarantine import Quarantine, Rejected


@dataclass
class Sink:
    """What one step rejected and accepted so far."""

    rejected: list[Rejected] = field(default_factory=list)
    accepted: dict[str, list[str]] = field(default_factory=dict)

    def flush(self, quarantine: Quarantine, run_id: str) -> int:
        for table, sources in self.accepted.items():
            quarantine.accept(table, sources)
        return quarantine.add(self.rejected, run_id)


_SINK: ContextVar[Sink] = ContextVar("rejections")


@contextmanager
def collecting() -> Iterator[Sink]:
    sink = Sink()
    reset = _SINK.set(sink)
    try:
        yield sink
    finally:
        _SINK.reset(reset)


def reject(source: str, *, table: str, reason: str, code: str, digest: str = "") -> None:
    """Put one file (its path) or row (`FILE:LINE`) into quarantine when the step ends."""
    _SINK.get().rejected.append(Rejected(table, source, reason, code, digest))


def accept(source: str, *, table: str) -> None:
    """Say that a source is good: if it was in quarantine it leaves."""
    _SINK.get().accepted.setdefault(table, []).append(source)
