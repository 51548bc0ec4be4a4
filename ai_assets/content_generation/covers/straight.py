"""Exact relations for a scene that nearly has them: rows of even steps, grids of even pitch, equal sizes.

A model's numbers each carry a small error, and a grid shows it plainly. Here belongs finding shapes of one kind that
nearly stand in a row or a grid, and putting them exactly there. Free arrangements are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

# In token units: 0.1 is 7.5 % of the edge. An offset of a grid is judged by its pitch.
_OFF_LINE, _OFF_SIZE, _OFF_GRID = 0.1, 0.08, 0.35
_LEAST_SHAPES = 3
_LEAST_PITCH = 0.08


def straightened(tokens: np.ndarray) -> np.ndarray:
    """Tokens [25, 16], tidied, with rows and grids made exact; the same tokens always give the same."""
    found = tokens.copy()
    for group in _groups(tokens[:, :6].argmax(axis=1)):
        line = np.stack([np.ones(len(group)), np.arange(len(group))], axis=1)
        sizes, off_size = _fitted(line, tokens[group, 8:10])
        if off_size.max() > _OFF_SIZE:
            continue
        places, off_line = _fitted(line, tokens[group, 6:8])
        grid = places if off_line.max() <= _OFF_LINE else _grid(tokens[group, 6:8])
        if grid is not None:
            found[group, 6:8], found[group, 8:10] = grid, sizes
    # Adding zero turns -0.0 into 0.0, so that equal scenes have equal bytes.
    exact: np.ndarray = np.round(np.clip(found, -1.0, 1.0), 3) + 0.0
    return exact


def _groups(kinds: np.ndarray) -> Iterator[np.ndarray]:
    """Rows of neighbouring shapes of one kind, in drawing order; the background is no shape."""
    cuts = [1, *(np.flatnonzero(np.diff(kinds[1:])) + 2).tolist(), len(kinds)]
    for start, stop in pairwise(cuts):
        if kinds[start] > 0 and stop - start >= _LEAST_SHAPES:
            yield np.arange(start, stop)


def _grid(places: np.ndarray) -> np.ndarray | None:
    """Exact places [n, 2] of shapes that fill a grid row by row, None when they nearly fill none."""
    count, best, exact = len(places), _OFF_GRID, None
    for columns in range(2, count // 2 + 1):
        if count % columns:
            continue
        cells = np.arange(count)
        parts = []
        for axis, steps in enumerate((cells % columns, cells // columns)):
            basis = np.stack([np.ones(count), steps], axis=1)
            pitch = abs(float(np.linalg.lstsq(basis, places[:, axis], rcond=None)[0][1]))
            fitted, off = _fitted(basis, places[:, axis : axis + 1])
            parts.append((fitted, float(off[0]) / pitch if pitch >= _LEAST_PITCH else np.inf))
        off_grid = max(part[1] for part in parts)
        if off_grid <= best:
            best, exact = off_grid, np.concatenate([part[0] for part in parts], axis=1)
    return exact


def _fitted(basis: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares fit of each column, and its root mean square error."""
    fitted = basis @ np.linalg.lstsq(basis, values, rcond=None)[0]
    return fitted, np.sqrt(((fitted - values) ** 2).mean(axis=0))
