"""Which tracks may be shown: rules as rows, compiled into a mask by one function that every surface goes through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

FIELDS = ("artist", "album", "genre", "path", "track", "title", "duration_seconds")
OPERATORS = ("is", "begins_with", "longer_than", "shorter_than")


def allowed_mask(catalogue: Mapping[str, NDArray[Any]], rules: Sequence[Mapping[str, Any]] = ()) -> NDArray[np.bool_]:
    """(items,) True where a track may be shown: it is not deleted and no rule excludes it.

    Args:
        catalogue: columns in the order of item codes.
        rules: rows `field operator value`, all of them exclusions.

    Raises:
        ValueError: an unknown field or operator.
    """
    mask = ~catalogue["deleted"].astype(bool)
    for rule in rules:
        mask &= ~matches(catalogue, rule)
    return mask


def matches(catalogue: Mapping[str, NDArray[Any]], rule: Mapping[str, Any]) -> NDArray[np.bool_]:
    """(items,) True where a rule applies."""
    field, operator, value = rule["field"], rule["operator"], rule["value"]
    if field not in FIELDS or operator not in OPERATORS:
        raise ValueError(f"rule {field} {operator}: expected a field of {FIELDS} and an operator of {OPERATORS}")
    column = catalogue[field]
    if operator in ("longer_than", "shorter_than"):
        numbers = column.astype(float)
        with np.errstate(invalid="ignore"):
            return numbers > float(value) if operator == "longer_than" else numbers < float(value)
    texts = np.array([str(item).casefold() if item is not None else "" for item in column])
    wanted = str(value).casefold()
    return texts == wanted if operator == "is" else np.char.startswith(texts, wanted)
