"""One trace for a run: the caller's id, or one derived from the root run, the same in every process of the run."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.tracing import Tracing, derive_trace_id, otlp_trace_id

TRACE_TAG = "ai_assets/trace_id"


def trace_id(run: dg.DagsterRun) -> str:
    """32 hexadecimal digits, or the caller's own id verbatim where the run was launched with one."""
    return run.tags.get(TRACE_TAG) or derive_trace_id(run.root_run_id or run.run_id)


@contextmanager
def body_span(context: dg.AssetExecutionContext, tracing: Tracing) -> Iterator[str]:
    """The span of a step's body, up to the end of its publication; yields the trace id as the caller knows it."""
    known = trace_id(context.run)
    step = context.op_execution_context.get_step_execution_context().step.key
    with tracing.body(otlp_trace_id(known), context.run.run_id, step, context.retry_number):
        yield known
