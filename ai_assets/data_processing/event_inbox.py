"""Event files into `raw_events`, exactly once per place in a file, also across kill -9.

The lake's own transaction (file, offset) is the truth about what was appended; the platform database remembers where
each file was left and what a reading of it gave. Rejected lines are put into quarantine before the accepted ones of the
same block are appended, so a crash in between loses neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import sqlalchemy as sa

from ai_assets.data_processing import events
from ai_assets.data_processing.event_files import EVENT_SUFFIXES, Line, read_lines
from resources.database import METADATA, Database, upsert
from resources.lake.fence import Attempt
from resources.lake.ledger import Entry
from resources.lake.tables import Lake
from resources.pseudonyms import Pseudonyms
from resources.quarantine import Quarantine, Rejected
from resources.roots import open_any, open_confined, scan

if TYPE_CHECKING:
    import pandas as pd

LANDING = "landing/events"
BLOCK_BYTES = 16 * 2**20
RAW = "raw_events"

EVENT_FILES = sa.Table(
    "event_files",
    METADATA,
    sa.Column("source", sa.String(2048), primary_key=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("end", sa.BigInteger, nullable=False),
    sa.Column("prefix", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("reread", sa.Boolean, nullable=False),
)

EVENT_REPORTS = sa.Table(
    "event_reports",
    METADATA,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("source", sa.String(2048), primary_key=True),
    sa.Column("read", sa.BigInteger, nullable=False),
    sa.Column("accepted", sa.BigInteger, nullable=False),
    sa.Column("quarantined", sa.BigInteger, nullable=False),
    sa.Column("duplicates", sa.BigInteger, nullable=False),
)


@dataclass(frozen=True)
class Reading:
    """What one reading of one file gave; read = accepted + quarantined + duplicates."""

    source: str
    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicates: int = 0


@dataclass(frozen=True)
class _Position:
    """Where a file was left: generation (raised when its beginning changed), bytes consumed and their digest."""

    generation: int = 0
    end: int = 0
    prefix: str = hashlib.sha256(b"").hexdigest()


class EventInbox:
    """All event files of a home: those of the landing folder and those given by name."""

    def __init__(
        self, database: Database, lake: Lake, quarantine: Quarantine, pseudonyms: Pseudonyms, home: Path
    ) -> None:
        self._database = database
        self._lake = lake
        self._quarantine = quarantine
        self._pseudonyms = pseudonyms
        self._home = home

    def register(self, path: Path) -> str:
        """Remember a file given by name and ask for a full reading of it. Raises FileNotFoundError."""
        path = path.expanduser().resolve()
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file: expected JSON Lines, CSV or a ListenBrainz export")
        landing = (self._home / LANDING).resolve()
        source = f"{LANDING}/{path.relative_to(landing)}" if path.is_relative_to(landing) else str(path)
        with self._database.begin() as connection:
            row = {"source": source, "size": -1, "mtime_ns": -1, "reread": True, **vars(_Position())}
            upsert(connection, EVENT_FILES, [row], update={"reread": True})
        return source

    def pending(self) -> list[str]:
        """Sources with something to read: new, grown, changed, or asked for. Raises StorageFault for the folder."""
        return sorted(self._pending())

    def pending_digest(self) -> str:
        """A digest of what is pending, "" for nothing: equal as long as no file changes."""
        found = self._pending()
        return hashlib.sha256(repr(sorted(found.items())).encode()).hexdigest()[:16] if found else ""

    def _pending(self) -> dict[str, tuple[int, int]]:
        known = {row["source"]: row for row in self._database.query(sa.select(EVENT_FILES))}
        found = {
            f"{LANDING}/{item.path}": (item.size, item.mtime_ns)
            for item in scan(self._home / LANDING, suffixes=EVENT_SUFFIXES)
        }
        for source in known:
            path = Path(source)
            if path.is_absolute() and path.is_file():
                stat = path.stat()
                found[source] = (stat.st_size, stat.st_mtime_ns)
        seen = {source: (row["size"], row["mtime_ns"]) for source, row in known.items() if not row["reread"]}
        return {source: stat for source, stat in found.items() if seen.get(source) != stat}

    def ingest(self, run_id: str) -> list[Reading]:
        """Read everything that is pending into `raw_events`; returns a report per file."""
        readings = []
        for source in self.pending():
            with self._database.lock(f"event-file:{source}"):
                readings.append(self._read(source, run_id))
        return readings

    def record_days(self, attempt: Attempt) -> dict[str, int]:
        """Enter every day's number of raw rows into the ledger; the table only grows, so the number is its version.

        Read from the table itself, so a crash after an append is mended by the next reading.
        """
        counts = self._lake.partition_rows(RAW, "day")
        held = self._lake.ledger.entries(RAW)
        changed = [
            Entry(RAW, day, f"{rows:064x}", "", "1", attempt.token, attempt.run_id, "", rows=rows)
            for day, rows in counts.items()
            if day not in held or held[day].rows != rows
        ]
        self._lake.ledger.record(changed)
        return counts

    def reports(self, run_ids: list[str]) -> list[Reading]:
        """Reports of given runs."""
        rows = self._database.query(sa.select(EVENT_REPORTS).where(EVENT_REPORTS.c.run_id.in_(run_ids)))
        return [Reading(**{name: row[name] for name in Reading.__dataclass_fields__}) for row in rows]

    # -- one file ----------------------------------------------------------------------------------------------

    def _read(self, source: str, run_id: str) -> Reading:
        rows = self._database.query(sa.select(EVENT_FILES).where(EVENT_FILES.c.source == source))
        position = _Position(rows[0]["generation"], rows[0]["end"], rows[0]["prefix"]) if rows else _Position()
        with self._open(source) as file:
            stat = Path(f"/dev/fd/{file.fileno()}").stat()
            position = self._checked(source, position, file)
            # A file that has grown is read from where it was left; one that was given by name is reported whole.
            first = 0 if rows and rows[0]["reread"] else position.end
            total = Reading(source)
            start, digest = 0, hashlib.sha256()
            known_ids: dict[str, set[str]] = {}
            for lines, consumed, data in _blocks(file, source):
                unread = [line for line in lines if start + line.end > first]
                if unread:
                    total = self._block(source, position, unread, total, run_id, known_ids, start)
                start += consumed
                digest.update(data)
        row = {
            "source": source,
            "generation": position.generation,
            "end": start,
            "prefix": digest.hexdigest(),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "reread": False,
        }
        with self._database.begin() as connection:
            upsert(connection, EVENT_FILES, [row], update=dict.fromkeys(list(row)[1:], "new"))
            report = {"run_id": run_id, **vars(total)}
            upsert(connection, EVENT_REPORTS, [report], update=dict.fromkeys(list(vars(Reading(""))), "new"))
        return total

    def _open(self, source: str) -> BinaryIO:
        if source.startswith(f"{LANDING}/"):
            return open_confined(self._home / LANDING, source.removeprefix(f"{LANDING}/"))
        return open_any(Path(source))

    def _checked(self, source: str, position: _Position, file: BinaryIO) -> _Position:
        """The position to go on from: 0 of a new generation when the part already read has changed."""
        digest = hashlib.sha256()
        left = position.end
        while left > 0 and (data := file.read(min(left, BLOCK_BYTES))):
            digest.update(data)
            left -= len(data)
        file.seek(0)
        if left == 0 and digest.hexdigest() == position.prefix:
            appended = self._lake.appended(RAW, f"{source}#{position.generation}")
            return _Position(position.generation, max(position.end, appended), position.prefix)
        self._quarantine.accept_all(RAW, f"{source}:")
        return _Position(position.generation + 1)

    def _block(
        self,
        source: str,
        position: _Position,
        lines: list[Line],
        total: Reading,
        run_id: str,
        known_ids: dict[str, set[str]],
        start: int,
    ) -> Reading:
        accepted, rejected, duplicates = self._sort(source, position, lines, known_ids, start)
        self._quarantine.add(rejected, run_id)
        if accepted:
            self._append(source, position, accepted, start + lines[-1].end)
        return Reading(
            source,
            total.read + len(lines),
            total.accepted + len(accepted),
            total.quarantined + len(rejected),
            total.duplicates + duplicates,
        )

    def _sort(
        self, source: str, position: _Position, lines: list[Line], known_ids: dict[str, set[str]], start: int
    ) -> tuple[list[dict[str, Any]], list[Rejected], int]:
        now = datetime.now(UTC)
        pseudonym = lru_cache(maxsize=100_000)(self._pseudonyms.of)
        accepted, rejected, duplicates = [], [], 0
        for line in lines:
            place = events.Place(source, line.number)
            try:
                if line.record is None:
                    raise events.Refused("malformed_line", line.reason)
                row = events.check_event(line.record, place, now=now, pseudonym=pseudonym)
            except events.Refused as error:
                rejected.append(Rejected(RAW, f"{source}:{line.number}", str(error), error.code, line.digest))
                continue
            ids = known_ids.setdefault(row["day"], self._ids(row["day"]) if row["day"] not in known_ids else set())
            if start + line.end <= position.end or row["event_id"] in ids:
                duplicates += 1
            else:
                ids.add(row["event_id"])
                accepted.append(row)
        return accepted, rejected, duplicates

    def _ids(self, day: str) -> set[str]:
        try:
            held = self._lake.table(RAW, keys=[day], column="day").arrow(["event_id"])
        except LookupError:
            return set()
        return set(held["event_id"].to_pylist())

    def _append(self, source: str, position: _Position, rows: list[dict[str, Any]], end: int) -> None:
        from ai_assets.contract.validation import arrow_table
        from ai_assets.data_processing.schemas import RawEvents

        frame: pd.DataFrame = RawEvents.validate(events.raw_frame(rows), lazy=True)
        data = arrow_table(frame, RawEvents)
        self._lake.append(RAW, data, source=f"{source}#{position.generation}", offset=end, column="day")


def _blocks(file: BinaryIO, source: str) -> Iterator[tuple[list[Line], int, bytes]]:
    """Parsed lines, block by block, with the bytes they took. CSV is one block, for its header rules all rows."""
    if source.lower().endswith(".csv"):
        data = file.read()
        yield list(read_lines(data, name=source)), len(data), data
        return
    number, rest = 1, b""
    while True:
        data = file.read(BLOCK_BYTES)
        cut = len(rest + data) if not data else (rest + data).rfind(b"\n") + 1
        block, rest = (rest + data)[:cut], (rest + data)[cut:]
        if block:
            lines = list(read_lines(block, name=source, start_line=number))
            consumed = len(block)
            if not data and (not lines or lines[-1].end < len(block.rstrip())):
                consumed = block.rfind(b"\n") + 1  # a line that is still being written
            yield lines, consumed, block[:consumed]
            number += block.count(b"\n")
        if not data:
            return
