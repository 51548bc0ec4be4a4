"""`maintain`, `backup`, `restore` and `inventory`: what keeps a home small, safe and recoverable."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from ai_assets.cli.errors import FAILED
from ai_assets.cli.output import OUT, emit_json, json_option, literal, platform_of, settings_of

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.option("--apply", is_flag=True, help="Do it; without, only say what would be done.")
@click.option(
    "--keep-days", type=click.IntRange(min=0), default=30, show_default=True, help="Keep runs and logs so long."
)
@json_option
@click.pass_context
def maintain(ctx: click.Context, apply: bool, keep_days: int, as_json: bool) -> int:
    """Merge small files, remove old table versions, runs, logs and impressions; without --apply only says so.

    The latest run of every partition stays. Scheduled weekly as `maintenance_job`.

    Example: `ai-assets maintain`, then `ai-assets maintain --apply`.
    """
    from ai_assets.home import open_instance
    from ai_assets.maintenance import maintain as look_after

    platform_of(ctx)
    platform = platform_of(ctx, prepare=True)
    with open_instance(platform) as instance:
        report = look_after(platform, instance, apply=apply, keep_days=keep_days)
    if as_json:
        emit_json(asdict(report))
        return 0
    done = "" if apply else "would be "
    for table, count in report.compacted.items():
        OUT.print(f"{table}: {count:,} partitions {done}merged into one file each")
    for table, count in report.vacuumed.items():
        OUT.print(f"{table}: {count:,} files {done}removed")
    OUT.print(f"{report.runs:,} runs and {report.logs:,} log files ({report.log_bytes:,} bytes) {done}removed")
    if report.impressions:
        OUT.print(f"{report.impressions:,} impressions of more than 90 days ago {done}removed")
    for name in report.databases:
        OUT.print(f"{name}: {done}compacted")
    return 0


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option("--without-secrets", is_flag=True, help="Leave the keys out; restoring then needs them from elsewhere.")
@json_option
@click.pass_context
def backup(ctx: click.Context, folder: Path, without_secrets: bool, as_json: bool) -> int:
    """Copy this home, also while it is in use, into the new folder DIR, every file with its digest.

    Example: `ai-assets backup /mnt/backups/2026-11-23`.
    """
    from resources.backup import back_up

    platform_of(ctx)
    made = back_up(platform_of(ctx, prepare=True), folder, secrets=not without_secrets)
    if as_json:
        emit_json(asdict(made))
        return 0
    OUT.print(f"{made.files:,} files, {made.bytes:,} bytes in {made.folder}")
    for remark in made.elsewhere:
        OUT.print(f"[yellow]not in it:[/yellow] {literal(remark)}")
    return 0


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER, required=False)
@click.option("--replace", is_flag=True, help="Put the home that stands there aside (it is kept, renamed).")
@click.option("--secrets", "keys", type=FOLDER, help="Folder of the keys, for a backup that was made without them.")
@click.option("--database-only", is_flag=True, help="Only the platform database, under the tables as they are now.")
@click.option("--fences-only", is_flag=True, help="Copy nothing: after a database was restored by other means.")
@json_option
@click.pass_context
def restore(
    ctx: click.Context,
    folder: Path | None,
    replace: bool,
    keys: Path | None,
    database_only: bool,
    fences_only: bool,
    as_json: bool,
) -> int:
    """Make this home from the backup DIR, checked byte by byte first; whoever was erased since is erased again.

    Example: `ai-assets --home ./restored restore /mnt/backups/2026-11-23`.
    """
    from ai_assets.restoring import restore as bring_back

    if (folder is None) != fences_only or (fences_only and database_only):
        raise click.UsageError("name the backup's folder, or use --fences-only alone")
    if folder is not None and not folder.is_dir():
        raise click.BadParameter(f"{folder} is no folder", param_hint="DIR")
    done = bring_back(
        settings_of(ctx), folder, actor=getpass.getuser(), replace=replace, keys=keys, database_only=database_only,
        fences_only=fences_only,
    )  # fmt: skip
    if as_json:
        emit_json(asdict(done))
        return 0
    OUT.print(f"restored {done.home}")
    if done.replaced is not None:
        OUT.print(f"the home that stood there is now {done.replaced}; delete it when you no longer need it")
    if done.erased_again:
        OUT.print(f"{done.erased_again} listeners on the erasure list were erased again")
    return 0


@click.command()
@json_option
@click.pass_context
def inventory(ctx: click.Context, as_json: bool) -> int:
    """Count whether every file, event row and partition is accounted for; exit status 1 names what is missing.

    Files that lie there = accepted + refused + waiting; rows read = accepted + refused + duplicates; no partition is
    left failed. The asset `inventory` does the same every night.

    Example: `ai-assets inventory`.
    """
    from ai_assets.data_processing.inventory import count_all
    from ai_assets.home import open_instance
    from ai_assets.launch import load_definitions

    platform_of(ctx)
    platform = platform_of(ctx, prepare=True)
    load_definitions(platform)  # says which assets there are
    with open_instance(platform) as instance:
        counts = count_all(platform, instance)
    rows = [count.row() for count in counts]
    ok = all(count.passed for count in counts)
    if as_json:
        emit_json({"ok": ok, "counts": rows})
    else:
        for kind in ("files", "events", "partitions"):
            own = [row for row in rows if row["kind"] == kind]
            names = ("found", "accepted", "refused", "waiting", "duplicates", "missing")
            totals = ", ".join(f"{sum(row[name] for row in own):,} {name}" for name in names)
            OUT.print(f"{kind} ({len(own)}): {totals}")
        for row in (row for row in rows if not row["passed"]):
            OUT.print(
                f"[red]✗[/red] {row['kind']} {literal(row['subject'])}: {row['missing']:,} missing: "
                f"{literal(row['examples'])}"
            )
        OUT.print("Everything is accounted for." if ok else "Something is missing; see the rows that did not pass.")
    return 0 if ok else FAILED
