"""Tracks that other systems enter or withdraw, one row per track: facts, vector, and whether it is withdrawn.

The row is the truth and outlives every rebuild: the catalogue takes its rows and deletions from here, a serving
generation says up to which sequence it holds them, and answers lay the later ones over it. The index delta is written
in the same transaction, so that no index knows a track that is not here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from ai_assets.data_processing.track_matching import TrackMatcher
from resources.database import METADATA, Database, upsert
from resources.vector_index.delta import DeltaStore, unit_vector

if TYPE_CHECKING:
    import pandas as pd

EXTERNAL_TRACKS = sa.Table(
    "external_tracks",
    METADATA,
    sa.Column("track", sa.String(200), primary_key=True),
    sa.Column("external_id", sa.String(256), nullable=True, index=True),
    sa.Column("title", sa.String(1000), nullable=True),
    sa.Column("artist", sa.String(1000), nullable=True),
    sa.Column("album", sa.String(1000), nullable=True),
    sa.Column("genre", sa.String(200), nullable=True),
    sa.Column("duration_seconds", sa.Float, nullable=True),
    sa.Column("file_hash", sa.String(64), nullable=True),
    sa.Column("vector", sa.LargeBinary, nullable=True),
    sa.Column("embedding", sa.String(200), nullable=True),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False, index=True),
    sa.Column("changed_at", sa.String(40), nullable=False),
)

FACTS = ("title", "artist", "album", "genre", "duration_seconds")


@dataclass(frozen=True)
class ExternalTrack:
    """One row.

    Attributes:
        track: platform id; external_id: the caller's, where it is another.
        title, artist, album, genre, duration_seconds: None = not said: what the catalogue says holds.
        file_hash: of the audio that was entered, if any.
        vector: (dim,) unit vector and `embedding`, the version of the embedding it belongs to; None without.
        withdrawn: never shown again, until it is entered anew.
        sequence: grows with every change.
    """

    track: str
    external_id: str | None = None
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None
    duration_seconds: float | None = None
    file_hash: str | None = None
    vector: NDArray[np.float32] | None = None
    embedding: str | None = None
    withdrawn: bool = False
    sequence: int = 0

    @property
    def own(self) -> bool:
        """Whether it is a track by itself: it was entered with a title, not only withdrawn or given a vector."""
        return self.title is not None


def external_track_id(external_id: str) -> str:
    """The platform id of a track that is known by a caller's id alone."""
    return "x" + sha256(external_id.encode()).hexdigest()[:20]


