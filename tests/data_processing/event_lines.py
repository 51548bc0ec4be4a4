"""Event lines and files for the tests."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from resources.platform import Platform


def event(event_id: str, *, day: int = 1, **changes: Any) -> str:
    """One JSON line."""
    given = {
        "event_id": event_id,
        "listener": "anna",
        "track": "Low - Sunflower",
        "played_at": f"2026-05-{day:02}T10:00:00Z",
    }
    return json.dumps({**given, **changes}, ensure_ascii=False)


def old(path: Path) -> None:
    """Let a file have stood still for a minute."""
    stamp = path.stat().st_mtime_ns - 60 * 10**9
    os.utime(path, ns=(stamp, stamp))


def write(platform: Platform, name: str, lines: list[str], *, end: str = "\n", settled: bool = True) -> Path:
    path = platform.home.landing_events / name
    path.write_text("\n".join(lines) + end)
    if settled:
        old(path)
    return path


def raw_ids(platform: Platform) -> list[str]:
    table = platform.lake.table("raw_events")
    return sorted(table.arrow()["event_id"].to_pylist()) if table.exists else []


def lines_of(platform: Platform) -> dict[str, int]:
    frame = platform.lake.table("raw_events").frame()
    return dict(zip(frame["event_id"], frame["line"], strict=True))
