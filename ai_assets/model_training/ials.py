"""iALS: implicit alternating least squares with frequency-scaled regularisation. Fits, folds in, explains.

Source: S. Rendle, W. Krichene, L. Zhang, Y. Koren, "Revisiting the Performance of iALS on Item Recommendation
Benchmarks", RecSys 2022; Y. Hu, Y. Koren, C. Volinsky, ICDM 2008.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.interactions import Histories, Interactions, history_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

Factors = NDArray[np.float32]


@dataclass(frozen=True)
class IalsConfig:
    """Hyper-parameters: dimensions, weight of unobserved pairs, regularisation and its exponent, sweeps."""

    dim: int = 64
    alpha0: float = 0.1
    reg: float = 0.01
    exponent: float = 1.0
    sweeps: int = 12


@dataclass(frozen=True)
class Ials:
    """A fitted model: item factors (items, dim) and what folding in needs."""

    items: Factors
    config: IalsConfig
    name: str = "ials"

    def fold_in(self, history: NDArray[np.int64]) -> NDArray[np.float32]:
        """The vector of a user who played `history` (item codes): closed form, 0 for an empty history."""
        return self.user_vectors([history])[0]

    def user_vectors(self, histories: Histories) -> Factors:
        """(users, dim) closed-form vectors of histories."""
        matrix = history_matrix(histories, len(self.items))
        return _solve(matrix, self.items, self.config)

    def scores(self, histories: Histories) -> Factors:
        """(users, items) scores."""
        return self.user_vectors(histories) @ self.items.T

    def shares(self, history: NDArray[np.int64], item: int) -> NDArray[Any]:
        """(len(history),) contributions of the history's items to the score of `item`; they sum to it."""
        distinct, places, times = np.unique(history, return_inverse=True, return_counts=True)
        chosen = self.items[distinct].astype(float)
        inverse: NDArray[np.float64] = np.linalg.inv(
            _gram(self.items, self.config) + chosen.T @ chosen + _ridge(self, len(distinct))
        )
        parts: NDArray[np.float64] = chosen @ inverse @ self.items[item].astype(float)
        return np.divide(parts[places], times[places])

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "ials.npz", items=self.items)
        (folder / "ials.json").write_text(json.dumps(asdict(self.config), sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> Ials:
        with np.load(folder / "ials.npz", allow_pickle=False) as data:
            return cls(data["items"], IalsConfig(**json.loads((folder / "ials.json").read_text())))


def fit_ials(interactions: Interactions, *, seed: int = 0, config: IalsConfig | None = None) -> Ials:
    """Fit item factors. Deterministic by seed."""
    config = config or IalsConfig()
    matrix = interactions.matrix()
    transposed = matrix.T.tocsr()
    rng = np.random.default_rng(seed)
    items = (rng.standard_normal((interactions.item_count, config.dim)) * (0.1 / np.sqrt(config.dim))).astype(
        np.float32
    )
    for _ in range(config.sweeps):
        users = _solve(matrix, items, config)
        items = _solve(transposed, users, config)
    return Ials(items, config)


def half_step(model: Ials, interactions: Interactions) -> Ials:
    """Item factors with later events folded in: users from their whole histories, then one step of the items.

    Args:
        interactions: all rows, old and new, over the model's items (`item_ids` in the model's order). An item without
            a row keeps its factors.
    """
    matrix = interactions.matrix()
    users = _solve(matrix, model.items, model.config)
    items = _solve(matrix.T.tocsr(), users, model.config)
    played = np.asarray(matrix.sum(0)).ravel() > 0
    return Ials(np.where(played[:, None], items, model.items), model.config)


def _gram(fixed: Factors, config: IalsConfig) -> NDArray[np.float64]:
    gram: NDArray[np.float64] = config.alpha0 * (fixed.T.astype(np.float64) @ fixed.astype(np.float64))
    return gram


def _ridge(model: Ials, count: int) -> NDArray[np.float64]:
    weight = model.config.reg * (count + model.config.alpha0 * len(model.items)) ** model.config.exponent
    return weight * np.eye(model.items.shape[1])


def _solve(matrix: csr_matrix, fixed: Factors, config: IalsConfig) -> Factors:
    """One half-step: the vector of every row of `matrix`, given the factors of its columns."""
    gram, eye = _gram(fixed, config), np.eye(fixed.shape[1])
    result = np.zeros((matrix.shape[0], fixed.shape[1]), np.float32)
    for row in range(matrix.shape[0]):
        columns = matrix.indices[matrix.indptr[row] : matrix.indptr[row + 1]]
        if len(columns) == 0:
            continue
        chosen = fixed[columns].astype(float)
        weight = config.reg * (len(columns) + config.alpha0 * fixed.shape[0]) ** config.exponent
        result[row] = np.linalg.solve(gram + chosen.T @ chosen + weight * eye, chosen.sum(0))
    return result
