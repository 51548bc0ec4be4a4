"""Compaction and failed runs: what the platform notices about itself."""

import dagster as dg

from resources.alerts import Alert
from resources.platform import Platform
from sensors.described import sensor
from sensors.watch import failed_checks

RUNNING = dg.DefaultSensorStatus.RUNNING
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def upkeep_sensors(seconds: int) -> list[dg.SensorDefinition]:
    """The sensors of this module."""

    @sensor(job_name="catalogue_job", minimum_interval_seconds=max(30, seconds))
    def compact(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        """Folds what changed beside the content index into it: past its bounds, or with a new embedding.

        Tracks that were entered or withdrawn over HTTP get into the tables the same way.
        """
        from ai_assets.recommendation_update.index_updates import reason_to_compact

        reason = reason_to_compact(platform)
        if not reason:
            return dg.SensorResult(skip_reason=dg.SkipReason("base and delta are within their bounds"))
        unfinished = dg.RunsFilter(job_name="catalogue_job", statuses=UNFINISHED)
        if context.instance.get_runs(unfinished, limit=1):
            return dg.SensorResult(skip_reason=dg.SkipReason("a run of the catalogue is still going on"))
        return dg.SensorResult(run_requests=[dg.RunRequest(run_key=f"compact:{reason}", tags={"reason": reason[:200]})])

    @dg.run_failure_sensor(
        default_status=RUNNING,
        minimum_interval_seconds=seconds,
        description="Writes an alert for every run that failed for good (retried ones are left alone).",
    )
    def run_failures(context: dg.RunFailureSensorContext, platform: dg.ResourceParam[Platform]) -> None:
        """Writes an alert for every run that failed for good (retried ones are left alone)."""
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return
        title = f"run {run.run_id} of {run.job_name} failed: {context.failure_event.message}"
        platform.alerts.raise_alert(Alert(f"run:{run.run_id}", "run_failed", title[:500]))
        for alert in failed_checks(context.instance, run.run_id):
            platform.alerts.raise_alert(alert)

    return [compact, run_failures]
