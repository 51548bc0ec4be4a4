"""The one quarantine: every file and row that was rejected, with its place and the reason.

It keeps place, reason and a digest, never the text of a bad line. A row leaves when its source is accepted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert

LONGEST_SOURCE = 1024

QUARANTINE = sa.Table(
    "quarantine",
    METADATA,
    sa.Column("table", sa.String(128), primary_key=True),
    sa.Column("source", sa.String(1024), primary_key=True),
    sa.Column("code", sa.String(64), nullable=False),
    sa.Column("reason", sa.String(1024), nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("first_seen", sa.String(32), nullable=False),
    sa.Column("last_seen", sa.String(32), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
)


@dataclass(frozen=True)
class Rejected:
    """One rejected thing: the table it was meant for, its place (a path, or FILE:LINE), why, and a stable code."""

    table: str
    source: str
    reason: str
    code: str
    digest: str = ""


def _stored(source: str) -> str:
    """A source as the table holds it: very long ones are cut, with a digest so that no two become one."""
    if len(source) <= LONGEST_SOURCE:
        return source
    return f"{source[: LONGEST_SOURCE - 20]}~{hashlib.sha256(source.encode(errors='replace')).hexdigest()[:16]}"


class Quarantine:
    """The quarantine table of the platform database."""

    FORGETS_NOTHING = "its rows lie in the platform database, which erases them, and hold no text of what was rejected"

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rejected: Iterable[Rejected], run_id: str) -> int:
        """Enter rejections; the same source met again in another run raises `attempts`. Returns how many were given."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        latest = {(item.table, _stored(item.source)): item for item in rejected}
        rows = [
            {
                "table": item.table,
                "source": _stored(item.source),
                "code": item.code,
                "reason": item.reason[:1024],
                "digest": item.digest,
                "first_seen": now,
                "last_seen": now,
                "attempts": 1,
                "run_id": run_id,
            }
            for item in latest.values()
        ]
        again = QUARANTINE.c.attempts + sa.case((QUARANTINE.c.run_id == run_id, 0), else_=1)
        changes: dict[str, Any] = dict.fromkeys(("code", "reason", "digest", "last_seen", "run_id"), "new")
        with self._database.begin() as connection:
            upsert(connection, QUARANTINE, rows, update=changes | {"attempts": again})
        return len(rows)

    def accept(self, table: str, sources: Sequence[str]) -> None:
        """Remove what has been accepted after all."""
        with self._database.begin() as connection:
            for start in range(0, len(sources), 500):
                part = [_stored(source) for source in sources[start : start + 500]]
                connection.execute(
                    sa.delete(QUARANTINE).where(QUARANTINE.c.table == table, QUARANTINE.c.source.in_(part))
                )

    def sources(self, table: str, prefix: str) -> set[str]:
        """Sources in quarantine that begin with `prefix`: what is held of one file's lines."""
        statement = sa.select(QUARANTINE.c.source).where(
            QUARANTINE.c.table == table, QUARANTINE.c.source.startswith(prefix, autoescape=True)
        )
        return {row["source"] for row in self._database.query(statement)}

    def rows(self, table: str | None = None) -> list[dict[str, Any]]:
        """What is in quarantine, oldest first."""
        statement = sa.select(QUARANTINE).order_by(QUARANTINE.c.first_seen, QUARANTINE.c.table, QUARANTINE.c.source)
        return self._database.query(statement if table is None else statement.where(QUARANTINE.c.table == table))
