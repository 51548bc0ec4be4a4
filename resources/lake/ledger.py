"""What each partition of each asset holds, and from what it was made: the basis of `plan`, `status` and staleness.

One row for an asset's partition ("" for an unpartitioned asset), written after its commit. It is a memory of commits,
not their truth: a crash in between leaves the old row, and the retry of the step mends it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert

LEDGER = sa.Table(
    "ledger",
    METADATA,
    sa.Column("asset", sa.String(128), primary_key=True),
    sa.Column("partition", sa.String(128), primary_key=True),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("inputs_digest", sa.String(64), nullable=False),
    sa.Column("code_version", sa.String(64), nullable=False),
    sa.Column("token", sa.BigInteger, nullable=False),
    sa.Column("run_id", sa.String(64), nullable=False),
    sa.Column("trace_id", sa.String(64), nullable=False),
    sa.Column("rows", sa.BigInteger),
    sa.Column("bytes", sa.BigInteger),
    sa.Column("table_version", sa.BigInteger),
    sa.Column("written_at", sa.String(32), nullable=False),
)


@dataclass(frozen=True)
class Entry:
    """One partition as it was last published. `rows` and `bytes` are None for what is no table."""

    asset: str
    partition: str
    content_hash: str
    inputs_digest: str
    code_version: str
    token: int
    run_id: str
    trace_id: str
    rows: int | None = None
    bytes: int | None = None
    table_version: int | None = None
    written_at: str = ""


class Ledger:
    """The table of entries in the platform database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(self, entries: Iterable[Entry]) -> None:
        """Insert or replace; an entry with an older token than the one that stands is dropped."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        rows = [asdict(entry) | {"written_at": entry.written_at or now} for entry in entries]
        columns = [column.name for column in LEDGER.columns if not column.primary_key]
        with self._database.begin() as connection:
            standing = self._tokens(connection, rows)
            fresh = [row for row in rows if row["token"] >= standing.get((row["asset"], row["partition"]), 0)]
            upsert(connection, LEDGER, fresh, update=dict.fromkeys(columns, "new"))

    @staticmethod
    def _tokens(connection: sa.Connection, rows: list[dict]) -> Mapping[tuple[str, str], int]:
        assets = {row["asset"] for row in rows}
        found = connection.execute(
            sa.select(LEDGER.c.asset, LEDGER.c.partition, LEDGER.c.token).where(LEDGER.c.asset.in_(assets))
        )
        return {(asset, partition): token for asset, partition, token in found}

    def entries(self, asset: str) -> dict[str, Entry]:
        """Entries of one asset by partition key."""
        rows = self._database.query(sa.select(LEDGER).where(LEDGER.c.asset == asset))
        return {row["partition"]: Entry(**row) for row in rows}

    def all(self) -> dict[str, dict[str, Entry]]:
        """Entries of every asset: asset -> partition -> entry."""
        result: dict[str, dict[str, Entry]] = {}
        for row in self._database.query(sa.select(LEDGER)):
            result.setdefault(row["asset"], {})[row["partition"]] = Entry(**row)
        return result

    def entry(self, asset: str, partition: str = "") -> Entry | None:
        rows = self._database.query(sa.select(LEDGER).where(LEDGER.c.asset == asset, LEDGER.c.partition == partition))
        return Entry(**rows[0]) if rows else None

    def spoil(self, asset: str, partitions: Iterable[str], token: int) -> None:
        """Note that content was taken out of `partitions`: they are stale, and so is all that is made from them.

        No attempt older than `token` may write any partition of the asset again.
        """
        with self._database.begin() as connection:
            connection.execute(
                sa.update(LEDGER).where(LEDGER.c.asset == asset, LEDGER.c.token < token).values(token=token)
            )
            for partition in partitions:
                digest = hashlib.sha256(f"{asset}/{partition}/{token}".encode()).hexdigest()
                connection.execute(
                    sa.update(LEDGER)
                    .where(LEDGER.c.asset == asset, LEDGER.c.partition == partition)
                    .values(content_hash=digest, inputs_digest="")
                )

    def forget(self, asset: str, partitions: Iterable[str]) -> None:
        """Drop the entries of partitions that no longer exist."""
        with self._database.begin() as connection:
            connection.execute(
                sa.delete(LEDGER).where(LEDGER.c.asset == asset, LEDGER.c.partition.in_(list(partitions)))
            )
