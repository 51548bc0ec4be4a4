"""Tracing: spans whose ids follow from the run, so that every process knows them without talking to another.

run > step > body > inner parts. Bodies and inner spans are opened here by the process that does the work; run and step
spans are replayed from Dagster's event log (`tracing_replay`), so they exist for killed steps too. Spans go to an OTLP
collector, or as OTLP JSON lines into a folder; one that is away costs a bounded time, and its spans go there too.
Importing this costs nothing: OpenTelemetry is loaded only when a collector is set.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from resources.redaction import REDACTOR
from resources.scrub import Word, mask_tree

log = logging.getLogger(__name__)

SERVICE = "ai-assets"
EXPORT_SECONDS = 0.5
FLUSH_SECONDS = 0.7
PAUSE_SECONDS = 30.0
_HEX32 = re.compile(r"(?!0{32})[0-9a-f]{32}")
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}")

Attribute = str | int | float | bool


def _digest(kind: str, *parts: str, size: int) -> str:
    return hashlib.sha256((kind + "\0".join(parts)).encode()).hexdigest()[: 2 * size]


def derive_trace_id(root_run_id: str) -> str:
    """Trace id (32 hexadecimal digits) of a run and all its retries."""
    return _digest("trace", root_run_id, size=16)


def otlp_trace_id(given: str) -> str:
    """The id under which a caller's trace id travels: itself when it is a W3C trace id, else derived from it."""
    return given if _HEX32.fullmatch(given) else derive_trace_id(given)


def run_span_id(run_id: str) -> str:
    """Span id (16 hexadecimal digits) of a run."""
    return _digest("run", run_id, size=8)


def step_span_id(run_id: str, step_key: str, attempt: int) -> str:
    """Span id of one attempt (0, 1, …) at a step."""
    return _digest("step", run_id, step_key, str(attempt), size=8)


def body_span_id(run_id: str, step_key: str, attempt: int) -> str:
    """Span id of the work inside that attempt."""
    return _digest("body", run_id, step_key, str(attempt), size=8)


@dataclass(frozen=True)
class SpanPlace:
    """Where a span hangs: its trace and its own id; enough to open children in another process."""

    trace_id: str
    span_id: str

    def traceparent(self) -> str:
        """W3C header value."""
        return f"00-{otlp_trace_id(self.trace_id)}-{self.span_id}-01"


def parse_traceparent(text: str) -> SpanPlace | None:
    """A caller's W3C `traceparent`, or None when it is none."""
    found = _TRACEPARENT.fullmatch(text.strip().lower())
    return SpanPlace(found[1], found[2]) if found else None


@dataclass(frozen=True)
class SpanRecord:
    """One finished span. Times are nanoseconds since 1970 UTC; `error` is None for a span that went well."""

    place: SpanPlace
    name: str
    start: int
    end: int
    parent: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    links: tuple[SpanPlace, ...] = ()
    error: str | None = None

    def to_otlp(self) -> dict[str, Any]:
        """The span in OTLP's JSON form."""
        status = {"code": 2, "message": self.error} if self.error is not None else {"code": 1}
        return {
            "traceId": otlp_trace_id(self.place.trace_id),
            "spanId": self.place.span_id,
            "parentSpanId": self.parent or "",
            "name": self.name,
            "kind": 1,
            "startTimeUnixNano": str(self.start),
            "endTimeUnixNano": str(max(self.start, self.end)),
            "attributes": _otlp_attributes(self.attributes),
            "links": [{"traceId": otlp_trace_id(one.trace_id), "spanId": one.span_id} for one in self.links],
            "status": status,
        }


class Exporter(Protocol):
    def emit(self, record: SpanRecord) -> None: ...

    def flush(self, seconds: float) -> bool: ...


@dataclass(frozen=True)
class FileExporter:
    """One OTLP JSON line per span (the format of the collector's `otlpjsonfile` receiver), a file per UTC day."""

    folder: Path
    service: str = SERVICE

    def emit(self, record: SpanRecord) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        scope = {"scope": {"name": SERVICE}, "spans": [record.to_otlp()]}
        resource = {"attributes": _otlp_attributes({"service.name": self.service})}
        line = json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}) + "\n"
        path = self.folder / f"spans-{datetime.fromtimestamp(record.end / 1e9, UTC):%Y-%m-%d}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line.encode())  # one write: lines of several processes never mix
        finally:
            os.close(descriptor)

    def flush(self, seconds: float) -> bool:
        return True


class OtlpExporter:
    """Batches to a collector over OTLP/HTTP; what cannot be delivered goes to `fallback`, and then a pause is made."""

    def __init__(self, endpoint: str, fallback: Exporter, headers: Mapping[str, str] | None = None) -> None:
        from resources.tracing_otlp import batch_processor

        self._processor = batch_processor(endpoint, fallback, dict(headers or {}), EXPORT_SECONDS, PAUSE_SECONDS)

    def emit(self, record: SpanRecord) -> None:
        from resources.tracing_otlp import readable

        self._processor.on_end(readable(record))

    def flush(self, seconds: float) -> bool:
        # The SDK's force_flush takes a time limit and ignores it: it runs aside, and is waited for that long.
        worker = threading.Thread(target=self._processor.force_flush, daemon=True)
        worker.start()
        worker.join(seconds)
        return not worker.is_alive()


