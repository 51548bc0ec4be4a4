"""Retraining, compaction and failed runs: what the platform notices about itself."""

import dagster as dg

from resources.alerts import Alert
from resources.platform import Platform

RUNNING = dg.DefaultSensorStatus.RUNNING
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
MODELS_TAG = {"ai_assets/purpose": "retrain"}


def upkeep_sensors(seconds: int) -> list[dg.SensorDefinition]:
    """The sensors of this module."""

    @dg.sensor(job_name="models_job", minimum_interval_seconds=max(60, seconds), default_status=RUNNING)
    def retrain(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        """Trains the models anew once enough events have come since the last time; never twice at once."""
        rows = raw_rows(platform)
        trained = platform.lake.ledger.entry("collaborative_model")
        last = int(context.cursor or 0)
        if trained is None or last == 0:
            return dg.SensorResult(cursor=str(rows), skip_reason=dg.SkipReason("models are first trained by a run"))
        if rows - last < platform.settings.retrain_events:
            missing = platform.settings.retrain_events - (rows - last)
            return dg.SensorResult(skip_reason=dg.SkipReason(f"{missing:,} more events until the next training"))
        unfinished = dg.RunsFilter(job_name="models_job", statuses=UNFINISHED)
        if context.instance.get_runs(unfinished, limit=1):
            return dg.SensorResult(skip_reason=dg.SkipReason("a training is still running"))
        return dg.SensorResult(
            cursor=str(rows), run_requests=[dg.RunRequest(run_key=f"retrain:{rows}", tags=MODELS_TAG)]
        )

    @dg.run_failure_sensor(default_status=RUNNING, minimum_interval_seconds=seconds)
    def run_failures(context: dg.RunFailureSensorContext, platform: dg.ResourceParam[Platform]) -> None:
        """Writes an alert for every run that failed for good (retried ones are left alone)."""
        run = context.dagster_run
        if run.tags.get("dagster/will_retry") == "true":
            return
        title = f"run {run.run_id} of {run.job_name} failed: {context.failure_event.message}"
        platform.alerts.raise_alert(Alert(f"run:{run.run_id}", "run_failed", title[:500]))

    return [retrain, run_failures]


def raw_rows(platform: Platform) -> int:
    """Event rows ever appended."""
    return sum(entry.rows or 0 for entry in platform.lake.ledger.entries("raw_events").values())
