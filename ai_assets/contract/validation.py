"""The one pandera factory: validates frames, explains failures as a table, and shows a schema's columns in the UI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import dagster as dg

from ai_assets.contract.columns import MEANINGS
from ai_assets.contract.display import table_value
from ai_assets.contract.spec import AssetContract, Check, Verdict

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa
    import pyarrow

FAILURE_LIMIT = 20

ARROW_TYPES = {"list<float>": "float32", "list<string>": "string", "list<double>": "float64", "list<int>": "int64"}


def contract_check(asset: str) -> Check:
    """The blocking check every table has; its function is `validate` with the asset's schema."""
    return Check("contract", f"The rows of {asset} have the columns, types and ranges its schema promises.", None, True)


def check_specs(contract: AssetContract) -> list[dg.AssetCheckSpec]:
    """Dagster's specs of all checks of an asset, partitioned where the asset is."""
    definition = contract.partitioning.definition if contract.partitioning else None
    own = (contract_check(contract.name),) if contract.schema is not None else ()
    return [
        dg.AssetCheckSpec(
            check.name,
            asset=contract.name,
            description=check.description,
            blocking=check.blocking,
            partitions_def=definition,
        )
        for check in (*own, *contract.checks)
    ]


def validate(frame: pd.DataFrame, schema: type[pa.DataFrameModel]) -> tuple[pd.DataFrame, Verdict]:
    """Coerce and check a frame. Returns the coerced frame (the given one when it fails) and the verdict.

    Never raises for bad data, and never puts whole rows into a message.
    """
    from pandera.errors import SchemaErrors

    try:
        return schema.validate(frame, lazy=True), Verdict(True, f"{len(frame):,} rows", {"rows": len(frame)})
    except SchemaErrors as error:
        cases = error.failure_cases
        columns = sorted({str(name) for name in cases["column"].dropna()})
        first = cases.iloc[0]
        return frame, Verdict(
            False,
            f"{len(cases):,} failure cases in {', '.join(columns) or 'the whole frame'}; "
            f"first: column {first['column']}, check {first['check']}",
            {"rows": len(frame), "failures": len(cases), "failure_cases": failure_table(cases)},
        )


def failure_table(cases: pd.DataFrame) -> dg.TableMetadataValue:
    """At most 20 failure cases as a table for the UI."""
    names = ["column", "check", "failure_case", "index"]
    return table_value(cases[names].astype(str), FAILURE_LIMIT)


def column_schema(schema: type[pa.DataFrameModel]) -> dg.TableSchema:
    """The schema's columns with types, constraints and descriptions, for the asset's page.

    A column that the schema does not describe is described by the glossary.
    """
    from dagster_pandera import pandera_schema_to_dagster_type

    metadata = pandera_schema_to_dagster_type(schema).metadata["schema"]
    assert isinstance(metadata, dg.TableSchemaMetadataValue)
    shown = metadata.schema
    columns = [_described(column) for column in shown.columns]
    return dg.TableSchema(columns=columns, constraints=shown.constraints)


def _described(column: dg.TableColumn) -> dg.TableColumn:
    meaning = column.description or MEANINGS.get(column.name)
    name = column.name.strip("^()$").replace("|", ", ")  # one entry for columns that a pattern declares
    return dg.TableColumn(name, column.type, meaning, column.constraints, column.tags)


def empty_frame(schema: type[pa.DataFrameModel]) -> pd.DataFrame:
    """No rows, with the schema's columns and types."""
    import pandas as pd

    columns = schema.to_schema().columns
    frame = pd.DataFrame({name: pd.Series(dtype="object") for name, column in columns.items() if not column.regex})
    return schema.validate(frame) if frame.shape[1] else frame


def arrow_table(frame: pd.DataFrame, schema: type[pa.DataFrameModel]) -> pyarrow.Table:
    """Arrow with the types the schema promises, also where a column is empty or all null."""
    import pyarrow

    fields = [pyarrow.field(str(name), _arrow_type(schema, str(name), frame[name])) for name in frame.columns]
    return pyarrow.Table.from_pandas(
        frame, schema=pyarrow.schema(fields), preserve_index=False, safe=False
    ).replace_schema_metadata(None)


def _arrow_type(schema: type[pa.DataFrameModel], name: str, series: pd.Series) -> Any:
    import pyarrow

    columns = schema.to_schema().columns
    patterns = (item for item in columns.values() if item.regex and re.fullmatch(str(item.name), name))
    column = columns.get(name) or next(patterns, None)
    declared = (column.metadata or {}).get("arrow") if column is not None else None
    if declared is not None:
        return pyarrow.list_(getattr(pyarrow, ARROW_TYPES[declared])())
    kind = str(series.dtype)
    if kind.startswith("datetime64"):
        return pyarrow.timestamp("us", tz="UTC")
    if kind in ("object", "string", "str", "category"):
        return pyarrow.string()
    return pyarrow.from_numpy_dtype(series.dtype.numpy_dtype if hasattr(series.dtype, "numpy_dtype") else series.dtype)
