"""Is everything that came in accounted for? Files that lie there, event rows that were read, partitions that failed.

Counted from what is there now - the disk, the tables, the reports of every reading - never from what was meant to be.
The assets' own checks do the same for one batch or one reading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from ai_assets.audio_status import ACCEPTED
from ai_assets.contract.spec import CONTRACTS
from ai_assets.data_processing.batches import AUDIO_FILES, AUDIO_SUFFIXES, AudioInbox, root_folder, source_name
from ai_assets.data_processing.raw_store import EVENT_REPORTS, RAW
from resources.platform import Platform
from resources.roots import StorageFault, scan

if TYPE_CHECKING:
    import dagster as dg
    import pandas as pd

COLUMNS = ["kind", "subject", "found", "accepted", "refused", "waiting", "duplicates", "missing", "examples", "passed"]
SHOWN = 20


@dataclass(frozen=True)
class Count:
    """One thing that was counted: found = accepted + refused + waiting + duplicates + missing; none may be missing."""

    kind: str
    subject: str
    found: int
    accepted: int = 0
    refused: int = 0
    waiting: int = 0
    duplicates: int = 0
    missing: int = 0
    examples: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        return self.missing == 0

    def row(self) -> dict[str, Any]:
        return {**vars(self), "examples": "; ".join(self.examples) or None, "passed": self.passed}


def count_all(platform: Platform, instance: dg.DagsterInstance) -> list[Count]:
    """Files by root, events by source, failed partitions by asset."""
    return [*file_counts(platform), *event_counts(platform), *failed_partitions(platform, instance)]


def file_counts(platform: Platform) -> list[Count]:
    """Audio files that lie in each root: accepted + refused + waiting, and those that nobody knows of.

    A file waits while it is in no batch yet, or its batch was not analysed yet.
    """
    inbox = AudioInbox(platform.database, platform.home.root)
    batches = _batches_of_files(platform)
    made = platform.lake.ledger.entries("audio_quality")
    status = _status_of_files(platform)
    refused = {row["source"] for row in platform.quarantine.rows() if row["table"].startswith("audio_")}
    counts = []
    for root in inbox.roots():
        try:
            found = list(scan(root_folder(root, platform.home.root), suffixes=AUDIO_SUFFIXES))
        except StorageFault as fault:
            counts.append(Count("files", root, 0, examples=(str(fault),)))
            continue
        tally = dict.fromkeys(("accepted", "refused", "waiting"), 0)
        missing = []
        for item in found:
            batch = batches.get((root, item.path, item.size, item.mtime_ns))
            seen = status.get((batch, root, item.path))
            if batch is None or batch not in made:
                tally["waiting"] += 1
            elif seen is not None:
                tally["accepted" if seen in ACCEPTED else "refused"] += 1
            elif source_name(root, item.path) in refused:
                tally["refused"] += 1
            else:
                missing.append(item.path)
        counts.append(Count("files", root, len(found), **tally, missing=len(missing), examples=tuple(missing[:SHOWN])))
    return counts


def _batches_of_files(platform: Platform) -> dict[tuple[str, str, int, int], str | None]:
    table = AUDIO_FILES.c
    columns = (table.root, table.path, table.size, table.mtime_ns, table.batch)
    rows = platform.database.query(sa.select(*columns).order_by(table.visit))
    return {(row["root"], row["path"], row["size"], row["mtime_ns"]): row["batch"] for row in rows}


def _status_of_files(platform: Platform) -> dict[tuple[str | None, str, str], str]:
    quality = platform.lake.table("audio_quality")
    if not quality.exists:
        return {}
    rows = quality.arrow(["batch", "root", "path", "status"]).to_pylist()
    return {(row["batch"], row["root"], row["path"]): row["status"] for row in rows}


def event_counts(platform: Platform) -> list[Count]:
    """Rows of every source as its readings reported them, against the rows that are in the table.

    More in the table than was reported is no loss (a database that was restored over a newer lake has fewer reports).
    """
    names = ("read", "accepted", "quarantined", "duplicates")
    sums = [sa.func.sum(EVENT_REPORTS.c[name]).label(name) for name in names]
    reported = platform.database.query(
        sa.select(EVENT_REPORTS.c.source, *sums).group_by(EVENT_REPORTS.c.source).order_by(EVENT_REPORTS.c.source)
    )
    held = _rows_by_source(platform)
    counts = []
    for row in reported:
        read, accepted, quarantined, duplicates = (int(row[name]) for name in names)
        lost = max(0, accepted - held.get(row["source"], 0))
        unexplained = abs(read - accepted - quarantined - duplicates)
        remarks = [f"{lost} accepted rows are not in {RAW}"] * bool(lost)
        remarks += [f"{unexplained} rows are counted twice or not at all"] * bool(unexplained)
        counts.append(
            Count(
                "events", row["source"], read, accepted - lost, quarantined, duplicates=duplicates,
                missing=lost + unexplained, examples=tuple(remarks),
            )
        )  # fmt: skip
    return counts


def _rows_by_source(platform: Platform) -> Mapping[str, int]:
    raw = platform.lake.table(RAW)
    if not raw.exists:
        return {}
    counted = raw.arrow(["file"]).group_by("file").aggregate([([], "count_all")]).to_pylist()
    return {row["file"]: int(row["count_all"]) for row in counted}


def failed_partitions(platform: Platform, instance: dg.DagsterInstance) -> list[Count]:
    """Partitions whose latest attempt failed, by asset; and unpartitioned assets alike."""
    counts = []
    for name, contract in CONTRACTS.items():
        keys = sorted(platform.lake.ledger.entries(name))
        failed = _failed_keys(instance, name, contract.partitioning.definition if contract.partitioning else None)
        found = len(set(keys) | set(failed))
        if found:
            shown = tuple(failed[:SHOWN])
            counts.append(Count("partitions", name, found, found - len(failed), missing=len(failed), examples=shown))
    return counts


def _failed_keys(instance: dg.DagsterInstance, name: str, definition: dg.PartitionsDefinition | None) -> list[str]:
    from dagster import AssetKey, DagsterEventType, EventRecordsFilter

    key = AssetKey(name)
    if definition is not None:
        planned_kind = DagsterEventType.ASSET_MATERIALIZATION_PLANNED
        known = sorted(instance.event_log_storage.get_latest_storage_id_by_partition(key, planned_kind))
        found = instance.get_status_by_partition(key, known, definition) or {}
        return [part for part in known if getattr(found.get(part), "value", "") == "FAILED"]

    def latest(kind: DagsterEventType) -> Any:
        return next(
            iter(instance.event_log_storage.get_event_records(EventRecordsFilter(kind, asset_key=key), 1)), None
        )

    planned, made = (
        latest(DagsterEventType.ASSET_MATERIALIZATION_PLANNED),
        latest(DagsterEventType.ASSET_MATERIALIZATION),
    )
    if planned is None or (made is not None and made.storage_id > planned.storage_id):
        return []
    run = instance.get_run_by_id(planned.event_log_entry.run_id)
    return [name] if run is not None and run.is_failure else []


def inventory_frame(counts: list[Count]) -> pd.DataFrame:
    """Counts as a table."""
    import pandas as pd

    return pd.DataFrame([count.row() for count in counts], columns=COLUMNS)
