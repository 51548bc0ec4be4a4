"""The one follower that writes Dagster's materializations into the audit log, exactly one record each.

Its cursor is the event id of its last record in the log itself: record and cursor are one write, so a crash can neither
double nor lose one. Asset events have one increasing id over all runs in every event storage (SQLite mirrors them into
its index, which accepts an integer cursor for them).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from resources.audit_log import AuditEntry, AuditLog
from resources.tracing_replay import run_trace_id

ACTION = "materialize"
BATCH = 500
# PostgreSQL hands out ids before the commit: an event may become visible after one with a higher id. So much is read
# again there; SQLite has one writer at a time, whose ids are visible in order.
OVERLAP = 500
WHO = ("user", "dagster/sensor_name", "dagster/schedule_name", "dagster/backfill")


def follow_materializations(instance: Any, audit: AuditLog, *, limit: int = 100_000) -> int:
    """Record the materializations that are not in the log yet, in the order of their ids; returns how many.

    Safe to be called from several processes (one works, the others wait). A new or restored Dagster storage, whose ids
    begin again, is noticed and read from its start.
    """
    from dagster import DagsterEventType, EventRecordsFilter

    with audit.locked("follower"):
        cursor, known = _position(instance, audit)
        runs: dict[str, Any] = {}
        done = 0
        while done < limit:
            records = instance.event_log_storage.get_event_records(
                EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION, after_cursor=cursor),
                limit=BATCH,
                ascending=True,
            )
            if not records:
                break
            fresh = [one for one in records if (one.storage_id, one.event_log_entry.run_id) not in known]
            if fresh:
                audit.append_all([_entry(instance, one, runs) for one in fresh])
            done += len(fresh)
            cursor = records[-1].storage_id
        return done


def _position(instance: Any, audit: AuditLog) -> tuple[int | None, set[tuple[int, str]]]:
    last = next(_followed(audit), None)
    if last is None:
        return None, set()
    cursor = int(last["event_id"])
    if _begun_again(instance, cursor, last["run_id"]):
        return None, {(int(one["event_id"]), one["run_id"]) for one in _followed(audit)}
    if getattr(instance.event_log_storage, "is_run_sharded", False):
        return cursor, set()
    known = set()
    for one in _followed(audit):
        if int(one["event_id"]) < cursor - 2 * OVERLAP:
            break
        known.add((int(one["event_id"]), one["run_id"]))
    return max(0, cursor - OVERLAP), known


def _followed(audit: AuditLog) -> Iterator[dict[str, Any]]:
    return (one for one in audit.newest_first() if one["action"] == ACTION and one["event_id"] is not None)


def _begun_again(instance: Any, cursor: int, run_id: str) -> bool:
    from dagster import DagsterEventType, EventRecordsFilter

    storage = instance.event_log_storage
    if (storage.get_maximum_record_id() or 0) < cursor:
        return True
    found = storage.get_event_records(
        EventRecordsFilter(DagsterEventType.ASSET_MATERIALIZATION, storage_ids=[cursor]), limit=1
    )
    return bool(found) and found[0].event_log_entry.run_id != run_id


def _entry(instance: Any, record: Any, runs: dict[str, Any]) -> AuditEntry:
    entry = record.event_log_entry
    made = entry.dagster_event.event_specific_data.materialization
    if entry.run_id not in runs:
        runs[entry.run_id] = instance.get_run_by_id(entry.run_id)
    run = runs[entry.run_id]
    run_tags = run.tags if run is not None else {}
    tags = made.tags or {}
    prefix = "dagster/input_data_version/"
    return AuditEntry(
        action=ACTION,
        actor=next((run_tags[key] for key in WHO if key in run_tags), "dagster"),
        subject={"asset": made.asset_key.to_user_string(), "partition": made.partition},
        run_id=entry.run_id,
        trace_id=run_trace_id(run) if run is not None else "",
        details={
            "code_version": tags.get("dagster/code_version"),
            "data_version": tags.get("dagster/data_version"),
            "inputs": {key.removeprefix(prefix): tags[key] for key in sorted(tags) if key.startswith(prefix)},
            "step": entry.step_key,
        },
        event_id=record.storage_id,
        ts=datetime.fromtimestamp(entry.timestamp, UTC).isoformat(timespec="microseconds"),
    )
