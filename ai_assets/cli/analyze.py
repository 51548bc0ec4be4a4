"""`analyze`: look at files anywhere, without a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from ai_assets.audio_analysis.report_words import Language, ReportWords
from ai_assets.audio_status import ACCEPTED
from ai_assets.cli.errors import NOT_ACCEPTED
from ai_assets.cli.language import lang_option
from ai_assets.cli.output import ERR, OUT, counted, emit_json, json_option, literal, rows_table
from resources.processors import usable_processors


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@click.option("--workers", type=click.IntRange(min=1), help="Processes (default: all cores).")
@click.option("--features", is_flag=True, help="Add the 518 named features (with --json).")
@click.option("--only", type=click.Choice(["features"]), help="Compute and print nothing but this.")
@click.option("--html", "html_folder", type=click.Path(file_okay=False, path_type=Path), help="Write a page per file.")
@lang_option("Language of the pages")
@json_option
def analyze(
    files: tuple[str, ...],
    workers: int | None,
    features: bool,
    only: str | None,
    html_folder: Path | None,
    lang: Language,
    as_json: bool,
) -> int:
    """Tempo, key, loudness, defects and more of any audio files; needs no catalogue.

    Example: `ai-assets analyze song.mp3 other.flac`. With `--json` one object per file and line. Exit status 3: some
    file was not accepted; the others are analysed all the same.
    """
    from ai_assets.audio_analysis.analyze import analyse_paths

    answers: list[dict[str, Any]] = []
    pages = 0
    found = analyse_paths(
        files, workers=workers or usable_processors(), features=features, only_features=only is not None
    )
    for answer in counted(found, "analysing", len(files)):
        answers.append(answer)
        if as_json or only is not None:
            emit_json(answer)
        if html_folder is not None:
            from ai_assets.audio_analysis.report import write_page

            pages += 1
            page = write_page(html_folder, pages, answer, ReportWords(lang))
            ERR.print(literal(f"wrote {page}"), highlight=False)
    if not as_json and only is None:
        _show(answers)
    return 0 if all(answer["status"] in ACCEPTED for answer in answers) else NOT_ACCEPTED


def _show(answers: list[dict[str, Any]]) -> None:
    rows = [
        {
            "file": Path(answer["path"]).name,
            "status": answer["status"],
            "seconds": answer["duration_seconds"],
            "bpm": None if answer["tempo_bpm"] is None else round(answer["tempo_bpm"], 1),
            "key": answer["key"],
            "LUFS": None if answer["loudness_lufs"] is None else round(answer["loudness_lufs"], 1),
            "findings": ", ".join(item["kind"] for item in answer["anomalies"]) or "-",
        }
        for answer in answers
    ]
    OUT.print(rows_table("analysis", rows, ["file", "status", "seconds", "bpm", "key", "LUFS", "findings"]))
    for answer in answers:
        if answer["reason"]:
            OUT.print(literal(f"{answer['path']}: {answer['reason']}"), highlight=False)
