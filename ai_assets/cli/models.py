"""`models`, `promote` and `rollback`: which model versions there are, and which one serves."""

from __future__ import annotations

from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, json_option, platform_of, rows_table


@click.command()
@click.argument("name", required=False)
@json_option
@click.pass_context
def models(ctx: click.Context, name: str | None, as_json: bool) -> int:
    """List the registered versions of all models, or of one, with their metrics."""
    rows = [
        {
            "name": version.name,
            "version": version.version,
            "champion": "champion" in version.aliases,
            "main_metric": version.tags.get("main_metric", ""),
            "value": version.metrics.get(version.tags.get("main_metric", "")),
            "metrics": dict(version.metrics),
            "digest": version.digest,
            "created_at": version.created_at,
        }
        for version in platform_of(ctx).registry.versions(name)
    ]
    if name is not None and not rows:
        raise NotThere(f"there is no model called {name!r}")
    if as_json:
        emit_json(rows)
    elif rows:
        OUT.print(rows_table("models", rows, ["name", "version", "champion", "main_metric", "value", "created_at"]))
    else:
        OUT.print("No model is registered yet; `ai-assets run` trains them.")
    return 0


@click.command()
@click.argument("name")
@click.argument("version", type=int)
@click.option("--why", required=True, help="The reason, for the audit log.")
@json_option
@click.pass_context
def promote(ctx: click.Context, name: str, version: int, why: str, as_json: bool) -> int:
    """Make a version the champion of its name."""
    return _change(ctx, as_json, "promote", name, why, lambda registry: registry.promote(name, version, why))


@click.command()
@click.argument("name")
@click.option("--why", default="rollback", show_default=True, help="The reason, for the audit log.")
@json_option
@click.pass_context
def rollback(ctx: click.Context, name: str, why: str, as_json: bool) -> int:
    """Give the champion's place back to the version that held it before."""
    return _change(ctx, as_json, "rollback", name, why, lambda registry: registry.rollback(name, why))


def _change(ctx: click.Context, as_json: bool, action: str, name: str, why: str, change: Any) -> int:
    platform = platform_of(ctx)
    try:
        version = change(platform.registry)
    except LookupError as error:
        raise NotThere(str(error.args[0] if error.args else error)) from None
    platform.audit.append(action, "cli", {"model": name, "version": version.version}, why=why)
    answer = {"name": version.name, "version": version.version, "champion": True}
    if as_json:
        emit_json(answer)
    else:
        OUT.print(f"{version.name} version {version.version} is the champion")
    return 0
