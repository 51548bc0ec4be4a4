"""`worker`: work on tasks that others send with `.delay()`."""

from __future__ import annotations

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import platform_of


@click.command()
@click.option("--queue", default="ai_tasks", show_default=True, help="Queue to work on.")
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Tasks at a time.")
@click.pass_context
def worker(ctx: click.Context, queue: str, concurrency: int) -> int:
    """Start a Celery worker for the platform's tasks; needs AI_ASSETS_BROKER_URL (redis:// or amqp://)."""
    platform = platform_of(ctx, prepare=True)
    if platform.settings.broker_url is None:
        raise NotThere("no broker is configured; set AI_ASSETS_BROKER_URL, for instance redis://127.0.0.1:6379/0")
    from resources.celery_app import app

    app.worker_main(["worker", "-P", "threads", "-c", str(concurrency), "-Q", queue, "-l", "WARNING"])
    return 0
