"""A look at any table of events before it is taken: what its columns mean, which rows would be refused, and why.

Reads the file as `run --events` would and stores nothing. Names and texts of rows never leave it, only places, counts
and reasons.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from ai_assets.data_processing import event_formats as formats
from ai_assets.data_processing import events
from ai_assets.data_processing.event_files import TABLE_SUFFIXES, UTF_16, Line, read_blocks, table_text
from resources.roots import open_any

EXAMPLES = 3
HEAD_BYTES = 1 << 20


@dataclass
class Inspection:
    """What was found; accepted + refused + duplicates = rows."""

    file: str
    format: str | None = None
    columns: list[str] = field(default_factory=list)
    mapping: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    rows: int = 0
    accepted: int = 0
    refused: int = 0
    duplicates: int = 0
    reasons: dict[str, dict[str, Any]] = field(default_factory=dict)
    listeners: int = 0
    tracks: int = 0
    first: str | None = None
    last: str | None = None
    command: str | None = None
    note: str = ""


def inspect_events(path: Path, mapping: str | None = None) -> Inspection:
    """Read a file of events without storing anything.

    Args:
        mapping: as `--mapping` takes it; what it leaves open comes from a known format or a proposal.

    Raises:
        ValueError: a mapping that is none.
        resources.roots.PathRefused, OSError: the file cannot be read.
    """
    found = Inspection(str(path))
    with open_any(path) as file:
        head = file.read(HEAD_BYTES)
        found.note = _note(head)
        found.columns = [] if found.note else _columns(path, head)
        known = formats.format_of(found.columns)
        found.format = known.name if known is not None else None
        given = formats.parse_mapping(mapping) if mapping else None
        if known is None:
            proposed = formats.propose_mapping(found.columns)
            given = (
                proposed
                if given is None
                else {name: proposed[name] for name in formats.REQUIRED if name in proposed} | given
            )
        found.mapping = {**(known.mapping if known is not None else {}), **(given or {})}
        found.missing = [name for name in formats.REQUIRED if name not in found.mapping]
        if not found.columns or (given is not None and not given) or found.missing:
            return found
        file.seek(0)
        _judge(found, path, file, given)
    extra = f" --mapping {shlex.quote(formats.mapping_text(given))}" if given else ""
    found.command = f"ai-assets run --events {shlex.quote(str(path))}{extra}"
    return found


def _judge(found: Inspection, path: Path, file: Any, mapping: Mapping[str, str] | None) -> None:
    now = datetime.now(UTC)
    mask = lru_cache(maxsize=100_000)(lambda raw: "l" + hashlib.sha256(raw.encode()).hexdigest()[:24])
    ids, listeners, tracks = set[int](), set[int](), set[int]()
    times: list[datetime] = []
    for lines, _, _ in read_blocks(file, str(path), mapping=mapping, final=True):
        for line in lines:
            found.rows += 1
            try:
                row = _checked(line, str(path), now, mask)
            except events.Refused as error:
                found.refused += 1
                kind = found.reasons.setdefault(error.code, {"count": 0, "examples": []})
                kind["count"] += 1
                if len(kind["examples"]) < EXAMPLES:
                    kind["examples"].append({"source": f"{path}:{line.number}", "reason": str(error)})
                continue
            if hash(row["event_id"]) in ids:
                found.duplicates += 1
                continue
            ids.add(hash(row["event_id"]))
            found.accepted += 1
            listeners.add(hash(row["listener"]))
            tracks.add(hash(row["track_reference"]))
            times = [min([*times, row["played_at"]]), max([*times, row["played_at"]])]
    found.listeners, found.tracks = len(listeners), len(tracks)
    if times:
        found.first, found.last = times[0].isoformat(), times[-1].isoformat()


def _checked(line: Line, name: str, now: datetime, mask: Any) -> dict[str, Any]:
    if line.record is None:
        raise events.Refused("malformed_line", line.reason)
    return events.check_event(line.record, events.Place(name, line.number), now=now, pseudonym=mask)


def _note(head: bytes) -> str:
    """Why a file has no columns at all; "" if it may have some."""
    if head.startswith(UTF_16):
        return "UTF-16 text; save it as UTF-8"
    return "" if head.strip() else "the file is empty"


def _columns(path: Path, head: bytes) -> list[str]:
    """Column names of a table, or of the first object of a JSON file."""
    if head.startswith(b"PAR1"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return [str(name) for name in pq.read_schema(path).names]
        except (pa.ArrowException, OSError):
            return []
    table = path.suffix.lower() in TABLE_SUFFIXES
    text = "\n".join(map(table_text, head.splitlines()[:2])) if table else head.decode("utf-8-sig", errors="replace")
    first = next((line for line in text.splitlines() if line.strip()), "")
    if table:
        delimiter, given = formats.first_line(first)
        return given or [cell.strip().strip('"') for cell in first.split(delimiter)]
    start = text.find("{")
    for line in [text[start:], *text.splitlines()]:
        try:
            value, _ = json.JSONDecoder().raw_decode(line.lstrip())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return list(value)
    return []
