"""An interpolated n-gram over score tokens: the baseline, and the model where there are too few scores for another.

Smoothing by Witten and Bell (IEEE Transactions on Information Theory 37, 1991), down to even chances for every token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

ORDER = 4


class NGram:
    """Counts of every context up to ``order - 1`` tokens, and probabilities from them."""

    def __init__(self, rows: Iterable[Sequence[int] | np.ndarray], tokens: int, *, order: int = ORDER) -> None:
        self.order, self.tokens = order, tokens
        self.counts: list[dict[tuple[int, ...], dict[int, int]]] = [{} for _ in range(order)]
        for row in rows:
            for place in range(1, len(row)):
                for length in range(min(order, place + 1)):
                    context = tuple(int(n) for n in row[place - length : place])
                    following = self.counts[length].setdefault(context, {})
                    following[int(row[place])] = following.get(int(row[place]), 0) + 1

    def probabilities(self, before: Sequence[int]) -> np.ndarray:
        """Chance of each token [tokens] after ``before``."""
        chances = np.full(self.tokens, 1.0 / self.tokens)
        for length in range(min(self.order, len(before) + 1)):
            context = tuple(int(n) for n in before[len(before) - length :])
            following = self.counts[length].get(context)
            if following is None:
                break
            kinds = len(following)
            total = sum(following.values())
            chances = chances * (kinds / (total + kinds))
            for number, count in following.items():
                chances[number] += count / (total + kinds)
        return chances

    def log_probabilities(self, row: Sequence[int]) -> np.ndarray:
        """Log-probability of every token of ``row`` but the first."""
        found = np.zeros(len(row) - 1)
        for place in range(1, len(row)):
            found[place - 1] = self._log_probability(row, place)
        return found

    def _log_probability(self, row: Sequence[int], place: int) -> float:
        token, chance = int(row[place]), 1.0 / self.tokens
        for length in range(min(self.order, place + 1)):
            following = self.counts[length].get(tuple(int(n) for n in row[place - length : place]))
            if following is None:
                break
            kinds, total = len(following), sum(following.values())
            chance = (following.get(token, 0) + kinds * chance) / (total + kinds)
        return float(np.log(chance))
