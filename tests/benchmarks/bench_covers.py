"""Full bars of the cover generator: `python tests/benchmarks/bench_covers.py [full] [demo] [tiny] [--sheet]` writes a table.

Protocol: a judge (small CNN, 64 px pictures) is trained on 6,000 scenes by the procedural artist of another seed than
any training; 600 conditions, also of another seed, are then drawn by the model and by the artist. The judge's accuracy is
given on the artist's 600. FID: 600 pictures against 1,000 more of the artist's, on the judge's last hidden layer, each
feature divided by its spread over 2,000 more of the artist's scenes (without that the figure depends on the judge's own
scale); the plain figure stands beside it. No seed here was used to choose the model or its training.
Distance to training: 300 scenes in token space against every training scene. CPU time of one process with one thread.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.covers import ProceduralArtist, artist, contact_sheet, fit_preset
from ai_assets.content_generation.covers.checks import hue
from ai_assets.content_generation.covers.generator import CoverGenerator, one_thread
from ai_assets.content_generation.covers.lettering import Lettering
from ai_assets.content_generation.covers.render import pixels, renderer
from ai_assets.content_generation.covers.scene import STYLES, Condition, decode
from ai_assets.content_generation.covers.training import PRESETS, training_scenes
from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.text.corpus import random_facts

REPORT = Path(__file__).parents[2] / "docs/quality/covers.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
JUDGE_SEED, ASKED_SEED, OTHER_SEED, HELD_SEED, SPREAD_SEED = 9_100_001, 9_100_101, 9_100_201, 9_100_301, 9_100_401
EDGE, EPOCHS = 64, 8


def pictures(scenes: np.ndarray) -> np.ndarray:
    """[n, 64, 64, 3] without lettering."""
    return np.stack([pixels(*decode(tokens), Lettering(), EDGE) for tokens in scenes])


def judge_features(network: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Predicted styles [n] and features [n, 64]."""
    import torch

    styles, features = [], []
    with torch.inference_mode():
        for start in range(0, len(images), 200):
            hidden = network[:-1](as_input(images[start : start + 200]))
            features.append(hidden.numpy())
            styles.append(network[-1](hidden).argmax(1).numpy())
    return np.concatenate(styles), np.concatenate(features)


