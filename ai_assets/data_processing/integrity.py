"""Rules between tables: what one table names must be in the other, and volumes must fit each other. Plain functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.lake.ledger import Entry
from resources.lake.tables import Lake, reading

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["kind", "subject", "related", "value", "bound", "passed", "example"]
LOOK_BACK_DAYS = 14
LOW, HIGH = 0.2, 5.0
LEAST_SHARE = 0.9


@dataclass(frozen=True)
class Reference:
    """Every value of a column must stand in a column of another table."""

    table: str
    column: str
    parent: str
    parent_column: str


REFERENCES = (
    Reference("listening_events", "track", "tracks", "track"),
    Reference("interactions", "track", "tracks", "track"),
    Reference("interactions", "listener", "listeners", "listener"),
    Reference("listeners", "listener", "interactions", "listener"),
    Reference("track_identities", "track", "tracks", "track"),
    Reference("track_identities", "audio_hash", "audio_quality", "audio_hash"),
    Reference("audio_features", "audio_hash", "audio_quality", "audio_hash"),
    Reference("audio_embeddings", "audio_hash", "audio_quality", "audio_hash"),
    Reference("recommendations", "track", "tracks", "track"),
    Reference("recommendations", "listener", "listeners", "listener"),
    Reference("playlists", "track", "tracks", "track"),
)

SHARES = (
    ("recommendations", "listener", "listeners", "listener"),
    ("tracks", "track", "track_identities", "track"),
)
"""End products that must cover at least nine tenths of what they are made for."""


def reference_rows(lake: Lake) -> list[dict[str, Any]]:
    """One row per reference of which both tables exist."""
    rows = []
    for rule in REFERENCES:
        child, parent = lake.table(rule.table), lake.table(rule.parent)
        if not child.exists or not parent.exists:
            continue
        with reading(child) as connection:
            connection.register("parent", parent.dataset())
            count, example = connection.execute(
                f"SELECT count(*), CAST(min({rule.column}) AS VARCHAR) FROM {rule.table} "
                f"WHERE {rule.column} IS NOT NULL AND {rule.column} NOT IN "
                f"(SELECT {rule.parent_column} FROM parent WHERE {rule.parent_column} IS NOT NULL)"
            ).fetchone()
        subject, related = f"{rule.table}.{rule.column}", f"{rule.parent}.{rule.parent_column}"
        shown = None if rule.column == "listener" else example  # no pseudonym in what a page may show
        rows.append(_row("reference", subject, related, float(count), "0 rows without one", count == 0, shown))
    return rows


def volume_rows(lake: Lake, *, today: str) -> list[dict[str, Any]]:
    """Volumes of end products, and of the last whole day of events beside the days before it."""
    rows = []
    for table, column, parent, parent_column in SHARES:
        product, wanted = lake.table(table), lake.table(parent)
        if not product.exists or not wanted.exists:
            continue
        with reading(product) as connection:
            connection.register("parent", wanted.dataset())
            have = connection.execute(f"SELECT count(DISTINCT {column}) FROM {table}").fetchone()[0]
            need = connection.execute(f"SELECT count(DISTINCT {parent_column}) FROM parent").fetchone()[0]
        if need and have:  # an empty product says itself why ("no model yet")
            share = have / need
            bound = f"at least {LEAST_SHARE}"
            rows.append(_row("volume", table, parent, share, bound, share >= LEAST_SHARE, None))
    ratio = day_ratio(lake.ledger.entries("listening_events"), today=today)
    if ratio is not None:
        day, value = ratio
        bound = f"{LOW} to {HIGH}"
        rows.append(_row("volume", "listening_events", "days before", value, bound, LOW <= value <= HIGH, day))
    return rows


def day_ratio(entries: Mapping[str, Entry], *, today: str) -> tuple[str, float] | None:
    """The last whole day and its events beside the median of up to 14 days before; None with fewer than three."""
    days = sorted(day for day, entry in entries.items() if day < today and entry.rows)
    if len(days) < 4:
        return None
    last, before = days[-1], days[-1 - LOOK_BACK_DAYS : -1]
    return last, float((entries[last].rows or 0) / np.median([entries[day].rows or 0 for day in before]))


def _row(
    kind: str, subject: str, related: str, value: float, bound: str, passed: bool, example: str | None
) -> dict[str, Any]:
    return dict(zip(COLUMNS, (kind, subject, related, value, bound, bool(passed), example), strict=True))


def quality_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table."""
    import pandas as pd

    return pd.DataFrame(rows, columns=COLUMNS)
