"""A pool of candidates for one history, from several generators fused by rank, with the features the ranker reads.

Each generator names its best tracks; only the union of these is ranked. A rank feature is the place within the union:
equal to the place in the whole catalogue for the generator's own tracks, and never below their number for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.ials import Ials
from ai_assets.model_training.two_tower import TwoTower
from ai_assets.recommendation_update.fold_in import FoldIn

Codes = NDArray[np.int64]
Numbers = NDArray[np.float32]

FEATURES = (
    "rank_tower", "rank_tower_last_20", "rank_tower_last_5", "rank_ials", "rank_ials_last_5", "rank_content_last_5",
    "rank_popularity", "log_popularity", "artist_share", "artist_in_last_5", "history_length",
)  # fmt: skip
RANKS = FEATURES[:7]
CONSTANT = 60.0
LISTENED_ENOUGH = 20


@dataclass(frozen=True)
class Sources:
    """The models' arrays over one catalogue; what a home does not have is None.

    Attributes:
        plays: (items,) plays (events, by anybody) so far; artists: (items,) artist codes.
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

    @cached_property
    def by_plays(self) -> Codes:
        """Item codes, most played first."""
        return np.argsort(-self.plays, kind="stable")

    @cached_property
    def fold_in(self) -> FoldIn | None:
        return FoldIn.of(self.ials) if self.ials is not None else None

    @cached_property
    def content_norms(self) -> Numbers | None:
        return np.linalg.norm(self.content, axis=1) if self.content is not None else None


@dataclass(frozen=True)
class Pool:
    """Candidates: item codes, their fused score and (n, len(FEATURES)) features; NaN where a model is missing."""

    items: Codes
    fused: Numbers
    features: Numbers


def candidates(sources: Sources, history: Codes, mask: NDArray[np.bool_], size: int) -> Pool:
    """The best `size` allowed tracks by reciprocal rank fusion of all generators.

    Args:
        history: item codes of the listener's window, oldest first; may be empty.
        mask: (items,) True where a track may be a candidate.
    """
    scored = _scores(sources, history)
    popular = sources.by_plays[mask[sources.by_plays]]
    best = [popular[:size]]
    for values in scored.values():
        best.append(_best(np.where(mask, values, -np.inf), min(size, len(popular))))
    union = np.unique(np.concatenate(best))
    places = {name: _place(values[union]) for name, values in scored.items()}
    places["rank_popularity"] = _place(sources.plays[union])
    fused = np.zeros(len(union), np.float32)
    for name, place in places.items():
        if name != "rank_popularity" or len(history) < LISTENED_ENOUGH:
            fused += 1.0 / (CONSTANT + 1.0 + place)
    order = np.lexsort((union, -fused))[:size]
    items = union[order]
    ranks = [places[name][order] if name in places else np.full(len(order), np.nan) for name in RANKS]
    features = np.stack([*ranks, *_facts(sources, history, items)], axis=1).astype(np.float32)
    return Pool(items, fused[order], features)


def tower_vectors(tower: TwoTower, histories: list[Codes]) -> Numbers:
    """(histories, dim) what `TwoTower.user_vectors` gives, without sparse matrices: an item counts once."""
    summed = np.array([tower.inputs[np.unique(part)].sum(0) for part in histories], np.float32)
    return np.asarray(summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12), np.float32)


def _scores(sources: Sources, history: Codes) -> dict[str, Numbers]:
    """(items,) scores by rank feature, of each generator that has something to say about the history."""
    if len(history) == 0:
        return {}
    found: dict[str, Numbers] = {}
    if sources.tower is not None:
        users = tower_vectors(sources.tower, [history, history[-20:], history[-5:]])
        scores = users @ sources.tower.outputs.T
        for place, name in enumerate(("rank_tower", "rank_tower_last_20", "rank_tower_last_5")):
            if users[place].any():
                found[name] = scores[place]
    if sources.ials is not None and sources.fold_in is not None:
        users = np.stack([sources.fold_in.vector(history), sources.fold_in.vector(history[-5:])])
        scores = users @ sources.ials.items.T
        for place, name in enumerate(("rank_ials", "rank_ials_last_5")):
            if users[place].any():
                found[name] = scores[place]
    if sources.content is not None:
        taste = sources.content[history[-5:]].mean(0)
        if taste.any():
            found["rank_content_last_5"] = sources.content @ taste
    return found


def _facts(sources: Sources, history: Codes, items: Codes) -> list[Numbers]:
    """Features that are no ranks, in the order of `FEATURES`."""
    own = sources.artists[history]
    kinds, counts = np.unique(own, return_counts=True)
    share = np.zeros(len(items), np.float32)
    if len(kinds):
        place = np.minimum(np.searchsorted(kinds, sources.artists[items]), len(kinds) - 1)
        same = kinds[place] == sources.artists[items]
        share = (np.where(same, counts[place], 0) / len(history)).astype(np.float32)
    return [
        np.log1p(sources.plays[items]),
        share,
        np.isin(sources.artists[items], own[-5:]).astype(np.float32),
        np.full(len(items), len(history), np.float32),
    ]


def _best(scores: Numbers, count: int) -> Codes:
    return np.argpartition(scores, len(scores) - count)[len(scores) - count :] if count else np.empty(0, np.int64)


def _place(scores: Numbers) -> Numbers:
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(scores), np.float32)
    rank[order] = np.arange(len(scores))
    return rank
