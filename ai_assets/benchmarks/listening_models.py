"""The models of `benchmark recommend`: what each is, which settings are tried, what it needs, and how it scores.

A model is fitted on one part and scores histories; settings are tried on the tuning part alone. What a history is may
itself be a setting: where rows have times, the last rows often say more than all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training import metrics
from ai_assets.model_training.ease import fit_ease
from ai_assets.model_training.fusion import reciprocal_rank_fusion
from ai_assets.model_training.gfcf import fit_gfcf
from ai_assets.model_training.ials import fit_ials
from ai_assets.model_training.interactions import Codes, Interactions
from ai_assets.model_training.item_knn import fit_item_knn, fit_sar
from ai_assets.model_training.listening import configs
from ai_assets.model_training.popularity import fit_popularity
from ai_assets.model_training.two_tower import fit_two_tower

KEYS = ("popularity", "sar", "itemknn", "ease", "ials", "gfcf", "two_tower", "fusion", "pipeline")
WINDOWS = (None, 50, 20, 10)
CHUNK_CELLS = 50_000_000
MOST_NEIGHBOUR_CELLS = 200_000_000


class LeftOut(ValueError):
    """The model does not fit the data; the message says why."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model that reads windows of histories."""

    score: Callable[[list[Codes]], NDArray[np.float32]]
    window: int | None = None

    def scores(self, histories: Sequence[Codes]) -> NDArray[np.float32]:
        """(users, items) scores."""
        cut = list(histories) if self.window is None else [part[-self.window :] for part in histories]
        return np.asarray(self.score(cut), np.float32)


def settings_of(key: str) -> list[dict[str, Any]]:
    """Settings to try, best guess first. Kept few: the tuning part is small, and time is short."""
    tried: dict[str, list[dict[str, Any]]] = {
        "ease": [{"reg": 200.0}, {"reg": 50.0}, {"reg": 800.0}],
        "ials": [{"alpha0": 0.1}, {"alpha0": 0.4}, {"alpha0": 0.1, "reg": 0.003}],
        "two_tower": [{"tau": 0.15}, {"tau": 0.1}, {"tau": 0.25}],
    }
    return tried.get(key, [{}])


def fit_one(key: str, data: Interactions, arguments: dict[str, Any], seed: int) -> Callable[..., NDArray[np.float32]]:
    """Fit a single model; returns its `scores`. Raises LeftOut where the data's size forbids it."""
    tower, ials = configs(data)
    if key in ("sar", "itemknn"):
        rows = np.diff(data.matrix().indptr).astype(float)
        cells = float((rows**2).sum())
        if cells > MOST_NEIGHBOUR_CELLS:
            raise LeftOut(f"{cells:.2g} pairs of items taken together are too many (limit {MOST_NEIGHBOUR_CELLS:.2g})")
    fits: dict[str, Callable[[], Any]] = {
        "popularity": lambda: fit_popularity(data),
        "sar": lambda: fit_sar(data),
        "itemknn": lambda: fit_item_knn(data),
        "ease": lambda: fit_ease(data, **arguments),
        "gfcf": lambda: fit_gfcf(data, seed=seed),
        "ials": lambda: fit_ials(data, seed=seed, config=replace(ials, **arguments)),
        "two_tower": lambda: fit_two_tower(data, seed=seed, config=replace(tower, **arguments)),
    }
    try:
        found: Callable[..., NDArray[np.float32]] = fits[key]().scores
    except (ValueError, MemoryError) as error:
        raise LeftOut(str(error) or type(error).__name__) from None
    return found


def fused(parts: Sequence[Fitted]) -> Fitted:
    """Reciprocal rank fusion of fitted models."""
    return Fitted(lambda histories: reciprocal_rank_fusion([part.scores(histories) for part in parts]))


def ranked_lists(model: Fitted, train: Interactions, users: Codes, k: int) -> NDArray[np.int64]:
    """(users, k) best items per user, training items masked; who has no history gets the most taken items."""
    histories, seen = train.histories(), train.matrix()
    popular = np.asarray(seen.sum(0), np.float32).ravel()
    found = []
    for chosen in _chunks(users, train.item_count):
        own = [histories[user] for user in chosen]
        scores = np.array(model.scores(own), np.float32)
        scores[[len(part) == 0 for part in own]] = popular
        found.append(metrics.top_k(scores, k, seen=seen[chosen]))
    return np.concatenate(found)


def _chunks(users: Codes, items: int) -> Iterator[Codes]:
    size = max(1, CHUNK_CELLS // max(items, 1))
    for start in range(0, len(users), size):
        yield users[start : start + size]
