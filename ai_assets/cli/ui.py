"""`ui` and `serve-ui`: everything a person looks at, on the data of this home."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from ai_assets.cli.output import OUT, platform_of


def _say(line: str) -> None:
    OUT.print(line, highlight=False, markup=False)


@click.command()
@click.pass_context
def ui(ctx: click.Context) -> int:
    """Start the Dagster UI, the daemon with sensors, schedules and automation, and the MLflow UI.

    The printed address logs you in. Ports: AI_ASSETS_UI_PORT and AI_ASSETS_MLFLOW_PORT (3000, 5000); the next free one
    is taken. Logs lie in the home's `logs`. Ctrl-C ends everything.

    Example: `ai-assets --home ./.ai-assets ui`.
    """
    from ai_assets.serving.supervisor import Supervisor

    return Supervisor(platform_of(ctx, prepare=True), _say).run()


@click.command("serve-ui")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port (default: AI_ASSETS_UI_PORT, 3000).")
@click.option(
    "--workspace",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Workspace file with the code server to use (default: one of its own).",
)
@click.option("--allow-host", "names", multiple=True, help="Another host name by which people call this server.")
@click.option(
    "--trusted-proxy",
    "proxies",
    multiple=True,
    help="Address whose X-Forwarded-User and X-Forwarded-Role are believed.",
)
@click.pass_context
def serve_ui(
    ctx: click.Context,
    host: str,
    port: int | None,
    workspace: Path | None,
    names: tuple[str, ...],
    proxies: tuple[str, ...],
) -> int:
    """Serve the Dagster UI behind its guard: login, roles, audit. Without daemon; `ui` starts all of it.

    Tokens and roles: AI_ASSETS_UI_TOKENS, a JSON object such as {"TOKEN": "viewer"}; without it one admin token is made
    and kept in the home's `secrets/ui-admin-token`. Programs send `Authorization: Bearer TOKEN` to /graphql.

    Example: `ai-assets serve-ui --port 3000`.
    """
    from ai_assets.serving.front_door import run_front_door
    from resources.guard.identity import TOKEN_FILE

    platform = platform_of(ctx, prepare=True)
    chosen = port or platform.settings.ui_port
    where = "AI_ASSETS_UI_TOKENS" if platform.settings.ui_tokens else str(platform.home.secrets / TOKEN_FILE)
    _say(f"Dagster UI on http://{host}:{chosen}; tokens: {where}")
    run_front_door(platform, host=host, port=chosen, workspace=workspace, names=names, proxies=proxies)
    return 0
