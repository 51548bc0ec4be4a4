"""GF-CF: a linear filter on the normalised item graph plus an ideal low-pass filter, in closed form.

Source: Y. Shen et al., "How Powerful is Graph Convolution for Recommendation?", CIKM 2021.
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
class GraphFilter:
    """A fitted filter.

    Attributes:
        normalised: (users, items) CSR matrix D_u^-1/2 R D_i^-1/2.
        basis: (items, dim) right singular vectors of `normalised`.
        degrees: (items,) square roots of the item degrees, 1 for items nobody played.
        alpha: weight of the low-pass part.
    """

    normalised: csr_matrix
    basis: NDArray[np.float32]
    degrees: NDArray[np.float32]
    alpha: float
    name: str = "gfcf"

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(users, items) scores."""
        signal = history_matrix(histories, len(self.degrees))
        linear = ((signal @ self.normalised.T) @ self.normalised).toarray()
        low = ((signal.multiply(1.0 / self.degrees).tocsr() @ self.basis) @ self.basis.T) * self.degrees
        return np.asarray(linear + self.alpha * low, np.float32)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        graph = self.normalised
        np.savez(
            folder / "gfcf.npz", data=graph.data, indices=graph.indices, indptr=graph.indptr,
            basis=self.basis, degrees=self.degrees,
        )  # fmt: skip
        (folder / "gfcf.json").write_text(json.dumps({"shape": list(graph.shape), "alpha": self.alpha}))

    @classmethod
    def load(cls, folder: Path) -> GraphFilter:
        from scipy.sparse import csr_matrix

        text = json.loads((folder / "gfcf.json").read_text())
        with np.load(folder / "gfcf.npz", allow_pickle=False) as parts:
            graph = csr_matrix((parts["data"], parts["indices"], parts["indptr"]), shape=tuple(text["shape"]))
            return cls(graph, parts["basis"], parts["degrees"], float(text["alpha"]))


def fit_gfcf(interactions: Interactions, *, seed: int = 0, dim: int = 256, alpha: float = 0.3) -> GraphFilter:
    """Fit by one truncated SVD. Deterministic by seed (the start vector of the Lanczos iteration)."""
    from scipy.sparse import diags
    from scipy.sparse.linalg import svds

    matrix = interactions.matrix()
    users = np.sqrt(np.maximum(np.asarray(matrix.sum(1)).ravel(), 1.0))
    items = np.sqrt(np.maximum(np.asarray(matrix.sum(0)).ravel(), 1.0))
    normalised = (diags(1.0 / users) @ matrix @ diags(1.0 / items)).tocsr().astype(np.float32)
    rank = min(dim, min(matrix.shape) - 1)
    start = np.random.default_rng(seed).standard_normal(min(matrix.shape)).astype(np.float32)
    _, _, right = svds(normalised, k=rank, v0=start)
    return GraphFilter(normalised, right.T.astype(np.float32).copy(), items.astype(np.float32), alpha)
