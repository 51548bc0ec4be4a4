"""`table`, `status` and `quarantine`: look at what a home holds."""

from __future__ import annotations

import csv
import json
import sys

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, platform_of, rows_table


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows (default: all; 20 for people).")
@click.option("--csv", "as_csv", is_flag=True, help="Answer as CSV.")
@json_option
@click.pass_context
def table(ctx: click.Context, name: str, limit: int | None, as_csv: bool, as_json: bool) -> int:
    """Show a table of the lake by its asset's name, for instance `ai-assets table tracks --limit 5`.

    With `--json` the answer is JSON Lines, one object per row.
    """
    from ai_assets.look import read_table, table_names

    platform = platform_of(ctx)
    try:
        columns, rows = read_table(platform, name, limit if as_json or as_csv else limit or 20)
    except LookupError:
        raise NotThere(f"there is no table {name!r} yet; there are: {', '.join(table_names(platform))}") from None
    if as_json:
        for row in rows:
            sys.stdout.write(json.dumps(row, ensure_ascii=False, default=str, allow_nan=False) + "\n")
    elif as_csv:
        writer = csv.DictWriter(sys.stdout, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    else:
        OUT.print(rows_table(name, rows, columns[:12]))
        if len(columns) > 12:
            OUT.print(f"[dim]… and {len(columns) - 12} more columns; --csv and --json show all[/dim]")
    return 0


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """Show where things lie, what each asset holds and whether sensors are running."""
    from ai_assets.look import home_status

    answer = home_status(platform_of(ctx))
    if as_json:
        emit_json(answer)
        return 0
    for label in ("home", "landing_audio", "landing_events", "dagster_home"):
        OUT.print(f"{label:16} {answer[label]}")
    OUT.print(f"{'to use dagster':16} {answer['export']}")
    OUT.print(f"{'daemon':16} {'running' if answer['daemon_running'] else 'not running (start it with: make ui)'}")
    OUT.print(rows_table("assets", answer["assets"]))
    return 0


@click.command()
@click.option("--table", "of", help="Only what was meant for this table.")
@json_option
@click.pass_context
def quarantine(ctx: click.Context, of: str | None, as_json: bool) -> int:
    """List the files and rows that were rejected, with place and reason. They are tried again after repair."""
    from ai_assets.look import quarantined

    rows = quarantined(platform_of(ctx), of)
    if as_json:
        emit_json(rows)
    elif rows:
        OUT.print(rows_table("quarantine", rows, ["table", "source", "reason", "first_seen", "attempts"]))
    else:
        OUT.print("Nothing is in quarantine.")
    return 0
