"""`table`, `status` and `quarantine`: look at what a home holds."""

from __future__ import annotations

import csv
import json
import sys

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, fitting, json_option, platform_of, rows_table


@click.command()
@click.argument("name")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many rows (default: all; 20 for people).")
@click.option("--csv", "as_csv", is_flag=True, help="Answer as CSV.")
@json_option
@click.pass_context
def table(ctx: click.Context, name: str, limit: int | None, as_csv: bool, as_json: bool) -> int:
    """Show a table of the lake by its asset's name (`status` lists them), or `alerts`.

    Example: `ai-assets table tracks --limit 5`. With `--json` the answer is JSON Lines, one object per row.
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
        shown = fitting(rows, columns, OUT.width)
        OUT.print(rows_table(name, rows, shown))
        if len(columns) > len(shown):
            more = ", ".join(columns[len(shown) :][:8])
            rest = " …" if len(columns) > len(shown) + 8 else ""
            OUT.print(f"[dim]{len(columns) - len(shown)} more columns, with --csv and --json: {more}{rest}[/dim]")
    return 0


@click.command()
@json_option
@click.pass_context
def status(ctx: click.Context, as_json: bool) -> int:
    """Show where things lie, what each asset holds and whether sensors are running.

    Example: `ai-assets status --json`.
    """
    from ai_assets.look import home_status

    answer = home_status(platform_of(ctx))
    if as_json:
        emit_json(answer)
        return 0
    for label in ("home", "landing_audio", "landing_events", "dagster_home"):
        OUT.print(f"{label:16} {answer[label]}", markup=False)
    OUT.print(f"{'to use dagster':16} {answer['export']}")
    OUT.print(f"{'daemon':16} {'running' if answer['daemon_running'] else 'not running (start it with: make ui)'}")
    OUT.print(rows_table("assets", answer["assets"]))
    return 0


@click.command()
@click.option("--table", "of", help="Only what was meant for this table.")
@json_option
@click.pass_context
def quarantine(ctx: click.Context, of: str | None, as_json: bool) -> int:
    """List the files and rows that were rejected, with place and reason. They are tried again after repair.

    Example: `ai-assets quarantine --table raw_events`.
    """
    from ai_assets.look import quarantined

    rows = quarantined(platform_of(ctx), of)
    if as_json:
        emit_json(rows)
    elif rows:
        OUT.print(rows_table("quarantine", rows, ["table", "source", "reason", "first_seen", "attempts"]))
        for code, remedy in sorted({row["code"]: row["remedy"] for row in rows}.items()):
            OUT.print(f"{code}: {remedy}", markup=False, highlight=False)
    else:
        OUT.print("Nothing is in quarantine.")
    return 0
