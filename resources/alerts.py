"""Alerts: an outbox in the platform database, and the deliverer that empties it.

Whoever notices something writes one row (`raise_alert`, which sends nothing and so cannot fail on a receiver that is
down); the deliverer sends it at least once, with a key that makes it once for receivers who honour it. What is worth an
alert, and when the deliverer runs, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Protocol

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert
from resources.error_codes import remedy
from resources.redaction import REDACTOR, Redactor

log = logging.getLogger(__name__)

Severity = Literal["info", "warning", "error", "critical"]
FIRST_RETRY_SECONDS = 2.0
LONGEST_RETRY_SECONDS = 3600.0
LEASE_SECONDS = 60.0

ALERTS = sa.Table(
    "alerts",
    METADATA,
    sa.Column("dedup_key", sa.String(300), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),  # how often this alert was raised anew after being resolved
    sa.Column("code", sa.String(100), nullable=False),
    sa.Column("severity", sa.String(20), nullable=False),
    sa.Column("title", sa.String(500), nullable=False),
    sa.Column("details", sa.Text, nullable=False),
    sa.Column("trace_id", sa.String(64), nullable=False),
    sa.Column("state", sa.String(20), nullable=False),  # firing, resolved
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("first_seen", sa.String(40), nullable=False),
    sa.Column("last_seen", sa.String(40), nullable=False),
    sa.Column("delivered_firing", sa.Boolean, nullable=False),
    sa.Column("delivered_resolved", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt", sa.String(40), nullable=False),
    sa.Column("last_error", sa.String(500), nullable=False),
)


@dataclass(frozen=True)
class Alert:
    """Something a person should know. The same `dedup_key` again raises `count` and sends nothing."""

    dedup_key: str
    code: str
    title: str
    severity: Severity = "error"
    details: Mapping[str, Any] = field(default_factory=dict)
    trace_id: str = ""


class Sender(Protocol):
    """Delivers one message. Raises OSError (which URLError is) or SendRefused when it was not taken."""

    def send(self, message: Mapping[str, Any], idempotency_key: str) -> None: ...


class SendRefused(RuntimeError):
    """The receiver answered, but did not take the message."""


class LogSender:
    """The default where nothing else is configured: the alert becomes a log line."""

    def send(self, message: Mapping[str, Any], idempotency_key: str) -> None:
        log.warning("alert %s %s: %s %s", message["state"], message["code"], message["title"], message["details"])


@dataclass(frozen=True)
class Alerts:
    """The outbox of one platform database."""

    database: Database
    redactor: Redactor = REDACTOR

    FORGETS_NOTHING: ClassVar[str] = "its rows lie in the platform database, which erases them"

    def raise_alert(self, alert: Alert, *, now: datetime | None = None) -> None:
        """Write the alert. A firing one is counted; a resolved one fires anew. Sends nothing."""
        time = _text(now)
        clean = self.redactor.value
        row = {
            "dedup_key": clean(alert.dedup_key)[:300], "generation": 1, "code": alert.code[:100],
            "severity": alert.severity, "title": clean(alert.title)[:500], "trace_id": alert.trace_id[:64],
            "details": json.dumps(clean(alert.details), sort_keys=True), "state": "firing", "count": 1,
            "first_seen": time, "last_seen": time, "delivered_firing": False, "delivered_resolved": False,
            "attempts": 0, "next_attempt": time, "last_error": "",
        }  # fmt: skip
        again = ALERTS.c.state == "resolved"
        fresh = {
            name: sa.case((again, sa.literal(row[name])), else_=ALERTS.c[name])
            for name in (
                "first_seen",
                "delivered_firing",
                "delivered_resolved",
                "attempts",
                "next_attempt",
                "last_error",
            )
        }
        update: dict[str, Any] = {
            **fresh, "state": "firing", "last_seen": "new", "title": "new", "details": "new", "severity": "new",
            "trace_id": "new", "generation": sa.case((again, ALERTS.c.generation + 1), else_=ALERTS.c.generation),
            "count": ALERTS.c.count + 1,
        }  # fmt: skip
        with self.database.begin() as connection:
            upsert(connection, ALERTS, [row], update=update)

    def resolve(self, dedup_key: str, *, now: datetime | None = None) -> bool:
        """Mark a firing alert as over (its receivers are told); False when it was not firing."""
        time = _text(now)
        statement = (
            sa.update(ALERTS)
            .where(ALERTS.c.dedup_key == dedup_key, ALERTS.c.state == "firing")
            .values(state="resolved", last_seen=time, attempts=0, next_attempt=time)
        )
        with self.database.begin() as connection:
            return bool(connection.execute(statement).rowcount)

    def list_alerts(self, *, state: str | None = None) -> list[dict[str, Any]]:
        """All alerts, newest first: what `table alerts` shows."""
        query = sa.select(ALERTS).order_by(ALERTS.c.last_seen.desc(), ALERTS.c.dedup_key)
        if state is not None:
            query = query.where(ALERTS.c.state == state)
        return [{**row, "details": json.loads(row["details"])} for row in self.database.query(query)]

    def lag_seconds(self, *, now: datetime | None = None) -> float:
        """Age of the oldest message that waits for delivery; 0 when none does."""
        rows = self.database.query(sa.select(sa.func.min(ALERTS.c.last_seen).label("oldest")).where(_waiting()))
        oldest = rows[0]["oldest"]
        return (_now(now) - datetime.fromisoformat(oldest)).total_seconds() if oldest else 0.0

    def deliver(self, sender: Sender, *, now: datetime | None = None, limit: int = 100) -> int:
        """Send what is due; returns how many messages were taken. Never raises for a receiver's fault.

        A row is leased while it is sent, so that two deliverers do not send it at once; after a crash between sending
        and noting it, it is sent again with the same idempotency key. Retries wait 2 s, 4 s, … up to an hour.
        """
        taken = 0
        for _ in range(limit):
            row = self._lease(now)
            if row is None:
                break
            firing = not row["delivered_firing"]
            message = _message(row, "firing" if firing else "resolved")
            try:
                sender.send(message, _idempotency_key(row, message["state"]))
            except Exception as error:
                self._postpone(row, self.redactor.line(str(error) or type(error).__name__), now)
                continue
            self._done(row, firing)
            taken += 1
        return taken

    def _lease(self, now: datetime | None) -> dict[str, Any] | None:
        due = sa.select(ALERTS).where(_waiting(), ALERTS.c.next_attempt <= _text(now))
        leased = _text(_now(now) + timedelta(seconds=LEASE_SECONDS))
        with self.database.begin() as connection:
            ordered = due.order_by(ALERTS.c.next_attempt, ALERTS.c.dedup_key).limit(1)
            row = connection.execute(ordered.with_for_update(skip_locked=True)).mappings().first()
            if row is None:
                return None
            same = ALERTS.c.dedup_key == row["dedup_key"]
            connection.execute(sa.update(ALERTS).where(same).values(next_attempt=leased))
        return dict(row)

    def _done(self, row: Mapping[str, Any], firing: bool) -> None:
        noted = {"delivered_firing": True} if firing else {"delivered_resolved": True}
        # Due again at once: what was resolved meanwhile has its own message.
        self._note(row, {**noted, "attempts": 0, "last_error": "", "next_attempt": row["next_attempt"]})

    def _postpone(self, row: Mapping[str, Any], error: str, now: datetime | None) -> None:
        wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** min(row["attempts"], 20))
        due = _text(_now(now) + timedelta(seconds=wait))
        self._note(row, {"attempts": row["attempts"] + 1, "next_attempt": due, "last_error": error[:500]})
        log.warning("alert %s was not delivered (%s); again in %.0f s", row["code"], error, wait)

    def _note(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        same = (ALERTS.c.dedup_key == row["dedup_key"], ALERTS.c.generation == row["generation"])
        with self.database.begin() as connection:
            connection.execute(sa.update(ALERTS).where(*same).values(**values))


def _waiting() -> sa.ColumnElement[bool]:
    firing = ALERTS.c.delivered_firing.is_(False)
    return sa.or_(firing, sa.and_(ALERTS.c.state == "resolved", ALERTS.c.delivered_resolved.is_(False)))


def _message(row: Mapping[str, Any], state: str) -> dict[str, Any]:
    names = ("dedup_key", "code", "severity", "title", "trace_id", "count", "first_seen", "last_seen")
    return {
        **{name: row[name] for name in names},
        "state": state,
        "details": json.loads(row["details"]),
        "remedy": remedy(row["code"]),
    }


def _idempotency_key(row: Mapping[str, Any], state: str) -> str:
    return hashlib.sha256(f"{row['dedup_key']}\0{row['generation']}\0{state}".encode()).hexdigest()


def _now(now: datetime | None) -> datetime:
    return now or datetime.now(UTC)


def _text(now: datetime | None) -> str:
    return _now(now).isoformat(timespec="microseconds")
