"""What events come from: which files there are, where each was left, and that the event stream is read along.

Every line goes into `raw_events` exactly once per place in its file, also across kill -9 (`raw_store`); the platform
database remembers where each file was left and what a reading of it gave.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import sqlalchemy as sa

from ai_assets.data_processing.event_files import BLOCK_BYTES, EVENT_SUFFIXES, Line, read_blocks
from ai_assets.data_processing.event_formats import parse_mapping
from ai_assets.data_processing.raw_store import RAW, RawStore, Reading
from ai_assets.data_processing.stream_drain import STREAM, StreamDrain
from resources.database import METADATA, upsert
from resources.event_stream import StreamUnavailable
from resources.lake.fence import Attempt
from resources.lake.ledger import Entry
from resources.platform import Platform
from resources.roots import PathRefused, StorageFault, open_any, open_confined, scan

log = logging.getLogger(__name__)

LANDING = "landing/events"
SETTLE_SECONDS = 3.0

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


EVENT_MAPPINGS = sa.Table(
    "event_mappings",
    METADATA,
    sa.Column("source", sa.String(2048), primary_key=True),
    sa.Column("mapping", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class _Position:
    """Where a file was left: generation (raised when its beginning changed), bytes consumed and their digest."""

    generation: int = 0
    end: int = 0
    prefix: str = hashlib.sha256(b"").hexdigest()


class EventInbox:
    """All that events come from: files of the landing folder, files given by name, and the event stream."""

    def __init__(self, platform: Platform) -> None:
        self._database = platform.database
        self._lake = platform.lake
        self._quarantine = platform.quarantine
        self._home = platform.home.root
        self._pseudonym = lru_cache(maxsize=100_000)(platform.pseudonyms.of)
        self._store = RawStore(platform)
        self._drain = StreamDrain(platform, self._store)

    def register(self, path: Path, mapping: str | None = None) -> str:
        """Remember a file given by name, with the mapping of its columns, and ask for a full reading of it.

        Raises FileNotFoundError, and ValueError for a mapping that is none.
        """
        path = path.expanduser().resolve()
        if not path.is_file():
            raise FileNotFoundError(f"{path} is no file: expected JSON, CSV, Parquet or a ListenBrainz export")
        landing = (self._home / LANDING).resolve()
        source = f"{LANDING}/{path.relative_to(landing)}" if path.is_relative_to(landing) else str(path)
        with self._database.begin() as connection:
            row = {"source": source, "size": -1, "mtime_ns": -1, "reread": True, **vars(_Position())}
            upsert(connection, EVENT_FILES, [row], update={"reread": True})
            if mapping:
                parse_mapping(mapping)
                upsert(connection, EVENT_MAPPINGS, [{"source": source, "mapping": mapping}], update={"mapping": "new"})
        return source

    def mapping(self, source: str) -> dict[str, str] | None:
        """The mapping of columns that a file was given with."""
        rows = self._database.query(sa.select(EVENT_MAPPINGS).where(EVENT_MAPPINGS.c.source == source))
        return parse_mapping(rows[0]["mapping"]) if rows else None

    def pending(self) -> list[str]:
        """Sources with something to read: new, grown, changed, or asked for. Raises StorageFault for the folder."""
        return sorted(self._pending()) + ([STREAM] if self._drain.waiting() else [])

    def pending_digest(self) -> str:
        """A digest of what is pending, "" for nothing: equal as long as no file changes."""
        found = [*sorted(self._pending().items()), *self._drain.waiting()]
        return hashlib.sha256(repr(found).encode()).hexdigest()[:16] if found else ""

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
        """Read everything that is pending into `raw_events`; returns a report per source.

        Raises StorageFault for a file that the storage does not give, StreamUnavailable for a stream that does not
        answer, after all others were read.
        """
        readings: list[Reading] = []
        faults: list[Exception] = []
        try:
            readings += self._drain.drain(run_id)
        except StreamUnavailable as error:
            faults.append(error)
        for source in sorted(self._pending()):
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
        return self._store.reports(run_ids)

    # -- positions, for those who rewrite files (they hold the lock `event-file:SOURCE`) ------------------------------

    def consumed(self, source: str) -> int:
        """Bytes of a file that were read."""
        rows = self._database.query(sa.select(EVENT_FILES.c.end).where(EVENT_FILES.c.source == source))
        return int(rows[0]["end"]) if rows else 0

    def move(self, source: str, end: int, prefix: str, stat: os.stat_result) -> None:
        """Say that a file was rewritten and that what was read of it now ends at `end`: nothing is read again."""
        values = {"end": end, "prefix": prefix, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        with self._database.begin() as connection:
            again = {"generation": EVENT_FILES.c.generation + 1, **values}
            connection.execute(sa.update(EVENT_FILES).where(EVENT_FILES.c.source == source).values(again))

    def drop(self, source: str) -> None:
        """Forget a file that is gone for good."""
        with self._database.begin() as connection:
            connection.execute(sa.delete(EVENT_FILES).where(EVENT_FILES.c.source == source))

    # -- one file ----------------------------------------------------------------------------------------------

    def _read(self, source: str, run_id: str) -> Reading:
        rows = self._database.query(sa.select(EVENT_FILES).where(EVENT_FILES.c.source == source))
        known = _Position(rows[0]["generation"], rows[0]["end"], rows[0]["prefix"]) if rows else _Position()
        reread = bool(rows and rows[0]["reread"])
        total, good, bad = Reading(source), set[str](), set[str]()
        held = self._quarantine.sources(RAW, f"{source}:")
        with self.open_source(source) as file:
            stat = os.fstat(file.fileno())
            intact = _intact(file, known)
            # Reading it whole again (because its beginning changed, or it was asked for) is a new generation: its
            # offsets begin anew, and what is there already is known by its event ids.
            whole = reread or not intact
            first = 0 if whole else known.end
            generation = known.generation + int(whole and known.end > 0)
            start, digest = 0, hashlib.sha256()
            final, mapping = reread or _settled(stat.st_mtime_ns), self.mapping(source)
            for lines, consumed, data in read_blocks(file, source, mapping=mapping, final=final):
                unread = _behind(lines, first - start, data)
                if unread:
                    seen = known.end - start if intact else sys.maxsize
                    app, end = f"{source}#{generation}", start + unread[-1].end
                    block, rejected = self._store.store(
                        source, app, unread, run_id, end=end, seen=seen, pseudonym=self._pseudonym
                    )
                    total += block
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
            self._store.note(connection, run_id, total)
        return total

    def open_source(self, source: str) -> BinaryIO:
        """Open an event file, confined to the landing folder where it lies there. Raises PathRefused, StorageFault."""
        if source.startswith(f"{LANDING}/"):
            return open_confined(self._home / LANDING, source.removeprefix(f"{LANDING}/"))
        return open_any(Path(source))


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
