"""A listener's iALS vector from any history at once: the closed form, with what all histories share computed once.

Source: Y. Hu, Y. Koren, C. Volinsky, "Collaborative Filtering for Implicit Feedback Datasets", ICDM 2008 (fold-in and
its decomposition into shares). Agrees with `Ials.fold_in`, which forms the same matrix anew at each call.
"""

from __future__ import annotations

from collections.abc import Sequence
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

    def vectors(self, histories: Sequence[NDArray[np.int64]]) -> NDArray[np.float32]:
        """(histories, dim) vectors of listeners who played these item codes; zeros for an empty history."""
        chosen = [self.model.items[np.unique(history)].astype(np.float64) for history in histories]
        summed = np.stack([part.sum(0) for part in chosen])
        solved = np.linalg.solve(np.stack([self._normal(part) for part in chosen]), summed[:, :, None])
        return np.asarray(solved[:, :, 0], np.float32)

    def shares(self, history: NDArray[np.int64], items: NDArray[np.int64]) -> Floats:
        """(len(items), len(history)) what each play adds to each item's score: a row sums to that score."""
        distinct, places, times = np.unique(history, return_inverse=True, return_counts=True)
        chosen = self.model.items[distinct].astype(np.float64)
        # the matrix is symmetric, so it may be solved for the few items instead of the many plays
        asked = np.linalg.solve(self._normal(chosen), self.model.items[items].astype(np.float64).T).T
        return np.asarray((asked @ chosen.T)[:, places] / times[places])

    def _normal(self, chosen: Floats) -> Floats:
        config = self.model.config
        weight = config.reg * (len(chosen) + config.alpha0 * len(self.model.items)) ** config.exponent
        normal = self.gram + chosen.T @ chosen
        normal.flat[:: normal.shape[1] + 1] += weight
        return np.asarray(normal)
