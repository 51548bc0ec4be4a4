"""What an asset's page shows: values that Dagster takes, previews as tables, pictures inside markdown.

A tag or a line of an event can hold a secret that somebody pasted there: texts are redacted on their way to the page.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from resources.redaction import REDACTOR

if TYPE_CHECKING:
    import pandas as pd

PREVIEW_ROWS = 8
PREVIEW_COLUMNS = 14
PICTURE_BYTES = 500_000


def to_metadata(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as Dagster takes them: numpy scalars, dates, paths, frames and pictures (PNG bytes) are converted."""
    return {name: _convert(value) for name, value in values.items()}


def _convert(value: Any) -> Any:
    import pandas as pd

    if isinstance(value, dg.MetadataValue):
        return value
    if isinstance(value, pd.DataFrame):
        return table_value(value)
    if isinstance(value, bytes):
        return picture(value)
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        return value.item()
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Path):
        return dg.MetadataValue.path(value)
    if isinstance(value, tuple | set | frozenset):
        return sorted(REDACTOR.line(str(item)) for item in value)
    return REDACTOR.value(value)


def table_value(frame: pd.DataFrame, rows: int = 200) -> dg.TableMetadataValue:
    """A frame as a table of at most `rows` rows."""
    records = [
        dg.TableRecord({str(name): _cell(value) for name, value in row.items()})
        for row in frame.head(rows).to_dict("records")
    ]
    columns = [dg.TableColumn(str(name), type=str(dtype)) for name, dtype in frame.dtypes.items()]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


def preview(frame: pd.DataFrame) -> dg.TableMetadataValue:
    """The first rows and columns of a table."""
    return table_value(frame.iloc[:, :PREVIEW_COLUMNS], PREVIEW_ROWS)


def _cell(value: Any) -> str | int | float | bool | None:
    if value is None or isinstance(value, bool | int | float):
        return value
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        return _cell(value.item())
    return REDACTOR.line(str(value))[:200]


def picture(png: bytes, alternative: str = "plot") -> dg.MarkdownMetadataValue:
    """A PNG of at most 500 kB inside markdown. Raises ValueError above: store it as a blob and give its path."""
    if len(png) > PICTURE_BYTES:
        raise ValueError(f"a picture of {len(png):,} bytes is too large for the event log; store it as a blob")
    return dg.MetadataValue.md(f"![{alternative}](data:image/png;base64,{base64.b64encode(png).decode()})")
