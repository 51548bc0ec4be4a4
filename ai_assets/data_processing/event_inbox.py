"""Event files into `raw_events`, exactly once per place in a file, also across kill -9.

The lake's own transaction (file, offset) is the truth about what was appended; the platform database remembers where
each file was left and what a reading of it gave. Rejected lines are put into quarantine before the accepted ones of the
same block are appended, so a crash in between loses neither.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
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
from resources.roots import PathRefused, StorageFault, open_any, open_confined, scan

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

LANDING = "landing/events"
SETTLE_SECONDS = 3.0
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

    def _pending(self) -> dict[str, tuple[int, int, bool]]:
        """Size, time and whether it stands still, by source."""
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
        wanted = {}
        for source, (size, mtime_ns) in found.items():
            row, still = known.get(source), _settled(mtime_ns)
            if row is None or row["reread"] or (row["size"], row["mtime_ns"]) != (size, mtime_ns):
                wanted[source] = (size, mtime_ns, still)
            elif row["end"] < size and still:
                wanted[source] = (size, mtime_ns, still)  # its last line was left, and nothing has followed
        return wanted

    def ingest(self, run_id: str) -> list[Reading]:
        """Read everything that is pending into `raw_events`; returns a report per file.

        Raises resources.roots.StorageFault for a file that the storage does not give, after all others were read.
        """
        readings, faults = [], []
        for source in self.pending():
            try:
                with self._database.lock(f"event-file:{source}"):
                    readings.append(self._read(source, run_id))
            except PathRefused as error:
                log.warning("event file left out: %s", error)  # gone, or no longer a file, since it was listed
            except StorageFault as error:
                faults.append(error)
        if faults:
            raise faults[0]
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
        known = _Position(rows[0]["generation"], rows[0]["end"], rows[0]["prefix"]) if rows else _Position()
        reread = bool(rows and rows[0]["reread"])
        total, good, bad = Reading(source), set[str](), set[str]()
        held = self._quarantine.sources(RAW, f"{source}:")
        with self._open(source) as file:
            stat = os.fstat(file.fileno())
            intact = _intact(file, known)
            # Reading it whole again (because its beginning changed, or it was asked for) is a new generation: its
            # offsets begin anew, and what is there already is known by its event ids.
            whole = reread or not intact
            first = 0 if whole else known.end
            generation = known.generation + int(whole and known.end > 0)
            start, digest = 0, hashlib.sha256()
            for lines, consumed, data in _blocks(file, source, final=reread or _settled(stat.st_mtime_ns)):
                unread = _behind(lines, first - start, data)
                if unread:
                    seen = (known.end if intact else start + len(data)) - start
                    block, rejected = self._block(source, generation, unread, run_id, start, seen)
                    total = _sum(total, block)
                    bad |= rejected
                    good |= {place for line in unread if (place := f"{source}:{line.number}") in held - rejected}
                start += consumed
                digest.update(data)
        self._quarantine.accept(RAW, sorted(held - bad if whole else good))
        row = {
            "source": source,
            "generation": generation,
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

    def _block(
        self, source: str, generation: int, lines: list[Line], run_id: str, start: int, seen: int
    ) -> tuple[Reading, set[str]]:
        """Judge and store the lines of one block; those that end by `seen` were reported by an earlier reading."""
        rows, rejected = self._judge(source, lines)
        self._quarantine.add(rejected, run_id)
        held = self._held([row["event_id"] for _, row in rows])
        fresh: list[dict[str, Any]] = []
        accepted, ids = 0, set(held)
        for line, row in rows:
            if row["event_id"] not in ids:
                ids.add(row["event_id"])
                fresh.append(row)
                accepted += 1
            elif line.end > seen and held.get(row["event_id"]) == (source, line.number):
                accepted += 1  # appended by a reading that died before it could be noted
        if fresh:
            self._append(source, generation, fresh, start + lines[-1].end)
        reading = Reading(source, len(lines), accepted, len(rejected), len(rows) - accepted)
        return reading, {item.source for item in rejected}

    def _judge(self, source: str, lines: list[Line]) -> tuple[list[tuple[Line, dict[str, Any]]], list[Rejected]]:
        now = datetime.now(UTC)
        pseudonym = lru_cache(maxsize=100_000)(self._pseudonyms.of)
        rows, rejected = [], []
        for line in lines:
            try:
                if line.record is None:
                    raise events.Refused("malformed_line", line.reason)
                place = events.Place(source, line.number)
                rows.append((line, events.check_event(line.record, place, now=now, pseudonym=pseudonym)))
            except events.Refused as error:
                rejected.append(Rejected(RAW, f"{source}:{line.number}", str(error), error.code, line.digest))
        return rows, rejected

    def _held(self, ids: list[str]) -> dict[str, tuple[str, int]]:
        """Those of `ids` that were ever appended, on whatever day, with their places."""
        import pyarrow.compute as pc

        table = self._lake.table(RAW)
        if not ids or not table.exists:
            return {}
        found = table.dataset().to_table(columns=["event_id", "file", "line"], filter=pc.field("event_id").isin(ids))
        places = zip(found["file"].to_pylist(), found["line"].to_pylist(), strict=True)
        return dict(zip(found["event_id"].to_pylist(), places, strict=True))

    def _append(self, source: str, generation: int, rows: list[dict[str, Any]], end: int) -> None:
        from ai_assets.contract.validation import arrow_table
        from ai_assets.data_processing.schemas import RawEvents

        frame: pd.DataFrame = RawEvents.validate(events.raw_frame(rows), lazy=True)
        data = arrow_table(frame, RawEvents)
        app = f"{source}#{generation}"
        if self._lake.append(RAW, data, source=app, offset=end, column="day"):
            return
        # The block was appended by a reading that died; only what was refused then and is right now can be missing.
        held = self._held(frame["event_id"].tolist())
        left = data.filter([name not in held for name in frame["event_id"]])
        if left.num_rows:
            self._lake.append(RAW, left, source=f"{app}@{left['event_id'][0]}", offset=end, column="day")


def _settled(mtime_ns: int) -> bool:
    """Whether a file has stood still for a while. A time in the future says nothing, and counts as settled."""
    return not 0 <= time.time() - mtime_ns / 1e9 < SETTLE_SECONDS


def _intact(file: BinaryIO, position: _Position) -> bool:
    """Whether the part already read is still there, byte by byte. Leaves the file at its start."""
    digest = hashlib.sha256()
    left = position.end
    while left > 0 and (data := file.read(min(left, BLOCK_BYTES))):
        digest.update(data)
        left -= len(data)
    file.seek(0)
    return left == 0 and digest.hexdigest() == position.prefix


def _behind(lines: list[Line], first: int, data: bytes) -> list[Line]:
    """The lines that end behind `first`; a line that was whole and has since got only its line break is not new."""
    unread = [line for line in lines if line.end > first]
    if unread and first > 0 and not data[first : unread[0].end].strip():
        return unread[1:]
    return unread


def _sum(one: Reading, other: Reading) -> Reading:
    return Reading(
        one.source,
        one.read + other.read,
        one.accepted + other.accepted,
        one.quarantined + other.quarantined,
        one.duplicates + other.duplicates,
    )


def _blocks(file: BinaryIO, source: str, *, final: bool) -> Iterator[tuple[list[Line], int, bytes]]:
    """Parsed lines, block by block, with the bytes they took. CSV is one block, for its header rules all rows.

    Without `final` a last line that may still be being written is neither parsed nor taken.
    """
    if source.lower().endswith(".csv"):
        data = file.read()
        data = data if final else data[: data.rfind(b"\n") + 1]
        yield list(read_lines(data, name=source)), len(data), data
        return
    number, rest = 1, b""
    while True:
        data = file.read(BLOCK_BYTES)
        cut = len(rest + data) if not data else (rest + data).rfind(b"\n") + 1
        block, rest = (rest + data)[:cut], (rest + data)[cut:]
        if block:
            lines = list(read_lines(block, name=source, start_line=number, final=final))
            consumed = len(block)
            if not data and not final and (not lines or lines[-1].end < len(block.rstrip())):
                consumed = block.rfind(b"\n") + 1
            yield lines, consumed, block[:consumed]
            number += block.count(b"\n")
        if not data:
            return
