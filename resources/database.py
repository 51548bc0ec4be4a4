"""The platform database: small, mutable state of every room (SQLite in the home, PostgreSQL for a team).

Here live the engine, the named locks and the transaction helper. Tables are declared by the rooms that own them, all
on `METADATA`, so that `prepare` makes the whole schema once, before any process shares it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock

METADATA = sa.MetaData()

LOCK_WAIT_SECONDS = 120.0


class Database:
    """One platform database.

    Args:
        url: `sqlite:///PATH` or `postgresql+psycopg2://…`.
        locks: folder of the lock files (SQLite only; PostgreSQL has advisory locks).
    """

    def __init__(self, url: str, locks: Path) -> None:
        self.url = url
        self._locks = locks

    @cached_property
    def engine(self) -> sa.Engine:
        if not self.is_sqlite:
            return sa.create_engine(self.url, pool_pre_ping=True, pool_size=2)
        engine = sa.create_engine(self.url, connect_args={"timeout": 60}, poolclass=sa.pool.NullPool)

        @sa.event.listens_for(engine, "connect")
        def _pragmas(connection: Any, _record: Any) -> None:
            for pragma in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=60000"):
                connection.execute(f"PRAGMA {pragma}")

        return engine

    @property
    def is_sqlite(self) -> bool:
        return self.url.startswith("sqlite")

    def prepare(self) -> None:
        """Create the tables of all rooms that are imported; safe to call from several processes."""
        with self.lock("schema"):
            METADATA.create_all(self.engine)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """One transaction; on SQLite it takes the write lock at once, so that read-then-write is atomic."""
        with self.engine.connect() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            with connection.begin() if not connection.in_transaction() else _commit(connection):
                yield connection

    def query(self, statement: sa.Executable) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock `name` across processes (and, on PostgreSQL, machines); freed when its holder dies.

        Raises TimeoutError after two minutes: a holder that lives so long is stuck.
        """
        digest = hashlib.sha256(name.encode()).digest()
        if self.is_sqlite:
            self._locks.mkdir(parents=True, exist_ok=True)
            with FileLock(self._locks / f"{digest.hex()[:32]}.lock", timeout=LOCK_WAIT_SECONDS):
                yield
            return
        key = int.from_bytes(digest[:8], "big", signed=True)
        with self.engine.connect() as connection:
            connection.execute(sa.text(f"SET lock_timeout = '{int(LOCK_WAIT_SECONDS)}s'"))
            connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": key})
            try:
                yield
            finally:
                connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": key})
                connection.commit()


@contextmanager
def _commit(connection: sa.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def upsert(
    connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, update: Mapping[str, Any]
) -> None:
    """Insert `rows`; where the primary key exists, set the columns of `update`.

    A value of `update` is a column expression, or the string "new" for the value of the refused row.
    """
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    for start in range(0, len(rows), 500):
        statement = insert(table).values([dict(row) for row in rows[start : start + 500]])
        keys = [column.name for column in table.primary_key.columns]
        changes = {name: statement.excluded[name] if value == "new" else value for name, value in update.items()}
        if changes:
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes))
        else:
            connection.execute(statement.on_conflict_do_nothing(index_elements=keys))
