"""The platform database: small, mutable state of every room (SQLite in the home, PostgreSQL for a team).

Here live the engine, the named locks and the transaction helper. Tables are declared by the rooms that own them, all
on `METADATA`, so that `prepare` makes the whole schema once, before any process shares it.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from filelock import FileLock

from resources.scrub import compact_sqlite

METADATA = sa.MetaData()

LOCK_WAIT_SECONDS = 120.0
OUTAGE_SECONDS = 120.0
LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE of PostgreSQL
_ANSWERED: set[tuple[object, ...]] = set()


@sa.event.listens_for(sa.Engine, "do_connect")
def _wait_for_server(dialect: Any, _record: Any, arguments: list[Any], options: dict[str, Any]) -> Any:
    """Wait out an outage of a PostgreSQL that has answered this process before; Dagster's own engines included.

    Dagster gives up after 11 seconds, and its run is then lost. A server that never answered fails at once: the
    configuration is wrong.
    """
    if dialect.name != "postgresql":
        return None
    server = tuple(options.get(name) for name in ("host", "port", "dbname"))
    deadline = time.monotonic() + OUTAGE_SECONDS
    while True:
        try:
            connection = dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.OperationalError:
            if server not in _ANSWERED or time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            _ANSWERED.add(server)
            return connection


class Database:
    """One platform database.

    Args:
        url: `sqlite:///PATH` or `postgresql+psycopg2://…`.
        locks: folder of the lock files (SQLite only; PostgreSQL has advisory locks).
    """

    def __init__(self, url: str, locks: Path) -> None:
        self.url = url
        self.locks = locks

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

    @cached_property
    def _watching(self) -> sa.Connection:
        return self.engine.execution_options(isolation_level="AUTOCOMMIT").connect()

    def change_mark(self) -> int | None:
        """A number that changes with every commit of anybody, at next to no cost; None where the engine has none.

        For one thread of a process. It follows the open file: one that was put in its place is not noticed.
        """
        if not self.is_sqlite:
            return None
        return int(self._watching.exec_driver_sql("PRAGMA data_version").scalar_one())

    @contextmanager
    def lock(self, name: str, *, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
        """Hold the lock `name` across processes (and, on PostgreSQL, machines); freed when its holder dies.

        Raises TimeoutError after `wait_seconds`: a holder that lives so long is stuck.
        """
        digest = hashlib.sha256(name.encode()).digest()
        if self.is_sqlite:
            self.locks.mkdir(parents=True, exist_ok=True)
            with FileLock(self.locks / f"{digest.hex()[:32]}.lock", timeout=wait_seconds):
                yield
            return
        with self._advisory(name, "pg_advisory_lock", wait_seconds):
            yield

    @contextmanager
    def _advisory(self, name: str, function: str, wait_seconds: float = LOCK_WAIT_SECONDS) -> Iterator[None]:
        """Hold a lock of the PostgreSQL server, taken with `function`."""
        key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
        with self.engine.connect() as connection:
            connection.execute(sa.text(f"SET lock_timeout = '{int(wait_seconds)}s'"))
            try:
                connection.execute(sa.text(f"SELECT {function}(:key)"), {"key": key})
            except sa.exc.OperationalError as error:
                if getattr(error.orig, "pgcode", "") != LOCK_NOT_AVAILABLE:
                    raise
                raise TimeoutError(f"the lock {name} was not free for {wait_seconds:.0f} s") from None
            connection.commit()  # the lock belongs to the session: no transaction is open while it is held
            try:
                yield
            finally:
                with suppress(sa.exc.OperationalError):  # a server that went away has freed the lock
                    connection.execute(sa.text(f"SELECT {function.replace('lock', 'unlock', 1)}(:key)"), {"key": key})
                    connection.commit()

    @contextmanager
    def gate(self, name: str, *, alone: bool) -> Iterator[None]:
        """Pass the gate `name` together with others, or `alone`, when all others are out. Freed when its holder dies.

        Raises TimeoutError after two minutes.
        """
        if not self.is_sqlite:
            function = "pg_advisory_lock" if alone else "pg_advisory_lock_shared"
            with self._advisory(f"gate:{name}", function):
                yield
            return
        self.locks.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(f"gate:{name}".encode()).hexdigest()[:32]
        descriptor = os.open(self.locks / f"{digest}.gate", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _wait_for(descriptor, fcntl.LOCK_EX if alone else fcntl.LOCK_SH, name)
            yield
        finally:
            os.close(descriptor)

    def forget(self, pseudonym: str) -> int:
        """Erase every row, of whatever table of the platform, in which a pseudonym stands; returns how many.

        Tables of others in the same database (Dagster's, on PostgreSQL) keep their rows, the pseudonym overwritten.
        """
        gone = 0
        with self.begin() as connection:
            inspector = sa.inspect(connection)
            for name in inspector.get_table_names():
                own = METADATA.tables.get(name)
                table = own if own is not None else sa.Table(name, sa.MetaData(), autoload_with=connection)
                texts = [column for column in table.columns if isinstance(column.type, sa.String)]
                if own is not None and texts:
                    held = sa.or_(*(column.contains(pseudonym, autoescape=True) for column in texts))
                    gone += connection.execute(sa.delete(table).where(held)).rowcount
                    continue
                for column in texts:
                    masked = sa.func.replace(column, pseudonym, "0" * len(pseudonym))
                    held = column.contains(pseudonym, autoescape=True)
                    gone += connection.execute(sa.update(table).where(held).values({column.name: masked})).rowcount
        self.compact()
        return gone

    def compact(self) -> None:
        """Give back what deleted rows left: free pages, dead rows, the write-ahead log."""
        if not self.is_sqlite:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(sa.text("VACUUM (FULL)"))
        elif (path := Path(self.url.removeprefix("sqlite:///"))).exists():
            compact_sqlite(path)


def _wait_for(descriptor: int, how: int, name: str) -> None:
    deadline = time.monotonic() + LOCK_WAIT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, how | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the gate {name} was not free for {LOCK_WAIT_SECONDS:.0f} s") from None
            time.sleep(0.02)


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
    # One statement for all rows: writing their values into its text would cost more than storing them.
    statement = insert(table)
    keys = [column.name for column in table.primary_key.columns]
    changes = {name: statement.excluded[name] if value == "new" else value for name, value in update.items()}
    if changes:
        statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    else:
        statement = statement.on_conflict_do_nothing(index_elements=keys)
    connection.execute(statement, [dict(row) for row in rows])
