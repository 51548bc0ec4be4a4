"""`models`, `promote` and `rollback`: which model versions there are, and which one serves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from ai_assets.cli.errors import NotThere
from ai_assets.cli.output import OUT, emit_json, fitting, json_option, platform_of, rows_table


@click.command()
@click.argument("name", required=False)
@click.argument("manifest", required=False, type=click.Path(path_type=Path))
@json_option
@click.pass_context
def models(ctx: click.Context, name: str | None, manifest: Path | None, as_json: bool) -> int:
    """List the registered versions of all models, or of one, with their metrics; or add a model from elsewhere.

    Examples:

    \b
    ai-assets models
    ai-assets models genre_classifier
    ai-assets models add my-model.toml
    """
    if name == "add":
        return _add(ctx, manifest, as_json)
    if manifest is not None:
        raise click.UsageError(f"unexpected argument {str(manifest)!r}; a model is added by `ai-assets models add`")
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
        columns = fitting(rows, ["name", "version", "champion", "main_metric", "value", "created_at"], OUT.width)
        OUT.print(rows_table("models", rows, columns))
    else:
        OUT.print("No model is registered yet; `ai-assets run` trains them.")
    return 0


def _add(ctx: click.Context, manifest: Path | None, as_json: bool) -> int:
    """Add the model of a manifest, then fill its columns for the recordings that are there."""
    from ai_assets.contract.errors import PermanentError
    from ai_assets.launch import launched
    from ai_assets.model_training import external_models
    from ai_assets.model_training.external_manifest import read_manifest

    if manifest is None:
        raise click.UsageError("models add needs a MANIFEST; docs/how-to/own-model.md shows one")
    if not manifest.is_file():
        raise NotThere(f"there is no manifest {manifest}")
    platform = platform_of(ctx)
    try:
        model = read_manifest(manifest)
        version = external_models.add(model, manifest.resolve().parent, platform.registry)
    except PermanentError as error:
        raise click.ClickException(str(error)) from None
    platform.audit.append("add_model", "cli", {"model": version.name, "version": version.version}, why=model.source)
    table = "audio_embeddings" if model.output.kind == "embedding" else "track_tags"
    with launched() as launcher:
        made = launcher.bring_up_to_date(items=launcher.planner.forced(["external_models"]))
        filled = launcher.bring_up_to_date(only=[table])
    failures = [*made.failures, *filled.failures]
    if failures:
        raise click.ClickException(f"{failures[0].asset}: {failures[0].message}")
    answer = {"name": version.name, "version": version.version, "digest": version.digest, "table": table}
    if as_json:
        emit_json(answer)
    else:
        OUT.print(f"{version.name} version {version.version} fills its columns of {table}")
    return 0


@click.command()
@click.argument("name")
@click.argument("version", type=int)
@click.option("--why", required=True, help="The reason, for the audit log.")
@json_option
@click.pass_context
def promote(ctx: click.Context, name: str, version: int, why: str, as_json: bool) -> int:
    """Make a version the champion of its name.

    Example: `ai-assets promote genre_classifier 3 --why "better on the new genres"`.
    """
    if not why.strip():
        raise click.BadParameter("a reason is required", param_hint="--why")
    return _change(ctx, as_json, "promote", name, why, lambda registry: registry.promote(name, version, why))


@click.command()
@click.argument("name")
@click.option("--why", default="rollback", show_default=True, help="The reason, for the audit log.")
@json_option
@click.pass_context
def rollback(ctx: click.Context, name: str, why: str, as_json: bool) -> int:
    """Give the champion's place back to the version that held it before.

    Example: `ai-assets rollback genre_classifier`.
    """
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
