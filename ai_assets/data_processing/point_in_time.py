"""Features of listeners and tracks as they were known when a day began, and the split of the days for training.

A row of day D is computed from the days before D alone, so a training example of day D that joins on it cannot know its
own label or anything later. Queries run in DuckDB over the lake and spill to disk; nothing is held in memory whole.
Here are queries and the proof that they do not look ahead; the assets are in `feature_assets`.

Source: S. Kaufman et al., "Leakage in data mining", ACM TKDD 6(4), 2012.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Key = Literal["listener", "track"]
OTHER: dict[Key, Key] = {"listener": "track", "track": "listener"}

WEEK, MONTH = 7, 28
TRAIN_SHARE, VALIDATION_SHARE = 0.70, 0.15
SAMPLE = 150
COUNTED = ("plays_7d", "plays_28d", "plays_before", "days_active_28d", "likes_before")

_FEATURES = """
WITH daily AS (
    SELECT {key}, CAST(day AS DATE) AS d, sum(plays) AS plays, sum(skips) AS skips, sum(strength) AS strength,
           count(DISTINCT {other}) AS others, count(*) FILTER (liked) AS likes
    FROM interactions GROUP BY {key}, day
)
SELECT strftime(d, '%Y-%m-%d') AS day, {key},
       CAST(coalesce(sum(plays) OVER week, 0) AS BIGINT) AS plays_7d,
       CAST(coalesce(sum(plays) OVER month, 0) AS BIGINT) AS plays_28d,
       CAST(coalesce(sum(plays) OVER ever, 0) AS BIGINT) AS plays_before,
       count(*) OVER month AS days_active_28d,
       CAST(coalesce(sum(others) OVER month, 0) AS BIGINT) AS {other}_days_28d,
       CAST(sum(skips) OVER month AS DOUBLE) / sum(plays) OVER month AS skip_rate_28d,
       CAST(sum(strength) OVER month AS DOUBLE) / sum(plays) OVER month AS mean_strength_28d,
       CAST(coalesce(sum(likes) OVER ever, 0) AS BIGINT) AS likes_before,
       CAST(date_diff('day', max(d) OVER ever, d) AS DOUBLE) AS days_since_last
FROM daily
WINDOW week AS (PARTITION BY {key} ORDER BY d RANGE BETWEEN INTERVAL {week} DAY PRECEDING AND {until}),
       month AS (PARTITION BY {key} ORDER BY d RANGE BETWEEN INTERVAL {month} DAY PRECEDING AND {until}),
       ever AS (PARTITION BY {key} ORDER BY d RANGE BETWEEN UNBOUNDED PRECEDING AND {until})
ORDER BY day, {key}
"""

UNTIL = "INTERVAL 1 DAY PRECEDING"
"""Where every window ends: with the day before."""


def features_query(key: Key) -> str:
    """SQL over `interactions`: one row per day and listener (or track) with plays on that day."""
    return _FEATURES.format(key=key, other=OTHER[key], week=WEEK, month=MONTH, until=UNTIL)


def looked_ahead(features: pd.DataFrame, connection: Any, key: Key, *, sample: int = SAMPLE) -> list[str]:
    """Rows of a sample that differ from a recomputation on nothing but earlier days: `KEY on DAY: COLUMN`.

    The recomputation is another program (pandas, row by row), so an error of the query does not hide itself.

    Args:
        connection: DuckDB, with `interactions`.
    """
    if features.empty:
        return []
    rows = features.sample(min(sample, len(features)), random_state=0)
    names = rows[key].unique().tolist()
    past = connection.execute(
        f"SELECT {key}, day, plays, liked FROM interactions WHERE {key} IN (SELECT unnest(?))", [names]
    ).df()
    past["date"] = past["day"].astype("datetime64[s]")
    by_key = dict(iter(past.groupby(key, sort=False)))
    wrong = []
    for row in rows.itertuples(index=False):
        today = np.datetime64(row.day, "s")
        held = by_key[getattr(row, key)]
        before = held[held["date"] < today]
        month = before[before["date"] >= today - np.timedelta64(MONTH, "D")]
        week = before[before["date"] >= today - np.timedelta64(WEEK, "D")]
        wanted = (
            week["plays"].sum(), month["plays"].sum(), before["plays"].sum(), month["day"].nunique(),
            int(before["liked"].astype("boolean").fillna(False).sum()),
        )  # fmt: skip
        wrong += [
            f"{getattr(row, key)} on {row.day}: {name}"
            for name, value in zip(COUNTED, wanted, strict=True)
            if int(getattr(row, name)) != int(value)
        ]
    return wrong


def split_days(days: pd.DataFrame) -> pd.DataFrame:
    """Whole days into train, validation and test, in this order of time, near 70, 15 and 15 % of the rows.

    Every part gets at least one day where there are three; no day is in two parts, so nothing of a later part can have
    been known in an earlier one.

    Args:
        days: one row per day with `rows`, ordered by `day`.
    """
    count = len(days)
    shares = (days["rows"].cumsum() / max(days["rows"].sum(), 1)).to_numpy(float)
    ends = np.searchsorted(shares, [TRAIN_SHARE, TRAIN_SHARE + VALIDATION_SHARE], side="right")
    train = int(np.clip(ends[0], min(1, count), max(count - 2, 1)))
    validation = int(np.clip(ends[1], train + (count >= 3), max(count - 1, train)))
    names = ["train"] * train + ["validation"] * (validation - train) + ["test"] * (count - validation)
    return days.assign(split=names[:count])


def overlapping_splits(splits: pd.DataFrame) -> list[str]:
    """What is wrong with a split: days that are in two parts, or parts that are not one after the other."""
    wrong = [f"{day} is in two parts" for day in splits.loc[splits["day"].duplicated(), "day"].unique()]
    bounds = [splits.loc[splits["split"] == name, "day"] for name in ("train", "validation", "test")]
    for (before, after), (one, two) in zip(
        (("train", "validation"), ("validation", "test"), ("train", "test")),
        ((bounds[0], bounds[1]), (bounds[1], bounds[2]), (bounds[0], bounds[2])),
        strict=True,
    ):
        if len(one) and len(two) and one.max() >= two.min():
            wrong.append(f"{before} reaches {one.max()}, {after} begins {two.min()}")
    return wrong


DAYS_QUERY = """
SELECT day, count(*) AS rows, count(DISTINCT listener) AS listeners, count(DISTINCT track) AS tracks,
       CAST(sum(first) AS BIGINT) AS first_plays
FROM (SELECT day, listener, track, CAST(day = min(day) OVER (PARTITION BY listener, track) AS INTEGER) AS first
      FROM interactions)
GROUP BY day ORDER BY day
"""

EXAMPLES_QUERY = """
SELECT s.split, i.day, i.listener, i.track, i.strength,
       l.* EXCLUDE (day, listener), t.* EXCLUDE (day, track)
FROM interactions i
JOIN listening_splits s ON s.day = i.day
JOIN (SELECT day, listener, COLUMNS(* EXCLUDE (day, listener)) AS 'listener_\\0' FROM listener_features) l
  ON l.day = i.day AND l.listener = i.listener
JOIN (SELECT day, track, COLUMNS(* EXCLUDE (day, track)) AS 'track_\\0' FROM track_features) t
  ON t.day = i.day AND t.track = i.track
ORDER BY i.day, i.listener, i.track
"""
"""Training examples: every interaction with its split and with what was known of listener and track before its day."""
