"""A listener's iALS vector from any history at once: the closed form, with what all histories share computed once.

Source: Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008 (fold-in and
its decomposition into shares). Agrees with `Ials.fold_in`, which forms the same matrix anew at each call.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.ials import Ials

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class FoldIn:
    """A model and the (dim, dim) matrix of its unobserved pairs."""

    model: Ials
    gram: Floats

    @classmethod
    def of(cls, model: Ials) -> FoldIn:
        gram = np.zeros((model.items.shape[1],) * 2)
        for start in range(0, len(model.items), 65_536):
            part = model.items[start : start + 65_536].astype(np.float64)
            gram += part.T @ part
        return cls(model, model.config.alpha0 * gram)

    def vector(self, history: NDArray[np.int64]) -> NDArray[np.float32]:
        """(dim,) vector of a listener who played `history` (item codes); zeros for an empty history."""
        if len(history) == 0:
            return np.zeros(self.model.items.shape[1], np.float32)
        chosen = self.model.items[np.unique(history)].astype(np.float64)
        return np.asarray(np.linalg.solve(self._normal(chosen), chosen.sum(0)), np.float32)

    def voices(self, history: NDArray[np.int64]) -> Floats:
        """(len(history), dim): what each play speaks for; times an item's factors: its share of that item's score."""
        distinct, places, times = np.unique(history, return_inverse=True, return_counts=True)
        chosen = self.model.items[distinct].astype(np.float64)
        spoken = np.linalg.solve(self._normal(chosen), chosen.T).T
        return np.asarray(spoken[places] / times[places][:, None])

    def _normal(self, chosen: Floats) -> Floats:
        config = self.model.config
        weight = config.reg * (len(chosen) + config.alpha0 * len(self.model.items)) ** config.exponent
        return np.asarray(self.gram + chosen.T @ chosen + weight * np.eye(chosen.shape[1]))
