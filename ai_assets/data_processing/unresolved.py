"""Days with events whose track is not known yet, so that they are rebuilt once it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ai_assets.data_processing.track_matching import TrackMatcher
from resources.database import METADATA, Database, upsert

if TYPE_CHECKING:
    import pandas as pd

UNRESOLVED = sa.Table(
    "unresolved_tracks",
    METADATA,
    sa.Column("day", sa.String(10), primary_key=True),
    sa.Column("reference", sa.String(2048), primary_key=True),
    sa.Column("mbid", sa.String(256), primary_key=True),
)


class Unresolved:
    """References that no track of the catalogue answers, by day."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, days: Iterable[str], rows: pd.DataFrame) -> None:
        """Replace what is remembered of `days` by these raw rows (`day track_reference recording_mbid`)."""
        days = list(days)
        distinct = rows[["day", "track_reference", "recording_mbid"]].drop_duplicates().itertuples(index=False)
        entries = [
            {"day": day, "reference": reference[:2048], "mbid": mbid if isinstance(mbid, str) else ""}
            for day, reference, mbid in distinct
        ]
        with self._database.begin() as connection:
            connection.execute(sa.delete(UNRESOLVED).where(UNRESOLVED.c.day.in_(days)))
            upsert(connection, UNRESOLVED, list({tuple(e.values()): e for e in entries}.values()), update={})

    def any(self) -> bool:
        return bool(self._database.query(sa.select(UNRESOLVED.c.day).limit(1)))

    def days_to_retry(self, matcher: TrackMatcher) -> list[str]:
        """Days in which a reference would now find its track."""
        rows = self._database.query(sa.select(UNRESOLVED))
        return sorted({row["day"] for row in rows if matcher.find(row["reference"], row["mbid"] or None)})
