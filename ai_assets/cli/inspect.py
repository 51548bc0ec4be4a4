"""`inspect`: look at a table of events from elsewhere and say how to bring it in."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from ai_assets.cli.errors import FAILED, NOT_ACCEPTED
from ai_assets.cli.output import OUT, emit_json, json_option, rows_table

if TYPE_CHECKING:
    from ai_assets.data_processing.event_inspection import Inspection

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=EXISTING_FILE)
@click.option("--mapping", help='What the columns mean, e.g. "listener=uid, track={artist} - {song}, played_at=ts".')
@json_option
def inspect(file: Path, mapping: str | None, as_json: bool) -> int:
    """Look at a file of listening events: what its columns mean, which rows would be refused and why.

    Knows our own schema, ListenBrainz, Last.fm and Spotify exports and MovieLens, as JSON, CSV, TSV or Parquet; for
    other tables it proposes a mapping. Stores nothing and prints the command that takes the file. Example:
    `ai-assets inspect StreamingHistory0.json`. Exit status 3: some rows would be refused; 1: nothing can be taken.
    """
    from ai_assets.data_processing.event_inspection import inspect_events

    try:
        found = inspect_events(file, mapping)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--mapping") from None
    if as_json:
        emit_json(asdict(found))
    else:
        _show(found)
    if found.command is None or not found.accepted:
        return FAILED
    return NOT_ACCEPTED if found.refused else 0


def _show(found: Inspection) -> None:
    columns = ", ".join(found.columns) or "none"
    OUT.print(f"{found.file}: {found.format or 'no known export'}; columns {columns}", markup=False)
    if found.mapping:
        rows = [{"our field": field, "comes from": source} for field, source in found.mapping.items()]
        OUT.print(rows_table("mapping", rows), markup=False)
    if found.note:
        OUT.print(found.note, markup=False)
        return
    if found.command is None:
        what = ", ".join(found.missing) or "columns"
        OUT.print(f"Nothing says {what}. If you know, say it, for instance:")
        fields = found.missing or ["listener", "track", "played_at"]
        example = ", ".join(f"{field}=COLUMN" for field in fields)
        OUT.print(f'  ai-assets inspect {found.file} --mapping "{example}"', markup=False)
        return
    OUT.print(
        f"{found.rows:,} rows: {found.accepted:,} accepted, {found.refused:,} refused, {found.duplicates:,} duplicates"
        f"; {found.listeners:,} listeners, {found.tracks:,} tracks, {found.first or '-'} to {found.last or '-'}"
    )
    reasons = [
        {"reason": kind["examples"][0]["reason"], "rows": kind["count"], "for example": kind["examples"][0]["source"]}
        for kind in found.reasons.values()
    ]
    if reasons:
        OUT.print(rows_table("refused", reasons))
    OUT.print(f"To take it:\n  {found.command}", markup=False)
