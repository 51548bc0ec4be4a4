"""Ranking metrics at k, vectorised, one value per user. Definitions follow `ir_measures`; tests compare with it.

Gains are binary. `ranked` is (users, k) item codes, best first, -1 where a list is shorter; `relevant` is a (users,
items) CSR matrix of ones. Users without a relevant item get NaN and are left out of means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Values = NDArray[np.float64]


def top_k(scores: NDArray[np.float32], k: int, *, seen: csr_matrix | None = None) -> NDArray[np.int64]:
    """(users, k) codes of the best items by score, ties by lower code; items of `seen` are masked, -1 fills up."""
    scores = np.array(scores, np.float32)
    if seen is not None:
        rows = np.repeat(np.arange(seen.shape[0]), np.diff(seen.indptr))
        scores[rows, seen.indices] = -np.inf
    k_have = min(k, scores.shape[1])
    part = np.argpartition(-scores, k_have - 1, axis=1)[:, :k_have] if k_have < scores.shape[1] else None
    if part is None:
        part = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    values = np.take_along_axis(scores, part, axis=1)
    order = np.lexsort((part, -values), axis=1)
    ranked = np.take_along_axis(part, order, axis=1).astype(np.int64)
    ranked[~np.isfinite(np.take_along_axis(values, order, axis=1))] = -1
    if k_have < k:
        ranked = np.pad(ranked, ((0, 0), (0, k - k_have)), constant_values=-1)
    return ranked


def hits(ranked: NDArray[np.int64], relevant: csr_matrix) -> NDArray[np.bool_]:
    """(users, k) truth values: is the item at this place relevant?"""
    users = np.repeat(np.arange(ranked.shape[0]), ranked.shape[1])
    codes = ranked.ravel()
    inside = codes >= 0
    found = np.zeros(codes.shape, bool)
    found[inside] = np.asarray(relevant[users[inside], codes[inside]]).ravel() > 0
    return found.reshape(ranked.shape)


def counts(relevant: csr_matrix) -> Values:
    """(users,) number of relevant items."""
    return np.diff(relevant.indptr).astype(float)


def recall(found: NDArray[np.bool_], relevant: csr_matrix) -> Values:
    """Hits over the number of relevant items."""
    return _ratio(found.sum(1), counts(relevant))


def precision(found: NDArray[np.bool_], relevant: csr_matrix) -> Values:
    """Hits over k."""
    return _ratio(found.sum(1), np.where(counts(relevant) > 0, float(found.shape[1]), 0.0))


def hit_rate(found: NDArray[np.bool_], relevant: csr_matrix) -> Values:
    """1 where at least one item of the list is relevant."""
    return _ratio(found.any(axis=1).astype(float), np.where(counts(relevant) > 0, 1.0, 0.0))


def ndcg(found: NDArray[np.bool_], relevant: csr_matrix) -> Values:
    """Normalised discounted cumulative gain with the ideal over min(k, relevant) (Järvelin and Kekäläinen, 2002)."""
    k = found.shape[1]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[0.0], np.cumsum(discount)])
    return _ratio(found @ discount, ideal[np.minimum(counts(relevant), k).astype(int)])


def average_precision(found: NDArray[np.bool_], relevant: csr_matrix) -> Values:
    """Mean over relevant items of the precision at their places, over min(k, relevant)."""
    k = found.shape[1]
    at = np.cumsum(found, axis=1) / np.arange(1, k + 1)
    return _ratio((at * found).sum(1), np.minimum(counts(relevant), k))


def reciprocal_rank(found: NDArray[np.bool_], relevant: csr_matrix) -> Values:
    """1 over the place of the first relevant item."""
    first = np.where(found.any(1), 1.0 / (found.argmax(1) + 1.0), 0.0)
    return _ratio(first, np.where(counts(relevant) > 0, 1.0, 0.0))


def coverage(ranked: NDArray[np.int64], item_count: int) -> float:
    """Share of the catalogue that appears in any list."""
    return len(np.unique(ranked[ranked >= 0])) / item_count if item_count else 0.0


def gini(ranked: NDArray[np.int64], item_count: int) -> float:
    """Gini coefficient of how often items are recommended: 0 all alike, 1 always the same."""
    times = np.sort(np.bincount(ranked[ranked >= 0], minlength=item_count).astype(float))
    if times.sum() == 0:
        return 0.0
    n = len(times)
    return float(((2 * np.arange(1, n + 1) - n - 1) * times).sum() / (n * times.sum()))


def novelty(ranked: NDArray[np.int64], plays: NDArray[np.float64]) -> float:
    """Mean self-information of recommended items, in bits (Vargas and Castells, 2011)."""
    share = (plays + 1.0) / (plays.sum() + len(plays))
    shown = ranked[ranked >= 0]
    return float(-np.log2(share[shown]).mean()) if len(shown) else 0.0


def intra_list_distance(ranked: NDArray[np.int64], vectors: NDArray[np.float32]) -> float:
    """Mean cosine distance between the items of a list, averaged over lists."""
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    distances = []
    for codes in ranked:
        chosen = unit[codes[codes >= 0]]
        if len(chosen) > 1:
            alike = chosen @ chosen.T
            distances.append(1.0 - alike[np.triu_indices(len(chosen), 1)].mean())
    return float(np.mean(distances)) if distances else 0.0


PER_USER = {
    "recall": recall, "ndcg": ndcg, "map": average_precision, "mrr": reciprocal_rank, "precision": precision,
    "hit_rate": hit_rate,
}  # fmt: skip


def evaluate(ranked: NDArray[np.int64], relevant: csr_matrix) -> dict[str, Values]:
    """All per-user metrics by name; NaN for users without a relevant item."""
    found = hits(ranked, relevant)
    return {name: function(found, relevant) for name, function in PER_USER.items()}


def _ratio(above: NDArray, below: NDArray) -> Values:
    below = np.asarray(below, float)
    return np.divide(np.asarray(above, float), below, out=np.full(below.shape, np.nan), where=below > 0)
