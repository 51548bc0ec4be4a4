"""What the guard reports: one record per mutation (written before it happens), login and refusal."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from resources.audit_log import AuditEntry, AuditLog

log = logging.getLogger(__name__)

LONGEST_DETAIL = 2_000
ANONYMOUS_PER_MINUTE = 30


@dataclass(frozen=True)
class Access:
    """One thing somebody did or was refused. `what` is a mutation's name, `login`, or method and path."""

    actor: str
    role: str
    what: str
    allowed: bool
    transport: str
    client: str
    reason: str = ""
    details: dict[str, Any] = field(default_factory=dict)


Record = Callable[[Access], None]


class AccessRecorder:
    """Writes accesses to the audit log.

    Refusals of people who are not logged in are bounded (30 a minute, the rest is counted in the next record), so that
    a stranger cannot fill the disk. Raises what the log raises: the guard then lets no mutation through.
    """

    def __init__(self, audit: AuditLog, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._lock = threading.Lock()
        self._minute = 0.0
        self._count = self._left_out = 0

    def __call__(self, access: Access) -> None:
        left_out = 0
        if not access.allowed and not access.role:
            with self._lock:
                now = self._clock()
                if now - self._minute >= 60:
                    self._minute, self._count = now, 0
                self._count += 1
                if self._count > ANONYMOUS_PER_MINUTE:
                    self._left_out += 1
                    return
                left_out, self._left_out = self._left_out, 0
        details: dict[str, Any] = {"role": access.role, "transport": access.transport, "client": access.client}
        if access.reason:
            details["reason"] = access.reason
        if left_out:
            details["left_out"] = left_out
        entry = AuditEntry(
            "ui" if access.allowed else "ui_refused",
            access.actor,
            {"what": access.what},
            details={**details, **access.details},
        )
        self._audit.append_all([entry])


def nothing_recorded(access: Access) -> None:
    """For tests and for servers whose audit lies elsewhere: a log line, no record."""
    log.info("%s %s %s: %s", access.actor, "did" if access.allowed else "was refused", access.what, access.reason)
