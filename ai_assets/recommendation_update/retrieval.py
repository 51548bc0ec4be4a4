"""The best items of one model for a query vector: one interface, and the engine that is fastest where it is right.

`ExactSearch` is right by definition and fastest in small catalogues; `IndexSearch` asks an annoy index with its delta;
`NormSearch` is exact for inner products whose norms differ much (iALS: the norm is popularity), and looks at a
part of the catalogue only. Which one is taken is decided in `candidates.Sources` alone (docs/quality/serving.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from resources.vector_index.delta import LiveIndex

Codes = NDArray[np.int64]
Numbers = NDArray[np.float32]
Mask = NDArray[np.bool_]
BLOCK = 2_048
LONGEST = 16_384
FIRST = 400
"""Rows that are found whatever the mask: enough, where it excludes less than half of the best."""
REMEMBERED = 8_192
"""Queries whose first rows are kept: about 20 MB."""
PER_QUERY = 100
"""Most items an index is asked for: several queries share a pool of 200, and each further item costs time."""
MOST_ASKED = 4
"""How many times as many are asked for where rules and the heard exclude some; then the exact search answers."""


class Search(Protocol):
    """Finds items."""

    def best(self, queries: Numbers, mask: Mask, count: int) -> list[Codes]:
        """For each of (m, dim) queries the codes of at most `count` allowed items, the best ones, in any order."""


@dataclass(frozen=True)
class ExactSearch:
    """All inner products."""

    matrix: Numbers

    def best(self, queries: Numbers, mask: Mask, count: int) -> list[Codes]:
        count = min(count, int(mask.sum()))
        scores = queries @ self.matrix.T
        return [_largest(np.where(mask, row, -np.inf), count) for row in scores]


@dataclass(frozen=True)
class IndexSearch:
    """An index over unit vectors and what changed since it was built.

    Attributes:
        base_items: item code of each row of the base; -1 where the delta says otherwise, or the catalogue does not know
            the track; delta_items: of each row of the delta.
        matrix: (items, dim) the same vectors, for what so many rules exclude that the index would starve.
    """

    live: LiveIndex
    base_items: Codes = field(repr=False)
    delta_items: Codes = field(repr=False)
    matrix: Numbers = field(repr=False)

    @classmethod
    def of(cls, live: LiveIndex, rows: Codes, codes: Mapping[str, int], matrix: Numbers) -> IndexSearch:
        """From the item codes of the base's rows as they were when the catalogue was read, and those of today."""
        assert live.base is not None
        items = rows.copy()
        for row in np.flatnonzero(rows < 0).tolist():  # tracks that came after the catalogue was written
            items[row] = codes.get(str(live.base.ids[row]), -1)
        for name in live.delta.touched:
            if name in live.base.codes:
                items[live.base.codes[name]] = -1
        return cls(live, items, item_codes(live.delta.ids.tolist(), codes), matrix)

    def best(self, queries: Numbers, mask: Mask, count: int) -> list[Codes]:
        count = min(count, PER_QUERY)
        return [self._best(query, mask, count) for query in queries]

    def _best(self, query: Numbers, mask: Mask, count: int) -> Codes:
        assert self.live.base is not None
        near, near_items = self._near(query, mask)
        wanted = count + count // 2
        while wanted <= MOST_ASKED * count:
            rows, cosines = self.live.base.nearest(query, wanted, engine="annoy")
            items = self.base_items[rows]
            allowed = (items >= 0) & mask[items]
            items, cosines = items[allowed], cosines[allowed]
            if len(items) + len(near_items) >= count or len(rows) < wanted:
                if len(near_items):
                    items, cosines = np.concatenate([items, near_items]), np.concatenate([cosines, near])
                    items = items[np.argsort(-cosines, kind="stable")]
                return items[:count]
            wanted += 2 * (count - len(items)) + count // 2
        return ExactSearch(self.matrix).best(query[None, :], mask, count)[0]

    def _near(self, query: Numbers, mask: Mask) -> tuple[Numbers, Codes]:
        """Cosines and item codes of the delta's allowed tracks."""
        items = self.delta_items
        allowed = np.flatnonzero((items >= 0) & mask[items]) if len(items) else items
        if not len(allowed):
            return self.live.delta.vectors[:0, 0], allowed
        return (self.live.delta.vectors @ (query / np.linalg.norm(query)))[allowed], items[allowed]


