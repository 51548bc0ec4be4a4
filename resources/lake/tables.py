"""Delta tables: read them, replace exactly one partition, append exactly once.

A commit is atomic: a crash leaves the old version, readers never see half of one. Every commit carries the fencing
token of its attempt and 63 bits of its content's hash as Delta application transactions, so an equal second write makes
no new version and an older attempt is refused. What the tables mean is their families' business.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from resources.database import Database
from resources.erasures import newest_token
from resources.lake import fence
from resources.lake.fence import Attempt, DatabaseBehind, Fenced
from resources.lake.ledger import Entry, Ledger

if TYPE_CHECKING:
    import pandas as pd
    from deltalake import DeltaTable
    from pyarrow.dataset import Dataset

TABLE_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
PARTITION_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._-]{0,127}")
CONFLICT_TRIES = 20
QUERY_MEMORY = "1GB"
EPOCHS = "epochs"
LISTENER = "listener"


@dataclass(frozen=True)
class Written:
    """What a commit left: rows and bytes of the partition, the table's version, and whether anything changed."""

    rows: int
    bytes: int
    table_version: int
    content_hash: str
    changed: bool


@dataclass(frozen=True)
class Origin:
    """From what a commit was made: digest of its inputs, version of the code, trace of the run."""

    inputs_digest: str = ""
    code_version: str = ""
    trace_id: str = ""


@dataclass(frozen=True)
class Version:
    """One version of a table, newest first in `Lake.versions`."""

    version: int
    timestamp: str
    operation: str
    metadata: Mapping[str, str] = field(default_factory=dict)


