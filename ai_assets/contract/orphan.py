"""A step whose run is over, whose run's process is gone, or which was given up ends itself within seconds."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from resources.watchdog import step_is_unwanted, watched


@contextmanager
def watch(context: dg.AssetExecutionContext) -> Iterator[None]:
    """Watch the step until the block ends. A run in an instance of memory ends with its process, and is not watched."""
    if context.instance.is_ephemeral:
        yield
        return
    step = context.op_execution_context.get_step_execution_context().step.key
    with watched(step_is_unwanted(context.instance, context.run.run_id, step, context.retry_number)):
        yield
