"""`benchmark`: judge the models on your own data, under the same protocols as on public ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import rich_click as click

from ai_assets.cli.output import ERR, OUT, emit_json, json_option, rows_table

TABLE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.group()
def benchmark() -> None:
    """Train and score the platform's models on your own data, beside trivial baselines."""


@benchmark.command()
@click.argument("table", type=TABLE)
@click.option("--test", type=TABLE, help="Score on this table instead of by folds.")
@click.option("--no-cnn", is_flag=True, help="Leave the convolutional network out (it takes minutes).")
@json_option
def classify(table: Path, test: Path | None, no_cnn: bool, as_json: bool) -> int:
    """Classifiers and embeddings on a labelled folder: TABLE is CSV with `path,label[,group][,fold]`."""
    from ai_assets.benchmarks.classify import classify as run
    from ai_assets.benchmarks.labelled_audio import TableError

    try:
        answer = run(table, test=test, with_cnn=not no_cnn, workers=os.cpu_count() or 1, progress=_progress)
    except TableError as error:
        raise click.BadParameter(str(error)) from None
    return _show(answer, answer["models"], as_json)


@benchmark.command()
@click.option("--normal", type=TABLE, required=True, help="CSV with `path`: what is normal.")
@click.option("--test", type=TABLE, required=True, help="CSV with `path,anomalous` (0 or 1).")
@json_option
def anomaly(normal: Path, test: Path, as_json: bool) -> int:
    """Outlier detectors: AUROC and partial AUROC (false-positive rate up to .1) on your own sounds."""
    from ai_assets.benchmarks.anomaly import anomaly as run
    from ai_assets.benchmarks.labelled_audio import TableError

    try:
        answer = run(normal, test, workers=os.cpu_count() or 1, progress=_progress)
    except TableError as error:
        raise click.BadParameter(str(error)) from None
    return _show(answer, answer["detectors"], as_json)


@benchmark.command()
@click.option("--train", type=FOLDER, required=True, help="Folder of MIDI, MusicXML or our JSON.")
@click.option("--test", type=FOLDER, required=True, help="Folder of pieces to be judged on.")
@json_option
def music(train: Path, test: Path, as_json: bool) -> int:
    """The music model on a collection of scores, in nats per note, beside n-grams."""
    from ai_assets.benchmarks.music import music as run

    try:
        answer = run(train, test)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return _show(answer, answer["models"], as_json)


def _progress(done: int, total: int, path: str) -> None:
    if ERR.is_terminal:
        ERR.print(f"{done}/{total} {Path(path).name}", end="\r", highlight=False)


def _show(answer: dict[str, Any], models: dict[str, dict[str, Any]], as_json: bool) -> int:
    if as_json:
        emit_json(answer)
        return 0
    names = list(dict.fromkeys(name for figures in models.values() for name in figures))
    rows = [{"model": model, **{name: figures.get(name) for name in names}} for model, figures in models.items()]
    OUT.print(rows_table("benchmark", rows, ["model", *names]))
    for key in ("protocol", "served", "unit"):
        if key in answer:
            OUT.print(f"{key}: {answer[key]}", highlight=False)
    return 0
