"""`generate` and `regenerate`: texts, covers and music on demand, and any item once more from its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import ERR, OUT, emit_json, json_option, platform_of
from ai_assets.content_generation.text.lexicon import LANGUAGES


@click.command()
@click.argument("modality", type=click.Choice(["text", "cover", "music"]))
@click.option("--track", help='A track of the catalogue: id, path, or "artist - title".')
@click.option("--facts", help="Facts as JSON, or a file with them: an object or a list of objects.")
@click.option("--lang", type=click.Choice(LANGUAGES), default="en", show_default=True, help="Language of a text.")
@click.option("--count", type=click.IntRange(1, 1000), default=1, show_default=True, help="Items per fact set.")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of the first item; the same seed gives the same item.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for files (default: here).")
@click.option("--pretrained", is_flag=True, help="Use the configured pretrained model (slow; needs a review).")
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
    pretrained: bool,
    as_json: bool,
) -> int:
    """Generate a text, a cover or a tune that is true to its facts and marked as generated.

    Example: `ai-assets generate text --facts '{"title": "Nuit", "artist": "Ana", "genre": "jazz"}' --lang fr`.
    """
    from ai_assets.content_generation.facts import FactError, fact_set
    from ai_assets.content_generation.on_demand import REQUIRED, NoGenerator, generate_items, read_facts
    from ai_assets.content_generation.pretrained_models import NotConfigured
    from ai_assets.content_generation.safe_loading import CheckpointError

    if (track is None) == (facts is None):
        raise click.UsageError("give either --track or --facts")
    try:
        given = read_facts(facts) if facts is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--facts") from None
    for place, item in enumerate(given or [], start=1):
        try:
            fact_set(item, require=REQUIRED[modality])
        except FactError as error:
            where = f"fact set {place} of {len(given or [])}: " if len(given or []) > 1 else ""
            raise click.BadParameter(f"{where}{error}", param_hint="--facts") from None
    platform = platform_of(ctx)
    sources = None
    if given is None:
        given, sources = [_facts_of(platform, str(track))], _sources_of(platform)
    try:
        items = generate_items(
            platform, modality, given, lang=lang, count=count, seed=seed, out=out, sources=sources,
            pretrained=pretrained,
        )  # fmt: skip
    except (NoGenerator, NotConfigured, CheckpointError) as error:
        raise NotThere(str(error.args[0])) from None
    if pretrained:
        ERR.print(f"licence of the weights: {items[0]['provenance']['licence'] or 'not stated'}", highlight=False)
    if as_json:
        emit_json(items)
        return 0
    for item in items:
        if item.get("text"):
            OUT.print(item["text"], highlight=False, markup=False)
        for path in item.get("files", {}).values():
            OUT.print(path, highlight=False, markup=False)
    return 0


@click.command()
@click.argument("item")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Folder for files (default: in the home)."
)
@json_option
@click.pass_context
def regenerate(ctx: click.Context, item: str, out: Path | None, as_json: bool) -> int:
    """Make an item again from its record, with the registered model that made it; exit status 1 if it differs.

    Nothing that is stored is changed. Example: `ai-assets regenerate cover:TRACK --json`.
    """
    from ai_assets.cli.output import person
    from ai_assets.content_generation.on_demand import NoGenerator
    from ai_assets.content_generation.on_demand import regenerate as make_again
    from resources.model_registry import ModelNotFound

    platform = platform_of(ctx)
    try:
        answer = make_again(platform, item, who=person(), out=out)
    except (NoGenerator, ModelNotFound, LookupError) as error:
        raise NotThere(str(error.args[0])) from None
    if as_json:
        emit_json(answer)
    else:
        said = "the same as before" if answer["same"] else "NOT the same as before: was a library or the code changed?"
        OUT.print(f"{item}: {answer['sha256']} ({said})", highlight=False)
        for path in answer["files"].values():
            OUT.print(path, highlight=False, markup=False)
    return 0 if answer["same"] else 1


def _sources_of(platform: Any) -> dict[str, Any]:
    from ai_assets.content_generation.subjects import materializations

    return dict(materializations(platform.lake.ledger, ["tracks"]))


def _facts_of(platform: Any, reference: str) -> dict[str, Any]:
    """Facts of a track of the catalogue. Raises NotThere."""
    from ai_assets.content_generation.subjects import track_facts
    from ai_assets.recommendation_update.answers import NothingToAnswer, find_track, snapshot_of

    try:
        snapshot = snapshot_of(platform)
        track = str(snapshot.catalogue["track"][find_track(snapshot, reference, home=platform.home.root)])
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None
    frame = platform.lake.table("tracks").frame()
    row = frame[frame["track"] == track].to_dict("records")[0]
    facts = track_facts(row).to_mapping()
    return {name: value for name, value in facts.items() if value is not None and name != "notes"}
