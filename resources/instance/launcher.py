"""Dagster's default launcher, which also notices that a run's process is gone. Named in the instance templates."""

from __future__ import annotations

from functools import cached_property

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, WorkerStatus

from resources.platform import Platform
from resources.run_leases import RunLeases
from resources.settings import load_settings


class WatchedRunLauncher(DefaultRunLauncher):
    """Launches runs on the code server; run monitoring learns from their beats which are lost with their machine."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    @cached_property
    def _leases(self) -> RunLeases:
        return Platform(load_settings()).run_leases

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        if not self._leases.is_lost(run.run_id):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        self._leases.forget(run.run_id)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "the process that led the run is gone")