@dataclass(frozen=True)
class NormSearch:
    """Exact inner products, longest vectors first, ended where no shorter vector can reach the answer any more.

    At most `LONGEST` vectors are looked at: docs/quality/serving.md says what share of the best that finds.
    A block of vectors not longer than b cannot hold a product above b |query| (Cauchy-Schwarz).
    Source: C. Teflioudi, R. Gemulla, "Exact and Approximate Maximum Inner Product Search with LEMP", TODS 2016.
    """

    matrix: Numbers
    order: Codes
    norms: Numbers
    _known: dict[bytes, NDArray[np.int32]] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, vectors: Numbers) -> NormSearch:
        norms = np.linalg.norm(vectors, axis=1)
        order = np.argsort(-norms, kind="stable")
        return cls(np.ascontiguousarray(vectors[order]), order, norms[order])

    def best(self, queries: Numbers, mask: Mask, count: int) -> list[Codes]:
        count = min(count, int(np.count_nonzero(mask)))
        keys = [query.tobytes() for query in queries]
        new = [place for place, key in enumerate(keys) if key not in self._known]
        if new:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            found = self._search(queries[new], None, FIRST)
            self._known.update(zip([keys[place] for place in new], found, strict=True))
        return [self._allowed(query, key, mask, count) for query, key in zip(queries, keys, strict=True)]

    def _allowed(self, query: Numbers, key: bytes, mask: Mask, count: int) -> Codes:
        """The best allowed items: those of the best ones that are allowed, where these are enough."""
        rows = self._known.get(key)
        items = self.order[rows] if rows is not None else self.order[:0]
        allowed = items[mask[items]][:count]
        return allowed if len(allowed) == count else self.order[self._search(query[None, :], mask, count)[0]]

    def _search(self, queries: Numbers, mask: Mask | None, count: int) -> list[NDArray[np.int32]]:
        """For each query the best allowed rows, best first; all rows where there is no mask."""
        lengths = np.linalg.norm(queries, axis=1)
        found = [_Best(count) for _ in queries]
        start, size, end = 0, BLOCK, min(len(self.order), LONGEST)
        while start < end and any(
            best.may_hold(float(self.norms[start] * length)) for best, length in zip(found, lengths, strict=True)
        ):
            stop = min(start + size, end)
            # one product for all queries: it waits for memory, not for arithmetic
            scores = (self.matrix[start:stop] @ queries.T).T
            allowed = None if mask is None else mask[self.order[start:stop]]
            for best, row in zip(found, scores, strict=True):
                best.add(row, allowed, start)
            start, size = stop, 2 * size
        return [best.sorted() for best in found]


@dataclass
class _Best:
    """The best rows so far of one query, and what a further row must score to be among them."""

    count: int
    rows: Codes = field(default_factory=lambda: np.empty(0, np.int64))
    scores: Numbers = field(default_factory=lambda: np.empty(0, np.float32))
    bound: float = -np.inf

    def may_hold(self, score: float) -> bool:
        """Whether a row that scores so much at most could still be among them."""
        return self.count > 0 and score >= self.bound

    def add(self, scores: Numbers, allowed: Mask | None, start: int) -> None:
        """Take in the allowed rows from `start` on that are better than what is held."""
        better = scores > self.bound
        rows = np.flatnonzero(better if allowed is None else better & allowed)
        self.rows = np.concatenate([self.rows, start + rows])
        self.scores = np.concatenate([self.scores, scores[rows]])
        if len(self.rows) > self.count:
            kept = _largest(self.scores, self.count)
            self.rows, self.scores = self.rows[kept], self.scores[kept]
        if len(self.rows) == self.count:
            self.bound = float(self.scores.min(initial=np.inf))

    def sorted(self) -> NDArray[np.int32]:
        """The rows, best first."""
        return self.rows[np.lexsort((self.rows, -self.scores))].astype(np.int32)


def item_codes(names: list[str], codes: Mapping[str, int]) -> Codes:
    """Item codes of tracks, -1 for one that the catalogue does not know."""
    return np.array([codes.get(name, -1) for name in names], np.int64)


def _largest(scores: Numbers, count: int) -> Codes:
    return np.argpartition(scores, len(scores) - count)[len(scores) - count :] if count else np.empty(0, np.int64)
