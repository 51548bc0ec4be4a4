"""Dagster's way into the lake: tables go in fenced and atomically, and come out as lazy handles.

An asset hands over `PreparedTable`; an input arrives as `LakeTable`, bound to the partitions that the mapping asks for.
No pickle is ever read or written. Models, indices and media do not pass here: they are explicit resources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg
import pyarrow as pa

from resources.lake.fence import Fenced
from resources.lake.tables import Lake, LakeTable, Origin


@dataclass(frozen=True)
class PreparedPart:
    """One partition, ready to be committed ("" is the key of an unpartitioned table)."""

    data: pa.Table
    digest: str
    origin: Origin


@dataclass(frozen=True)
class PreparedTable:
    """A validated table: parts by partition key, and the column that holds the keys."""

    parts: Mapping[str, PreparedPart]
    column: str | None


class LakeIOManager(dg.IOManager):
    """Commits `PreparedTable`, loads `LakeTable`."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        if not isinstance(obj, PreparedTable):
            raise dg.Failure(
                f"{context.asset_key.to_user_string()} handed over a {type(obj).__name__}, not a checked table",
                allow_retries=False,
            )
        step = context.step_context
        attempt = self._lake.attempt(step.run_id, step.previous_attempt_count)
        name = context.asset_key.path[-1]
        try:
            written = {
                key: self._lake.replace(
                    name,
                    part.data,
                    attempt,
                    column=obj.column,
                    key=key or None,
                    origin=part.origin,
                    digest=part.digest,
                )
                for key, part in obj.parts.items()
            }
        except Fenced as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        last = max((item.table_version for item in written.values()), default=0)
        context.add_output_metadata(
            {
                "dagster/row_count": sum(item.rows for item in written.values()),
                "bytes": sum(item.bytes for item in written.values()),
                "table_version": last,
                "unchanged_partitions": sum(not item.changed for item in written.values()),
            }
        )

    def load_input(self, context: dg.InputContext) -> LakeTable:
        name = context.asset_key.path[-1]
        metadata = context.upstream_output.definition_metadata if context.upstream_output is not None else {}
        column = metadata.get("partition_column")
        own = context.has_asset_partitions and context.step_context.has_partition_key | _is_range(context)
        keys = list(context.asset_partition_keys) if own else None
        return self._lake.table(name, keys=keys, column=str(column) if column is not None else None)


def _is_range(context: dg.InputContext) -> bool:
    return context.step_context.has_partition_key_range
