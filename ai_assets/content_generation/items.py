"""Generated items of a home by their id: what lies in the content tables, and what was made on demand.

Here belongs finding an item with its record and files, whoever made it. How items are made does not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ai_assets.content_generation.provenance import Provenance, from_mapping
from resources.database import METADATA, upsert
from resources.platform import Platform

TABLES: Mapping[str, str] = {
    "track-text": "track_descriptions",
    "playlist-text": "playlist_descriptions",
    "cover": "cover_art",
    "music": "generated_music",
}
COLUMNS = ("item", "subject", "modality", "lang", "text", "files", "sha256", "model", "provenance")

ON_DEMAND = sa.Table(
    "content_on_demand",
    METADATA,
    sa.Column("item", sa.String(200), primary_key=True),
    sa.Column("modality", sa.String(16), nullable=False),
    sa.Column("lang", sa.String(8)),
    sa.Column("text", sa.Text),
    sa.Column("files", sa.Text, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("provenance", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class StoredItem:
    """An item as it lies in the home; ``files`` maps a kind to a path, ``source`` is its table or "demand"."""

    item: str
    modality: str
    text: str | None
    files: Mapping[str, str]
    record: Provenance
    source: str


def keep(platform: Platform, items: Sequence[tuple[Provenance, str | None, Mapping[str, str]]]) -> None:
    """Remember items that were made on demand (record, text, files), so that they can be reviewed and made again."""
    rows = [
        {
            "item": record.item,
            "modality": record.modality,
            "lang": record.lang,
            "text": text,
            "files": json.dumps(dict(files), sort_keys=True),
            "sha256": record.content_sha256,
            "model": record.model_version,
            "provenance": json.dumps(record.to_mapping(), ensure_ascii=False, sort_keys=True, default=str),
        }
        for record, text, files in items
    ]
    with platform.database.begin() as connection:
        upsert(
            connection,
            ON_DEMAND,
            rows,
            update={column.name: "new" for column in ON_DEMAND.columns if column.name != "item"},
        )


def find(platform: Platform, item: str) -> StoredItem:
    """The item of this id. Raises LookupError."""
    for row in platform.database.query(sa.select(ON_DEMAND).where(ON_DEMAND.c.item == item)):
        return _stored(platform, row, "demand")
    name = TABLES.get(item.partition(":")[0])
    for source, row in rows(platform, [name] if name else []):
        if row["item"] == item:
            return _stored(platform, row, source)
    raise LookupError(f"there is no generated item {item!r}; `ai-assets review list` shows them")


def rows(platform: Platform, tables: Sequence[str] = tuple(TABLES.values())) -> Iterator[tuple[str, dict[str, Any]]]:
    """(table, row) of every item in content tables that exist."""
    for name in tables:
        table = platform.lake.table(name)
        if table.exists:
            yield from ((name, row) for row in table.arrow(list(COLUMNS)).to_pylist())


def listed(platform: Platform) -> list[tuple[str, dict[str, Any]]]:
    """(source, row) of every item of the home, those made on demand last."""
    demanded = [("demand", row) for row in platform.database.query(sa.select(ON_DEMAND).order_by(ON_DEMAND.c.item))]
    return [*rows(platform), *demanded]


def _stored(platform: Platform, row: Mapping[str, Any], source: str) -> StoredItem:
    named = json.loads(row["files"])
    files = named if source == "demand" else {kind: str(platform.blobs.path(name)) for kind, name in named.items()}
    record = from_mapping(json.loads(row["provenance"]))
    return StoredItem(row["item"], row["modality"], row["text"], files, record, source)
