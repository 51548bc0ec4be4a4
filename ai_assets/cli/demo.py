"""`demo`: synthesise a sample library, make the whole graph from it, and show what came out."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rich_click as click

from ai_assets.audio_analysis.report_words import Language
from ai_assets.cli.errors import FAILED
from ai_assets.cli.language import lang_option
from ai_assets.cli.output import ERR, StepPrinter, literal, platform_of
from ai_assets.cli.result_page import Made, result_page
from resources.processors import usable_processors

if TYPE_CHECKING:
    from resources.platform import Platform


@click.command()
@click.option("--size", type=click.Choice(["demo", "tiny"]), default="demo", show_default=True,
              help="demo: 210 tracks, 300 listeners; tiny: 40 tracks, 20 listeners, short training.")  # fmt: skip
@click.option("--audio", type=click.Path(exists=True, file_okay=False, path_type=Path), envvar="AUDIO",
              help="A folder of your own audio instead of the sample library.")  # fmt: skip
@click.option("--events", type=click.Path(exists=True, dir_okay=False, path_type=Path), envvar="EVENTS",
              help="Your own listening events.")  # fmt: skip
@lang_option("Language of the page of results")
@click.pass_context
def demo(
    ctx: click.Context, size: Literal["demo", "tiny"], audio: Path | None, events: Path | None, lang: Language
) -> int:
    """Make everything once, on a synthesised sample library (all its figures are synthetic), and show the results.

    Example: `ai-assets demo --size tiny` (40 tracks, about a minute).
    """
    from ai_assets.launch import Launcher

    started = time.monotonic()
    _write_settings(ctx, size)
    platform = platform_of(ctx, prepare=True)
    if audio is None and events is None:
        _synthesise(platform, size)
    printer = StepPrinter()
    with Launcher(platform, progress=printer, on_run=printer.on_run) as launcher:
        if audio is not None:
            launcher.inbox().register_root(audio)
        if events is not None:
            launcher.event_inbox().register(events)
        launcher.note_missing_files()
        launcher.take_audio(settle_seconds=0.0)
        summary = launcher.bring_up_to_date()
        printer.close()
        checks = launcher.failed_checks(summary)
        counts = launcher.check_counts()
    for failure in summary.failures:
        where = f" [{failure.keys[0]}]" if failure.keys else ""
        ERR.print(f"[red]✗ {failure.asset}{where}[/red] {literal(failure.message)}")
    made = Made(
        len(summary.runs), time.monotonic() - started, counts, checks, own=audio is not None or events is not None
    )
    result_page(platform, made, lang)
    return FAILED if summary.failures else 0


def _write_settings(ctx: click.Context, size: str) -> None:
    """A demo home trains briefly and publishes passed content; written once, as any user could."""
    from ai_assets.cli.output import settings_of

    home = settings_of(ctx).places
    target = home.root / "settings.toml"
    if not target.exists():
        home.root.mkdir(parents=True, exist_ok=True)
        target.write_text(f'# Made by the demo; change or delete what you like.\npreset = "{size}"\nreview = "auto"\n')


def _synthesise(platform: Platform, size: Literal["demo", "tiny"]) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from ai_assets.synthesis.library import read_truth, synthesise_library
    from ai_assets.synthesis.listeners import simulate_listening

    home = platform.home
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=ERR, transient=True) as progress:
        task = progress.add_task("synthesising the sample library", total=None)
        report = synthesise_library(
            home.landing_audio,
            home.landing_scores,
            home.truth,
            size=size,
            workers=platform.settings.workers or usable_processors(),
            progress=lambda done, total, _name: progress.update(task, completed=done, total=total),
        )
    simulated = simulate_listening(read_truth(home.truth), home.landing_events, home.truth, size=size)
    made = "made" if report.written else "already there"
    ERR.print(
        f"[green]✓[/green] sample library {made}: {report.tracks} tracks in {len(report.styles)} styles, "
        f"{len(report.odd)} odd files; {simulated.events:,} events of {simulated.listeners} listeners "
        "[dim](synthetic)[/dim]"
    )
