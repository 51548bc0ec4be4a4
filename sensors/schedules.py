"""What runs by the clock: recommendations every day, models every week."""

from datetime import UTC, datetime

import dagster as dg

from ai_assets.canary import Canary
from resources.platform import Platform
from sensors.retraining import weekly

RUNNING = dg.DefaultScheduleStatus.RUNNING

daily = dg.ScheduleDefinition(
    name="daily",
    job_name="recommendations_job",
    cron_schedule="30 3 * * *",
    default_status=RUNNING,
    description="Every night: indices, recommendations and playlists from the champion models.",
)

quality = dg.ScheduleDefinition(
    name="daily_quality",
    job_name="quality_job",
    cron_schedule="0 3 * * *",
    default_status=RUNNING,
    description="Every night, before the recommendations: features, splits, drift, and whether the tables agree.",
)

items = dg.ScheduleDefinition(
    name="daily_items",
    job_name="item_update_job",
    cron_schedule="15 3 * * *",
    default_status=RUNNING,
    description="Every night, before the recommendations: the newest plays into the items, kept only when better.",
)

maintenance = dg.ScheduleDefinition(
    name="maintenance",
    job_name="maintenance_job",
    cron_schedule="30 5 * * 0",
    default_status=RUNNING,
    description="Every Sunday: small files merged, old versions, runs and logs removed.",
)


@dg.schedule(
    name="hourly_canary",
    job_name="catalogue_job",
    cron_schedule="0 * * * *",
    default_status=RUNNING,
    description="Every hour, where the setting `canary` is on: a known piece and play set out; `watch` follows them.",
)
def hourly_canary(
    context: dg.ScheduleEvaluationContext, platform: dg.ResourceParam[Platform]
) -> dg.RunRequest | dg.SkipReason:
    if not platform.settings.canary:
        return dg.SkipReason("the setting canary is off")
    Canary(platform).start(datetime.now(UTC))
    return dg.SkipReason("a walk began; the sensors take the piece and the play from here")


SCHEDULES = [daily, quality, items, weekly, maintenance, hourly_canary]