class ExternalTracks:
    """The rows of one home."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, entry: ExternalTrack, store: DeltaStore | None, *, heard: NDArray[np.float32] | None = None) -> int:
        """Enter or replace a track, which is then no longer withdrawn; returns the sequence. Durable when it returns.

        Args:
            entry: what it does not say stays as it was.
            store: the delta of the content index; needed where the entry has a vector.
            heard: the vector of the track's own audio: what a track that was withdrawn is found by again.

        Raises:
            ValueError: a vector that the delta refuses.
        """
        said = {name: getattr(entry, name) for name in (*FACTS, "external_id", "file_hash")}
        row: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        if entry.vector is not None:
            unit = unit_vector(entry.vector, len(entry.vector), entry.track)
            row |= {"vector": unit.astype("<f4").tobytes(), "embedding": entry.embedding}
        with self._appending(store) as connection:
            if store is not None:
                vector = entry.vector if entry.vector is not None else self._held(connection, entry.track, store)
                vector = heard if vector is None else vector
                if vector is not None:
                    store.enter(connection, entry.track, vector)
            return self._write(connection, entry.track, {**row, "withdrawn": False})

    def withdraw(self, track: str, store: DeltaStore | None, *, external_id: str | None = None) -> int:
        """Withdraw a track for good; returns the sequence. Durable when it returns."""
        row = {"withdrawn": True} | ({} if external_id is None else {"external_id": external_id})
        with self._appending(store) as connection:
            if store is not None:
                store.enter(connection, track, None)
            return self._write(connection, track, row)

    def after(self, sequence: int = -1) -> list[ExternalTrack]:
        """Rows that changed after a sequence, in the order of their changes; by default all."""
        statement = sa.select(EXTERNAL_TRACKS).where(EXTERNAL_TRACKS.c.sequence > sequence)
        return [_track(row) for row in self._database.query(statement.order_by(EXTERNAL_TRACKS.c.sequence))]

    def ids(self) -> dict[str, str]:
        """Track by the caller's id, of all that were entered under one."""
        columns = EXTERNAL_TRACKS.c
        statement = sa.select(columns.external_id, columns.track).where(columns.external_id.is_not(None))
        return {row["external_id"]: row["track"] for row in self._database.query(statement.order_by(columns.sequence))}

    def teach(self, matcher: TrackMatcher) -> None:
        """Have a matcher find the tracks that are known from here alone, and all by the callers' ids."""
        for row in self.after():
            if row.own:
                matcher.add({"track": row.track, "artist": row.artist, "title": row.title}, None)
        for name, track in self.ids().items():
            matcher.keys.setdefault(name, track)

    def last(self) -> int:
        """The newest sequence, 0 for none."""
        newest = sa.select(sa.func.coalesce(sa.func.max(EXTERNAL_TRACKS.c.sequence), 0).label("newest"))
        return int(self._database.query(newest)[0]["newest"])

    def by_id(self, identifier: str) -> ExternalTrack | None:
        """The row of a platform's or a caller's id, withdrawn or not."""
        columns = EXTERNAL_TRACKS.c
        theirs = sa.or_(columns.track == identifier, columns.external_id == identifier)
        rows = self._database.query(sa.select(EXTERNAL_TRACKS).where(theirs).order_by(columns.sequence.desc()).limit(1))
        return _track(rows[0]) if rows else None

    @contextmanager
    def _appending(self, store: DeltaStore | None) -> Iterator[sa.Connection]:
        """One transaction for the row and the delta; sequences become visible in their order (see DeltaStore)."""
        alone = nullcontext() if self._database.is_sqlite else self._database.lock("external_tracks")
        with alone, store.appending() if store is not None else self._database.begin() as connection:
            yield connection

    def _held(self, connection: sa.Connection, track: str, store: DeltaStore) -> NDArray[np.float32] | None:
        """The vector of a withdrawn row, which must be found again."""
        columns = EXTERNAL_TRACKS.c
        statement = sa.select(columns.vector, columns.embedding).where(columns.track == track)
        row = connection.execute(statement).one_or_none()
        if row is None or row.vector is None or row.embedding != store.model_version:
            return None
        return np.frombuffer(row.vector, "<f4")

    def _write(self, connection: sa.Connection, track: str, row: Mapping[str, Any]) -> int:
        newest = sa.select(sa.func.coalesce(sa.func.max(EXTERNAL_TRACKS.c.sequence), 0))
        sequence = int(connection.execute(newest).scalar_one()) + 1
        values = {**row, "sequence": sequence, "changed_at": datetime.now(UTC).isoformat()}
        upsert(connection, EXTERNAL_TRACKS, [{"track": track, **values}], update=dict.fromkeys(values, "new"))
        return sequence


def with_external(catalogue: pd.DataFrame, rows: list[ExternalTrack]) -> pd.DataFrame:
    """The catalogue with the rows' tracks, facts and withdrawals; ordered by track."""
    import pandas as pd

    if not rows:
        return catalogue
    known = {track: place for place, track in enumerate(catalogue["track"])}
    frame = catalogue.copy()
    for row in rows:
        if row.track not in known:
            continue
        if row.withdrawn:
            frame.loc[known[row.track], "deleted"] = True
        for name in FACTS:
            if getattr(row, name) is not None and name in frame:
                frame.loc[known[row.track], name] = getattr(row, name)
    new = [
        {"track": row.track, "deleted": row.withdrawn, "has_audio": False, "files": 0, "artist": "Unknown artist"}
        | {name: value for name in FACTS if (value := getattr(row, name)) is not None}
        for row in rows
        if row.own and row.track not in known
    ]
    if not new:
        return frame
    added = pd.DataFrame(new)
    if not len(frame):
        return added.reindex(columns=frame.columns).sort_values("track", kind="stable", ignore_index=True)
    whole = pd.concat([frame.astype(object), added.astype(object)], ignore_index=True)[list(frame.columns)]
    types = {name: frame[name].dtype for name in frame if frame[name].dtype.kind != "O"}
    return whole.astype(types).sort_values("track", kind="stable", ignore_index=True)


def _track(row: Mapping[str, Any]) -> ExternalTrack:
    values = {name: row[name] for name in ExternalTrack.__dataclass_fields__ if name != "vector"}
    vector = None if row["vector"] is None else np.frombuffer(row["vector"], "<f4")
    return ExternalTrack(**values, vector=vector)
