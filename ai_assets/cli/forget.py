"""`forget`: erase a listener from a home, with proof."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING

import rich_click as click

from ai_assets.cli.errors import FAILED
from ai_assets.cli.output import ERR, OUT, emit_json, json_option, literal, platform_of

if TYPE_CHECKING:
    from ai_assets.data_processing.erasure import Erasure


@click.command()
@click.argument("listener")
@json_option
@click.pass_context
def forget(ctx: click.Context, listener: str, as_json: bool) -> int:
    """Erase a listener from every table, log, file and database of this home, and prove it by a search.

    LISTENER is the id used in the events; `-` reads it from standard input, which keeps it out of the shell's history.
    Files outside the home are named, not touched. Exit status 1: something is left; the answer says where.

    Example: `ai-assets forget user-4711`.
    """
    from ai_assets.data_processing.erasure import forget_listener

    listener = sys.stdin.readline() if listener == "-" else listener
    if not listener.strip():
        raise click.BadParameter("the listener's id is empty", param_hint="LISTENER")
    platform_of(ctx)  # a home is not made for this
    platform = platform_of(ctx, prepare=True)
    report = forget_listener(platform, listener, actor=getpass.getuser())
    if as_json:
        emit_json({**vars(report), "clean": report.clean, "known": report.known})
    else:
        _print(report)
    return 0 if report.clean else FAILED


def _print(report: Erasure) -> None:
    if not report.known:
        OUT.print("Nothing of this listener was here; the erasure is on the list all the same.")
    for name, count in report.rows.items():
        OUT.print(f"{count:>8,} rows   {name}")
    for name, count in report.lines.items():
        OUT.print(f"{count:>8,} lines  {name}")
    if report.masked:
        OUT.print(f"{len(report.masked):>8,} files in which the name was overwritten")
    for item in report.outside:
        ERR.print(f"outside this home, not touched: {literal(item['file'])} ({item['lines']:,} lines)")
    for place in report.mentions:
        ERR.print(f"[dim]the same word stands in what others sent: {literal(place)}[/dim]")
    for place in report.left:
        ERR.print(f"[red]still there:[/red] {literal(place)}")
    if report.clean:
        OUT.print("Nothing is left; tables made from these events are made again by the next run.")
    else:
        ERR.print("Stop whatever is running on this home and run the same command again.")
