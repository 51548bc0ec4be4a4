"""`generate`: texts, covers and music on demand, from a track of the catalogue or from given facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, platform_of


@click.command()
@click.argument("modality", type=click.Choice(["text", "cover", "music"]))
@click.option("--track", help='A track of the catalogue: id, path, or "artist - title".')
@click.option("--facts", help="Facts as JSON, or a file with them: an object or a list of objects.")
@click.option(
    "--lang", type=click.Choice(["en", "de", "fr"]), default="en", show_default=True, help="Language of a text."
)
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Items per fact set.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the first item; the same seed gives the same item.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for files (default: here).")
@json_option
@click.pass_context
def generate(
    ctx: click.Context,
    modality: str,
    track: str | None,
    facts: str | None,
    lang: str,
    count: int,
    seed: int | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Generate a text, a cover or a tune that is true to its facts and marked as generated.

    Example: `ai-assets generate text --facts '{"title": "Nuit", "artist": "Ana", "genre": "jazz"}' --lang fr`.
    """
    from ai_assets.content_generation.facts import FactError, fact_set
    from ai_assets.content_generation.on_demand import REQUIRED, NoGenerator, generate_items, read_facts

    if (track is None) == (facts is None):
        raise click.UsageError("give either --track or --facts")
    try:
        given = read_facts(facts) if facts is not None else None
        for item in given or []:
            fact_set(item, require=REQUIRED[modality])
    except (FactError, ValueError) as error:
        raise click.BadParameter(str(error), param_hint="--facts") from None
    platform = platform_of(ctx)
    if given is None:
        given = [_facts_of(platform, str(track))]
    try:
        items = generate_items(platform, modality, given, lang=lang, count=count, seed=seed, out=out)
    except NoGenerator as error:
        raise NotThere(str(error.args[0])) from None
    if as_json:
        emit_json(items)
        return 0
    for item in items:
        if item.get("text"):
            OUT.print(item["text"], highlight=False)
        for path in item.get("files", {}).values():
            OUT.print(path, highlight=False)
    return 0


def _facts_of(platform: Any, reference: str) -> dict[str, Any]:
    """Facts of a track of the catalogue. Raises NotThere."""
    from ai_assets.content_generation.subjects import track_facts
    from ai_assets.recommendation_update.answers import NothingToAnswer, find_track, snapshot_of

    try:
        snapshot = snapshot_of(platform)
        track = str(snapshot.catalogue["track"][find_track(platform, snapshot, reference)])
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None
    frame = platform.lake.table("tracks").frame()
    row = frame[frame["track"] == track].to_dict("records")[0]
    facts = track_facts(row).to_mapping()
    return {name: value for name, value in facts.items() if value is not None and name != "notes"}
