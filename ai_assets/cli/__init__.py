"""The console command `ai-assets`: one thin module per group of commands, each loaded only when it is called.

What a command does stands in the families, in `launch` or in `serving`; here are arguments, output and exit status.
"""

import atexit
import contextlib
import importlib
import os
import sys
from typing import Any

import rich_click as click

from ai_assets.cli.errors import report
from resources.numeric_threads import limit_numeric_threads

# Group by what people do: command -> (where it stands, its line in `--help`).
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "Make": {
        "run": ("ai_assets.cli.run:run", "Take new audio and events, bring everything up to date."),
        "inspect": ("ai_assets.cli.inspect:inspect", "Say what the columns of a file of events mean."),
        "demo": ("ai_assets.cli.demo:demo", "Make everything once, on a synthesised sample library."),
        "plan": ("ai_assets.cli.run:plan", "Show what `run` would make, and why."),
        "backfill": ("ai_assets.cli.run:backfill", "Rebuild missing, failed and stale partitions."),
        "generate": ("ai_assets.cli.generate:generate", "Generate a text, a cover or a tune from facts."),
        "regenerate": ("ai_assets.cli.generate:regenerate", "Make an item again, bit for bit, from its record."),
    },
    "Ask": {
        "recommend": ("ai_assets.cli.ask:recommend", "Tracks a listener has not heard yet, with reasons."),
        "similar": ("ai_assets.cli.ask:similar", "Tracks that sound alike."),
        "why": ("ai_assets.cli.ask:why", "From a recommendation back to the bytes."),
        "playlists": (
            "ai_assets.cli.playlists:playlists",
            "Playlists of listeners, by theme or seed tracks; export them.",
        ),
        "analyze": ("ai_assets.cli.analyze:analyze", "Tempo, key, loudness, defects of any audio files."),
        "table": ("ai_assets.cli.look:table", "Show any table by its asset's name."),
        "status": ("ai_assets.cli.look:status", "Where things lie and what each asset holds."),
    },
    "Decide": {
        "rules": ("ai_assets.cli.curate:rules", "What must not be recommended; holds at once."),
        "review": ("ai_assets.cli.review:review", "Approve or reject generated content."),
        "models": ("ai_assets.cli.models:models", "Versions of models; add one from elsewhere."),
        "promote": ("ai_assets.cli.models:promote", "Make a version the champion of its name."),
        "rollback": ("ai_assets.cli.models:rollback", "Give the champion's place back."),
        "experiment": ("ai_assets.cli.experiment:experiment", "Serve two versions and compare what is played."),
        "benchmark": ("ai_assets.cli.benchmark:benchmark", "Judge the models on your own data."),
    },
    "Look after it": {
        "doctor": ("ai_assets.cli.doctor:doctor", "What is broken, and the remedy."),
        "explain": ("ai_assets.cli.explain:explain", "What an error code means, and the remedy."),
        "quarantine": ("ai_assets.cli.look:quarantine", "Files and rows that were rejected, and why."),
        "inventory": ("ai_assets.cli.keep:inventory", "Is every file, row and partition accounted for?"),
        "audit": ("ai_assets.cli.audit:audit", "Who did what, when; verify that log."),
        "maintain": ("ai_assets.cli.keep:maintain", "Merge small files, remove old versions and logs."),
        "backup": ("ai_assets.cli.keep:backup", "Copy this home, also while it is in use."),
        "restore": ("ai_assets.cli.keep:restore", "Make this home from a backup, checked byte by byte."),
        "forget": ("ai_assets.cli.forget:forget", "Erase a listener everywhere, and prove it."),
    },
    "Open": {
        "ui": ("ai_assets.cli.ui:ui", "Dagster UI, sensors, schedules and MLflow UI."),
        "serve": ("ai_assets.cli.serve:serve", "Answers and event intake over HTTP."),
        "up": ("ai_assets.cli.up:up", "All processes of a team's first machine."),
        "worker": ("ai_assets.cli.worker:worker", "Work on steps and tasks, on any machine of a team."),
        "serve-ui": ("ai_assets.cli.ui:serve_ui", "The guarded Dagster UI alone, without daemon."),
        "exporter": ("ai_assets.cli.watch:exporter", "Metrics for Prometheus."),
        "completion": ("ai_assets.cli.completion:completion", "Completion of commands and options in your shell."),
    },
}
COMMANDS = {name: entry for commands in GROUPS.values() for name, entry in commands.items()}

click.rich_click.THEME = "default-slim"  # no boxes: `--help` fits on one screen
click.rich_click.COMMAND_GROUPS = {
    "ai-assets": [{"name": name, "commands": list(commands)} for name, commands in GROUPS.items()]
}


class LazyGroup(click.RichGroup):
    """A group whose commands are imported when they are needed: an answer must not wait for what it does not use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        target, line = COMMANDS[cmd_name]
        module, name = target.split(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        command.short_help = line
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--home", type=click.Path(file_okay=False), help="Folder of all data (AI_ASSETS_HOME, ./.ai-assets).")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def group(ctx: click.Context, home: str | None, debug: bool) -> None:
    """Music-AI data platform: audio and listening events in, features, models, recommendations and content out."""
    ctx.obj = {"home": home, "debug": debug}


def main(arguments: list[str] | None = None) -> Any:
    """Entry point of `ai-assets`. Exit status: 0 done, 1 failed, 2 wrong usage, 3 done but inputs were not accepted."""
    limit_numeric_threads()
    status = [1]
    if arguments is None:
        atexit.register(_leave, status)  # registered first, so that it runs last
    try:
        status[0] = report(group, arguments)
    except SystemExit as error:
        status[0] = error.code if isinstance(error.code, int) else int(error.code is not None)
        raise
    raise SystemExit(status[0])


def _leave(status: list[int]) -> None:
    """End the process at once: taking apart every loaded module, object by object, takes up to three seconds.

    Runs when threads are joined and all other exit functions are done.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # its reader is gone, or it is closed
            stream.flush()
    os._exit(status[0])
