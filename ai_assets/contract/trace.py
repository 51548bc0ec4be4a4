"""One trace for a run: the caller's id, or one derived from the root run, the same in every process of the run."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from ai_assets.contract.spec import AssetContract

TRACE_TAG = "ai_assets/trace_id"


def trace_id(run: dg.DagsterRun) -> str:
    """32 hexadecimal digits, or the caller's own id verbatim where the run was launched with one."""
    given = run.tags.get(TRACE_TAG)
    return given or hashlib.sha256(f"trace{run.root_run_id or run.run_id}".encode()).hexdigest()[:32]


@contextmanager
def body_span(context: dg.AssetExecutionContext, contracts: tuple[AssetContract, ...]) -> Iterator[str]:
    """The span of a step's body; yields the trace id."""
    yield trace_id(context.run)