class Lake:
    """All tables below one root.

    Args:
        root: folder or `s3://bucket/path`.
        database: for locks, tokens and the ledger.
        storage_options: of the object store, as delta-rs names them.
    """

    def __init__(self, root: str, database: Database, storage_options: Mapping[str, str] | None = None) -> None:
        self.root = root.rstrip("/")
        self.database = database
        self.ledger = Ledger(database)
        self._options = dict(storage_options or {})

    def uri(self, table: str) -> str:
        if not TABLE_NAME.fullmatch(table):
            raise ValueError(f"{table!r} is no table name: expected lower-case letters, digits and _")
        return f"{self.root}/{table}"

    def open(self, table: str, *, version: int | None = None) -> DeltaTable | None:
        """The Delta table, or None where nothing was ever written. Raises LookupError for a version it never had."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        uri = self.uri(table)
        if "://" not in uri and not Path(uri, "_delta_log").is_dir():
            return None
        try:
            handle = DeltaTable(uri, storage_options=self._options or None)
        except TableNotFoundError:
            return None
        if version is None:
            return handle
        if not 0 <= version <= handle.version():
            raise LookupError(f"table {table} has no version {version}: there are 0 to {handle.version()}")
        handle.load_as_version(version)
        return handle

    def tables(self) -> list[str]:
        """Names of the tables that exist, from the ledger and, on a folder, from the disk."""
        names = set(self.ledger.all())
        if "://" not in self.root and Path(self.root).is_dir():
            names |= {path.name for path in Path(self.root).iterdir() if (path / "_delta_log").is_dir()}
        names.discard(EPOCHS)
        return sorted(name for name in names if TABLE_NAME.fullmatch(name) and self.open(name) is not None)

    def table(self, name: str, *, keys: Sequence[str] | None = None, column: str | None = None) -> LakeTable:
        """A lazy handle; with `keys` it sees only those partitions of `column`."""
        return LakeTable(lake=self, name=name, column=column, keys=None if keys is None else tuple(keys))

    def filesystem(self, table: str) -> Any:
        """Arrow's own filesystem at the table's folder.

        deltalake's default one is written in Python, and its reader threads abort the interpreter when it ends.
        """
        from pyarrow import fs

        if not self.root.startswith("s3://"):
            return fs.SubTreeFileSystem(self.uri(table), fs.LocalFileSystem())
        options = {name.lower().removeprefix("aws_"): value for name, value in self._options.items()}
        store = fs.S3FileSystem(
            access_key=options.get("access_key_id"),
            secret_key=options.get("secret_access_key"),
            region=options.get("region"),
            endpoint_override=options.get("endpoint_url") or options.get("endpoint"),
        )
        return fs.SubTreeFileSystem(self.uri(table).removeprefix("s3://"), store)

    # -- writing -----------------------------------------------------------------------------------------------

    def attempt(self, run_id: str, attempt: int = 0) -> Attempt:
        """The fencing identity of this attempt of this run."""
        sequence = fence.run_sequence(self.database, run_id)
        return Attempt(run_id, attempt, fence.token(epoch=self._epoch, sequence=sequence, attempt=min(attempt, 255)))

    def replace(
        self,
        table: str,
        data: pa.Table,
        attempt: Attempt,
        *,
        column: str | None = None,
        key: str | None = None,
        origin: Origin = Origin(),
        digest: str | None = None,
    ) -> Written:
        """Make `data` the whole table, or the partition where `column` equals `key`, and enter it in the ledger.

        Raises:
            Fenced: a newer attempt has written this partition.
            ValueError: a bad key, or rows that belong to another partition.
        """
        if (column is None) != (key is None):
            raise ValueError("column and key belong together")
        if column is not None and key is not None:
            data = _only_partition(data, column, key)
        digest = digest or content_hash(data)
        app = f"{table}/{key or ''}"
        with self.writing(), self.database.lock(f"lake:{self.root}:{app}"), self._alone_at_first(table):
            if LISTENER in data.column_names and attempt.token < newest_token(self.database):
                raise Fenced(
                    f"{app}: a listener was erased since run {attempt.run_id} began; it changed nothing, run it again"
                )
            written = self._replace(table, data, attempt, app, digest, column, key, origin)
            # Inside the lock: an equal second write leaves no commit, so only the ledger holds its newer token.
            entry = Entry(asset=table, partition=key or "", content_hash=digest, token=attempt.token, **asdict(origin),
                          run_id=attempt.run_id, rows=written.rows, bytes=written.bytes,
                          table_version=written.table_version)  # fmt: skip
            self.ledger.record([entry])
            return written

    def _replace(
        self,
        table: str,
        data: pa.Table,
        attempt: Attempt,
        app: str,
        digest: str,
        column: str | None,
        key: str | None,
        origin: Origin,
    ) -> Written:
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        bits = int(digest[:16], 16) >> 1
        for _ in range(CONFLICT_TRIES):
            handle = self.open(table)
            self._refuse_older(handle, app, table, key, attempt)
            if handle is not None and handle.transaction_version(f"{app}#content") == bits:
                return Written(data.num_rows, _bytes(handle, column, key), handle.version(), digest, changed=False)
            properties = CommitProperties(
                custom_metadata=asdict(origin) | {"run_id": attempt.run_id, "content_hash": digest},
                app_transactions=[Transaction(app, attempt.token), Transaction(f"{app}#content", bits)],
            )
            try:
                write_deltalake(
                    handle if handle is not None else self.uri(table),
                    data,
                    mode="overwrite",
                    predicate=None if column is None or handle is None else f"{column} = '{key}'",
                    partition_by=[column] if column is not None else None,
                    schema_mode="merge" if column is not None else "overwrite",
                    commit_properties=properties,
                    storage_options=self._options or None,
                )
            except CommitFailedError:
                continue
            fresh = self.open(table)
            assert fresh is not None
            return Written(data.num_rows, _bytes(fresh, column, key), fresh.version(), digest, changed=True)
        raise TimeoutError(f"{app}: {CONFLICT_TRIES} commits in a row met a concurrent one")

    @contextmanager
    def _alone_at_first(self, table: str) -> Iterator[None]:
        """One writer at a time until the table exists.

        A first write overwrites what is there when it commits, so two of them at once would lose the first one's
        partition.
        """
        with ExitStack() as stack:
            if self.open(table) is None:
                stack.enter_context(self.database.lock(f"lake:{self.root}:{table}:first"))
            yield

    def _refuse_older(self, handle: DeltaTable | None, app: str, table: str, key: str | None, attempt: Attempt) -> None:
        entry = self.ledger.entry(table, key or "")
        newest = max(
            (handle.transaction_version(app) or 0) if handle is not None else 0, entry.token if entry is not None else 0
        )
        if newest > attempt.token:
            if fence.never_given(self.database, newest, self._epoch):
                with self.database.begin() as connection:
                    connection.execute(sa.delete(fence.LAKE_EPOCHS))
                raise DatabaseBehind(
                    f"{app}: the platform database is an older copy than the lake; trying again above it"
                )
            raise Fenced(
                f"{app}: written by a newer attempt (token {newest} > {attempt.token}); "
                f"this attempt of run {attempt.run_id} is superseded and changed nothing"
            )

    def append(self, table: str, data: pa.Table, *, source: str, offset: int, column: str | None = None) -> bool:
        """Append `data` once: False when `source` has already been appended up to `offset` or further.

        Raises TimeoutError when concurrent writers win every time.
        """
        from deltalake import CommitProperties, Transaction, write_deltalake
        from deltalake.exceptions import CommitFailedError

        app = f"{table}<{source}"
        with self.writing(), self.database.lock(f"lake:{self.root}:{table}<"), self._alone_at_first(table):
            for _ in range(CONFLICT_TRIES):
                handle = self.open(table)
                if handle is not None and (handle.transaction_version(app) or 0) >= offset:
                    return False
                try:
                    write_deltalake(
                        handle if handle is not None else self.uri(table),
                        data,
                        mode="append",
                        partition_by=[column] if column is not None else None,
                        schema_mode="merge",
                        commit_properties=CommitProperties(app_transactions=[Transaction(app, offset)]),
                        storage_options=self._options or None,
                    )
                    return True
                except CommitFailedError:
                    continue
        raise TimeoutError(f"{table}: {CONFLICT_TRIES} commits in a row met a concurrent one")

    def writing(self, *, alone: bool = False) -> AbstractContextManager[None]:
        """Writers pass together; whoever takes files away from under them (`alone`) waits until all are out."""
        return self.database.gate(f"lake:{self.root}", alone=alone)

    def forget(self, pseudonym: str, attempt: Attempt | None = None) -> dict[str, int]:
        """Erase every row in which a pseudonym stands, with all old versions of the tables of listeners.

        What was erased from is stale afterwards, and attempts that began before can no longer write it. Returns the
        number of rows by table.
        """
        from resources.lake.upkeep import erase_listener

        return erase_listener(self, pseudonym, attempt or self.attempt(f"erasure-{uuid.uuid4()}"))

    def appended(self, table: str, source: str) -> int:
        """Offset up to which `source` has been appended (0: never)."""
        handle = self.open(table)
        return 0 if handle is None else handle.transaction_version(f"{table}<{source}") or 0

    def partition_rows(self, table: str, column: str) -> dict[str, int]:
        """Rows by partition key, from the table's own statistics (nothing is read)."""
        handle = self.open(table)
        if handle is None:
            return {}
        rows: dict[str, int] = {}
        actions = pa.table(handle.get_add_actions(flatten=True))
        for key, count in zip(actions[f"partition.{column}"], actions["num_records"], strict=True):
            rows[str(key)] = rows.get(str(key), 0) + int(count.as_py())
        return dict(sorted(rows.items()))

    def versions(self, table: str, limit: int = 20) -> list[Version]:
        """The newest versions of a table, each readable with `read(version=)`."""
        handle = self.open(table)
        if handle is None:
            return []
        return [
            Version(
                version=int(item["version"]),
                timestamp=str(item.get("timestamp", "")),
                operation=str(item.get("operation", "")),
                metadata={name: str(item[name]) for name in ("run_id", "trace_id", "code_version") if name in item},
            )
            for item in handle.history(limit)
        ]

    def read(self, table: str, *, columns: Sequence[str] | None = None, version: int | None = None) -> pa.Table:
        """A whole table as Arrow. Raises LookupError where it does not exist."""
        return self.table(table).arrow(columns, version=version)

    @property
    def _epoch(self) -> int:
        """This database's epoch over this lake; the first use takes the next one."""
        from deltalake import CommitProperties, Transaction, write_deltalake

        name = hashlib.sha256(b"lake").hexdigest()
        held = sa.select(fence.LAKE_EPOCHS.c.epoch).where(fence.LAKE_EPOCHS.c.lake == name)
        if rows := self.database.query(held):
            return int(rows[0]["epoch"])
        with self.database.lock("lake:epoch"):
            if rows := self.database.query(held):
                return int(rows[0]["epoch"])
            handle = self.open(EPOCHS)
            epoch = 1 + ((handle.transaction_version("epoch") or 0) if handle is not None else 0)
            write_deltalake(
                self.uri(EPOCHS),
                pa.table({"epoch": pa.array([epoch], pa.int64())}),
                mode="append",
                commit_properties=CommitProperties(app_transactions=[Transaction("epoch", epoch)]),
                storage_options=self._options or None,
            )
            with self.database.begin() as connection:
                connection.execute(sa.insert(fence.LAKE_EPOCHS).values(lake=name, epoch=epoch))
            return epoch


