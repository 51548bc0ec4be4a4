"""Event files to plain records: JSON Lines, CSV and ListenBrainz exports, one line at a time.

A line either becomes a mapping in our documented schema or a reason why not; nothing is judged here beyond its form
(that is `events`), and nothing is stored.

Fields: `event_id listener track played_at seconds_played position skipped liked source device list_id` and
`recording_mbid`; `track` is a track id, a path or "artist - title".
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

FIELDS = (
    "event_id",
    "listener",
    "track",
    "played_at",
    "seconds_played",
    "position",
    "skipped",
    "liked",
    "source",
    "device",
    "list_id",
    "recording_mbid",
)

MAX_LINE_BYTES = 64 * 1024
EVENT_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json", ".csv", ".listens"})


@dataclass(frozen=True)
class Line:
    """One non-empty line: its number from 1, the offset behind it, and either its record or the reason of refusal."""

    number: int
    end: int
    digest: str
    record: Mapping[str, Any] | None
    reason: str = ""


def read_lines(data: bytes, *, name: str, start_line: int = 1, start: int = 0, final: bool = True) -> Iterator[Line]:
    """Parse the complete lines of `data` from byte `start`, which is the start of line `start_line`.

    A last line without a line break counts when the file is `final`, or when it is a whole JSON object already; else it
    may still be being written and is left for the next call. `name` decides CSV by its suffix.
    """
    if name.lower().endswith(".csv"):
        yield from _csv_lines(data if final else data[: data.rfind(b"\n") + 1])
        return
    position, number = start, start_line
    while position < len(data):
        end = data.find(b"\n", position)
        raw = data[position:] if end < 0 else data[position:end]
        stop = len(data) if end < 0 else end + 1
        if raw.strip():
            line = _json_line(raw, number, stop)
            if end < 0 and line.record is None and not final:
                return
            yield line
        position, number = stop, number + 1


def _json_line(raw: bytes, number: int, end: int) -> Line:
    digest = hashlib.sha256(raw).hexdigest()
    if len(raw) > MAX_LINE_BYTES:
        return Line(number, end, digest, None, f"line of {len(raw):,} bytes; at most {MAX_LINE_BYTES:,} are read")
    try:
        value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        return Line(number, end, digest, None, f"no JSON: {type(error).__name__}")
    if not isinstance(value, dict):
        return Line(number, end, digest, None, f"expected a JSON object, found a {type(value).__name__}")
    return Line(number, end, digest, from_listenbrainz(value) if "track_metadata" in value else _known(value))


def _known(value: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value[name] for name in FIELDS if value.get(name) is not None}


def from_listenbrainz(value: Mapping[str, Any]) -> dict[str, Any]:
    """One listen of a ListenBrainz export (https://listenbrainz.readthedocs.io, "JSON documentation") in our schema."""
    metadata = value.get("track_metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    info, mapping = (metadata.get(name) for name in ("additional_info", "mbid_mapping"))
    info = info if isinstance(info, dict) else {}
    mapping = mapping if isinstance(mapping, dict) else {}
    artist, title = metadata.get("artist_name"), metadata.get("track_name")
    record: dict[str, Any] = {
        "listener": value.get("user_name"),
        "track": f"{artist} - {title}" if artist and title else None,
        "played_at": value.get("listened_at"),
        "recording_mbid": info.get("recording_mbid") or mapping.get("recording_mbid"),
        "device": info.get("media_player") or info.get("listening_from"),
        "source": "listenbrainz",
    }
    duration = info.get("duration_ms")
    if isinstance(duration, int | float) and duration > 0:
        record["seconds_played"] = duration / 1000  # a listen is submitted for a track that was played
    return {name: item for name, item in record.items() if item is not None}


def _csv_lines(data: bytes) -> Iterator[Line]:
    """CSV with a header row; empty cells count as absent. Quoted cells may not contain line breaks."""
    header: list[str] | None = None
    position = 0
    for number, raw in enumerate(data.splitlines(keepends=True), start=1):
        position += len(raw)
        if not raw.strip():
            continue
        digest = hashlib.sha256(raw).hexdigest()
        try:
            cells = next(csv.reader(io.StringIO(raw.decode("utf-8-sig").strip("\r\n")), strict=True))
        except (UnicodeDecodeError, csv.Error, StopIteration) as error:
            yield Line(number, position, digest, None, f"no CSV row: {type(error).__name__}")
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            missing = {"listener", "track", "played_at"} - set(header)
            if missing:
                yield Line(number, position, digest, None, f"the header lacks {', '.join(sorted(missing))}")
                return
            continue
        if len(cells) != len(header):
            yield Line(number, position, digest, None, f"{len(cells)} cells under {len(header)} headings")
            continue
        yield Line(number, position, digest, _known(_typed(dict(zip(header, cells, strict=True)))))


def _typed(row: Mapping[str, str]) -> dict[str, Any]:
    return {name: (None if cell.strip() == "" else cell.strip()) for name, cell in row.items()}


def parse_time(value: Any) -> datetime:
    """A point in time in UTC: ISO 8601 (no zone means UTC) or seconds since 1970.

    Raises ValueError.
    """
    if isinstance(value, bool):
        raise ValueError("a truth value is no time")
    if isinstance(value, str) and value.strip().replace(".", "", 1).isdigit():
        value = float(value)
    if isinstance(value, int | float):
        try:
            return datetime.fromtimestamp(float(value), UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(str(error)) from None
    if not isinstance(value, str):
        raise ValueError(f"a {type(value).__name__} is no time")
    moment = datetime.fromisoformat(value.strip())
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
