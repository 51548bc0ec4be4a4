"""Full bars of the music generator: `python tests/benchmarks/bench_music.py [full|demo|tiny]` writes the tables.

Protocol: Nottingham tunes in one key and one meter, duplicates by their first 30 notes removed, split by the CRC-32 of
the title modulo 10 (0-7 train, 8 valid, 9 test); 64 tunes of 16 bars, seeds 1000 to 1063, half major and half minor,
best of four; CPU time of one process with one thread.
"""

from __future__ import annotations

import csv
import logging
import os
import platform
import sys
import time
import zlib
from pathlib import Path

import numpy as np

from ai_assets.benchmarks.music import apart, tune_figures, tunes
from ai_assets.content_generation.music import MusicGenerator, NGramGenerator, Score, fit_preset, read_scores
from ai_assets.content_generation.music.checks import heard_key, notes_in_scale, repeated_bars
from ai_assets.content_generation.music.corpus import Corpus
from ai_assets.content_generation.music.harmony import key_index, key_name
from ai_assets.content_generation.music.tokens import encode

ROOT = Path(__file__).parents[2]
NOTTINGHAM = Path(os.environ.get("AI_ASSETS_TEST_DATA", ROOT.parent / "shared/data")) / "nottingham"
REPORT = ROOT / "docs/quality/music.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEAD = (
    "| tunes of | bars full | key major | key minor | repeated bars | notes in scale | longest copied run | "
    "passed | CPU s a tune |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


def split(folder: Path) -> tuple[list[Score], list[Score], list[Score]]:
    """Train, validation and test scores by the titles in `tunes.csv`."""
    with (folder / "tunes.csv").open(encoding="utf-8") as file:
        titles = {row["midi"]: row["title"] for row in csv.DictReader(file)}
    parts: tuple[list[Score], list[Score], list[Score]] = ([], [], [])
    for score in read_scores(folder / "midi"):
        parts[max(0, zlib.crc32(titles[score.name].encode()) % 10 - 7)].append(score)
    train, test = apart(parts[0] + parts[1], parts[2])
    valid_names = {score.name for score in parts[1]}
    return (
        [score for score in train if score.name not in valid_names],
        [score for score in train if score.name in valid_names],
        test,
    )


def tune_row(name: str, generator: MusicGenerator) -> str:
    begin = time.process_time()
    items = tunes(generator)
    seconds = (time.process_time() - begin) / len(items)
    f = tune_figures(items)
    runs = [item.checks["longest_copied_run"] for item in items]
    return (
        f"| {name} | {f['bars_complete']:.0%} | {f['key_agreement_major']:.1%} | {f['key_agreement_minor']:.1%} | "
        f"{f['repeated_bars']:.1%} | {f['notes_in_scale']:.1%} | {max(runs)} (median {np.median(runs):.0f}) | "
        f"{f['passed']:.1%} | {seconds:.3f} |"
    )


def real_row(scores: list[Score], corpus: Corpus) -> str:
    def agreement(mode: str) -> float:
        chosen = [score for score in scores if score.mode == mode]
        hits = [heard_key(score, "temperley") == key_name(key_index(score.tonic, mode)) for score in chosen]
        return float(np.mean(hits))

    repeated = np.mean([repeated_bars(encode(score, corpus.bounds), bars=16) for score in scores])
    scale = np.mean([notes_in_scale(score) for score in scores])
    runs = [corpus.nearest(score)[1] for score in scores]
    return (
        f"| real test tunes | 100% | {agreement('major'):.1%} | {agreement('minor'):.1%} | {repeated:.1%} | "
        f"{scale:.1%} | {max(runs)} (median {np.median(runs):.0f}) | – | – |"
    )


def main(presets: list[str]) -> None:
    """Measure the presets and write the figures into the report."""
    logging.disable(logging.WARNING)
    train, valid, test = split(NOTTINGHAM)
    ngram = NGramGenerator.fit(train)
    fitted = [
        f"| n-gram of order 4, same tokens | – | {ngram.nll_per_note(valid):.3f} | {ngram.nll_per_note(test):.3f} |"
    ]
    rows = [real_row(test, ngram.corpus), tune_row("n-gram", ngram)]
    for preset in presets:
        begin = time.process_time()
        generator = fit_preset(train, preset)
        seconds = time.process_time() - begin
        nll = f"{generator.nll_per_note(valid):.3f} | {generator.nll_per_note(test):.3f}"
        fitted.append(f"| `{preset}` ({generator.decoder}, {generator.card['steps']} steps) | {seconds:.0f} | {nll} |")
        rows.append(tune_row(f"`{preset}`", generator))
        print(fitted[-1], rows[-1], sep="\n", flush=True)
    figures = "\n".join(
        [
            f"Measured with `python tests/benchmarks/bench_music.py {' '.join(presets)}`, Python "
            f"{platform.python_version()}, one thread: {len(train)} tunes train, {len(valid)} valid, {len(test)} test.",
            "",
            "| model | training CPU s | validation, nats per note | test, nats per note |",
            "| --- | --- | --- | --- |",
            *fitted,
            "",
            HEAD,
            *rows,
        ]
    )
    print(figures)
    text = REPORT.read_text(encoding="utf-8")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    REPORT.write_text(f"{head}{BEGIN}\n{figures}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or ["full", "demo", "tiny"])
