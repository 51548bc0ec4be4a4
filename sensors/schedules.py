"""What runs by the clock: recommendations every day, models every week."""

import dagster as dg

RUNNING = dg.DefaultScheduleStatus.RUNNING

daily = dg.ScheduleDefinition(
    name="daily",
    job_name="recommendations_job",
    cron_schedule="30 3 * * *",
    default_status=RUNNING,
    description="Every night: indices, recommendations and playlists from the champion models.",
)

weekly = dg.ScheduleDefinition(
    name="weekly",
    job_name="models_job",
    cron_schedule="0 4 * * 1",
    default_status=RUNNING,
    description="Every Monday: train all models; each is promoted only when it is better.",
)

SCHEDULES = [daily, weekly]
