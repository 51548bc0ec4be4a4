"""Indices and answers at size: build, load, recall and queries per CPU second; search beside a delta; one answer.

`python tests/benchmarks/bench_index.py [COUNT ...]` (default 10000 100000) writes `docs/quality/index.md`. CPU seconds
of one thread; vectors are clustered, synthetic, 64 dimensions.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from ai_assets.model_training.ials import Ials, IalsConfig
from ai_assets.model_training.two_tower import TowerConfig, TwoTower
from ai_assets.recommendation_update import ranking
from ai_assets.recommendation_update.candidates import FEATURES, Sources
from ai_assets.recommendation_update.histories import History, Play
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from ai_assets.recommendation_update.rules import Rule
from resources.vector_index import Generation, build, open_generation
from resources.vector_index.builder import kth_cosines
from resources.vector_index.delta import Delta, LiveIndex

DIM = 64
QUERIES = 300


def clustered(count: int, *, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((max(count // 100, 1), DIM))
    vectors = centres[rng.integers(0, len(centres), count)] + 0.7 * rng.standard_normal((count, DIM))
    return vectors.astype(np.float32)


def cpu(call: Callable[[], object]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def engines(index: Generation, probes: np.ndarray, build_seconds: float) -> list[dict[str, object]]:
    """One row per engine over the same queries."""
    bounds = kth_cosines(np.asarray(index.vectors), probes)
    rows = []
    for engine in ("exact", "annoy"):
        index.search(probes[0], 10, engine=engine)
        found: list[np.ndarray] = []
        seconds = cpu(
            lambda engine=engine, found=found: [found.append(index.search(q, 10, engine=engine)[1]) for q in probes]
        )
        near = np.mean([(cosines >= bound - 1e-6).mean() for cosines, bound in zip(found, bounds, strict=True)])
        size = (index.folder / ("base.ann" if engine == "annoy" else "vectors.npy")).stat().st_size
        rows.append(
            {
                "tracks": len(index.ids),
                "engine": engine,
                "build CPU s": round(build_seconds, 1) if engine == "annoy" else 0,
                "MB": round(size / 1e6),
                "recall@10": round(float(near), 4),
                "queries per CPU s": round(len(probes) / seconds),
            }
        )
    return rows


def beside_delta(index: Generation, probes: np.ndarray) -> list[dict[str, object]]:
    """Milliseconds per query with so many changed rows in the delta, half of them re-embedded, and 1 % deleted."""
    rows = []
    for size in (0, 1_000, 5_000, 20_000):
        if size > len(index.ids):
            continue
        old = index.ids[: size // 2].tolist()
        names = np.array(sorted([*old, *(f"new{code}" for code in range(size - size // 2))]), dtype=str)
        vectors = clustered(max(size, 1), seed=3)[:size]
        unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        gone = frozenset(index.ids[-(len(index.ids) // 100) :].tolist()) if size else frozenset()
        live = LiveIndex(index, Delta(names, unit, gone, size))
        live.search(probes[0], 10)
        seconds = cpu(lambda live=live: [live.search(query, 10) for query in probes])
        rows.append({"delta rows": size, "ms per query": round(1e3 * seconds / len(probes), 2)})
    return rows


def answers(count: int) -> list[dict[str, object]]:
    """Percentiles of one recommendation (ranked, two rules, diversity, reasons) and of one `similar`."""
    rng = np.random.default_rng(0)
    artist = rng.integers(0, count // 10, count)
    text = {
        "track": [f"t{code}" for code in range(count)],
        "title": [f"Title {code}" for code in range(count)],
        "artist": [f"Artist {code}" for code in artist],
        "album": [f"Album {code % 97}" for code in artist],
        "genre": [f"genre{code % 9}" for code in artist],
        "root": ["landing/audio"] * count,
        "path": [f"{code % 9}/{code}.flac" for code in range(count)],
    }
    columns = {name: np.array(values, object) for name, values in text.items()}
    columns |= {"duration_seconds": rng.uniform(30, 600, count), "deleted": np.zeros(count, bool)}
    outputs = clustered(count, seed=1)
    outputs /= np.linalg.norm(outputs, axis=1, keepdims=True)
    sources = Sources(
        rng.integers(0, 500, count).astype(np.float32), artist.astype(np.int64),
        TwoTower(clustered(count), outputs, TowerConfig()), Ials(clustered(count, seed=2) * 0.1, IalsConfig()),
        clustered(count, seed=4),
    )  # fmt: skip
    rows = pd.DataFrame(rng.random((4_000, len(FEATURES))), columns=list(FEATURES))
    rows = rows.assign(label=(rng.random(4_000) < 0.1).astype(int), listener=np.repeat(np.arange(40), 100))
    rules = (Rule("genre", "is", "genre3"), Rule("title", "contains", "99"))
    snapshot = QuerySnapshot("bench", columns, sources, ranking.fit_ranker(rows), {}, {}, rules)
    histories = [History.of([Play(int(item)) for item in rng.integers(0, count, 100)]) for _ in range(100)]
    calls: dict[str, Callable[[History], object]] = {
        "recommend, 10 of a history of 100": lambda history: recommend(snapshot, history, 10),
        "similar, 10": lambda history: similar(snapshot, int(history.recent[0]), 10),
    }
    found = []
    for name, call in calls.items():
        call(histories[0])
        spent = [1e3 * cpu(lambda call=call, history=history: call(history)) for history in histories]
        p50, p99 = np.percentile(spent, [50, 99])
        found.append({"tracks": count, "answer": name, "p50 ms": round(p50, 1), "p99 ms": round(p99, 1)})
    return found


def table(rows: list[dict[str, object]]) -> str:
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row[name]) for name in head] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def measure(count: int) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """Rows of both tables of searches."""
    vectors, ids = clustered(count), [f"t{code}" for code in range(count)]
    probes = vectors[np.random.default_rng(9).permutation(count)[:QUERIES]]
    probes = probes + 0.3 * np.random.default_rng(8).standard_normal(probes.shape).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        before = time.process_time()
        index = build(Path(folder), ids, vectors, model_version="bench")
        seconds = time.process_time() - before
        opened = cpu(lambda: open_generation(index.folder))
        speed = [row | {"open CPU ms": round(1e3 * opened)} for row in engines(index, probes, seconds)]
        return speed, [{"tracks": count, **row} for row in beside_delta(index, probes)]


def main(counts: list[int]) -> str:
    measured = [measure(count) for count in counts]
    speed = [row for rows, _ in measured for row in rows]
    delta = [row for _, rows in measured for row in rows]
    answered = [row for count in counts for row in answers(count)]
    command = "PYTHONPATH=. OMP_NUM_THREADS=1 python tests/benchmarks/bench_index.py " + " ".join(map(str, counts))
    return (
        f"# Indices and answers at size\n\n`{command}`: synthetic clustered vectors of {DIM} dimensions, one thread, CPU"
        " time; the build includes tuning and measuring its recall on 1,000 queries.\n\n## Engines\n\n"
        f"{table(speed)}\n\n## Search over base and delta (default engine)\n\n{table(delta)}\n\n"
        f"## One answer (exact search over all models' vectors)\n\n{table(answered)}\n"
    )


if __name__ == "__main__":
    report = main([int(text) for text in sys.argv[1:]] or [10_000, 100_000])
    (Path(__file__).parents[2] / "docs" / "quality" / "index.md").write_text(report)
    sys.stdout.write(report)
