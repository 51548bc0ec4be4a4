"""The console command `ai-assets`: one thin module per group of commands, each loaded only when it is called.

What a command does stands in the families, in `launch` or in `serving`; here are arguments, output and exit status.
"""

import importlib
from typing import Any

import rich_click as click

from ai_assets.cli.errors import report

COMMANDS: dict[str, str] = {
    "run": "ai_assets.cli.run:run",
    "demo": "ai_assets.cli.demo:demo",
    "plan": "ai_assets.cli.run:plan",
    "backfill": "ai_assets.cli.run:backfill",
    "analyze": "ai_assets.cli.analyze:analyze",
    "recommend": "ai_assets.cli.ask:recommend",
    "similar": "ai_assets.cli.ask:similar",
    "table": "ai_assets.cli.look:table",
    "status": "ai_assets.cli.look:status",
    "quarantine": "ai_assets.cli.look:quarantine",
    "doctor": "ai_assets.cli.doctor:doctor",
    "models": "ai_assets.cli.models:models",
    "promote": "ai_assets.cli.models:promote",
    "rollback": "ai_assets.cli.models:rollback",
    "generate": "ai_assets.cli.generate:generate",
    "benchmark": "ai_assets.cli.benchmark:benchmark",
    "audit": "ai_assets.cli.audit:audit",
    "worker": "ai_assets.cli.worker:worker",
    "ui": "ai_assets.cli.ui:ui",
    "serve-ui": "ai_assets.cli.ui:serve_ui",
}

click.rich_click.COMMAND_GROUPS = {
    "ai-assets": [
        {"name": "Make", "commands": ["run", "demo", "plan", "backfill", "generate"]},
        {"name": "Ask", "commands": ["recommend", "similar", "analyze", "table"]},
        {
            "name": "Look after it",
            "commands": ["status", "quarantine", "doctor", "models", "promote", "rollback", "audit"],
        },
        {"name": "Open", "commands": ["ui", "serve-ui", "worker", "benchmark"]},
    ]
}


class LazyGroup(click.RichGroup):
    """A group whose commands are imported when they are needed: an answer must not wait for what it does not use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--home", type=click.Path(file_okay=False), help="Folder of all data (default: AI_ASSETS_HOME, ./.ai-assets)."
)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def group(ctx: click.Context, home: str | None, debug: bool) -> None:
    """Music-AI data platform: audio and listening events in, features, models, recommendations and content out."""
    ctx.obj = {"home": home, "debug": debug}


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of `ai-assets`. Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but inputs were not accepted."""
    raise SystemExit(report(group, arguments))
