"""Runs whose worker ended with the UI: nothing would ever finish them, so they are closed as failed.

Only runs that a code server started are looked at (a tag of Dagster's says so): those of `ai-assets run` have a process
of their own.
"""

from __future__ import annotations

from ai_assets.home import open_instance
from resources.platform import Platform

SERVED_TAG = ".dagster/grpc_info"
MESSAGE = "The UI was ended while this run was working. What it had published stays; start it again to go on."


def close_interrupted_runs(platform: Platform) -> int:
    """Close them; returns how many there were. To be called only while no code server of this home is running."""
    from dagster import DagsterRunStatus, RunsFilter

    unfinished = [DagsterRunStatus.STARTING, DagsterRunStatus.STARTED, DagsterRunStatus.CANCELING]
    with open_instance(platform) as instance:
        runs = [run for run in instance.get_runs(RunsFilter(statuses=unfinished)) if SERVED_TAG in run.tags]
        for run in runs:
            instance.report_run_failed(run, MESSAGE)
    return len(runs)
