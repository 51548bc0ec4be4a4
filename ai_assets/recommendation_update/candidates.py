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
from ai_assets.recommendation_update.retrieval import ExactSearch, IndexSearch, NormSearch, Search
from resources.vector_index.generation import EXACT_BELOW

Codes = NDArray[np.int64]
Numbers = NDArray[np.float32]

FEATURES = (
    "rank_tower", "rank_tower_last_20", "rank_tower_last_5", "rank_ials", "rank_ials_last_20", "rank_ials_last_5",
    "rank_content_last_5", "rank_popularity", "log_popularity", "artist_share", "artist_in_last_5", "history_length",
)  # fmt: skip
RANKS = FEATURES[:8]
CONSTANT = 60.0
LISTENED_ENOUGH = 20


@dataclass(frozen=True)
class Sources:
    """The models' arrays over one catalogue; what a home does not have is None.

    Attributes:
        plays: (items,) plays (events, by anybody) so far; artists: (items,) artist codes.
        content: (items, dim) sound vectors, zeros where a track has none.
        tower_index, content_index: over the vectors of the same model, where the home has them.
    """

    plays: Numbers
    artists: Codes
    tower: TwoTower | None = None
    ials: Ials | None = None
    content: Numbers | None = None
    tower_index: IndexSearch | None = None
    content_index: IndexSearch | None = None

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
    def tower_search(self) -> Search | None:
        if self.tower is None:
            return None
        large = len(self.plays) >= EXACT_BELOW
        return self.tower_index if large and self.tower_index is not None else ExactSearch(self.tower.outputs)

    @cached_property
    def ials_search(self) -> Search | None:
        if self.ials is None:
            return None
        return NormSearch.of(self.ials.items) if len(self.plays) >= EXACT_BELOW else ExactSearch(self.ials.items)

    @cached_property
    def content_search(self) -> Search | None:
        if self.content is None:
            return None
        large = len(self.plays) >= EXACT_BELOW
        return self.content_index if large and self.content_index is not None else ExactSearch(self.content)

    @cached_property
    def tower_norms(self) -> Numbers | None:
        return np.linalg.norm(self.tower.outputs, axis=1) if self.tower is not None else None

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
    asked = _asked(sources, history)
    best = [_popular(sources, mask, size)]
    for generator in asked:
        best += generator.search.best(generator.queries, mask, min(size, len(mask)))
    union = np.unique(np.concatenate(best))
    names = [name for generator in asked for name in generator.names] + ["rank_popularity"]
    scores = [generator.queries @ generator.vectors[union].T for generator in asked]
    places = dict(zip(names, _places(np.concatenate([*scores, sources.plays[None, union]])), strict=True))
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


@dataclass(frozen=True)
class _Asked:
    """A generator's question: (m, dim) queries, the features their ranks become, where the answers come from."""

    names: list[str]
    queries: Numbers
    vectors: Numbers
    search: Search


def _asked(sources: Sources, history: Codes) -> list[_Asked]:
    """What each generator that has something to say about the history is asked."""
    if len(history) == 0:
        return []
    found = []
    if sources.tower is not None and sources.tower_search is not None:
        users = tower_vectors(sources.tower, [history, history[-20:], history[-5:]])
        names = ["rank_tower", "rank_tower_last_20", "rank_tower_last_5"]
        found.append(_Asked(names, users, sources.tower.outputs, sources.tower_search))
    if sources.ials is not None and sources.fold_in is not None and sources.ials_search is not None:
        users = sources.fold_in.vectors([history, history[-20:], history[-5:]])
        names = ["rank_ials", "rank_ials_last_20", "rank_ials_last_5"]
        found.append(_Asked(names, users, sources.ials.items, sources.ials_search))
    if sources.content is not None and sources.content_search is not None:
        taste = sources.content[history[-5:]].mean(0, keepdims=True)
        found.append(_Asked(["rank_content_last_5"], taste, sources.content, sources.content_search))
    return [part for whole in found if (part := _saying(whole)) is not None]


def _saying(asked: _Asked) -> _Asked | None:
    """Without the queries that are zero: the model knows none of the tracks."""
    says = [bool(query.any()) for query in asked.queries]
    if not any(says):
        return None
    names = [name for name, said in zip(asked.names, says, strict=True) if said]
    return _Asked(names, asked.queries[says], asked.vectors, asked.search)


def _popular(sources: Sources, mask: NDArray[np.bool_], size: int) -> Codes:
    """The most played allowed tracks, most played first."""
    looked_at = 4 * size
    while True:
        first = sources.by_plays[:looked_at]
        found = first[mask[first]]
        if len(found) >= size or looked_at >= len(mask):
            return np.asarray(found[:size], np.int64)
        looked_at *= 8


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


def _places(scores: Numbers) -> Numbers:
    """(m, n) place of each score in its row, 0 for the highest; of equal ones the first is higher.

    Sorts numbers that hold score and place: the fast sort of numbers then is a stable one.
    """
    bits = np.ascontiguousarray(0.0 - scores, np.float32).view(np.int32).astype(np.int64)
    ordered = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # in the order of the floats
    places = np.arange(scores.shape[1])
    keys = np.sort((ordered << 32) | places, axis=1)
    ranks = np.empty(scores.shape, np.float32)
    np.put_along_axis(ranks, keys & 0xFFFFFFFF, places.astype(np.float32)[None, :], axis=1)
    return ranks
