"""`benchmark`: judge the models on your own data, under the same protocols as on public ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import rich_click as click

from ai_assets.cli.output import ERR, OUT, emit_json, json_option, rows_table
from resources.processors import usable_processors

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
    """Classifiers and embeddings on a labelled folder: TABLE is CSV with `path,label[,group][,fold]`.

    Example: `ai-assets benchmark classify train.csv --test test.csv --no-cnn`.
    """
    from ai_assets.benchmarks.classify import classify as run
    from ai_assets.benchmarks.labelled_audio import TableError

    try:
        answer = run(table, test=test, with_cnn=not no_cnn, workers=usable_processors(), progress=_progress)
    except TableError as error:
        raise click.BadParameter(str(error)) from None
    return _show(answer, answer["models"], as_json)


@benchmark.command()
@click.option("--normal", type=TABLE, required=True, help="CSV with `path`: what is normal.")
@click.option("--test", type=TABLE, required=True, help="CSV with `path,anomalous` (0 or 1).")
@json_option
def anomaly(normal: Path, test: Path, as_json: bool) -> int:
    """Outlier detectors: AUROC and partial AUROC (false-positive rate up to .1) on your own sounds.

    Example: `ai-assets benchmark anomaly --normal normal.csv --test test.csv`.
    """
    from ai_assets.benchmarks.anomaly import anomaly as run
    from ai_assets.benchmarks.labelled_audio import TableError

    try:
        answer = run(normal, test, workers=usable_processors(), progress=_progress)
    except TableError as error:
        raise click.BadParameter(str(error)) from None
    return _show(answer, answer["detectors"], as_json)


@benchmark.command()
@click.option("--train", type=FOLDER, required=True, help="Folder of MIDI, MusicXML or our JSON.")
@click.option("--test", type=FOLDER, required=True, help="Folder of pieces to be judged on.")
@json_option
def music(train: Path, test: Path, as_json: bool) -> int:
    """The music model on a collection of scores, in nats per note, beside n-grams.

    A file that cannot be used is one line on standard error; the others go on. Training takes minutes.
    Example: `ai-assets benchmark music --train tunes/train --test tunes/test --json`.
    """
    from ai_assets.benchmarks.music import music as run

    try:
        answer = run(train, test, progress=_steps)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    for item in answer["left_out"]:
        ERR.print(f"left out: {item['file']}: {item['reason']}", highlight=False, markup=False)
    return _show(answer, answer["models"], as_json)


@benchmark.command()
@click.argument("file", type=TABLE)
@click.option("--test", type=TABLE, help="Test rows of --protocol fixed.")
@click.option(
    "--protocol",
    type=click.Choice(["random", "user-time", "time", "fixed"]),
    help="How the test part is cut (default: fixed with --test, time where there are times, else random).",
)
@click.option("--ratios", default=".8,.1,.1", show_default=True, help="Shares of training, tuning and test part.")
@click.option("--k", type=click.IntRange(1, 1000), default=10, show_default=True, help="Length of the lists.")
@click.option("--seeds", type=click.IntRange(1, 20), default=1, show_default=True, help="How many seeds, from 0.")
@click.option("--models", help="Comma separated; all when left out.")
@click.option("--max-minutes", type=click.FloatRange(min=0.05), default=60.0, show_default=True,
              help="For the whole command; what is not finished then is left out.")  # fmt: skip
@json_option
def recommend(
    file: Path, test: Path | None, protocol: str | None, ratios: str, k: int, seeds: int, models: str | None,
    max_minutes: float, as_json: bool,
) -> int:  # fmt: skip
    """Listening models on a table with columns `user,item[,rating][,time]`, every row a positive.

    Example: `ai-assets benchmark recommend plays.csv --protocol time --seeds 3 --max-minutes 20`
    """
    from ai_assets.benchmarks.listening_models import KEYS
    from ai_assets.benchmarks.listening_table import TableError, read_table
    from ai_assets.benchmarks.recommend import Job
    from ai_assets.benchmarks.recommend import recommend as run

    shares = _shares(ratios)
    chosen = [name.strip() for name in models.split(",")] if models else list(KEYS)
    unknown = sorted(set(chosen) - set(KEYS))
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}: expected some of {', '.join(KEYS)}", param_hint="--models")
    try:
        frame, counts = read_table(file)
        held = read_table(test)[0] if test is not None else None
        named: Any = protocol or ("fixed" if test is not None else "time" if _differ(frame) else "random")
        job = Job(frame, held, named, shares, k, tuple(range(seeds)), tuple(chosen), max_minutes * 60)
        answer = run(job, lambda text: ERR.print(text, highlight=False))
    except TableError as error:
        raise click.BadParameter(str(error)) from None
    answer["rows"] |= counts
    if not as_json:
        for name, reason in answer["left_out"].items():
            ERR.print(f"left out: {name}: {reason}", highlight=False, markup=False)
    return _show(answer, answer["models"], as_json)


@benchmark.command()
@click.option("--tracks", type=click.IntRange(100, 5_000_000), default=100_000, show_default=True, help="Catalogue.")
@click.option("--dim", type=click.IntRange(2, 1024), default=64, show_default=True, help="Length of the vectors.")
@click.option("--rate", type=click.FloatRange(0.1, 100_000), default=200, show_default=True, help="Requests a second.")
@click.option("--seconds", type=click.FloatRange(1, 3600), default=20, show_default=True, help="How long.")
@json_option
def serve(tracks: int, dim: int, rate: float, seconds: float, as_json: bool) -> int:
    """The API under load: a synthetic catalogue, re-ranking on, the server on two cores, the load from a process apart.

    Example: `ai-assets benchmark serve --tracks 100000 --rate 200`. Times count from when a request was due.
    """
    from ai_assets.benchmarks.serve import ServerFailed, serve_benchmark
    from ai_assets.cli.errors import NotThere

    def say(text: str) -> None:
        ERR.print(text, highlight=False)

    try:
        answer = serve_benchmark(tracks=tracks, dim=dim, rate=rate, seconds=seconds, say=say)
    except ServerFailed as error:
        raise NotThere(str(error)) from None
    if as_json:
        emit_json(answer)
    else:
        OUT.print(rows_table("benchmark serve", [{"figure": name, "value": value} for name, value in answer.items()]))
    return 0


def _differ(frame: Any) -> bool:
    return "time" in frame and frame["time"].nunique() > 1


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3 or min(shares) <= 0:
        raise click.BadParameter("expected three positive numbers such as .8,.1,.1", param_hint="--ratios")
    return shares


def _steps(step: int, loss: float) -> None:
    if ERR.is_terminal and step % 10 == 0:
        ERR.print(f"step {step}, loss {loss:.3f}", end="\r", highlight=False)


def _progress(done: int, total: int, path: str) -> None:
    if ERR.is_terminal:
        ERR.print(f"{done}/{total} {Path(path).name}", end="\r", highlight=False, markup=False)


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
