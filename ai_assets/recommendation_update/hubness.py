"""Hubs: tracks that are near neighbours of far more tracks than others, and what takes them out of the lists.

In many dimensions some vectors come close to everything (M. Radovanović, A. Nanopoulos, M. Ivanović, "Hubs in Space",
JMLR 2010). Measured as the skewness of the k-occurrence; corrected when answering by what a track's own neighbourhood
says: cosine less half the mean cosine to its k nearest, the item's half of CSLS (A. Conneau et al., ICLR 2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

K = 10
# Above it hubs are called strong (A. Flexer, D. Schnitzer, Computer Music Journal 2015, on music similarity).
BOUND = 1.4
LARGEST_SAMPLE = 2_000
_BLOCK = 256

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Hubness:
    """How neighbours are spread.

    Attributes:
        skewness: of the number of lists that a track is in, 0 where all are in equally many.
        never: share of tracks that are in no list. most: share of the lists that the strongest hub is in.
    """

    skewness: float
    never: float
    most: float


def measure(vectors: Vectors, penalty: Vectors | None = None, *, seed: int = 0) -> Hubness:
    """Hubness of the ten nearest by cosine, over all queries or a sample of 2,000; zero rows are left out.

    Args:
        vectors: (n, dim). penalty: (n,) what is taken from each track's cosines, see `penalties`.
    """
    unit = _unit(vectors)
    if len(unit) < 2:
        return Hubness(0.0, 0.0, 0.0)
    own = np.zeros(len(unit), np.float32) if penalty is None else penalty[np.linalg.norm(vectors, axis=1) > 0]
    queries = _sample(len(unit), seed)
    k = min(K, len(unit) - 1)
    counts = np.zeros(len(unit))
    for start in range(0, len(queries), _BLOCK):
        chosen = queries[start : start + _BLOCK]
        values = unit[chosen] @ unit.T - own
        values[np.arange(len(chosen)), chosen] = -np.inf
        counts += np.bincount(np.argpartition(-values, k - 1, axis=1)[:, :k].ravel(), minlength=len(unit))
    spread = counts.std()
    skewness = float((((counts - counts.mean()) / spread) ** 3).mean()) if spread else 0.0
    # Of a sample, some tracks would be in no list even if all were alike: they are not counted.
    expected = float(np.exp(-counts.mean())) if len(queries) < len(unit) else 0.0
    never = max(float((counts == 0).mean()) - expected, 0.0)
    return Hubness(skewness, never, float(counts.max() / len(queries)))


def penalties(vectors: Vectors, *, seed: int = 0) -> Vectors:
    """(n,) half the mean cosine of each track to its ten nearest of all, or of a sample of 2,000; 0 for zero rows."""
    kept = np.linalg.norm(vectors, axis=1) > 0
    unit = _unit(vectors)
    found = np.zeros(len(vectors), np.float32)
    if len(unit) < 2:
        return found
    queries = _sample(len(unit), seed)
    place = np.full(len(unit), -1)
    place[queries] = np.arange(len(queries))
    k = min(K, len(queries) - 1)
    means = np.empty(len(unit), np.float32)
    for start in range(0, len(unit), _BLOCK):
        values = unit[start : start + _BLOCK] @ unit[queries].T
        own = place[start : start + _BLOCK]
        rows = np.flatnonzero(own >= 0)
        values[rows, own[rows]] = -np.inf
        means[start : start + _BLOCK] = -np.partition(-values, k - 1, axis=1)[:, :k].mean(1)
    found[kept] = means / 2
    return found


def correction(vectors: Vectors) -> Vectors | None:
    """Penalties where hubs are strong and the penalties weaken them; None where lists are better left alone."""
    before = measure(vectors)
    if before.skewness <= BOUND:
        return None
    penalty = penalties(vectors)
    return penalty if measure(vectors, penalty).skewness < before.skewness else None


def _unit(vectors: Vectors) -> Vectors:
    rows = np.asarray(vectors, np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray((rows / np.maximum(norms, 1e-12))[norms[:, 0] > 0], np.float32)


def _sample(count: int, seed: int) -> NDArray[np.int64]:
    if count <= LARGEST_SAMPLE:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, LARGEST_SAMPLE, replace=False))
