"""Events to interactions and listeners: play strength, sessions, activity. Plain functions over frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

SESSION_GAP_SECONDS = 30 * 60
FULL_PLAY_SECONDS = 30.0


def play_strength(seconds: pd.Series, skipped: pd.Series, liked: pd.Series) -> np.ndarray:
    """How much a play says for a track, in [0, 1.5].

    A play counts fully from 30 seconds on (the usual rule of streaming services) or when its length is unknown; a skip
    counts a fifth of that; a like adds a half; a dislike counts nothing at all.
    """
    played = np.minimum(seconds.fillna(FULL_PLAY_SECONDS).to_numpy(float) / FULL_PLAY_SECONDS, 1.0)
    strength = played * np.where(skipped.astype("boolean").fillna(False).to_numpy(bool), 0.2, 1.0)
    strength = strength + 0.5 * liked.astype("boolean").fillna(False).to_numpy(bool)
    return np.where((~liked.astype("boolean").fillna(True).to_numpy(bool)), 0.0, strength)


def session_numbers(events: pd.DataFrame) -> pd.Series:
    """A number per session: a listener's events without a gap of more than 30 minutes. Needs order by time."""
    ordered = events.sort_values(["listener", "played_at"], kind="stable")
    times = ordered["played_at"].to_numpy("datetime64[us]").astype("int64") / 1e6
    gap = np.diff(times, prepend=times[:1]) > SESSION_GAP_SECONDS
    new = ordered["listener"].ne(ordered["listener"].shift()) | gap
    return new.cumsum().reindex(events.index)


def daily_interactions(events: pd.DataFrame) -> pd.DataFrame:
    """One row per day, listener and track, ordered so."""
    if events.empty:
        return events.reindex(columns=_COLUMNS)
    rows = events.assign(
        strength=play_strength(events["seconds_played"], events["skipped"], events["liked"]),
        session=session_numbers(events),
        skip=events["skipped"].astype("boolean").fillna(False).astype(bool),
    ).sort_values("played_at", kind="stable")
    grouped = rows.groupby(["day", "listener", "track"], sort=True)
    frame = grouped.agg(
        plays=("event_id", "size"),
        skips=("skip", "sum"),
        seconds_played=("seconds_played", "sum"),
        strength=("strength", "sum"),
        liked=("liked", "last"),
        sessions=("session", "nunique"),
        first_played_at=("played_at", "min"),
        last_played_at=("played_at", "max"),
    ).reset_index()
    return frame[_COLUMNS]


_COLUMNS = [
    "day", "listener", "track", "plays", "skips", "seconds_played", "strength", "liked", "sessions",
    "first_played_at", "last_played_at",
]  # fmt: skip

LISTENERS_QUERY = """
SELECT listener, min(day) AS first_day, max(day) AS last_day, count(DISTINCT day) AS days_active,
       sum(plays) AS plays, count(DISTINCT track) AS tracks, sum(skips) / sum(plays) AS skip_rate,
       count(*) FILTER (liked) AS likes
FROM interactions GROUP BY listener ORDER BY listener
"""


def activity_groups(plays: pd.Series) -> np.ndarray:
    """Thirds of listeners by plays: low, medium, high (ties fall into the lower group)."""
    if plays.empty:
        return np.array([], dtype=object)
    low, high = np.quantile(plays, [1 / 3, 2 / 3])
    return np.where(plays <= low, "low", np.where(plays <= high, "medium", "high"))