_CURRENT: ContextVar[_Open | None] = ContextVar("span", default=None)


@dataclass
class _Open:
    place: SpanPlace
    children: dict[str, int] = field(default_factory=dict)
    attributes: dict[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class Span:
    """The span a `with` block runs in."""

    place: SpanPlace
    _attributes: dict[str, Attribute]

    def set(self, **attributes: Attribute) -> None:
        self._attributes.update(attributes)


class Tracing:
    """Opens spans of this process and hands them to an exporter.

    Args:
        folder: where span files lie (also the fallback of a collector).
        endpoint: OTLP/HTTP collector (`http://host:4318`), or None for files only.
        headers: HTTP headers for the collector (MLflow wants `x-mlflow-experiment-id`).
    """

    def __init__(self, folder: Path, endpoint: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        files = FileExporter(folder)
        self._exporter: Exporter = files if endpoint is None else OtlpExporter(endpoint, files, headers)
        if endpoint is not None:
            atexit.register(self.flush)

    def emit(self, record: SpanRecord) -> None:
        """Export one finished span. Never raises: tracing may not break the work."""
        try:
            self._exporter.emit(replace(record, attributes=_bounded(record.attributes)))
        except Exception as error:
            log.warning("span %s could not be written: %s", record.name, error)

    def forget(self, pseudonym: str) -> int:
        """Overwrite a listener's pseudonym in the span files; returns in how many it stood."""
        return len(mask_tree(self._folder, [Word(pseudonym, anywhere=True)]))

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Hand over what is buffered, waiting at most so long; False when that was not enough."""
        return self._exporter.flush(seconds)

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Mapping[str, Attribute] | None = None,
        *,
        place: SpanPlace | None = None,
        parent: SpanPlace | None = None,
        links: Sequence[SpanPlace] = (),
    ) -> Iterator[Span]:
        """A span around the block. An exception makes it an ERROR span and goes on.

        Args:
            place: trace and span id, where they are known (`body_span_id`); else derived from the parent, the name and
                the count of such children, so that a repeated run has the same ids.
            parent: parent span, also of another process; the enclosing `span` when not given.
        """
        outer = _CURRENT.get()
        above = parent or (outer.place if outer is not None else None)
        opened = _Open(place or _child_place(name, above, outer), attributes=dict(attributes or {}))
        token = _CURRENT.set(opened)
        start, clock, error = time.time_ns(), time.perf_counter_ns(), None
        try:
            yield Span(opened.place, opened.attributes)
        except BaseException as raised:
            error = type(raised).__name__  # the message may hold user data; the log has it, redacted
            raise
        finally:
            _CURRENT.reset(token)
            end = start + time.perf_counter_ns() - clock
            parent_id = above.span_id if above is not None else None
            self.emit(SpanRecord(opened.place, name, start, end, parent_id, opened.attributes, tuple(links), error))

    @contextmanager
    def body(
        self, trace_id: str, run_id: str, step_key: str, attempt: int, attributes: Mapping[str, Attribute] | None = None
    ) -> Iterator[Span]:
        """The span of a step's work, below the step's span (which `replay_run` emits); flushed at its end."""
        place = SpanPlace(trace_id, body_span_id(run_id, step_key, attempt))
        parent = SpanPlace(trace_id, step_span_id(run_id, step_key, attempt))
        known: dict[str, Attribute] = {
            "dagster.run_id": run_id,
            "dagster.step_key": step_key,
            "dagster.attempt": attempt,
        }
        try:
            with self.span(f"body {step_key}", {**known, **(attributes or {})}, place=place, parent=parent) as opened:
                yield opened
        finally:
            self.flush()


def read_spans(folder: Path, trace_id: str | None = None) -> list[dict[str, Any]]:
    """Spans of the folder's files, in order of start; one emitted twice (a replay) counts once. Skips torn lines."""
    wanted = otlp_trace_id(trace_id) if trace_id is not None else None
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for path in sorted(folder.glob("spans-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                (span,) = json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]
            except (ValueError, KeyError, IndexError):
                continue
            if wanted is None or span["traceId"] == wanted:
                found[(span["traceId"], span["spanId"])] = span
    return sorted(found.values(), key=lambda span: (int(span["startTimeUnixNano"]), span["spanId"]))


def _child_place(name: str, above: SpanPlace | None, outer: _Open | None) -> SpanPlace:
    if above is None:
        # Outside any run there is nothing to derive an id from; such a span begins a trace of its own.
        return SpanPlace(os.urandom(16).hex(), os.urandom(8).hex())
    count = 0
    if outer is not None and outer.place == above:
        count = outer.children[name] = outer.children.get(name, 0) + 1
    return SpanPlace(above.trace_id, _digest("inner", above.span_id, name, str(count), size=8))


def _bounded(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes as they may leave: texts redacted, on one line, of bounded length."""
    return {key: REDACTOR.value({key: one})[key] if isinstance(one, str) else one for key, one in attributes.items()}


def _otlp_attributes(attributes: Mapping[str, Attribute]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _otlp_value(attributes[key])} for key in sorted(attributes)]


def _otlp_value(value: Attribute) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    return {"stringValue": str(value)}
