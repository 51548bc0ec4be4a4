"""`ai-assets exporter`: the numbers of one home for Prometheus. What is counted stands in `resources.metrics`.

Here are the sources that need to know a home: which assets there are, how old the indices are, how full the disk is.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ai_assets.canary import readings as canary_readings
from ai_assets.contract.spec import CONTRACTS
from ai_assets.partitions import AUDIO_BATCHES, EVENT_DAYS
from resources.metrics import AssetNode, InstanceMetrics, Reading, database_readings
from resources.platform import Platform
from resources.vector_index.delta import INDEX_DELTA
from resources.vector_index.generation import CURRENT

if TYPE_CHECKING:
    import dagster as dg

GRAPH_SECONDS = 30.0


def exporter_metrics(platform: Platform, instance: dg.DagsterInstance) -> InstanceMetrics:
    """The metrics of a prepared home; serve them with `resources.metrics.serve_metrics`."""
    return InstanceMetrics(
        instance,
        Graph(platform).nodes,
        [
            ("database", lambda: database_readings(platform.database)),
            ("indices", lambda: index_readings(platform)),
            ("stream", lambda: stream_readings(platform)),
            ("canary", lambda: canary_readings(platform)),
            ("disk", lambda: disk_readings(platform.home.root)),
        ],
    )


class Graph:
    """The assets of the definitions with the partitions that should exist; read anew every half minute.

    An event day should exist once raw events of it have come, a batch once it was frozen.
    """

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._read = float("-inf")
        self._nodes: list[AssetNode] = []

    def nodes(self) -> list[AssetNode]:
        if time.monotonic() - self._read > GRAPH_SECONDS:
            ledger = self._platform.lake.ledger
            expected = {
                EVENT_DAYS.column: tuple(sorted(ledger.entries("raw_events"))),
                AUDIO_BATCHES.column: tuple(sorted(ledger.entries("audio_manifest"))),
            }
            self._nodes = [_node(name, expected) for name in sorted(CONTRACTS)]
            self._read = time.monotonic()
        return self._nodes


def _node(name: str, expected: dict[str, tuple[str, ...]]) -> AssetNode:
    contract = CONTRACTS[name]
    own = ("contract",) if contract.schema is not None else ()
    partitions = expected.get(contract.partitioning.column, ()) if contract.partitioning else ()
    return AssetNode(name, partitions, (*own, *(check.name for check in contract.checks)))


def index_readings(platform: Platform) -> Iterable[Reading]:
    """Age of each index's current generation, and what waits in its delta."""
    pointers = sorted(platform.home.indices.glob(f"*/{CURRENT}"))
    ages = {(pointer.parent.name,): max(0.0, time.time() - pointer.stat().st_mtime) for pointer in pointers}
    yield Reading("index_age_seconds", "Seconds since an index's generation was swapped in.", ages, ("index",))
    keys = (INDEX_DELTA.c.index_name, INDEX_DELTA.c.operation)
    counted = platform.database.query(sa.select(*keys, sa.func.count().label("count")).group_by(*keys))
    rows = {(pointer.parent.name, operation): 0.0 for pointer in pointers for operation in ("upsert", "delete")}
    rows |= {(row["index_name"], row["operation"]): float(row["count"]) for row in counted}
    yield Reading("index_delta_rows", "Changes that wait beside an index.", rows, ("index", "operation"))


def stream_readings(platform: Platform) -> Iterable[Reading]:
    """Events that were accepted and are not in the lake yet."""
    waiting = float(platform.event_stream.waiting())
    yield Reading("stream_waiting", "Accepted events that are not in the lake yet.", {(): waiting})


def disk_readings(folder: Path) -> Iterable[Reading]:
    """Free and total bytes of the file system that holds the home."""
    usage = shutil.disk_usage(folder)
    yield Reading("disk_free_bytes", "Free bytes where the home lies.", {(): float(usage.free)})
    yield Reading("disk_total_bytes", "Size of the file system where the home lies.", {(): float(usage.total)})
