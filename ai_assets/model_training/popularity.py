"""The trivial baseline: everybody gets what most people played."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.interactions import Histories, Interactions


@dataclass(frozen=True)
class Popularity:
    """(items,) number of users who played each item."""

    counts: NDArray[np.float32]
    name: str = "popularity"

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """(users, items): the same row for everybody."""
        return np.broadcast_to(self.counts, (len(histories), len(self.counts)))

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "popularity.npz", counts=self.counts)

    @classmethod
    def load(cls, folder: Path) -> Popularity:
        with np.load(folder / "popularity.npz", allow_pickle=False) as data:
            return cls(data["counts"])


def fit_popularity(interactions: Interactions) -> Popularity:
    """Count users per item."""
    return Popularity(np.asarray(interactions.matrix().sum(0)).ravel().astype(np.float32))
