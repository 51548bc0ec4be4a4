"""Run and step spans from Dagster's event log: killed steps have theirs too, and emitting twice changes nothing.

The instance is used as given (no Dagster import): whoever calls this has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from resources.tracing import (
    Attribute,
    SpanPlace,
    SpanRecord,
    Tracing,
    derive_trace_id,
    parse_traceparent,
    run_span_id,
    step_span_id,
)

TRACE_TAG = "ai_assets/trace_id"
TRACEPARENT_TAG = "ai_assets/traceparent"
STARTS = frozenset({"STEP_START", "STEP_RESTARTED"})
ENDS = frozenset({"STEP_SUCCESS", "STEP_FAILURE", "STEP_UP_FOR_RETRY"})
PAGE = 1_000


@dataclass
class _Attempt:
    step_key: str
    attempt: int
    start: float
    end: float | None = None
    error: str | None = None
    upstream: set[str] = field(default_factory=set)


def run_trace_id(run: Any) -> str:
    """Trace id of a Dagster run: the caller's where it was launched with one, else derived from the root run."""
    parent = parse_traceparent(run.tags.get(TRACEPARENT_TAG, ""))
    return run.tags.get(TRACE_TAG) or (parent.trace_id if parent else derive_trace_id(run.root_run_id or run.run_id))


def replay_run(instance: Any, run_id: str, tracing: Tracing) -> int:
    """Emit the spans of a run and of each attempt at its steps; returns how many.

    Attempts without an end are closed at the end of the run as errors; those of a run that goes on are left for later.
    Raises LookupError for an unknown run.
    """
    record = instance.get_run_record_by_id(run_id)
    if record is None:
        raise LookupError(f"no run {run_id}")
    run, trace = record.dagster_run, run_trace_id(record.dagster_run)
    attempts = _attempts(_events(instance, run_id))
    spans = 0
    latest: dict[str, SpanPlace] = {}
    for one in attempts:
        end, error = one.end, one.error
        if end is None:
            if record.end_time is None:
                continue
            end, error = record.end_time, "ended without a result (its process was lost)"
        place = SpanPlace(trace, step_span_id(run_id, one.step_key, one.attempt))
        links = tuple(latest[key] for key in sorted(one.upstream) if key in latest)
        attributes: dict[str, Attribute] = {
            "dagster.run_id": run_id,
            "dagster.step_key": one.step_key,
            "dagster.attempt": one.attempt,
        }
        tracing.emit(
            SpanRecord(
                place, f"step {one.step_key}", _ns(one.start), _ns(end), run_span_id(run_id), attributes, links, error
            )
        )
        latest[one.step_key] = place
        spans += 1
    if record.end_time is not None:
        tracing.emit(_run_span(run, record, trace))
        spans += 1
    tracing.flush()
    return spans


def _run_span(run: Any, record: Any, trace: str) -> SpanRecord:
    caller = parse_traceparent(run.tags.get(TRACEPARENT_TAG, ""))
    attributes: dict[str, Attribute] = {
        "dagster.run_id": run.run_id,
        "dagster.job": run.job_name,
        "dagster.status": run.status.value,
    }
    for tag in ("dagster/partition", "dagster/backfill"):
        if tag in run.tags:
            attributes[tag.replace("/", ".")] = run.tags[tag]
    links = (SpanPlace(trace, run_span_id(run.parent_run_id)),) if run.parent_run_id else ()
    if caller is not None and caller.trace_id != trace:
        links = (*links, caller)
    parent = caller.span_id if caller is not None and caller.trace_id == trace else None
    start = record.start_time or record.create_timestamp.timestamp()
    error = None if run.status.value == "SUCCESS" else run.status.value
    place = SpanPlace(trace, run_span_id(run.run_id))
    return SpanRecord(place, f"run {run.job_name}", _ns(start), _ns(record.end_time), parent, attributes, links, error)


def _events(instance: Any, run_id: str) -> Iterable[Any]:
    cursor, more = None, True
    while more:
        page = instance.get_records_for_run(run_id, cursor=cursor, limit=PAGE)
        yield from (one.event_log_entry for one in page.records if one.event_log_entry.is_dagster_event)
        cursor, more = page.cursor, page.has_more


def _attempts(entries: Iterable[Any]) -> list[_Attempt]:
    attempts: list[_Attempt] = []
    last: dict[str, _Attempt] = {}
    for entry in entries:
        event = entry.dagster_event
        key, kind = event.step_key, event.event_type_value
        if key is None:
            continue
        if kind in STARTS:
            last[key] = _Attempt(key, last[key].attempt + 1 if key in last else 0, entry.timestamp)
            attempts.append(last[key])
        elif key in last and last[key].end is None:
            if kind in ENDS:
                last[key].end = entry.timestamp
                last[key].error = None if kind == "STEP_SUCCESS" else kind
            elif kind == "LOADED_INPUT" and event.event_specific_data.upstream_step_key:
                last[key].upstream.add(event.event_specific_data.upstream_step_key)
    return attempts


def _ns(seconds: float) -> int:
    return int(seconds * 1_000_000) * 1_000
