"""Lines of any source - event files, the event stream - into `raw_events`, each event exactly once.

The lake's own transaction (source, offset) is the truth about what was appended, so a reading that is killed anywhere
can simply be done again. Rejected lines are put into quarantine before the accepted ones of the same block are
appended, so a crash in between loses neither. Where lines come from is the business of the inboxes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ai_assets.data_processing import events
from ai_assets.data_processing.event_files import Line
from resources.database import METADATA, upsert
from resources.erasures import ErasedListeners
from resources.lake.tables import Lake
from resources.platform import Platform
from resources.quarantine import Rejected

if TYPE_CHECKING:
    import pandas as pd

RAW = "raw_events"
Judged = tuple[Line, dict[str, Any]]

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
    """What one reading of one source gave; read = accepted + quarantined + duplicates."""

    source: str
    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicates: int = 0

    def __add__(self, other: Reading) -> Reading:
        return Reading(
            self.source,
            self.read + other.read,
            self.accepted + other.accepted,
            self.quarantined + other.quarantined,
            self.duplicates + other.duplicates,
        )


class KnownIds:
    """64-bit hashes of all event ids in the lake: says quickly which ids cannot be there yet.

    Read once and kept up with the own appends; read again when another process has written meanwhile.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._version = -2
        self._sorted: NDArray[np.uint64] = np.empty(0, np.uint64)
        self._fresh: list[NDArray[np.uint64]] = []

    def perhaps(self, ids: list[str]) -> list[str]:
        """Those of `ids` that may be in the lake; all others are certainly not."""
        self._refresh()
        if not ids:
            return []
        hashes = _hashes(ids)
        found = np.zeros(len(ids), bool)
        for known in (self._sorted, *self._fresh):
            if len(known):
                places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
                found |= known[places] == hashes
        return [ids[index] for index in np.flatnonzero(found)]

    def appended(self, ids: list[str]) -> None:
        """Say that `ids` were appended by this process, just now."""
        self._fresh.append(np.sort(_hashes(ids)))
        if len(self._fresh) > 64:
            self._sorted, self._fresh = np.sort(np.concatenate([self._sorted, *self._fresh])), []
        self._version += 1

    def _refresh(self) -> None:
        handle = self._lake.open(RAW)
        version = -1 if handle is None else handle.version()
        if version == self._version:
            return
        parts = [np.empty(0, np.uint64)]
        if handle is not None:
            for batch in self._lake.table(RAW).dataset().to_batches(columns=["event_id"]):
                parts.append(_hashes(batch["event_id"].to_numpy(zero_copy_only=False)))
        self._sorted, self._fresh, self._version = np.sort(np.concatenate(parts)), [], version


def _hashes(ids: Any) -> NDArray[np.uint64]:
    from pandas.util import hash_array

    return np.asarray(hash_array(np.asarray(ids, dtype=object), categorize=False))


class RawStore:
    """Judges lines and appends what is good."""

    def __init__(self, platform: Platform) -> None:
        self._database = platform.database
        self._lake = platform.lake
        self._quarantine = platform.quarantine
        self._known = KnownIds(platform.lake)

    def store(
        self,
        source: str,
        app: str,
        lines: Sequence[Line],
        run_id: str,
        *,
        end: int,
        seen: int,
        pseudonym: Callable[[str], str],
    ) -> tuple[Reading, set[str]]:
        """Judge and store the lines of one block of `source`.

        Args:
            app: under which the lake remembers the offset; changes when a source begins anew.
            end: offset behind the block. Lines that end by `seen` were reported by an earlier reading.
            pseudonym: of a line's listener.

        Returns:
            What became of the lines, and the places of the rejected ones.
        """
        rows, rejected = self._judge(source, lines, pseudonym)
        rows, erased = self._without_erased(source, rows)
        rejected += erased
        self._quarantine.add(rejected, run_id)
        with self._database.lock(f"{RAW}:append"):  # between looking for an id and appending it nobody else may write
            rows, erased = self._without_erased(source, rows)  # an erasure may have come in between
            self._quarantine.add(erased, run_id)
            rejected += erased
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
                self._append(app, fresh, end)
        reading = Reading(source, len(lines), accepted, len(rejected), len(rows) - accepted)
        return reading, {item.source for item in rejected}

    def report(self, run_id: str, reading: Reading) -> None:
        """Note what a run read from a source."""
        with self._database.begin() as connection:
            self.note(connection, run_id, reading)

    @staticmethod
    def note(connection: sa.Connection, run_id: str, reading: Reading) -> None:
        """The same within a transaction."""
        row = {"run_id": run_id, **vars(reading)}
        upsert(connection, EVENT_REPORTS, [row], update=dict.fromkeys(list(vars(Reading(""))), "new"))

    def reports(self, run_ids: list[str]) -> list[Reading]:
        """Reports of given runs."""
        rows = self._database.query(sa.select(EVENT_REPORTS).where(EVENT_REPORTS.c.run_id.in_(run_ids)))
        return [Reading(**{name: row[name] for name in Reading.__dataclass_fields__}) for row in rows]

    @staticmethod
    def _judge(
        source: str, lines: Sequence[Line], pseudonym: Callable[[str], str]
    ) -> tuple[list[Judged], list[Rejected]]:
        now = datetime.now(UTC)
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

    def _without_erased(self, source: str, rows: list[Judged]) -> tuple[list[Judged], list[Rejected]]:
        """Rows whose listener is not on the erasure list, and the others as rejected: nothing brings them back."""
        listed = ErasedListeners(self._database)
        kept, erased = [], []
        for line, row in rows:
            if listed.covers(row["listener"], row["played_at"]):
                erased.append(Rejected(RAW, f"{source}:{line.number}", "its listener was erased", "erased_listener"))
            else:
                kept.append((line, row))
        return kept, erased

    def _held(self, ids: list[str]) -> dict[str, tuple[str, int]]:
        """Those of `ids` that were ever appended, on whatever day, with their places."""
        import pyarrow.compute as pc

        likely = self._known.perhaps(ids)
        if not likely:
            return {}
        dataset = self._lake.table(RAW).dataset()
        found = dataset.to_table(columns=["event_id", "file", "line"], filter=pc.field("event_id").isin(likely))
        places = zip(found["file"].to_pylist(), found["line"].to_pylist(), strict=True)
        return dict(zip(found["event_id"].to_pylist(), places, strict=True))

    def _append(self, app: str, rows: list[dict[str, Any]], end: int) -> None:
        from ai_assets.contract.validation import arrow_table
        from ai_assets.data_processing.schemas import RawEvents

        frame: pd.DataFrame = RawEvents.validate(events.raw_frame(rows), lazy=True)
        data = arrow_table(frame, RawEvents)
        ids = frame["event_id"].tolist()
        if not self._lake.append(RAW, data, source=app, offset=end, column="day"):
            # This offset was reached by a reading that died, or by a stream that has begun anew. The events of this
            # block that are not there all the same go in under a name of their own.
            self._lake.append(RAW, data, source=f"{app}@{uuid.uuid4().hex}", offset=end, column="day")
        self._known.appended(ids)
