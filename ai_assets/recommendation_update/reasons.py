"""Why a track is recommended, in words, from closed-form shares of the listener's history."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.candidates import Sources

MOST_NAMED = 3
# Digits that two shares are compared by: the last ones depend on how many items one matrix product answers.
DIGITS = 9
POPULAR = "popular with all listeners"


def history_shares(sources: Sources, history: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.float64]:
    """(len(items), len(history)) how much each play speaks for each item; with iALS a row sums to its score."""
    if sources.fold_in is not None and len(history):
        return sources.fold_in.shares(history, items)
    if sources.content is not None:
        alike = sources.content[items].astype(np.float64) @ sources.content[history].T.astype(np.float64)
        return np.asarray(alike / max(len(history), 1))
    return np.zeros((len(items), len(history)))


def reasons_for(
    sources: Sources,
    history: NDArray[np.int64],
    items: NDArray[np.int64],
    titles: NDArray[Any],
    artists: NDArray[Any],
) -> list[list[str]]:
    """One to three sentences per item, the strongest first."""
    if len(history) == 0:
        return [[POPULAR] for _ in items]
    distinct, places = np.unique(history, return_inverse=True)
    heard = set(sources.artists[history].tolist())
    answers = []
    for item, shares in zip(items.tolist(), history_shares(sources, history, items), strict=True):
        by_track = np.bincount(places, weights=shares, minlength=len(distinct))
        compared = np.round(by_track / max(float(np.abs(by_track).max()), 1e-300), DIGITS)
        strongest = np.lexsort((distinct, -compared))[:MOST_NAMED]
        named = [f"“{titles[distinct[at]]}” by {artists[distinct[at]]}" for at in strongest if by_track[at] > 0]
        reasons = [f"because you listened to {', '.join(named)}"] if named else []
        if int(sources.artists[item]) in heard:
            reasons.append(f"you have played {artists[item]} before")
        answers.append(reasons or [POPULAR])
    return answers