@dataclass(frozen=True)
class LakeTable:
    """A table, or some of its partitions, that has not been read yet. Missing tables read as absent, not as errors."""

    lake: Lake
    name: str
    column: str | None = None
    keys: tuple[str, ...] | None = None

    @property
    def exists(self) -> bool:
        return self.lake.open(self.name) is not None

    def dataset(self) -> Dataset:
        """A pyarrow dataset of the whole table, for DuckDB. Raises LookupError where it does not exist."""
        return self._handle(None).to_pyarrow_dataset(filesystem=self.lake.filesystem(self.name))

    def arrow(self, columns: Sequence[str] | None = None, *, version: int | None = None) -> pa.Table:
        """The rows, in the order they were written. Raises LookupError where the table does not exist."""
        handle = self._handle(version)
        known = set(handle.schema().to_arrow().names)
        wanted = None if columns is None else [name for name in columns if name in known]
        partitions = None
        if self.keys is not None and self.column is not None:
            partitions = [(self.column, "in", list(self.keys) or [""])]
        filesystem = self.lake.filesystem(self.name)
        return handle.to_pyarrow_table(partitions=partitions, columns=wanted, filesystem=filesystem)

    def frame(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows as a pandas frame. Raises LookupError where the table does not exist."""
        frame = self.arrow(columns).to_pandas(date_as_object=True)
        return frame if self.column not in frame else frame.sort_values(self.column, kind="stable", ignore_index=True)

    def _handle(self, version: int | None) -> Any:
        handle = self.lake.open(self.name, version=version)
        if handle is None:
            raise LookupError(f"table {self.name} does not exist yet: materialize the asset {self.name} first")
        return handle


@contextmanager
def reading(table: LakeTable) -> Iterator[Any]:
    """A DuckDB connection in which the table is a view of its own name; beyond a gigabyte it spills to disk."""
    import duckdb

    spill = TemporaryDirectory(prefix="duckdb-")
    connection = duckdb.connect(config={"memory_limit": QUERY_MEMORY, "temp_directory": spill.name})
    try:
        connection.register(table.name, table.dataset())
        yield connection
    finally:
        connection.close()
        spill.cleanup()


def content_hash(data: pa.Table) -> str:
    """sha256 over column names, types and values, in order (hex)."""
    digest = hashlib.sha256(str(data.schema.remove_metadata()).encode())
    sink = pa.BufferOutputStream()
    plain = data.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, plain.schema) as writer:
        writer.write_table(plain)
    digest.update(memoryview(sink.getvalue()))
    return digest.hexdigest()


def _only_partition(data: pa.Table, column: str, key: str) -> pa.Table:
    import pyarrow.compute as pc

    if not PARTITION_KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no partition key: expected letters, digits and :._-")
    if column not in data.column_names:
        return data.append_column(column, pa.array([key] * data.num_rows, pa.string()))
    if data.num_rows and not pc.all(pc.equal(data[column], key)).as_py():
        raise ValueError(f"rows for partition {key} name other partitions in column {column}")
    return data


def _bytes(handle: DeltaTable, column: str | None, key: str | None) -> int:
    actions = pa.table(handle.get_add_actions(flatten=True))
    if column is not None and f"partition.{column}" in actions.column_names:
        import pyarrow.compute as pc

        actions = actions.filter(pc.equal(actions[f"partition.{column}"].cast(pa.string()), key))
    return int(sum(actions["size_bytes"].to_pylist()))
