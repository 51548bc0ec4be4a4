"""`worker`: work on steps of runs, and on tasks that others send with `.delay()`."""

from __future__ import annotations

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import platform_of
from resources.executors import QUEUES

TASKS = "ai_tasks"


def _queues(_ctx: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> list[str]:
    names = [name.strip() for value in values for name in value.split(",")]
    unknown = [name for name in names if name not in (TASKS, *QUEUES)]
    if unknown:
        raise click.BadParameter(f"{unknown[0]!r} is no queue: choose from {', '.join((TASKS, *QUEUES))}")
    return list(dict.fromkeys(names)) or [TASKS, *QUEUES]


@click.command()
@click.option(
    "--queue",
    "queues",
    multiple=True,
    callback=_queues,
    help="Queues to work on: ai_tasks (tasks), cpu, gpu, io (steps); may be repeated. Default: all of them.",
)
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Things at a time.")
@click.pass_context
def worker(ctx: click.Context, queues: list[str], concurrency: int) -> int:
    """Work on steps of runs and on tasks; start one on each machine of a team, over the same home or storage.

    Needs AI_ASSETS_BROKER_URL (redis:// or amqp://), and for steps AI_ASSETS_REDIS_URL, where their leases are kept.

    Example: ai-assets worker --queue cpu,io --concurrency 4
    """
    platform = platform_of(ctx, prepare=True)
    if platform.settings.broker_url is None:
        raise NotThere("no broker is configured; set AI_ASSETS_BROKER_URL, for instance redis://127.0.0.1:6379/0")
    steps = [queue for queue in queues if queue != TASKS]
    if steps and platform.settings.redis_url is None and platform.settings.executor == "celery":
        raise NotThere("steps need Redis for their leases; set AI_ASSETS_REDIS_URL, or work on tasks alone: "
                       f"--queue {TASKS}")  # fmt: skip
    from resources.celery.worker import work

    work(platform.settings, tasks=TASKS in queues, steps=steps, concurrency=concurrency)
    return 0
