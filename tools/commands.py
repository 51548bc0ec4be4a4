"""`docs/commands.md`: every command of `ai-assets` with its arguments, options and example."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click

HEAD = """# All commands

Written by `make docs` from the commands' own help; do not edit.

Every command takes `--help`; before the command, `--home DIR` chooses the folder of all data and `--debug` shows the
traceback of an error. Exit status: 0 done; 1 failed, or the thing asked for is not there; 2 wrong usage or a wrong
setting; 3 done, but some inputs were not accepted; 130 stopped with Ctrl-C.

"""


def page() -> str:
    """The whole page, in the groups of `--help`."""
    from ai_assets.cli import GROUPS, group

    context = click.Context(group, info_name="ai-assets")
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n\n")
        for name in names:
            command = group.get_command(context, name)
            assert command is not None
            parts += sections(command, (name,), "###")
    return "".join(parts).rstrip() + "\n"


def sections(command: click.Command, words: tuple[str, ...], level: str) -> Iterator[str]:
    """The command's section, then those of its own commands."""
    yield f"{level} {' '.join(words)}\n\n{prose(command.help or '')}\n\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.commands[name]
            yield from sections(child, (*words, name), level + "#")
        return
    context = click.Context(command, info_name=" ".join(("ai-assets", *words)))
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\nai-assets {' '.join(words)} {usage}\n```\n\n"
    options = [item for item in command.params if isinstance(item, click.Option)]
    if options:
        yield "| option | meaning |\n| --- | --- |\n"
        yield "".join(f"| {spelled(option, context)} | {meaning(option, context)} |\n" for option in options) + "\n"


def prose(text: str) -> str:
    """Help as Markdown: a block that keeps its lines becomes one of code."""
    blocks = re.split(r"\n\s*\n", text.strip())
    return "\n\n".join(
        "```\n" + block.split("\n", 1)[1] + "\n```" if block.startswith("\b") else " ".join(block.split())
        for block in blocks
    )


def spelled(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    return f"`{record[0] if record else option.opts[0]}`".replace("|", "\\|")


def meaning(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    return (record[1] if record else option.help or "").replace("|", "\\|")
