"""`experiment`: is the ranking model worth it to listeners? Start, stop and read an A/B test."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, platform_of, rows_table


@click.group()
def experiment() -> None:
    """Serve a share of the listeners without the ranking model, and compare what they play."""


@experiment.command("list")
@json_option
@click.pass_context
def list_experiments(ctx: click.Context, as_json: bool) -> int:
    """All experiments, oldest first.

    Example: `ai-assets experiment list`.
    """
    from ai_assets.recommendation_update.experiments import Experiments

    rows = [
        {"name": row["name"], "share": row["share"], "started": _day(row["started_at"]),
         "stopped": _day(row["stopped_at"])}
        for row in Experiments(platform_of(ctx, prepare=True).database).rows()
    ]  # fmt: skip
    if as_json:
        emit_json(rows)
    elif rows:
        OUT.print(rows_table("experiments", rows))
    else:
        OUT.print("No experiments. Example: ai-assets experiment start autumn")
    return 0


@experiment.command("start")
@click.argument("name")
@click.option("--share", default=0.5, show_default=True, help="Share of the listeners with the ranking model.")
@json_option
@click.pass_context
def start(ctx: click.Context, name: str, share: float, as_json: bool) -> int:
    """Start an A/B test; holds within two seconds on every surface.

    Example: `ai-assets experiment start autumn --share 0.5`.
    """
    from ai_assets.recommendation_update.experiments import Experiments

    platform = platform_of(ctx, prepare=True)
    try:
        Experiments(platform.database).start(name, share)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    platform.audit.append("experiment_start", "cli", {"experiment": name}, share=share)
    return _said(as_json, {"name": name, "share": share}, f"experiment {name} runs")


@experiment.command("stop")
@click.argument("name")
@json_option
@click.pass_context
def stop(ctx: click.Context, name: str, as_json: bool) -> int:
    """Stop it: everybody gets the ranking model again.

    Example: `ai-assets experiment stop autumn`.
    """
    from ai_assets.recommendation_update.experiments import Experiments

    platform = platform_of(ctx, prepare=True)
    try:
        Experiments(platform.database).stop(name)
    except LookupError as error:
        raise NotThere(str(error)) from None
    platform.audit.append("experiment_stop", "cli", {"experiment": name})
    return _said(as_json, {"name": name}, f"experiment {name} is stopped")


@experiment.command("show")
@click.argument("name")
@json_option
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> int:
    """Plays per shown track in both arms, and the difference with its 95 % interval over listeners.

    Example: `ai-assets experiment show autumn`.
    """
    import pandas as pd

    from ai_assets.recommendation_update.experiments import ARMS, Experiments

    platform = platform_of(ctx, prepare=True)
    table, names = platform.lake.table("listening_events"), ["list_id", "track", "skipped"]
    events = table.arrow(names).to_pandas() if table.exists else pd.DataFrame(columns=names)
    try:
        found = Experiments(platform.database).read(name, events)
    except LookupError as error:
        raise NotThere(str(error)) from None
    numbers = {"difference": found.difference, "low": found.low, "high": found.high}
    answer: dict[str, Any] = {
        "name": name,
        "arms": [{"arm": arm, "listeners": found.listeners[arm], "rate": _number(found.rates[arm])} for arm in ARMS],
        **{key: _number(value) for key, value in numbers.items()},
        "decided": found.decided,
    }
    if as_json:
        emit_json(answer)
    else:
        OUT.print(rows_table(name, answer["arms"]))
        OUT.print(
            f"difference {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
            if math.isfinite(found.low)
            else "too few listeners in both arms to compare them"
        )
    return 0


def _said(as_json: bool, answer: dict[str, Any], sentence: str) -> int:
    if as_json:
        emit_json(answer)
    else:
        OUT.print(sentence)
    return 0


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _day(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
