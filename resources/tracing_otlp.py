"""The way of spans to an OTLP collector, through OpenTelemetry's SDK. Loaded only when a collector is set."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from resources.tracing import SERVICE, Exporter, SpanPlace, SpanRecord, otlp_trace_id

RESOURCE = Resource({"service.name": SERVICE})


class RecordSpan(ReadableSpan):
    """An SDK span that remembers the record it was made from."""

    record: SpanRecord


def readable(record: SpanRecord) -> RecordSpan:
    """The SDK's form of a span."""
    trace_id = record.place.trace_id
    span = RecordSpan(
        name=record.name,
        context=_context(record.place),
        parent=_context(SpanPlace(trace_id, record.parent)) if record.parent else None,
        resource=RESOURCE,
        attributes=dict(record.attributes),
        links=[Link(_context(one)) for one in record.links],
        kind=SpanKind.INTERNAL,
        status=Status(StatusCode.OK) if record.error is None else Status(StatusCode.ERROR, record.error),
        start_time=record.start,
        end_time=max(record.start, record.end),
    )
    span.record = record
    return span


def batch_processor(
    endpoint: str, fallback: Exporter, headers: Mapping[str, str], seconds: float, pause: float
) -> BatchSpanProcessor:
    """A batching processor; an export takes at most about `seconds`, and after a failure none is tried for `pause`."""
    url = endpoint if endpoint.rstrip("/").endswith("/v1/traces") else endpoint.rstrip("/") + "/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, headers=dict(headers), timeout=seconds)
    return BatchSpanProcessor(
        FallbackExporter(exporter, fallback, pause),
        max_queue_size=20_000,
        schedule_delay_millis=1_000,
        max_export_batch_size=512,
        export_timeout_millis=seconds * 1_000,
    )


class FallbackExporter(SpanExporter):
    """Exports to the collector, and what it does not take to the fallback."""

    def __init__(self, exporter: SpanExporter, fallback: Exporter, pause: float) -> None:
        self._exporter = exporter
        self._fallback = fallback
        self._pause = pause
        self._resume = 0.0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if time.monotonic() >= self._resume:
            if self._exporter.export(spans) is SpanExportResult.SUCCESS:
                return SpanExportResult.SUCCESS
            self._resume = time.monotonic() + self._pause
        for span in spans:
            if isinstance(span, RecordSpan):
                self._fallback.emit(span.record)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._exporter.shutdown()


def _context(place: SpanPlace) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(
        int(otlp_trace_id(place.trace_id), 16), int(place.span_id, 16), is_remote=True, trace_flags=flags
    )
