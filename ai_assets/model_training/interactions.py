"""Who played what, when, as dense codes: the one input of every listening model. No model lives here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

Codes = NDArray[np.int64]
Histories = Sequence[Codes]


@dataclass(frozen=True)
class Interactions:
    """Rows of (user, item, time, weight).

    Attributes:
        users, items: (n,) dense codes into `user_ids` and `item_ids`.
        times: (n,) seconds since 1970; zeros where the data have no times.
        weights: (n,) how much a row says, at least 0.
        user_ids, item_ids: the outside ids, in the order of their codes.
    """

    users: Codes
    items: Codes
    times: NDArray[np.float64]
    weights: NDArray[np.float64]
    user_ids: NDArray[np.str_]
    item_ids: NDArray[np.str_]

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        *,
        user: str = "user",
        item: str = "item",
        time: str | None = "time",
        weight: str | None = None,
        item_ids: Sequence[str] | None = None,
        user_ids: Sequence[str] | None = None,
    ) -> Interactions:
        """From a frame; ids are sorted, so that equal content gives equal codes.

        Args:
            item_ids, user_ids: known ids whose order is kept; rows of other ids are left out.
        """
        names_u = np.array(sorted(frame[user].astype(str).unique()) if user_ids is None else list(user_ids), dtype=str)
        names_i = np.array(sorted(frame[item].astype(str).unique()) if item_ids is None else list(item_ids), dtype=str)
        users, items = _codes(frame[user].astype(str), names_u), _codes(frame[item].astype(str), names_i)
        keep = (users >= 0) & (items >= 0)
        times = frame[time].to_numpy(float) if time is not None and time in frame else np.zeros(len(frame))
        weights = frame[weight].to_numpy(float) if weight is not None and weight in frame else np.ones(len(frame))
        return cls(users[keep], items[keep], times[keep], weights[keep], names_u, names_i)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def user_count(self) -> int:
        return len(self.user_ids)

    @property
    def item_count(self) -> int:
        return len(self.item_ids)

    def take(self, rows: NDArray[np.bool_] | Codes) -> Interactions:
        """The same ids with some of the rows."""
        return Interactions(
            self.users[rows], self.items[rows], self.times[rows], self.weights[rows], self.user_ids, self.item_ids
        )

    def matrix(self) -> csr_matrix:
        """(users, items) matrix of ones where there is a row with a weight above 0 (duplicates count once)."""
        from scipy.sparse import csr_matrix

        rows = self.weights > 0
        shape = (self.user_count, self.item_count)
        found = csr_matrix((np.ones(int(rows.sum()), np.float32), (self.users[rows], self.items[rows])), shape=shape)
        found.sum_duplicates()
        found.data[:] = 1.0
        found.sort_indices()
        return found

    def histories(self, last: int | None = None) -> list[Codes]:
        """Item codes of every user, oldest first (of equal times: in the order of the rows), at most the `last`."""
        order = np.lexsort((np.arange(len(self)), self.times, self.users))
        bounds = np.searchsorted(self.users[order], np.arange(self.user_count + 1))
        ordered = self.items[order]
        parts = [ordered[bounds[u] : bounds[u + 1]] for u in range(self.user_count)]
        return parts if last is None else [part[-last:] for part in parts]


def _codes(names: pd.Series, ids: NDArray[np.str_]) -> Codes:
    table = {name: code for code, name in enumerate(ids)}
    return names.map(table).fillna(-1).to_numpy(np.int64)


def history_matrix(histories: Histories, item_count: int) -> csr_matrix:
    """(users, items) matrix of ones of item-code histories."""
    from scipy.sparse import csr_matrix

    lengths = np.array([len(part) for part in histories], np.int64)
    indices = np.concatenate([*histories, np.empty(0, np.int64)]).astype(np.int64)
    pointers = np.concatenate([[0], np.cumsum(lengths)])
    found = csr_matrix((np.ones(len(indices), np.float32), indices, pointers), shape=(len(histories), item_count))
    found.sum_duplicates()
    found.data[:] = 1.0
    return found
