"""Which tracks a wish finds, best first, with a reason each. What is asked for is `wishes`; `playlists` cuts the lists.

A theme is ordered by the candidates of the listener's history (of nobody's: by plays); seeds by likeness to their mean,
in sound, or in listening where no seed has sound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.candidates import candidates
from ai_assets.recommendation_update.histories import History
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.wishes import Wish

if TYPE_CHECKING:
    import pandas as pd

POOL = 400
COLUMNS = {"tempo": "tempo_bpm", "energy": "energy_index", "years": "year"}
UNITS = {"tempo": "{:.0f} bpm", "energy": "energy {:.2f}", "years": "{:.0f}"}
Codes = NDArray[np.int64]
Answer = tuple[Codes, dict[int, str], dict[str, Any]]
"""Item codes, best first; a reason by item code; what the list is about."""


def found_for(
    snapshot: QuerySnapshot, wish: Wish, history: History, mask: NDArray[np.bool_], facts: pd.DataFrame | None
) -> Answer:
    """The tracks of a wish among the allowed ones.

    Args:
        mask: (items,) True where a track may be shown; facts: rows of `tracks`, None where there are none.
    """
    held, named = _theme(snapshot, wish, facts)
    allowed = mask & held
    if wish.seeds:
        return _like_seeds(snapshot, wish, allowed, mask)
    about: dict[str, Any] = {name: value for name in ("genre", "mood") if (value := getattr(wish, name))}
    if not allowed.any():
        return np.empty(0, np.int64), {}, about | wish.ranges
    pool = candidates(snapshot.sources, history.recent, allowed, POOL)
    reasons = {item: ", ".join(part[item] for part in named) for item in pool.items.tolist()}
    return pool.items, reasons, about | wish.ranges


def _theme(
    snapshot: QuerySnapshot, wish: Wish, facts: pd.DataFrame | None
) -> tuple[NDArray[np.bool_], list[NDArray[Any]]]:
    """(items,) True where a track fits, and per condition the words that say so of each track."""
    import pandas as pd

    count = len(snapshot.codes)
    held, named = np.ones(count, bool), []
    ids = snapshot.catalogue["track"].astype(str)
    known = pd.DataFrame(index=ids) if facts is None else facts.drop_duplicates("track").set_index("track").reindex(ids)
    for name in ("genre", "mood"):
        wanted = getattr(wish, name).strip().casefold()
        if wanted:
            own = known[name].to_numpy(object) if name in known else np.full(count, None, object)
            texts = snapshot.catalogue["genre"] if name == "genre" else own
            held &= np.array([isinstance(text, str) and text.strip().casefold() == wanted for text in texts], bool)
            named.append(np.array([str(text) for text in texts], object))
    for name, (low, high) in wish.ranges.items():
        column = COLUMNS[name]
        values = (
            known[column].astype("Float64").to_numpy(float, na_value=np.nan)
            if column in known
            else np.full(count, np.nan)
        )
        held &= (values >= low) & (values <= high)
        named.append(np.array([UNITS[name].format(value) for value in values.tolist()], object))
    return held, named


def _like_seeds(snapshot: QuerySnapshot, wish: Wish, allowed: NDArray[np.bool_], mask: NDArray[np.bool_]) -> Answer:
    catalogue, sources = snapshot.catalogue, snapshot.sources
    seeds = np.array([snapshot.codes[track] for track in wish.seeds if track in snapshot.codes], np.int64)
    titles = [f"“{catalogue['title'][seed]}”" for seed in seeds.tolist()]
    about = {"seeds": [str(catalogue["title"][seed]) for seed in seeds.tolist()]}
    reasons = dict.fromkeys(seeds.tolist(), "you chose it")
    first = seeds[mask[seeds]]
    vectors, norms, sound = sources.content, sources.content_norms, True
    if vectors is None or norms is None or not norms[seeds].any():
        vectors, norms, sound = sources.tower.outputs if sources.tower else None, sources.tower_norms, False
    if vectors is None or norms is None or not norms[seeds].any():
        return first, reasons, about
    heard = np.flatnonzero(norms[seeds] > 0)
    chosen = vectors[seeds[heard]] / norms[seeds[heard]][:, None]
    items = np.setdiff1d(np.flatnonzero(allowed & (norms > 0)), seeds)
    cosines = (vectors[items] / norms[items][:, None]) @ chosen.T
    scores = cosines.mean(1) - (snapshot.hub_penalty(items) if sound else 0.0)
    order = np.lexsort((items, -scores))[:POOL]
    words = "sounds like" if sound else "heard by those who play"
    nearest = heard[cosines[order].argmax(1)] if len(items) else np.empty(0, np.int64)
    reasons |= {
        item: f"{words} {titles[seed]}" for item, seed in zip(items[order].tolist(), nearest.tolist(), strict=True)
    }
    return np.concatenate([first, items[order]]), reasons, about
