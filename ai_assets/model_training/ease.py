"""EASE, the closed-form linear item model, in the dual (user-sided) form where that is smaller.

Source: H. Steck, "Embarrassingly Shallow Autoencoders for Sparse Data", WWW 2019.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.interactions import Histories, Interactions, history_matrix

MEMORY_LIMIT = 4 * 1024**3


class TooLargeError(ValueError):
    """The dense item matrix would not fit the memory limit."""


@dataclass(frozen=True)
class Ease:
    """(items, items) weights with a zero diagonal; a score is the sum of a history's rows."""

    weights: NDArray[np.float32]
    name: str = "ease"

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(users, items) scores."""
        return np.asarray(history_matrix(histories, len(self.weights)) @ self.weights, np.float32)

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "ease.npz", weights=self.weights)

    @classmethod
    def load(cls, folder: Path) -> Ease:
        with np.load(folder / "ease.npz", allow_pickle=False) as data:
            return cls(data["weights"])


def fit_ease(interactions: Interactions, *, reg: float = 200.0, memory_limit: int = MEMORY_LIMIT) -> Ease:
    """Fit by one matrix inverse of min(users, items) rows. Deterministic.

    Raises:
        TooLargeError: the items-by-items work (three float32 matrices) would pass `memory_limit` bytes.
    """
    from scipy.linalg import cho_factor, cho_solve

    users, items = interactions.user_count, interactions.item_count
    need = 3 * 4 * items**2 + 2 * 8 * min(users, items) ** 2
    if need > memory_limit:
        raise TooLargeError(f"EASE needs {need / 1024**3:.1f} GiB, the limit is {memory_limit / 1024**3:.1f} GiB")
    matrix = interactions.matrix()
    if users < items:
        # Woodbury: (X'X + reg I)^-1 = (I - X' (XX' + reg I)^-1 X) / reg.
        small = (matrix @ matrix.T).toarray().astype(float) + reg * np.eye(users)
        solved = cho_solve(cho_factor(small), matrix.toarray().astype(float)).astype(np.float32)
        inverse = np.asarray(-(matrix.T @ solved), np.float32) / np.float32(reg)
        inverse[np.diag_indices(items)] += np.float32(1.0 / reg)
    else:
        gram = (matrix.T @ matrix).toarray().astype(float) + reg * np.eye(items)
        inverse = cho_solve(cho_factor(gram), np.eye(items)).astype(np.float32)
    inverse /= -np.diag(inverse).copy()
    inverse[np.diag_indices(items)] = 0.0
    return Ease(inverse)