def as_input(images: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def trained_judge() -> Any:
    import torch
    from torch import nn

    leads, scenes = training_scenes(6000, seed=JUDGE_SEED)
    images, labels = pictures(scenes), torch.tensor([lead.style for lead in leads])
    torch.manual_seed(0)
    layers: list[Any] = []
    for before, after in ((3, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    network = nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 64), nn.ReLU(), nn.Linear(64, len(STYLES))
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=EPOCHS * (len(images) // 64))
    rng = np.random.default_rng(0)
    for _epoch in range(EPOCHS):
        for picks in np.array_split(rng.permutation(len(images)), len(images) // 64):
            loss = nn.functional.cross_entropy(network(as_input(images[picks])), labels[picks])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


def fid(one: np.ndarray, other: np.ndarray) -> float:
    """Frechet distance of two sets of features (Heusel et al. 2017)."""
    spread = np.cov(one.T), np.cov(other.T)
    # The trace of the root of a product of two covariances; features that are always zero make them singular.
    root = np.sqrt(np.maximum(np.linalg.eigvals(spread[0] @ spread[1]).real, 0)).sum()
    return float(((one.mean(0) - other.mean(0)) ** 2).sum() + np.trace(spread[0] + spread[1]) - 2 * root)


def nearest(scenes: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Distance in token space of each scene to the nearest training scene."""
    flat, known = scenes.reshape(len(scenes), -1), training.reshape(len(training), -1)
    squares = (flat**2).sum(1)[:, None] + (known**2).sum(1)[None] - 2 * flat @ known.T
    return np.sqrt(np.maximum(squares.min(axis=1), 0))


def hue_error(images: np.ndarray, leads: list[Condition]) -> float:
    errors = [abs((hue(image) - lead.hue + 180) % 360 - 180) for image, lead in zip(images, leads, strict=True)]
    return float(np.mean(errors))


def led(images: np.ndarray, leads: list[Condition]) -> tuple[float, float]:
    """Correlation of the energy asked for with the picture's colourfulness, and of the valence with its lightness."""
    values = images.reshape(len(images), -1, 3).astype(np.float64)
    chroma = (values.max(axis=2) - values.min(axis=2)).mean(axis=1)
    energy = np.corrcoef([lead.energy for lead in leads], chroma)[0, 1]
    valence = np.corrcoef([lead.valence for lead in leads], values.mean(axis=(1, 2)))[0, 1]
    return float(energy), float(valence)


def row(
    name: str, scenes: np.ndarray, leads: list[Condition], network: Any, reference: np.ndarray, spread: np.ndarray
) -> str:
    images = pictures(scenes)
    styles, features = judge_features(network, images)
    energy, valence = led(images, leads)
    asked = np.array([lead.style for lead in leads])
    worst = min((float((styles[asked == style] == style).mean()), STYLES[style]) for style in range(len(STYLES)))
    return (
        f"| {name} | {(styles == asked).mean():.1%} | {worst[0]:.0%} ({worst[1]}) | {hue_error(images, leads):.1f} "
        f"| {energy:.2f} / {valence:.2f} | {fid(features / spread, reference / spread):.2f} | {fid(features, reference):.1f} |"
    )


def covers(generator: CoverGenerator | ProceduralArtist, facts: list[FactSet]) -> tuple[str, list[bytes]]:
    generator.sample(facts[:2], seeds=[0, 1])[0].draw(1024)
    begin = time.process_time()
    items = generator.sample(facts, seeds=range(len(facts)))
    drawn = [item.draw(1024) for item in items]
    seconds = (time.process_time() - begin) / len(facts)
    contrasts = [item.checks["contrast"] for item in items if item.checks["title_drawn"]]
    passed = sum(item.checks["passed"] for item in items)
    return f"{seconds:.3f} | {passed} of {len(items)} | {min(contrasts):.2f}", drawn


def measured(
    preset: str, network: Any, reference: np.ndarray, spread: np.ndarray, asked: list[Condition]
) -> tuple[str, str, str]:
    begin = time.process_time()
    generator = fit_preset(preset)
    fitted = time.process_time() - begin
    rngs = [np.random.default_rng(1000 + number) for number in range(len(asked))]
    generator.scenes(asked[:32], rngs[:32])
    rngs = [np.random.default_rng(1000 + number) for number in range(len(asked))]
    begin = time.process_time()
    scenes = generator.scenes(asked, rngs)
    speed = len(asked) / (time.process_time() - begin)
    _, known = training_scenes(PRESETS[preset].scenes, seed=0)
    own, held = nearest(scenes[:300], known), nearest(training_scenes(300, seed=HELD_SEED)[1], known)
    finished, drawn = covers(generator, random_facts(48, seed=ASKED_SEED))
    if "--sheet" in sys.argv:
        sheet = Path(tempfile.gettempdir()) / f"cover-sheet-{preset}.png"
        sheet.write_bytes(contact_sheet(drawn))
        print(f"contact sheet: {sheet}", file=sys.stderr)
    cost = f"| {preset} | {PRESETS[preset].steps} | {fitted:.1f} | {speed:.0f} | {finished} |"
    parts = [f"{np.median(found):.2f} / {np.quantile(found, 0.01):.2f}" for found in (own, held)]
    memory = f"| {preset} | {parts[0]} | {parts[1]} | {np.median(own) / np.median(held):.2f} |"
    return row(preset, scenes, asked, network, reference, spread), cost, memory


def report(presets: list[str]) -> str:
    with one_thread():
        network = trained_judge()
        asked, own = training_scenes(600, seed=ASKED_SEED)
        _, other = training_scenes(1000, seed=OTHER_SEED)
        reference = judge_features(network, pictures(other))[1]
        spread = judge_features(network, pictures(training_scenes(2000, seed=SPREAD_SEED)[1]))[1].std(axis=0)
        # A feature that is nearly always zero says nothing and must not count as much as the others.
        spread = np.maximum(spread, 0.1 * np.median(spread))
        results = [measured(preset, network, reference, spread, asked) for preset in presets]
        rows = [row("procedural artist", own, asked, network, reference, spread), *(result[0] for result in results)]
        finished, _ = covers(ProceduralArtist(), random_facts(48, seed=ASKED_SEED))
    begin = time.process_time()
    artist.scenes(asked, seed=1)
    speed = len(asked) / (time.process_time() - begin)
    return "\n".join(
        [
            f"Measured with `python tests/benchmarks/bench_covers.py {' '.join(presets)}`, Python "
            f"{platform.python_version()}, drawn by {renderer()}.",
            "",
            "| scenes by | style recognised (chance 10 %) | worst style | hue error, degrees | energy / valence, correlation | FID (judge) | FID, plain |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "| preset | steps | training CPU s | scenes per CPU s | CPU s per finished 1,024 px cover | checks passed | least contrast |",
            "| --- | --- | --- | --- | --- | --- | --- |",
            f"| procedural artist | – | – | {speed:.0f} | {finished} |",
            *(result[1] for result in results),
            "",
            "| preset | nearest training scene, median / 1 % | held-out scenes, median / 1 % | ratio of medians |",
            "| --- | --- | --- | --- |",
            *(result[2] for result in results),
        ]
    )


def main() -> None:
    presets = [name for name in sys.argv[1:] if not name.startswith("-")] or ["full"]
    table = report(presets)
    print(table)
    text = REPORT.read_text(encoding="utf-8")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    REPORT.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
