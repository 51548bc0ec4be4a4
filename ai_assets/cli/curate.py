"""`rules`: what may be shown."""

from __future__ import annotations

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, platform_of, rows_table


@click.group()
def rules() -> None:
    """What must not be recommended, to one listener or to all; holds at once on every surface."""


@rules.command("list")
@json_option
@click.pass_context
def list_rules(ctx: click.Context, as_json: bool) -> int:
    """All rules, oldest first.

    Example: `ai-assets rules list`.
    """
    from ai_assets.recommendation_update.rule_store import RuleStore

    rows = RuleStore(platform_of(ctx, prepare=True).database).rows()
    if as_json:
        emit_json(rows)
    elif rows:
        OUT.print(rows_table("rules: tracks that match are shown nowhere", rows))
    else:
        OUT.print("No rules. Example: ai-assets rules add genre is metal --season 12-01..12-26")
    return 0


@rules.command("add")
@click.argument("field")
@click.argument("operator")
@click.argument("value")
@click.option("--listener", help="For this listener only (the id used in the events); for all when left out.")
@click.option("--season", default="", help="Days of every year on which it holds, as MM-DD..MM-DD (UTC).")
@json_option
@click.pass_context
def add_rule(
    ctx: click.Context, field: str, operator: str, value: str, listener: str | None, season: str, as_json: bool
) -> int:
    """Exclude tracks whose FIELD matches VALUE.

    FIELD is artist, album, folder, genre, kind (live, remix, remaster, …), track or title with the OPERATOR is,
    begins_with or contains; or duration with longer_than or shorter_than and VALUE in seconds.

    Examples: `ai-assets rules add artist is "The Example"`, `ai-assets rules add kind is live --listener ana`,
    `ai-assets rules add duration longer_than 900`
    """
    from ai_assets.recommendation_update.rule_store import RuleStore
    from ai_assets.recommendation_update.rules import Rule

    try:
        checked = Rule(field, operator, value, season=season).checked()
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    platform = platform_of(ctx, prepare=True)
    pseudonym = platform.pseudonyms.of(listener) if listener is not None else None
    rule = Rule(checked.field, checked.operator, checked.value, listener=pseudonym, season=season)
    name = RuleStore(platform.database).add(rule)
    platform.audit.append("rule_added", "cli", {"rule": name, "scope": rule.scope, "field": field})
    if as_json:
        emit_json({"rule": name})
    else:
        OUT.print(f"rule {name} holds from now on; take it out with: ai-assets rules remove {name}")
    return 0


@rules.command("remove")
@click.argument("rule")
@json_option
@click.pass_context
def remove_rule(ctx: click.Context, rule: str, as_json: bool) -> int:
    """Take a rule out; RULE is its id (see `rules list`).

    Example: `ai-assets rules remove RULE`.
    """
    from ai_assets.recommendation_update.rule_store import RuleStore

    platform = platform_of(ctx, prepare=True)
    try:
        RuleStore(platform.database).remove(rule)
    except LookupError as error:
        raise NotThere(f"{error.args[0]}; ai-assets rules list names them") from None
    platform.audit.append("rule_removed", "cli", {"rule": rule})
    if as_json:
        emit_json({"rule": rule, "removed": True})
    else:
        OUT.print(f"rule {rule} is out")
    return 0
