"""Training the models anew: every week, and once enough new events or a drift make it due. Never two at once.

Both triggers ask `retraining.decide`, which lets one of them through. Who starts `models_job` by hand beside them waits
in Dagster's queue, where the job's tag has a limit of one. Trainings outside of the queue meet at the lock of each
model (`training_run.train`).
"""

import dagster as dg

from ai_assets.jobs import REASON
from ai_assets.model_training.retraining import MODELS, NotNow, Training, decide
from resources.platform import Platform
from sensors.described import sensor
from sensors.upkeep import UNFINISHED


def retraining_sensors(seconds: int) -> list[dg.SensorDefinition]:
    """The sensors of this module."""

    @sensor(job_name=MODELS, minimum_interval_seconds=max(60, seconds))
    def retrain(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> dg.RunRequest | dg.SkipReason:
        """Trains the models anew once enough events have come since the last time, or listening has drifted since."""
        return _request(ask(context.instance, platform))

    return [retrain]


@dg.schedule(
    name="weekly",
    job_name=MODELS,
    cron_schedule="0 4 * * 1",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every Monday: train all models; each is promoted only if better. Never two at once.",
)
def weekly(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    return _request(ask(context.instance, platform, scheduled="the weekly training"))


def ask(instance: dg.DagsterInstance, platform: Platform, *, scheduled: str = "") -> Training | NotNow:
    """Whether to request a training now."""
    return decide(
        platform,
        busy=lambda: training_runs(instance),
        run_since=lambda moment: training_since(instance, moment),
        scheduled=scheduled,
    )


def training_runs(instance: dg.DagsterInstance) -> bool:
    """Whether a training is queued or running, whoever asked for it."""
    return bool(instance.get_runs(dg.RunsFilter(job_name=MODELS, statuses=UNFINISHED), limit=1))


def training_since(instance: dg.DagsterInstance, moment: float) -> bool:
    """Whether a training was submitted at that time (seconds since 1970) or later."""
    newest = instance.get_run_records(dg.RunsFilter(job_name=MODELS), limit=1)
    return bool(newest) and newest[0].create_timestamp.timestamp() >= moment


def _request(found: Training | NotNow) -> dg.RunRequest | dg.SkipReason:
    if isinstance(found, NotNow):
        return dg.SkipReason(found.why)
    return dg.RunRequest(run_key=found.key, tags={REASON: found.reason[:200]})
