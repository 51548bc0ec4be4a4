"""`review`: what waits for a decision, and deciding it."""

from __future__ import annotations

from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, person, platform_of, rows_table

STATES = ("generated", "checks_passed", "in_review", "approved", "rejected", "published", "withdrawn")
WHY = click.option("--why", required=True, help="The reason; it goes into the audit log.")
WHO = click.option("--who", default=None, help="Who decides (default: the account's name).")


@click.group()
def review() -> None:
    """Generated content: list what waits, approve or reject it. Only approved items are published."""


@review.command("list")
@click.option(
    "--state", type=click.Choice([*STATES, "all"]), default="in_review", show_default=True, help="Which items."
)
@click.option("--modality", type=click.Choice(["text", "cover", "music"]), help="Only these.")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
@json_option
@click.pass_context
def list_(ctx: click.Context, state: str, modality: str | None, limit: int | None, as_json: bool) -> int:
    """List items with their state, and who changed it last and why.

    Example: `ai-assets review list --state all --json`.
    """
    from ai_assets.content_generation.reviewing import review_rows

    frame = review_rows(platform_of(ctx))
    if state != "all":
        frame = frame[frame["state"] == state]
    if modality is not None:
        frame = frame[frame["modality"] == modality]
    rows = (frame if limit is None else frame.head(limit)).astype(object).where(frame.notna(), None).to_dict("records")
    if as_json:
        emit_json(rows)
    else:
        OUT.print(rows_table(f"{len(rows)} items, {state}", rows, ["item", "modality", "lang", "state", "who", "why"]))
    return 0


@review.command()
@click.argument("item")
@WHY
@WHO
@click.option("--text", help="Your wording of a text; it is checked against the facts and becomes training data.")
@json_option
@click.pass_context
def approve(ctx: click.Context, item: str, why: str, who: str | None, text: str | None, as_json: bool) -> int:
    """Approve an item: it is published, and a text becomes training data.

    Example: `ai-assets review approve track-text:TRACK:en --why "reads well"`.
    """
    return _decide(ctx, item, "approved", who, why, as_json, text)


@review.command()
@click.argument("item")
@WHY
@WHO
@json_option
@click.pass_context
def reject(ctx: click.Context, item: str, why: str, who: str | None, as_json: bool) -> int:
    """Reject an item that waits, or withdraw one that is published.

    Example: `ai-assets review reject cover:TRACK --why "too dark"`.
    """
    return _decide(ctx, item, "rejected", who, why, as_json)


def _decide(
    ctx: click.Context, item: str, state: str, who: str | None, why: str, as_json: bool, text: str | None = None
) -> int:
    from ai_assets.content_generation.review import ReviewError, State
    from ai_assets.content_generation.reviewing import TextRefused, decide

    if not why.strip():
        raise click.BadParameter("is empty: say why", param_hint="--why")
    try:
        row, before = decide(platform_of(ctx), item, State(state), who=who or person(), why=why, text=text)
    except (LookupError, ReviewError) as error:
        raise NotThere(str(error.args[0])) from None
    except TextRefused as error:
        raise click.BadParameter(str(error), param_hint="--text") from None
    answer: dict[str, Any] = {
        "item": row.item, "state": row.state.value, "before": before.value, "sha256": row.sha256, "who": row.who,
        "why": why, "at": row.at.isoformat(timespec="seconds"),
    }  # fmt: skip
    if as_json:
        emit_json(answer)
    else:
        OUT.print(f"{item}: {before.value} → {row.state.value}", highlight=False)
    return 0
