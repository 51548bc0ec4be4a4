"""The seven statistics over time that FMA takes of every series.

Belongs here: mean, standard deviation, skewness, excess kurtosis, median, minimum and maximum, all of the population.
Does not belong here: which series there are (`features`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

STATISTICS = ("kurtosis", "max", "mean", "median", "min", "skew", "std")
# Under this share of the largest value a deviation is rounding, as in scipy.stats; the moments of a constant are 0.
_CONSTANT = 1e-14


def seven_statistics(series: NDArray[Any]) -> NDArray[np.float64]:
    """Statistics (7, n) in the order of `STATISTICS` of series (n, frames).

    Skewness and kurtosis are the biased population moments of `scipy.stats`; of a constant series they are 0, where
    scipy gives NaN.
    """
    # Sorted in the precision they came in, which takes half the time.
    ordered = np.sort(series, axis=1)
    middle = ordered.shape[1] // 2
    median = ordered[:, middle - 1 + ordered.shape[1] % 2].astype(np.float64)
    median = 0.5 * (median + ordered[:, middle])
    lowest, highest = ordered[:, 0].astype(np.float64), ordered[:, -1].astype(np.float64)
    values = np.array(series, dtype=np.float64, order="C")
    mean = values.mean(axis=1)
    values -= mean[:, None]
    squares = values * values
    second = squares.mean(axis=1)
    third = np.einsum("ij,ij->i", squares, values) / values.shape[1]
    fourth = np.einsum("ij,ij->i", squares, squares) / values.shape[1]
    constant = second <= (_CONSTANT * np.abs(mean)) ** 2
    divisor = np.where(constant, 1.0, second)
    skew = np.where(constant, 0.0, third / divisor**1.5)
    kurtosis = np.where(constant, 0.0, fourth / divisor**2 - 3.0)
    return np.stack([kurtosis, highest, mean, median, lowest, skew, np.sqrt(second)])
