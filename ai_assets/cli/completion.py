"""`completion`: what a shell needs to complete commands and options."""

from __future__ import annotations

import rich_click as click
from click.shell_completion import get_completion_class

from ai_assets.cli.output import OUT

PROGRAM, VARIABLE = "ai-assets", "_AI_ASSETS_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print the script that completes commands and options of `ai-assets` in a shell.

    Example: `eval "$(ai-assets completion bash)"`; put that line into `~/.bashrc` to keep it. For zsh likewise
    (`~/.zshrc`); for fish: `ai-assets completion fish > ~/.config/fish/completions/ai-assets.fish`.
    """
    found = get_completion_class(shell)
    assert found is not None  # click ships the three
    OUT.print(found(ctx.find_root().command, {}, PROGRAM, VARIABLE).source(), markup=False, highlight=False)
    return 0
