"""What a home holds, read without Dagster: tables as rows, status, quarantine. For the command line and the API."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from ai_assets.data_processing.batches import full_path
from resources.error_codes import remedy
from resources.platform import Platform

if TYPE_CHECKING:
    import pyarrow as pa


def table_names(platform: Platform) -> list[str]:
    """Names `read_table` answers to."""
    return sorted([*platform.lake.tables(), "alerts", "quarantine"])


def read_table(platform: Platform, name: str, limit: int | None = None) -> tuple[list[str], list[dict[str, Any]]]:
    """Column names and rows as plain values (times in ISO 8601, absent values None).

    Raises LookupError where there is no such table.
    """
    if name == "alerts":
        rows = platform.alerts.list_alerts()
        return list(rows[0]) if rows else ["dedup_key", "title"], rows[:limit]
    if name == "quarantine":
        rows = quarantined(platform)
        return list(rows[0]) if rows else ["table", "source", "reason"], rows[:limit]
    try:
        data = platform.lake.read(name)
    except ValueError as error:
        raise LookupError(str(error)) from None
    data = ordered(data)
    if limit is not None:
        data = data.slice(0, limit)
    rows = [{key: plain(value) for key, value in row.items()} for row in data.to_pylist()]
    return data.column_names, rows


def ordered(data: pa.Table) -> pa.Table:
    """Partitions in the order of their keys; rows within one as they were written."""
    for column in ("batch", "day"):
        if column in data.column_names:
            return data.sort_by(column)
    return data


def plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    return value


def quarantined(platform: Platform, table: str | None = None) -> list[dict[str, Any]]:
    """Rows of the quarantine with full paths."""
    return [
        {
            "table": row["table"],
            "source": full_path(row["source"], platform.home.root),
            "reason": row["reason"],
            "code": row["code"],
            "remedy": remedy(row["code"]),
            "first_seen": row["first_seen"],
            "attempts": row["attempts"],
        }
        for row in platform.quarantine.rows(table)
    ]


def home_status(platform: Platform) -> dict[str, Any]:
    """Where things lie and what each asset holds."""
    home = platform.home
    assets = []
    for name, entries in sorted(platform.lake.ledger.all().items()):
        held = [entry for entry in entries.values() if entry.rows is not None]
        sizes = [entry.bytes for entry in held if entry.bytes is not None]
        assets.append(
            {
                "asset": name,
                "partitions": sum(1 for key in entries if key) or None,
                "rows": sum(entry.rows or 0 for entry in held) if held else None,
                "bytes": sum(sizes) if sizes else None,
                "made": max(entry.written_at for entry in entries.values()),
            }
        )
    return {
        "home": str(home.root),
        "landing_audio": str(home.landing_audio),
        "landing_events": str(home.landing_events),
        "landing_scores": str(home.landing_scores),
        "dagster_home": str(home.dagster),
        "export": f"export DAGSTER_HOME={home.dagster} AI_ASSETS_HOME={home.root}",
        "daemon_running": daemon_running(platform),
        "quarantined": len(platform.quarantine.rows()),
        "assets": assets,
    }


def daemon_running(platform: Platform) -> bool:
    """Whether a Dagster daemon has shown a heartbeat within the last minute (read from its table, without Dagster)."""
    import sqlite3
    import time

    path = platform.home.dagster / "schedules" / "schedules.db"
    runs = platform.home.dagster / "history" / "runs.db"
    if not runs.exists() and not path.exists():
        return False
    try:
        with sqlite3.connect(f"file:{runs}?mode=ro", uri=True) as connection:
            rows = connection.execute("SELECT max(timestamp) FROM daemon_heartbeats").fetchone()
    except sqlite3.Error:
        return False
    if not rows or rows[0] is None:
        return False
    stamp = datetime.fromisoformat(str(rows[0])).timestamp() if not isinstance(rows[0], float) else rows[0]
    return time.time() - stamp < 60
