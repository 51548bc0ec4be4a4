"""`ui`: start everything a person looks at, on the data of this home."""

from __future__ import annotations

import rich_click as click

from ai_assets.cli.output import OUT, platform_of


@click.command()
@click.pass_context
def ui(ctx: click.Context) -> int:
    """Start the Dagster UI, the daemon with sensors, schedules and automation, and the MLflow UI.

    Ports: AI_ASSETS_UI_PORT and AI_ASSETS_MLFLOW_PORT (3000, 5000); the next free one is taken. Ctrl-C ends everything.
    """
    from ai_assets.serving.supervisor import Supervisor

    platform = platform_of(ctx, prepare=True)
    return Supervisor(platform, lambda line: OUT.print(line, highlight=False)).run()
