"""A pool of candidates for one history, from several generators fused by rank, with the features the ranker reads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.ials import Ials
from ai_assets.model_training.two_tower import TwoTower

Codes = NDArray[np.int64]
Numbers = NDArray[np.float32]

FEATURES = (
    "rank_tower", "rank_tower_last_20", "rank_tower_last_5", "rank_ials", "rank_ials_last_5", "rank_content_last_5",
    "rank_popularity", "log_popularity", "artist_share", "artist_in_last_5", "history_length",
)  # fmt: skip
CONSTANT = 60.0


@dataclass(frozen=True)
class Sources:
    """The models' arrays over one catalogue; what a home does not have is None.

    Attributes:
        plays: (items,) plays so far; artists: (items,) artist codes.
        content: (items, dim) sound vectors, zeros where a track has none.
    """

    plays: Numbers
    artists: Codes
    tower: TwoTower | None = None
    ials: Ials | None = None
    content: Numbers | None = None

    @property
    def diversity_vectors(self) -> Numbers | None:
        """Vectors by which two tracks are told apart: sound, else listening."""
        if self.content is not None:
            return self.content
        return self.tower.outputs if self.tower is not None else None


@dataclass(frozen=True)
class Pool:
    """Candidates: item codes, their fused score and (n, len(FEATURES)) features; NaN where a model is missing."""

    items: Codes
    fused: Numbers
    features: Numbers


def candidates(sources: Sources, history: Codes, mask: NDArray[np.bool_], size: int) -> Pool:
    """The best `size` allowed tracks by reciprocal rank fusion of all generators."""
    allowed = np.flatnonzero(mask)
    places = _places(sources, history, allowed)
    scores = np.zeros(len(allowed), np.float32)
    for name, rank in places.items():
        if not name.endswith("popularity") or len(history) < 20:
            scores += 1.0 / (CONSTANT + 1.0 + rank)
    order = np.lexsort((allowed, -scores))[:size]
    items = allowed[order]
    columns = [places[name][order] if name in places else np.full(len(order), np.nan) for name in FEATURES[:7]]
    own = sources.artists[history]
    counts = np.bincount(own, minlength=int(sources.artists.max(initial=0)) + 1)
    columns += [
        np.log1p(sources.plays[items]),
        counts[sources.artists[items]] / max(len(history), 1),
        np.isin(sources.artists[items], own[-5:]).astype(np.float32),
        np.full(len(items), len(history), np.float32),
    ]
    return Pool(items, scores[order], np.stack(columns, axis=1).astype(np.float32))


def _places(sources: Sources, history: Codes, allowed: Codes) -> dict[str, Numbers]:
    """Rank features by name: the place of each allowed item under each generator that has something to say."""
    found: dict[str, Numbers] = {"rank_popularity": _rank(sources.plays[allowed])}
    if len(history) == 0:
        return found
    if sources.tower is not None:
        for name, part in (("", history), ("_last_20", history[-20:]), ("_last_5", history[-5:])):
            user = sources.tower.user_vectors([part])[0]
            if user.any():
                found[f"rank_tower{name}"] = _rank(sources.tower.outputs[allowed] @ user)
    if sources.ials is not None:
        for name, part in (("", history), ("_last_5", history[-5:])):
            found[f"rank_ials{name}"] = _rank(sources.ials.items[allowed] @ sources.ials.fold_in(part))
    if sources.content is not None:
        taste = sources.content[history[-5:]].mean(0)
        if taste.any():
            found["rank_content_last_5"] = _rank(sources.content[allowed] @ taste)
    return found


def _rank(scores: Numbers) -> Numbers:
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(scores), np.float32)
    rank[order] = np.arange(len(scores))
    return rank
