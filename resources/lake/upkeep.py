"""Taking things out of tables: a listener's rows with all old versions, and what nobody will read again.

Writing new content belongs in `tables`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from resources.lake.fence import Attempt

if TYPE_CHECKING:
    from resources.lake.tables import Lake

LISTENER = "listener"
RETENTION = {
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 1 week",
}


def erase_listener(lake: Lake, pseudonym: str, attempt: Attempt) -> dict[str, int]:
    """See `Lake.forget`."""
    rows = {}
    for name in lake.tables():
        with lake.writing(alone=True):
            columns = _text_columns(_opened(lake, name))
            rows[name] = _erase(lake, name, columns, pseudonym, attempt) if columns else 0
            if rows[name] or LISTENER in columns:
                drop_history(lake, name)
    return {name: count for name, count in rows.items() if count}


def drop_history(lake: Lake, table: str) -> None:
    """Remove all old versions of a table, files of killed writers included. The caller holds the lake alone."""
    handle = _opened(lake, table)
    handle.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    # The log names removed files with their least and greatest values. It is dropped up to a checkpoint, which keeps
    # the transactions by which writers are fenced.
    handle.alter.set_table_properties(dict.fromkeys(RETENTION, "interval 0 seconds"))
    fresh = _opened(lake, table)
    fresh.create_checkpoint()
    fresh.cleanup_metadata()
    fresh.alter.set_table_properties(RETENTION)


def _opened(lake: Lake, table: str) -> Any:
    handle = lake.open(table)
    if handle is None:
        raise LookupError(f"table {table} does not exist")
    return handle


def _text_columns(handle: Any) -> list[str]:
    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return [item.name for item in pa.schema(handle.schema().to_arrow()) if any(test(item.type) for test in texts)]


def _erase(lake: Lake, table: str, columns: Sequence[str], pseudonym: str, attempt: Attempt) -> int:
    by = _opened(lake, table).metadata().partition_columns
    keys = _keys_holding(lake, table, by, columns, pseudonym)
    rows = 0
    for key in keys:
        data = _read(lake, table, by, key)
        held = _holding(data, columns, pseudonym)
        rows += int(held.sum())
        rewrite(lake, table, data.filter(pa.array(~held)), key)
    if keys or LISTENER in columns:
        lake.ledger.spoil(table, keys, attempt.token)
    return rows


def _keys_holding(lake: Lake, table: str, by: Sequence[str], columns: Sequence[str], pseudonym: str) -> list[str]:
    """Partitions ("" of an unpartitioned table) with a row in which the pseudonym stands."""
    import pyarrow.compute as pc

    held = pc.match_substring(pc.field(columns[0]), pseudonym)
    for name in columns[1:]:
        held = held | pc.match_substring(pc.field(name), pseudonym)
    found = lake.table(table).dataset().to_table(columns=[*by], filter=held)
    return sorted({str(key) for key in found[by[0]].to_pylist()}) if by else [""] * bool(found.num_rows)


def _holding(data: pa.Table, columns: Sequence[str], pseudonym: str) -> NDArray[np.bool_]:
    import pyarrow.compute as pc

    held = np.zeros(data.num_rows, bool)
    for name in columns:
        held |= pc.fill_null(pc.match_substring(data[name], pseudonym), False).to_numpy().astype(bool)
    return held


def _read(lake: Lake, table: str, by: Sequence[str], key: str) -> pa.Table:
    return lake.table(table, keys=[key], column=by[0]).arrow() if by else lake.read(table)


def rewrite(lake: Lake, table: str, data: pa.Table, key: str) -> None:
    """Put `data` in the place of a partition ("" of an unpartitioned table); the caller holds the lake alone.

    delta-rs' own DELETE and OPTIMIZE write text as Arrow views, which Arrow's dataset filters cannot compare.
    """
    from deltalake import write_deltalake

    handle = _opened(lake, table)
    by = handle.metadata().partition_columns
    write_deltalake(handle, data, mode="overwrite", predicate=f"{by[0]} = '{key}'" if by else None)


def scattered(lake: Lake, table: str, *, most: int = 8) -> list[str]:
    """Partitions ("" of an unpartitioned table) that lie in more than `most` files."""
    handle = _opened(lake, table)
    by = handle.metadata().partition_columns
    actions = pa.table(handle.get_add_actions(flatten=True))
    keys = [str(key) for key in actions[f"partition.{by[0]}"].to_pylist()] if by else [""] * actions.num_rows
    return sorted(key for key in set(keys) if keys.count(key) > most)


def compact(lake: Lake, table: str, keys: Sequence[str]) -> None:
    """Write each of the partitions `keys` as one file, its rows as they are."""
    by = _opened(lake, table).metadata().partition_columns
    for key in keys:
        with lake.writing(alone=True):
            rewrite(lake, table, _read(lake, table, by, key), key)


def removable(lake: Lake, table: str, *, apply: bool) -> int:
    """How many files no version of the last week needs, those of killed writers included; with `apply` they go."""
    gone = _opened(lake, table).vacuum(retention_hours=7 * 24, dry_run=not apply, full=True)
    if apply and gone:
        fresh = _opened(lake, table)
        fresh.create_checkpoint()
        fresh.cleanup_metadata()
    return len(gone)
