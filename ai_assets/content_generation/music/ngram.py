"""An interpolated n-gram over score tokens: the baseline, and the model where there are too few scores for another.

Smoothing by Witten and Bell (IEEE Transactions on Information Theory 37, 1991), down to even chances for every token.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

ORDER = 4


class NGram:
    """Counts of every context up to ``order - 1`` tokens, and probabilities from them, shorter contexts first.

    With ``by_mode`` each context is interpolated once more within the row's mode (its second token), which so few
    tokens cannot remember: minor tunes then stay in minor. On few scores that is less likely per note, so the
    baseline that likelihoods are compared with goes without.
    """

    def __init__(
        self, rows: Iterable[Sequence[int] | np.ndarray], tokens: int, *, order: int = ORDER, by_mode: bool = False
    ) -> None:
        self.order, self.tokens, self.by_mode = order, tokens, by_mode
        self.counts: dict[tuple[int, ...], dict[int, int]] = {}
        for row in rows:
            numbers = [int(number) for number in row]
            for place in range(1, len(numbers)):
                for context in self._contexts(numbers, place):
                    following = self.counts.setdefault(context, {})
                    following[numbers[place]] = following.get(numbers[place], 0) + 1

    def probabilities(self, before: Sequence[int]) -> np.ndarray:
        """Chance of each token [tokens] after ``before``."""
        chances = np.full(self.tokens, 1.0 / self.tokens)
        for context in self._contexts(before, len(before)):
            following = self.counts.get(context)
            if following is None:
                continue
            kinds, total = len(following), sum(following.values())
            chances = chances * (kinds / (total + kinds))
            for number, count in following.items():
                chances[number] += count / (total + kinds)
        return chances

    def log_probabilities(self, row: Sequence[int]) -> np.ndarray:
        """Log-probability of every token of ``row`` but the first."""
        return np.array([self._log_probability(row, place) for place in range(1, len(row))])

    def _log_probability(self, row: Sequence[int], place: int) -> float:
        token, chance = int(row[place]), 1.0 / self.tokens
        for context in self._contexts(row, place):
            following = self.counts.get(context)
            if following is None:
                continue
            kinds, total = len(following), sum(following.values())
            chance = (following.get(token, 0) + kinds * chance) / (total + kinds)
        return float(np.log(chance))

    def _contexts(self, row: Sequence[int], place: int) -> Iterator[tuple[int, ...]]:
        """Keys of ``counts`` for the token at ``place``, from the most general on; the first number is the mode."""
        for length in range(min(self.order, place + 1)):
            context = tuple(row[place - length : place])
            yield (-1, *context)
            if self.by_mode and place > 1:
                yield (row[1], *context)
