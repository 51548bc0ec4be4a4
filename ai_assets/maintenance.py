"""Maintenance of a home: fewer, larger files, no old versions, runs, logs, impressions; by default only said, not done.

A run stays as long as it holds the latest materialization, or the latest attempt, of any partition. Nothing depends on
pruned runs: which file belongs to which batch, how far events were read, and the fencing tokens lie in the platform
database, whose numbers are never given out twice.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.recommendation_update.impressions import old_impressions
from resources.audit_follower import follow_materializations
from resources.lake.upkeep import compact, removable, scattered
from resources.platform import Platform
from resources.scrub import SQLITE_MAGIC, compact_sqlite, files_below

if TYPE_CHECKING:
    import dagster as dg

KEEP_DAYS = 30
FREE_SHARE, FREE_PAGES = 0.25, 256


@dataclass
class Upkeep:
    """What was done, or would be: tables with partitions to compact, files to remove, runs, logs, rows, databases."""

    applied: bool
    compacted: dict[str, int] = field(default_factory=dict)
    vacuumed: dict[str, int] = field(default_factory=dict)
    runs: int = 0
    logs: int = 0
    log_bytes: int = 0
    impressions: int = 0
    databases: list[str] = field(default_factory=list)


def maintain(platform: Platform, instance: dg.DagsterInstance, *, apply: bool, keep_days: int = KEEP_DAYS) -> Upkeep:
    """Look after a home; without `apply` nothing is changed.

    Args:
        keep_days: how long finished runs and log files are kept at least.
    """
    report = Upkeep(apply)
    with platform.database.lock("upkeep"):
        _tables(platform, report)
        before = datetime.now(UTC) - timedelta(days=keep_days)
        _runs(platform, instance, before, report)
        _logs(platform, before, report)
        report.impressions = old_impressions(platform.database, drop=apply)
        _databases(platform, report)
    if apply:
        counts: dict[str, Any] = {"runs": report.runs, "logs": report.logs, "files": sum(report.vacuumed.values())}
        platform.audit.append("maintain", "maintenance", {"home": "all"}, **counts)
    return report


def _tables(platform: Platform, report: Upkeep) -> None:
    for table in platform.lake.tables():
        keys = scattered(platform.lake, table)
        if keys:
            report.compacted[table] = len(keys)
            if report.applied:
                compact(platform.lake, table, keys)
        gone = removable(platform.lake, table, apply=report.applied)
        if gone:
            report.vacuumed[table] = gone


def prunable_runs(instance: dg.DagsterInstance, before: datetime) -> list[str]:
    """Runs that ended before a moment and that nothing needs any more."""
    import dagster as dg

    ended = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    old = instance.get_run_records(dg.RunsFilter(statuses=ended, updated_before=before))
    needed = set(_latest_runs(instance)) if old else set()
    return [record.dagster_run.run_id for record in old if record.dagster_run.run_id not in needed]


def _latest_runs(instance: dg.DagsterInstance) -> Iterator[str]:
    """Runs with the latest materialization, or the latest attempt, of an asset or one of its partitions."""
    from dagster import DagsterEventType, EventRecordsFilter

    storage = instance.event_log_storage
    kinds = (DagsterEventType.ASSET_MATERIALIZATION, DagsterEventType.ASSET_MATERIALIZATION_PLANNED)
    for key in instance.all_asset_keys():
        for kind in kinds:
            newest = storage.get_event_records(EventRecordsFilter(kind, asset_key=key), limit=1)
            yield from (record.event_log_entry.run_id for record in newest)
            ids = sorted(storage.get_latest_storage_id_by_partition(key, kind).values())
            for start in range(0, len(ids), 500):
                wanted = EventRecordsFilter(kind, asset_key=key, storage_ids=ids[start : start + 500])
                yield from (record.event_log_entry.run_id for record in storage.get_event_records(wanted))


def _runs(platform: Platform, instance: dg.DagsterInstance, before: datetime, report: Upkeep) -> None:
    if report.applied:
        follow_materializations(instance, platform.audit)  # what is pruned must be in the audit log first
    old = prunable_runs(instance, before)
    report.runs = len(old)
    if not report.applied:
        return
    for run_id in old:
        instance.delete_run(run_id)
        shutil.rmtree(platform.home.dagster / "storage" / run_id, ignore_errors=True)
        for side in ("", "-wal", "-shm"):
            (platform.home.dagster / "history" / "runs" / f"{run_id}.db{side}").unlink(missing_ok=True)


def _logs(platform: Platform, before: datetime, report: Upkeep) -> None:
    for folder in (platform.home.logs, platform.home.traces):
        for path in files_below(folder):
            with contextlib.suppress(FileNotFoundError):
                stat = path.stat()
                if stat.st_mtime < before.timestamp():
                    report.logs += 1
                    report.log_bytes += stat.st_size
                    if report.applied:
                        path.unlink()


def _databases(platform: Platform, report: Upkeep) -> None:
    """Give back the pages that deleted rows left, where they are many. One in use is left for the next time."""
    home = platform.home
    for path in [*files_below(home.dagster), *files_below(home.mlflow), home.database]:
        if not path.is_file() or not _half_empty(path):
            continue
        if report.applied:
            with contextlib.suppress(sqlite3.OperationalError):
                compact_sqlite(path)
                report.databases.append(path.relative_to(home.root).as_posix())
        else:
            report.databases.append(path.relative_to(home.root).as_posix())


def _half_empty(path: Path) -> bool:
    with path.open("rb") as file:
        if file.read(len(SQLITE_MAGIC)) != SQLITE_MAGIC:
            return False
    with contextlib.closing(sqlite3.connect(path, timeout=5)) as connection, contextlib.suppress(sqlite3.Error):
        free, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
        return bool(free >= FREE_PAGES and free >= FREE_SHARE * pages)
    return False
