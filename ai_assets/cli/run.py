"""`run`, `plan` and `backfill`: bring a home up to date, say what that would take, rebuild what is named."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from ai_assets.cli.errors import FAILED, NOT_ACCEPTED
from ai_assets.cli.output import ERR, OUT, StepPrinter, emit_json, json_option, literal, platform_of, rows_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ai_assets.launch import Launcher, Summary, Taken
    from ai_assets.planning import Item
    from resources.platform import Platform

EXISTING_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
LONGEST_WAIT = 30.0


@click.command()
@click.option(
    "--audio", type=EXISTING_FOLDER, multiple=True, help="Folder of audio files (any tree); nothing is copied."
)
@click.option(
    "--events", type=EXISTING_FILE, multiple=True, help="Listening events: JSON, CSV, Parquet; see `ai-assets inspect`."
)
@click.option("--mapping", help="What the columns of --events mean, as `ai-assets inspect` proposes it.")
@click.option("--confirm-removed", is_flag=True, help="Accept that the files a folder has lost are really gone.")
@json_option
@click.pass_context
def run(
    ctx: click.Context,
    audio: tuple[Path, ...],
    events: tuple[Path, ...],
    mapping: str | None,
    confirm_removed: bool,
    as_json: bool,
) -> int:
    """Take new audio and events, and bring everything up to date.

    Examples: `ai-assets run --audio ~/Music --events listens.jsonl`, or `ai-assets run` alone for what has been dropped
    into the landing folders. Exit status 3: done, but some inputs were not accepted (see `ai-assets quarantine`).
    """
    from ai_assets.launch import Launcher
    from ai_assets.launch import answer as answer_of

    _check_mapping(mapping, events)
    platform = platform_of(ctx, prepare=True)
    printer = StepPrinter()
    with Launcher(platform, progress=printer, on_run=printer.on_run) as launcher:
        roots = [launcher.inbox().register_root(folder) for folder in audio]
        sources = [launcher.event_inbox().register(file, mapping) for file in events]
        unsure = launcher.note_missing_files(roots or None, confirmed=confirm_removed, alert=False)
        taken = _take(launcher, roots or None)
        summary = launcher.bring_up_to_date()
        if unsure:  # what is lost may have been found among the new files
            launcher.note_missing_files(roots or None)
            again = launcher.bring_up_to_date()
            summary.runs += again.runs
            summary.failures += again.failures
        answer = answer_of(platform, summary, taken, sources or None)
    printer.close()
    return finish(answer, summary, as_json)


def _check_mapping(mapping: str | None, events: tuple[Path, ...]) -> None:
    from ai_assets.data_processing.event_formats import parse_mapping

    if mapping is None:
        return
    if not events:
        raise click.UsageError("--mapping says what the columns of --events FILE mean: give that file too")
    try:
        parse_mapping(mapping)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--mapping") from None


def _take(launcher: Launcher, roots: list[str] | None) -> Taken:
    """Take what has settled; wait a little for files that are still being written."""
    settle = launcher.platform.settings.settle_seconds
    taken = launcher.take_audio(roots, settle_seconds=settle)
    deadline = time.monotonic() + LONGEST_WAIT
    while taken.waiting and time.monotonic() < deadline:
        time.sleep(min(1.0, settle))
        later = launcher.take_audio(roots, settle_seconds=settle)
        taken = type(taken)(later.files, later.waiting, taken.batches + later.batches, later.roots)
    return taken


def finish(answer: dict[str, Any], summary: Summary, as_json: bool) -> int:
    """Print what a launch did and return the exit status."""
    for failure in summary.failures:
        where = f" [{failure.keys[0]}]" if failure.keys else ""
        ERR.print(f"[red]✗ {failure.asset}{where}[/red] {literal(failure.message)} [dim]run {failure.run_id}[/dim]")
    if as_json:
        emit_json(answer)
    else:
        if not summary.runs:
            OUT.print("Everything is up to date; nothing had to be made.")
        OUT.print(
            "audio: {files} files, {accepted} accepted, {refused} refused, {waiting} waiting".format(**answer["audio"])
        )
        OUT.print(
            "events: {read} read, {accepted} accepted, {quarantined} quarantined, {duplicates} duplicates".format(
                **answer["events"]
            )
        )
        for remark in answer["skipped"]:
            OUT.print(f"[dim]{literal(remark)}[/dim]")
    if summary.failures:
        return FAILED
    rejected = answer["audio"]["refused"] + answer["audio"]["waiting"] + answer["events"]["quarantined"]
    return NOT_ACCEPTED if rejected else 0


@click.command()
@json_option
@click.pass_context
def plan(ctx: click.Context, as_json: bool) -> int:
    """Show what `run` would make, and why; of audio also how many files, which families and how long. Makes nothing.

    Example: `ai-assets plan --json`.
    """
    from ai_assets.launch import Launcher

    with Launcher(platform_of(ctx, prepare=True)) as launcher:
        items = launcher.planner.items()
        audio = _audio_forecast(launcher.platform, items)
    return _show_plan(items, audio, as_json)


def _audio_forecast(platform: Platform, items: Sequence[Item]) -> dict[str, Any]:
    """What the audio pass would compute for the batches among the items; empty where none is."""
    from ai_assets.audio_analysis.batch_pass import forecast
    from ai_assets.contract.spec import CONTRACTS

    batches = {item.key for item in items if CONTRACTS[item.asset].step == "audio_pass"}
    manifest = platform.lake.table("audio_manifest")
    if not batches or not manifest.exists:
        return {}
    rows = manifest.arrow(["batch", "file_hash"]).to_pandas()
    hashes = rows.loc[rows["batch"].isin(batches), "file_hash"].tolist()
    found = forecast(hashes, cache=platform.home.cache, workers=platform.settings.workers)
    return {
        "files": found.files, "unchanged_files": found.unchanged, "families": dict(found.families),
        "seconds_at_most": round(found.seconds, 1) if found.seconds is not None else None,
    }  # fmt: skip


def _show_plan(items: Any, audio: dict[str, Any], as_json: bool) -> int:
    from ai_assets.contract.spec import CONTRACTS

    counts = Counter((item.asset, item.reason) for item in items)
    rows = [{"asset": asset, "partitions": count, "reason": reason} for (asset, reason), count in counts.items()]
    if as_json:
        emit_json([row | (audio if CONTRACTS[str(row["asset"])].step == "audio_pass" else {}) for row in rows])
        return 0
    if not rows:
        OUT.print("Everything is up to date.")
        return 0
    OUT.print(rows_table("What wants to be made", rows))
    if audio:
        families = ", ".join(f"{name} of {count}" for name, count in sorted(audio["families"].items())) or "nothing"
        duration = f", at most {audio['seconds_at_most']:.0f} s" if audio["seconds_at_most"] is not None else ""
        OUT.print(
            f"audio: {audio['files']} files to compute{duration} ({families}); {audio['unchanged_files']} unchanged",
            highlight=False,
        )
    return 0


@click.command()
@click.option(
    "--asset", "assets", multiple=True, help="Asset to rebuild (default: all partitioned assets that want it)."
)
@click.option("--from", "first", help="First partition, for instance 2026-11-01.")
@click.option("--to", "last", help="Last partition (default: the newest).")
@click.option("--all", "everything", is_flag=True, help="Rebuild also what is neither missing nor stale.")
@click.option("--dry-run", is_flag=True, help="Only say what would be made.")
@json_option
@click.pass_context
def backfill(
    ctx: click.Context,
    assets: tuple[str, ...],
    first: str | None,
    last: str | None,
    everything: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Rebuild missing, failed and stale partitions, ranges in one run; waits and returns their exit status.

    Examples: `ai-assets backfill --dry-run`, `ai-assets backfill --asset interactions --from 2026-11-01 --all`.
    """
    from ai_assets.launch import Launcher

    printer = StepPrinter()
    with Launcher(platform_of(ctx, prepare=True), progress=printer, on_run=printer.on_run) as launcher:
        try:
            items = launcher.planner.select(assets, first=first, last=last, everything=everything)
        except LookupError as error:
            raise click.BadParameter(str(error.args[0])) from None
        if dry_run:
            return _show_plan(items, _audio_forecast(launcher.platform, items), as_json)
        summary = launcher.bring_up_to_date(items=items)
    printer.close()
    for failure in summary.failures:
        ERR.print(f"[red]✗ {failure.asset} {' '.join(failure.keys)}[/red] {literal(failure.message)}")
    made = {"run_id": summary.run_id if summary.runs else None, "status": summary.status, "runs": len(summary.runs)}
    if as_json:
        emit_json({**made, "partitions": len(items)})
    else:
        OUT.print(f"{len(items)} partitions in {len(summary.runs)} runs: {summary.status}")
    return FAILED if summary.failures else 0
