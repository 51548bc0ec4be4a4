"""Dagster's in-process executor, which beats for its run, so that a run lost with its machine is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._core.executor.in_process import InProcessExecutor

from resources.platform import Platform
from resources.settings import load_settings


class BeatingInProcessExecutor(InProcessExecutor):
    """Executes steps one after the other in the run's process."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[DagsterEvent]:
        with Platform(load_settings()).run_leases.leading(plan_context.run_id):
            yield from super().execute(plan_context, execution_plan)


@dg.executor(name="in_process", requirements=[])
def in_process_executor(_context: dg.InitExecutorContext) -> Executor:
    """Steps in their run's process, one after the other; heavy bodies run in limited subprocesses of their own."""
    return BeatingInProcessExecutor(RetryMode.ENABLED)
