"""Parquet files of events, in blocks of rows that stay small however far the file expands.

Parquet stores equal texts once: a file of a hundred kilobytes can hold gigabytes of them. They are kept as they are
stored, each text one object for all its rows, and rows with absurd texts are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, BinaryIO

import numpy as np

from ai_assets.data_processing import event_formats as formats
from ai_assets.data_processing.event_files import BATCH_ROWS, BLOCK_BYTES, MAX_LINE_BYTES, Block, Line, present

MAX_GROUP_BYTES = 2**30


def parquet_blocks(file: BinaryIO, mapping: Mapping[str, str] | None) -> Iterator[Block]:
    """The rows of a Parquet file; one refused line for a file that is none, or lacks a column."""
    import pyarrow as pa

    data = file.read()
    try:
        yield from _blocks(data, mapping)
    except (pa.ArrowException, OSError) as error:
        reason = f"no readable Parquet file: {type(error).__name__}"
        yield [Line(1, len(data), hashlib.sha256(data).hexdigest(), None, reason)], len(data), data


def _blocks(data: bytes, mapping: Mapping[str, str] | None) -> Iterator[Block]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(pa.BufferReader(data))
    texts = [item.name for item in schema if pa.types.is_string(item.type) or pa.types.is_large_string(item.type)]
    table = pq.ParquetFile(pa.BufferReader(data), read_dictionary=texts)
    known = formats.format_of([str(name) for name in schema.names])
    fault = _fault(table.metadata, [str(name) for name in schema.names], mapping, known)
    if fault:
        yield [Line(1, len(data), "", None, fault)], len(data), data
        return
    convert = formats.with_mapping(mapping, known) if mapping else known.convert  # type: ignore[union-attr]
    done, rows = 0, table.metadata.num_rows
    for batch in table.iter_batches(batch_size=BATCH_ROWS):
        for part, sizes in _pieces(batch):
            lines = []
            for number, (row, size) in enumerate(zip(part, sizes, strict=True), done + 1):
                at = max(1, len(data) * number // rows)
                if size > MAX_LINE_BYTES:
                    reason = f"row of {size:,} characters; at most {MAX_LINE_BYTES:,} are read"
                    lines.append(Line(number, at, "", None, reason))
                else:
                    lines.append(Line(number, at, "", present(convert(row))))
            done += len(lines)
            yield lines, len(data) if done >= rows else 0, data if done >= rows else b""
    if not rows:
        yield [], len(data), data


def _fault(metadata: Any, columns: list[str], mapping: Mapping[str, str] | None, known: formats.Format | None) -> str:
    """Why no row of the file can be read; "" if they can."""
    groups = range(metadata.num_row_groups)
    if any(metadata.row_group(group).total_byte_size > MAX_GROUP_BYTES for group in groups):
        return f"a row group of more than {MAX_GROUP_BYTES:,} bytes"
    lacking = formats.mapping_columns(mapping) - set(columns) if mapping else set[str]()
    if lacking:
        return f"no column {', '.join(sorted(lacking))}"
    if known or mapping:
        return ""
    missing = ", ".join(sorted(set(formats.REQUIRED) - set(columns)))
    return f"no column {missing}; `ai-assets inspect FILE` proposes a mapping"


def _pieces(batch: Any) -> Iterator[tuple[list[dict[str, Any]], list[int]]]:
    """The rows of a batch with the characters of each, in pieces that hold about a block of text."""
    columns = [_values(column) for column in batch.columns]
    sizes = np.stack([size for _, size in columns]).sum(axis=0)
    ends = np.flatnonzero(np.diff(np.cumsum(np.minimum(sizes, MAX_LINE_BYTES)) // BLOCK_BYTES)) + 1
    for start, end in zip([0, *ends], [*ends, len(sizes)], strict=True):
        cells = [values[start:end] for values, _ in columns]
        yield (
            [dict(zip(batch.schema.names, row, strict=True)) for row in zip(*cells, strict=True)],
            sizes[start:end].tolist(),
        )


def _values(column: Any) -> tuple[list[Any], np.ndarray[Any, np.dtype[np.int64]]]:
    """The values of a column as JSON knows them, and the characters of each; equal texts are one object."""
    import pyarrow as pa

    if not isinstance(column, pa.DictionaryArray):
        return [_plain(value) for value in column.to_pylist()], np.zeros(len(column), np.int64)
    texts = [*column.dictionary.to_pylist(), None]
    codes = [len(texts) - 1 if code is None else code for code in column.indices.to_pylist()]
    return [texts[code] for code in codes], np.array([len(text or "") for text in texts], np.int64)[codes]


def _plain(value: Any) -> Any:
    """A Parquet value as JSON knows it."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return None if isinstance(value, float) and value != value else value
