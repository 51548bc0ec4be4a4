"""`audit`: list, verify and export the audit log."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import rich_click as click

from ai_assets.cli.output import OUT, emit_json, json_option, platform_of, rows_table


@click.group()
def audit() -> None:
    """Who did what, when: an append-only, hash-chained log."""


@audit.command("list")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Newest records first.")
@json_option
@click.pass_context
def list_(ctx: click.Context, limit: int, as_json: bool) -> int:
    """Show the newest records.

    Example: `ai-assets audit list --limit 5`.
    """
    records = [dict(record) for _, record in zip(range(limit), platform_of(ctx).audit.newest_first(), strict=False)]
    if as_json:
        emit_json(records)
    else:
        rows = [{**record, "subject": json.dumps(record.get("subject"), ensure_ascii=False)} for record in records]
        OUT.print(rows_table("audit", rows, ["seq", "ts", "action", "actor", "subject"]))
    return 0


@audit.command()
@json_option
@click.pass_context
def verify(ctx: click.Context, as_json: bool) -> int:
    """Check the chain and its signed checkpoints; exit status 1 and the first bad record when something was changed.

    Example: `ai-assets audit verify`.
    """
    log = platform_of(ctx).audit
    result = log.verify()
    answer = {
        "ok": result.ok,
        "records": result.records,
        "first_bad": result.first_bad,
        "problem": result.problem,
        "audit_log": str(log.path),
        "checkpoints": str(log.checkpoints_path),
    }
    if as_json:
        emit_json(answer)
    else:
        OUT.print(
            f"{result.records} records are intact" if result.ok else f"broken at {result.first_bad}: {result.problem}"
        )
    return 0 if result.ok else 1


@audit.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_context
def export(ctx: click.Context, file: Path) -> int:
    """Write all records as JSON Lines into FILE (`-` for standard output).

    Example: `ai-assets audit export audit.jsonl`.
    """
    lines = (json.dumps(dict(record), ensure_ascii=False) + "\n" for record in platform_of(ctx).audit.records())
    if str(file) == "-":
        sys.stdout.writelines(lines)
    else:
        with file.open("w", encoding="utf-8") as target:
            target.writelines(lines)
    return 0
