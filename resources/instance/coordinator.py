"""Dagster's queue, which also notes who asked for a run. Named in the instance templates."""

from __future__ import annotations

from dagster import DagsterRun, QueuedRunCoordinator
from dagster._core.run_coordinator import SubmitRunContext

USER_TAG = "user"


class AttributedRunCoordinator(QueuedRunCoordinator):
    """Tags a run with who asked for it in the UI (`user`); the guard has put the name into the request."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        user = context.get_request_header("X-Forwarded-User")
        if user:
            self._instance.add_run_tags(context.dagster_run.run_id, {USER_TAG: user})
        return super().submit_run(context)
