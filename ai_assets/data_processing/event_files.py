"""Event files to plain records: JSON Lines, JSON arrays, tables with a header (CSV, TSV) and Parquet.

A line either becomes a mapping in our documented schema or a reason why not; nothing is judged here beyond its form
(that is `events`), and nothing is stored. Which columns mean what is `event_formats`.

A place is counted from 1: the line of a text file, the item of a JSON array, the row of a Parquet file.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any, BinaryIO

from ai_assets.data_processing import event_formats as formats

MAX_LINE_BYTES = 64 * 1024
MAX_ARRAY_BYTES = 512 * 2**20
BLOCK_BYTES = 16 * 2**20
BATCH_ROWS = 50_000
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".dat"})
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
DAY_FIRST = re.compile(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})(?!\d)", re.ASCII)
EVENT_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json", ".listens", ".parquet"}) | TABLE_SUFFIXES


@dataclass(frozen=True)
class Line:
    """One non-empty line: its number from 1, the offset behind it, and either its record or the reason of refusal."""

    number: int
    end: int
    digest: str
    record: Mapping[str, Any] | None
    reason: str = ""


Block = tuple[list[Line], int, bytes]
"""Lines (their offsets counted from the block's start), the bytes they took, and those bytes."""


class JsonLines:
    """JSON objects, one a line; every line is known by its own names."""

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        self._mapped = formats.with_mapping(mapping) if mapping else None

    def lines(self, data: bytes, *, start_line: int = 1, final: bool = True) -> Iterator[Line]:
        """The complete lines of `data`.

        A last line without a line break counts when the file is `final`, or when it is a whole JSON object already;
        else it may still be being written and is left for the next call.
        """
        for raw, number, stop, whole in _raw_lines(data, start_line):
            line = self._line(raw, number, stop)
            if whole or final or line.record is not None:
                yield line

    def _line(self, raw: bytes, number: int, end: int) -> Line:
        digest = hashlib.sha256(raw).hexdigest()
        if len(raw) > MAX_LINE_BYTES:
            return Line(number, end, digest, None, f"line of {len(raw):,} bytes; at most {MAX_LINE_BYTES:,} are read")
        try:
            value = json.loads(raw.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (UnicodeDecodeError, ValueError, RecursionError) as error:
            return Line(number, end, digest, None, f"no JSON: {type(error).__name__}")
        return self.object(value, number, end, digest)

    def object(self, value: Any, number: int, end: int, digest: str = "") -> Line:
        """One JSON value as a line."""
        if not isinstance(value, dict):
            return Line(number, end, digest, None, f"expected a JSON object, found a {type(value).__name__}")
        if self._mapped is not None:
            return Line(number, end, digest, present(self._mapped(value)))
        if "track_metadata" in value:
            return Line(number, end, digest, present(formats.from_listenbrainz(value)))
        known = None if "played_at" in value else formats.format_of(tuple(value))
        return Line(number, end, digest, formats.own(value) if known is None else present(known.convert(value)))


class Delimited:
    """A table with a header row, or one of the known exports without. Quoted cells may not contain line breaks."""

    def __init__(self, mapping: Mapping[str, str] | None = None) -> None:
        self._mapping = mapping
        self._delimiter = ","
        self.columns: list[str] | None = None
        self._convert: formats.Convert | None = None

    def lines(self, data: bytes, *, start_line: int = 1, final: bool = True) -> Iterator[Line]:
        """Rows of `data`, which follows what earlier calls were given; empty cells count as absent."""
        for raw, number, stop, whole in _raw_lines(data, start_line):
            if not (whole or final):
                return
            if self.columns is not None and self._convert is None:
                return  # the header was refused, and all rows with it
            line = self._line(raw, number, stop)
            if line is not None:
                yield line

    def _line(self, raw: bytes, number: int, end: int) -> Line | None:
        digest = hashlib.sha256(raw).hexdigest()
        if len(raw) > MAX_LINE_BYTES:
            return Line(number, end, digest, None, f"line of {len(raw):,} bytes; at most {MAX_LINE_BYTES:,} are read")
        if raw.startswith(UTF_16):
            return Line(number, end, digest, None, "UTF-16 text; save the table as UTF-8")
        try:
            text = table_text(raw).strip("\r\n")
            if self.columns is None and not self._begin(text):
                reason = self._header_fault()
                return Line(number, end, digest, None, reason) if reason else None
            cells = self._cells(text)
        except (csv.Error, StopIteration) as error:
            return Line(number, end, digest, None, f"no CSV row: {type(error).__name__}")
        assert self.columns is not None and self._convert is not None
        if len(cells) != len(self.columns):
            return Line(number, end, digest, None, f"{len(cells)} cells under {len(self.columns)} headings")
        row = {name: cell.strip() or None for name, cell in zip(self.columns, cells, strict=True)}
        return Line(number, end, digest, present(self._convert(row)))

    def _begin(self, text: str) -> bool:
        """Learn delimiter and columns from the first line; whether that line is a row already."""
        self._delimiter, given = formats.first_line(text)
        self.columns = given or [cell.strip() for cell in self._cells(text)]
        known = formats.format_of(self.columns)
        if self._mapping:
            lacking = formats.mapping_columns(self._mapping) - set(self.columns)
            self._convert = None if lacking else formats.with_mapping(self._mapping, known)
        elif known is not None:
            self._convert = known.convert
        return given is not None and self._convert is not None

    def _header_fault(self) -> str:
        if self._convert is not None:
            return ""
        wanted = formats.mapping_columns(self._mapping) if self._mapping else set(formats.REQUIRED)
        missing = ", ".join(sorted(wanted - set(self.columns or ())))
        return f"the header lacks {missing}; `ai-assets inspect FILE` proposes a mapping"

    def _cells(self, text: str) -> list[str]:
        if len(self._delimiter) > 1:
            return text.split(self._delimiter)
        return next(csv.reader(io.StringIO(text), delimiter=self._delimiter, strict=True))


def table_text(raw: bytes) -> str:
    """A line of a table: UTF-8, or else Windows-1252 (of which Latin-1 is a part), in which older programs export."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.removeprefix(codecs.BOM_UTF8).decode("cp1252", errors="replace")


def _raw_lines(data: bytes, start_line: int) -> Iterator[tuple[bytes, int, int, bool]]:
    """Non-empty lines with number, offset behind them, and whether their line break is there."""
    position, number = 0, start_line
    while position < len(data):
        end = data.find(b"\n", position)
        raw = data[position:] if end < 0 else data[position:end]
        stop = len(data) if end < 0 else end + 1
        if raw.strip():
            yield raw, number, stop, end >= 0
        position, number = stop, number + 1


def present(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: item for name, item in record.items() if item is not None}


def line_reader(name: str, mapping: Mapping[str, str] | None = None) -> JsonLines | Delimited:
    """The reader of a text file, by its suffix."""
    return Delimited(mapping) if PurePath(name.lower()).suffix in TABLE_SUFFIXES else JsonLines(mapping)


def read_lines(data: bytes, *, name: str, start_line: int = 1, final: bool = True) -> Iterator[Line]:
    """The lines of a whole text file."""
    yield from line_reader(name).lines(data, start_line=start_line, final=final)


def read_blocks(
    file: BinaryIO, name: str, *, mapping: Mapping[str, str] | None = None, final: bool = True
) -> Iterator[Block]:
    """A file's lines, block by block.

    Without `final` a last line that may still be being written is neither parsed nor taken; a Parquet file or a JSON
    array is read only when it is whole.
    """
    head = file.read(64)
    file.seek(0)
    if head.startswith(b"PAR1"):
        from ai_assets.data_processing.event_parquet import parquet_blocks

        yield from parquet_blocks(file, mapping)
    elif PurePath(name.lower()).suffix == ".json" and head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
        yield from _array_blocks(file, mapping, final=final)
    else:
        yield from _text_blocks(file, line_reader(name, mapping), final=final)


def _text_blocks(file: BinaryIO, reader: JsonLines | Delimited, *, final: bool) -> Iterator[Block]:
    number, rest = 1, b""
    while True:
        data = file.read(BLOCK_BYTES)
        cut = len(rest + data) if not data else (rest + data).rfind(b"\n") + 1
        block, rest = (rest + data)[:cut], (rest + data)[cut:]
        if block:
            lines = list(reader.lines(block, start_line=number, final=final))
            consumed = len(block)
            if not data and not final and (not lines or lines[-1].end < len(block.rstrip())):
                consumed = block.rfind(b"\n") + 1
            yield lines, consumed, block[:consumed]
            number += block.count(b"\n")
        if not data:
            return


def _array_blocks(file: BinaryIO, mapping: Mapping[str, str] | None, *, final: bool) -> Iterator[Block]:
    """A JSON array (as Spotify exports it), read whole."""
    data = file.read(MAX_ARRAY_BYTES + 1)
    if len(data) > MAX_ARRAY_BYTES:
        reason = f"a JSON array of more than {MAX_ARRAY_BYTES:,} bytes; write one object a line instead"
        yield [Line(1, len(data), "", None, reason)], len(data), data
        return
    try:
        items = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        if final:
            reason = f"no JSON array: {type(error).__name__}"
            yield [Line(1, len(data), hashlib.sha256(data).hexdigest(), None, reason)], len(data), data
        return
    reader = JsonLines(mapping)
    for start in range(0, len(items), BATCH_ROWS):
        part = items[start : start + BATCH_ROWS]
        lines = [
            reader.object(item, number, max(1, len(data) * number // len(items)))
            for number, item in enumerate(part, start + 1)
        ]
        last = start + BATCH_ROWS >= len(items)
        yield lines, len(data) if last else 0, data if last else b""
    if not items:
        yield [], len(data), data


def parse_time(value: Any) -> datetime:
    """A point in time in UTC: ISO 8601 (no zone means UTC), its day also as 1.5.2026, or seconds since 1970.

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
    text = DAY_FIRST.sub(lambda day: f"{day[3]}-{int(day[2]):02}-{int(day[1]):02}", value.strip())
    moment = datetime.fromisoformat(text)
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None
