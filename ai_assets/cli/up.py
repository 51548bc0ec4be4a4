"""`up --team`: everything a team's home needs on this machine, over configured PostgreSQL, Redis and broker."""

from __future__ import annotations

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, platform_of, settings_of
from resources.settings import Settings

NEEDED = {
    "database_url": "postgresql+psycopg2://USER:PASSWORD@HOST:5432/NAME",
    "redis_url": "redis://HOST:6379/0",
    "broker_url": "redis://HOST:6379/0 or amqp://USER:PASSWORD@HOST:5672/VHOST",
}


@click.command()
@click.option("--team", is_flag=True, required=True, help="Over PostgreSQL, Redis and a broker; alone: ai-assets ui.")
@click.option("--workers", type=click.IntRange(min=0), default=1, show_default=True, help="Workers on this machine.")
@click.option(
    "--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Steps of each at a time."
)
@click.pass_context
def up(ctx: click.Context, team: bool, workers: int, concurrency: int) -> int:
    """Start code server, daemon, guarded UI, MLflow UI and workers of a team's home; Ctrl-C ends everything.

    Other machines join with `ai-assets worker`. A worker that dies is started again.

    Example: ai-assets up --team --workers 2
    """
    from ai_assets.serving.supervisor import Supervisor

    missing = lacking(settings_of(ctx))
    if missing:
        raise NotThere("a team's home is not configured; set " + ", ".join(missing) + " (docs/how-to/team.md)")
    platform = platform_of(ctx, prepare=True)

    def say(line: str) -> None:
        OUT.print(line, highlight=False, markup=False)

    return Supervisor(platform, say, workers=workers, concurrency=concurrency).run()


def lacking(settings: Settings) -> list[str]:
    """The settings of a team's home that are not set, with an example of each."""
    missing = [f"AI_ASSETS_{name.upper()} ({form})" for name, form in NEEDED.items() if getattr(settings, name) is None]
    return missing if settings.executor == "celery" else [*missing, "AI_ASSETS_EXECUTOR=celery"]
