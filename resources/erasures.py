"""The erasure list: whose data must not come back, as hashes of pseudonyms with the time of each erasure.

It is asked wherever events enter, so that neither a replayed file or stream nor a restored backup brings a listener
back. What erasing means for each kind of data is the business of the resource that holds it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert

ERASURES = sa.Table(
    "erasures",
    METADATA,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("erased_at", sa.String(40), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
)


class Erasures:
    """The list of one platform."""

    FORGETS_NOTHING = "hashes of pseudonyms only: the list that keeps the erased from coming back"

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, pseudonym: str, token: int) -> datetime:
        """Enter a listener, or move the time of an earlier erasure to now.

        Args:
            token: fencing token of the erasure; tables of listeners refuse every attempt that began before it.
        """
        now = datetime.now(UTC)
        self.merge([{"digest": digest_of(pseudonym), "erased_at": now.isoformat(), "token": token}])
        return now

    def merge(self, rows: Iterable[dict]) -> None:
        """Enter rows of another list (`rows`); of two erasures of one listener the later one counts."""
        with self._database.begin() as connection:
            standing = {row.digest: row.erased_at for row in connection.execute(sa.select(ERASURES))}
            later = [row for row in rows if row["erased_at"] >= standing.get(row["digest"], "")]
            upsert(connection, ERASURES, later, update={"erased_at": "new", "token": "new"})

    def rows(self) -> list[dict]:
        """`digest erased_at token`, oldest first."""
        return self._database.query(sa.select(ERASURES).order_by(ERASURES.c.erased_at, ERASURES.c.digest))

    def moments(self) -> dict[str, datetime]:
        """The time of erasure by digest."""
        return {row["digest"]: datetime.fromisoformat(row["erased_at"]) for row in self.rows()}


class ErasedListeners:
    """The list as it stands at one moment, quick to ask for many events."""

    def __init__(self, database: Database) -> None:
        self._moments = Erasures(database).moments()
        self._known: dict[str, datetime | None] = {}

    def covers(self, pseudonym: str, played_at: datetime) -> bool:
        """Whether an event is erased: one of a listener on the list, played no later than the erasure.

        A listener who comes back of his own accord begins anew: what is played afterwards counts.
        """
        if not self._moments:
            return False
        if pseudonym not in self._known:
            self._known[pseudonym] = self._moments.get(digest_of(pseudonym))
        erased_at = self._known[pseudonym]
        return erased_at is not None and played_at <= erased_at


def digest_of(pseudonym: str) -> str:
    """sha256 of a pseudonym (hex): enough to recognise it, too little to name anybody."""
    return hashlib.sha256(pseudonym.encode()).hexdigest()


def newest_token(database: Database) -> int:
    """Token of the latest erasure, 0 for none."""
    return int(database.query(sa.select(sa.func.coalesce(sa.func.max(ERASURES.c.token), 0).label("token")))[0]["token"])
