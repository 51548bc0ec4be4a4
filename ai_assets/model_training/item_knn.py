"""Item-to-item neighbourhood baselines: ItemKNN by cosine and SAR by Jaccard. Only closed-form counts live here.

Sources: M. Deshpande and G. Karypis, "Item-Based Top-N Recommendation Algorithms", TOIS 2004 (ItemKNN);
Microsoft Recommenders, "Smart Adaptive Recommendations" (SAR: Jaccard, no cut of the neighbourhood, threshold 1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.interactions import Histories, Interactions, history_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class ItemNeighbours:
    """(items, items) CSR similarity without a diagonal; a score is the sum over the history."""

    similarity: csr_matrix
    name: str

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(users, items) scores."""
        found = history_matrix(histories, self.similarity.shape[0]) @ self.similarity
        return np.asarray(found.toarray(), np.float32)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        parts = self.similarity
        np.savez(folder / f"{self.name}.npz", data=parts.data, indices=parts.indices, indptr=parts.indptr)
        (folder / f"{self.name}.json").write_text(json.dumps({"items": parts.shape[0]}))

    @classmethod
    def load(cls, folder: Path, name: str) -> ItemNeighbours:
        """The model saved in `folder` under `name` (`itemknn` or `sar`)."""
        from scipy.sparse import csr_matrix

        items = int(json.loads((folder / f"{name}.json").read_text())["items"])
        with np.load(folder / f"{name}.npz", allow_pickle=False) as parts:
            return cls(csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=(items, items)), name)


def fit_item_knn(interactions: Interactions, *, neighbours: int = 100, shrink: float = 10.0) -> ItemNeighbours:
    """Cosine of item columns, damped by `shrink`, the best `neighbours` per item kept. Deterministic."""
    together, counts, rows = _cooccurrence(interactions)
    together.data = (together.data / (np.sqrt(counts[rows] * counts[together.indices]) + shrink)).astype(np.float32)
    # Kept per target item, so that each score is a sum over the history's nearest items to that target.
    return ItemNeighbours(_best(together, neighbours).T.tocsr(), "itemknn")


def fit_sar(interactions: Interactions) -> ItemNeighbours:
    """Jaccard similarity of item columns. Deterministic."""
    together, counts, rows = _cooccurrence(interactions)
    union = counts[rows] + counts[together.indices] - together.data
    together.data = (together.data / union).astype(np.float32)
    return ItemNeighbours(together, "sar")


def _cooccurrence(interactions: Interactions) -> tuple[csr_matrix, NDArray[np.float64], NDArray[np.int64]]:
    matrix = interactions.matrix()
    together = (matrix.T @ matrix).tocsr()
    together.setdiag(0)
    together.eliminate_zeros()
    together.sort_indices()
    counts = np.asarray(matrix.sum(0), float).ravel()
    return together, counts, np.repeat(np.arange(together.shape[0]), np.diff(together.indptr))


def _best(matrix: csr_matrix, kept: int) -> csr_matrix:
    """The `kept` largest values of every row; ties go to the lower column."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    chosen = order[np.arange(len(order)) - matrix.indptr[rows] < kept]
    return csr_matrix((matrix.data[chosen], (rows[chosen], matrix.indices[chosen])), shape=matrix.shape)
