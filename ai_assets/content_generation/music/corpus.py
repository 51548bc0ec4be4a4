"""The scores a generator learned from, as token rows: vocabulary, density classes, and how close a tune comes to them.

Here belong what is stored with every model and the search for copied runs. The models do not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from ai_assets.content_generation.music.scores import Score
from ai_assets.content_generation.music.tokens import (
    HIGHEST,
    LONGEST,
    LOWEST,
    Vocabulary,
    decode,
    density_bounds,
    encode,
)

# What spelling out a token that the vocabulary lacks costs: any pitch and length of the range with the same chance.
UNKNOWN_COST = float(np.log((HIGHEST - LOWEST + 1) * LONGEST))


@dataclass(frozen=True)
class Corpus:
    """Names and token rows of the training scores."""

    words: Vocabulary
    bounds: tuple[float, ...]
    names: tuple[str, ...]
    rows: tuple[np.ndarray, ...]
    intervals: np.ndarray

    @classmethod
    def of(cls, scores: Sequence[Score]) -> Corpus:
        """The corpus of ``scores`` (duplicates should be gone)."""
        bounds = density_bounds(scores)
        lists = [encode(score, bounds) for score in scores]
        words = Vocabulary.of(lists)
        runs = [run_codes(decode(tokens)) for tokens in lists]
        return cls(
            words, bounds, tuple(score.name for score in scores), tuple(words.encode(row) for row in lists),
            np.concatenate([np.append(run, -1) for run in runs]),
        )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 (hex) over vocabulary and rows."""
        digest = hashlib.sha256("\n".join(self.words.tokens).encode())
        for row in self.rows:
            digest.update(np.append(row, -1).astype("<i4").tobytes())
        return digest.hexdigest()

    def nats(self, score: Score, log_probabilities: np.ndarray) -> float:
        """Nats of a whole score: its tokens, and spelling out those the vocabulary lacks."""
        unknown = sum(token not in self.words.numbers for token in encode(score, self.bounds))
        return float(-log_probabilities.sum() + unknown * UNKNOWN_COST)

    @cached_property
    def _positions(self) -> dict[int, np.ndarray]:
        order = np.argsort(self.intervals, kind="stable")
        codes, firsts = np.unique(self.intervals[order], return_index=True)
        return dict(zip(codes.tolist(), np.split(order, firsts[1:]), strict=True))

    @cached_property
    def _owners(self) -> np.ndarray:
        return np.flatnonzero(self.intervals == -1)

    def nearest(self, score: Score) -> tuple[str | None, int]:
        """The training score with the longest run of equal (interval, length) pairs, and that run in notes."""
        empty = np.zeros(0, dtype=np.int64)
        before, lengths = empty, empty
        best, where = 0, -1
        for code in run_codes(score).tolist():
            now = self._positions.get(code, empty)
            runs = np.ones(len(now), dtype=np.int64)
            if len(before) and len(now):
                found = np.clip(np.searchsorted(before, now - 1), 0, len(before) - 1)
                runs += np.where(before[found] == now - 1, lengths[found], 0)
            if len(runs) and int(runs.max()) > best:
                best, where = int(runs.max()), int(now[int(runs.argmax())])
            before, lengths = now, runs
        if where < 0:
            return None, 0
        return self.names[int(np.searchsorted(self._owners, where))], best


def run_codes(score: Score) -> np.ndarray:
    """One number for each note but the first: its interval from the note before and its length."""
    pairs = [(b.pitch - a.pitch, b.length) for a, b in pairwise(score.notes)]
    return np.array([(interval + 128) * 1024 + min(length, 1023) for interval, length in pairs], dtype=np.int64)
