"""Making a generation: validated vectors in, an annoy file with measured recall out, or a refusal.

annoy is used with the angular metric only, one thread and a fixed seed (then two builds are equal byte by byte), and
nothing is ever added after the build (such a file kills its reader). Its file knows neither metric nor dimension, so a
manifest with digests lies beside it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.vector_index.generation import (
    Generation,
    file_digest,
    next_number,
    open_generation,
    prune,
    swap,
    sync_folder,
)

SEED = 20_261_122
TREES = 50
MOST_TREES = 400
LEAST_RECALL = 0.95
RECALL_QUERIES = 1_000
RECALL_K = 10
SAME_COSINE = 1e-6
MEASURED = frozenset({
    "metric", "dim", "count", "seed", "model_version", "watermark", "trees", "search_k", "recall", "recall_queries",
    "files",
})  # fmt: skip


class BuildRefused(ValueError):
    """The input is unfit for an index, or its recall stayed below the bound; the current generation stays."""


def build(
    folder: Path,
    ids: Sequence[str],
    vectors: NDArray[np.float32],
    *,
    model_version: str,
    watermark: int = 0,
    extra: Mapping[str, Any] | None = None,
    queries: NDArray[np.float32] | None = None,
) -> Generation:
    """Build a generation, measure it, and make it current.

    Args:
        folder: of the index; generations lie below it.
        ids, vectors: (n,) distinct ids and (n, dim) vectors; they are normalised here.
        model_version: of the model that made the vectors.
        watermark: sequence of the delta up to which the vectors hold everything.
        extra: further facts for the manifest, under names that the build does not use itself.
        queries: (m, dim) query vectors for the recall; by default up to 1,000 of the vectors, disturbed a little.

    Raises:
        BuildRefused: bad input, or recall@10 below .95 with 400 trees.
        ValueError: a name in `extra` that the build measures itself.
    """
    names, unit = _checked(ids, vectors)
    extra = dict(extra or {})
    taken = sorted(MEASURED & set(extra))
    if taken:
        raise ValueError(f"extra facts may not be named {', '.join(taken)}: the build measures these itself")
    folder.mkdir(parents=True, exist_ok=True)
    name = f"gen-{next_number(folder)}"
    aside = folder / f".aside-{name}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        np.save(aside / "ids.npy", names, allow_pickle=False)
        np.save(aside / "vectors.npy", unit, allow_pickle=False)
        facts = _build_annoy(aside / "base.ann", unit, queries)
        measured = {
            "metric": "angular",
            "dim": int(unit.shape[1]),
            "count": len(names),
            "seed": SEED,
            "model_version": model_version,
            "watermark": watermark,
            **facts,
            "files": {item: file_digest(aside / item) for item in ("base.ann", "ids.npy", "vectors.npy")},
        }
        (aside / "manifest.json").write_text(json.dumps({**extra, **measured}, sort_keys=True, indent=1))
        for path in aside.iterdir():
            _sync(path)
        sync_folder(aside)
        aside.replace(folder / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(folder)
    swap(folder, name)
    prune(folder)
    return open_generation(folder / name)


def _checked(ids: Sequence[str], vectors: NDArray[np.float32]) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    names = np.array([str(item) for item in ids], dtype=str)
    values = np.ascontiguousarray(vectors, np.float32)
    if values.ndim != 2 or len(values) != len(names):
        raise BuildRefused(f"{len(names)} ids need as many vectors, got an array of shape {values.shape}")
    if len(np.unique(names)) != len(names):
        raise BuildRefused("an id occurs twice")
    if not np.isfinite(values).all():
        raise BuildRefused(f"{int((~np.isfinite(values).all(1)).sum())} vectors are not finite")
    norms = np.linalg.norm(values, axis=1, keepdims=True)
    if (norms == 0).any():
        raise BuildRefused(f"{int((norms == 0).sum())} vectors are zero")
    return names, values / norms if len(values) else values


def _build_annoy(path: Path, unit: NDArray[np.float32], queries: NDArray[np.float32] | None) -> dict[str, Any]:
    """Build with ever more work per search, then more trees, until the recall is good; returns what was chosen."""
    probes = _queries(unit) if queries is None else np.ascontiguousarray(queries, np.float32)
    bounds = kth_cosines(unit, probes)
    trees = TREES
    while True:
        index = _annoy(unit, trees)
        for factor in (1, 2, 4, 8, 16):
            search_k = max(3_000, trees * RECALL_K) * factor
            found = recall(index, unit, probes, bounds, search_k)
            if found >= LEAST_RECALL:
                index.save(str(path))
                return {"trees": trees, "search_k": search_k, "recall": round(found, 4), "recall_queries": len(probes)}
        if trees >= MOST_TREES:
            raise BuildRefused(f"recall@{RECALL_K} stayed at {found:.3f} with {trees} trees; expected {LEAST_RECALL}")
        trees *= 2


def _annoy(unit: NDArray[np.float32], trees: int) -> Any:
    from annoy import AnnoyIndex

    index = AnnoyIndex(unit.shape[1], "angular")
    index.set_seed(SEED)
    for code, vector in enumerate(unit):
        index.add_item(code, vector)
    index.build(trees, n_jobs=1)
    return index


def _queries(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Up to 1,000 vectors that are near the data but not in them."""
    rng = np.random.default_rng(SEED)
    chosen = rng.permutation(len(unit))[:RECALL_QUERIES]
    noise = rng.standard_normal((len(chosen), unit.shape[1])).astype(np.float32)
    return unit[chosen] + 0.3 * noise / np.sqrt(max(unit.shape[1], 1))


def kth_cosines(unit: NDArray[np.float32], probes: NDArray[np.float32], k: int = RECALL_K) -> NDArray[np.float32]:
    """(queries,) cosine of the k-th nearest vector by exact search; of the farthest where there are fewer than k."""
    k = min(k, len(unit))
    if k == 0:
        return np.zeros(len(probes), np.float32)
    probes = probes / np.maximum(np.linalg.norm(probes, axis=1, keepdims=True), 1e-12)
    parts = [np.partition(probes[i : i + 200] @ unit.T, -k, axis=1)[:, -k] for i in range(0, len(probes), 200)]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)


def recall(
    index: Any,
    unit: NDArray[np.float32],
    probes: NDArray[np.float32],
    bounds: NDArray[np.float32],
    search_k: int,
    k: int = RECALL_K,
) -> float:
    """Share of the k answers per query that are as near as the exact ones.

    An answer counts when its cosine is that of the k-th exact neighbour or more: which of several equal vectors is
    found does not matter.
    """
    k = min(k, len(unit))
    if not len(probes) or not k:
        return 1.0
    hits = 0
    for probe, bound in zip(probes, bounds, strict=True):
        found = index.get_nns_by_vector(probe, k, search_k=search_k)
        hits += int((unit[found] @ (probe / np.linalg.norm(probe)) >= bound - SAME_COSINE).sum())
    return hits / (k * len(probes))


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
