"""The chorale model on JSB: `python tests/benchmarks/bench_chorales.py` writes the figure into docs/quality/music.md.

Protocol: Bach's chorales on a grid of sixteenths (czhuang/JSB-Chorales-dataset, `Jsb16thSeparated.json`), its fixed
split of 229 / 76 / 77 pieces. Nats per note: every voice in every frame is one note, a held note is a repeated note, a
rest counts as one; no padding is judged. The baseline keeps the pitch with the training set's chance and else draws by
the training set's pitches of that voice.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import numpy as np

from ai_assets.content_generation.music.chorales import fit, read_parts

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("AI_ASSETS_TEST_DATA", ROOT.parent / "shared/data")) / "jsb_chorales/Jsb16thSeparated.json"
REPORT = ROOT / "docs/quality/music.md"
BEGIN, END = "<!-- chorales: begin -->", "<!-- chorales: end -->"
STEPS = 450


def keeping(train: list[np.ndarray], judged: list[np.ndarray]) -> float:
    """Nats per note of the baseline."""
    nats = notes = 0.0
    for voice in range(train[0].shape[1]):
        changes = np.concatenate([np.diff(piece[:, voice]) != 0 for piece in train]).mean()
        counts = np.bincount(np.concatenate([piece[:, voice] for piece in train]), minlength=128) + 1.0
        for piece in judged:
            own = piece[:, voice]
            moved = np.append(True, np.diff(own) != 0)
            chance = np.where(moved, changes, 1 - changes)
            chance[0] = 1.0
            nats -= float((np.log(chance) + np.where(moved, np.log(counts[own] / counts.sum()), 0)).sum())
            notes += len(own)
    return nats / notes


def main() -> None:
    steps = int(sys.argv[1]) if len(sys.argv) > 1 else STEPS
    parts = read_parts(DATA)
    begin = time.process_time()
    model = fit(
        parts["train"],
        steps=steps,
        progress=lambda step, loss: step % 100 or print(step, round(loss, 3), file=sys.stderr),
    )
    seconds = time.process_time() - begin
    found = {name: model.nll_per_note(parts[name]) for name in ("valid", "test")}
    table = "\n".join(
        [
            f"Measured with `python tests/benchmarks/bench_chorales.py`, Python {platform.python_version()}, one thread.",
            "",
            "| model | training CPU s | validation, nats per note | test, nats per note |",
            "| --- | --- | --- | --- |",
            f"| keeps the pitch or draws one | – | {keeping(parts['train'], parts['valid']):.3f} | {keeping(parts['train'], parts['test']):.3f} |",
            f"| chorale model, {steps} steps | {seconds:.0f} | {found['valid']:.4f} | {found['test']:.4f} |",
        ]
    )
    print(table)
    text = REPORT.read_text(encoding="utf-8")
    REPORT.write_text(f"{text.split(BEGIN)[0]}{BEGIN}\n{table}\n{END}{text.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
