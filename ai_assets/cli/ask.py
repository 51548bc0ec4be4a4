"""`recommend`, `similar` and `why`: ask the result. Loads neither torch nor Dagster."""

from __future__ import annotations

from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, platform_of, rows_table

count_option = click.option("--k", "k", type=click.IntRange(1, 1000), default=10, show_default=True, help="How many.")


@click.command()
@click.argument("listener")
@count_option
@json_option
@click.pass_context
def recommend(ctx: click.Context, listener: str, k: int, as_json: bool) -> int:
    """Tracks a listener has not heard yet, with reasons. LISTENER is the id used in the events.

    Example: `ai-assets recommend listener-007 --k 5`. A listener never seen gets popular tracks.
    """
    from ai_assets.recommendation_update.answers import NothingToAnswer, recommend_answer

    try:
        answer = recommend_answer(platform_of(ctx), listener, k)
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None
    if as_json:
        emit_json(answer)
        return 0
    if answer["cold"]:
        OUT.print("[dim]no history of this listener: popular tracks[/dim]")
    OUT.print(_table("recommendations", answer["recommendations"], reasons=True))
    OUT.print(f"[dim]generation {answer['generation']}, models {', '.join(answer['model'].values()) or 'none'}[/dim]")
    return 0


@click.command()
@click.argument("track")
@count_option
@json_option
@click.pass_context
def similar(ctx: click.Context, track: str, k: int, as_json: bool) -> int:
    """Tracks that sound alike. TRACK is a track id, a path, or "artist - title".

    Example: `ai-assets similar "artist - title" --k 5`.
    """
    from ai_assets.recommendation_update.answers import NothingToAnswer, similar_answer

    try:
        answer = similar_answer(platform_of(ctx), track, k)
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None
    if as_json:
        emit_json(answer)
    elif answer["similar"]:
        OUT.print(_table("similar tracks", answer["similar"], reasons=False))
    else:
        OUT.print("Nothing can be compared with this track: it is silent or unreadable, and nobody has played it.")
    return 0


@click.command()
@click.argument("listener")
@click.argument("track")
@json_option
@click.pass_context
def why(ctx: click.Context, listener: str, track: str, as_json: bool) -> int:
    """From a recommendation back to the bytes: reasons, models, versions, batch, file; or what keeps TRACK out.

    Example: `ai-assets why listener-007 "artist - title"`
    """
    from ai_assets.recommendation_update.answers import NothingToAnswer
    from ai_assets.recommendation_update.why import steps, why_answer

    try:
        answer = why_answer(platform_of(ctx), listener, track)
    except NothingToAnswer as error:
        raise NotThere(str(error.args[0])) from None
    if as_json:
        emit_json(answer)
        return 0
    OUT.print(f"{answer['title']} by {answer['artist']} ({answer['track']})", highlight=False, markup=False)
    for what, evidence in steps(answer):
        OUT.print(f"{what:>20}  {evidence}", highlight=False, markup=False)
    return 0


def _table(title: str, items: list[dict[str, Any]], *, reasons: bool) -> Any:
    rows = [
        {
            "title": item["title"],
            "artist": item["artist"],
            "score": item["score"],
            **({"why": "; ".join(item["reasons"])} if reasons else {"track": item["track"]}),
        }
        for item in items
    ]
    return rows_table(title, rows, ["title", "artist", "score", "why" if reasons else "track"])
