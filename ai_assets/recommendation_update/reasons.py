"""Why a track is recommended, in words, from closed-form shares of the listener's history."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.candidates import Sources

MOST_NAMED = 3


def history_shares(sources: Sources, history: NDArray[np.int64], item: int) -> NDArray[np.floating]:
    """(len(history),) how much each play speaks for the item; with iALS they sum to its score exactly."""
    if sources.ials is not None:
        return sources.ials.shares(history, item)
    if sources.content is not None:
        return (sources.content[history] @ sources.content[item]).astype(float) / max(len(history), 1)
    return np.zeros(len(history))


def reasons_for(
    sources: Sources, history: NDArray[np.int64], item: int, titles: NDArray[np.object_], artists: NDArray[np.object_]
) -> list[str]:
    """One to four sentences, the strongest first."""
    if len(history) == 0:
        return ["popular with all listeners"]
    shares = history_shares(sources, history, item)
    by_track: dict[int, float] = {}
    for code, share in zip(history.tolist(), shares.tolist(), strict=True):
        by_track[code] = by_track.get(code, 0.0) + share
    strongest = sorted((code for code in by_track if by_track[code] > 0), key=lambda code: (-by_track[code], code))
    named = [f"“{titles[code]}” by {artists[code]}" for code in strongest[:MOST_NAMED]]
    reasons = [f"because you listened to {', '.join(named)}"] if named else []
    if sources.artists[item] in sources.artists[history]:
        reasons.append(f"you have played {artists[item]} before")
    if not reasons:
        reasons.append("popular with all listeners")
    return reasons
