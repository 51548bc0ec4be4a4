"""Fencing tokens: numbers that grow with every attempt, so that storage can refuse an orphan of an older one.

A token is `epoch << 48 | sequence << 8 | attempt`. The sequence is handed out by the platform database (never reused,
unlike SQLite's row ids, and never a clock); the epoch lies in the lake and is raised by each new database that opens
it, so that a new or restored instance over an old lake goes on above everything written before.

Source: M. Kleppmann, "How to do distributed locking" (2016), fencing tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from resources.database import METADATA, Database

RUN_TOKENS = sa.Table(
    "run_tokens",
    METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(64), nullable=False, unique=True),
    sqlite_autoincrement=True,
)

LAKE_EPOCHS = sa.Table(
    "lake_epochs",
    METADATA,
    sa.Column("lake", sa.String(64), primary_key=True),
    sa.Column("epoch", sa.Integer, nullable=False),
)


class Fenced(Exception):
    """A newer attempt has already written this partition; the older one must stop and must not be retried."""


class DatabaseBehind(RuntimeError):
    """The database is an older copy than the lake; a new epoch was begun, and the next attempt stands above all."""


@dataclass(frozen=True)
class Attempt:
    """Who writes: the run, the attempt within it, and their token."""

    run_id: str
    attempt: int
    token: int


def run_sequence(database: Database, run_id: str) -> int:
    """The number of `run_id`, handed out at its first call."""
    with database.begin() as connection:
        found = connection.execute(
            sa.select(RUN_TOKENS.c.sequence).where(RUN_TOKENS.c.run_id == run_id)
        ).scalar_one_or_none()
        if found is not None:
            return int(found)
        result = connection.execute(sa.insert(RUN_TOKENS).values(run_id=run_id))
        return int(result.inserted_primary_key[0])  # type: ignore[index]


def never_given(database: Database, found: int, epoch: int) -> bool:
    """Whether a token of this epoch was given out by a database that knew more than this one does (a restored copy).

    Whoever prunes `run_tokens` keeps its newest row; an empty table says nothing.
    """
    if found >> 48 != epoch:
        return False
    rows = database.query(sa.select(sa.func.max(RUN_TOKENS.c.sequence).label("highest")))
    highest = rows[0]["highest"]
    return highest is not None and (found >> 8) % 2**40 > highest


def token(*, epoch: int, sequence: int, attempt: int) -> int:
    """Combine the parts. Raises ValueError when a part has outgrown its bits."""
    if not (0 <= epoch < 2**15 and 0 < sequence < 2**40 and 0 <= attempt < 2**8):
        raise ValueError(f"epoch {epoch}, sequence {sequence} or attempt {attempt} is out of range")
    return epoch << 48 | sequence << 8 | attempt
