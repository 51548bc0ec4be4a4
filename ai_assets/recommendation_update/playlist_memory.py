"""Every version of every playlist, and what discovery lists must not give again: plain functions over rows.

A row of the history is one track at one place in one version of a list, from when to when it stood there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ai_assets.contract import Verdict

if TYPE_CHECKING:
    import pandas as pd

REMEMBERED = timedelta(days=60)
KEPT = timedelta(days=90)
TIMES, TIME = ("valid_from", "valid_to"), "datetime64[us, UTC]"
IDENTITY = ["playlist", "kind", "version", "listener", "position", "track", "reason"]


@dataclass(frozen=True)
class Memory:
    """What discovery lists gave.

    Attributes:
        given: by listener, the tracks of the last 60 days, those of this week among them.
        standing: by listener and week, (track, reason) of the list as it is, in order.
    """

    given: Mapping[str, frozenset[str]] = field(default_factory=dict)
    standing: Mapping[tuple[str, str], Sequence[tuple[str, str]]] = field(default_factory=dict)

    def this_week(self, listener: str, week: str) -> Sequence[tuple[str, str]]:
        """(track, reason) of the listener's list of that week, in order; empty where there is none yet."""
        return self.standing.get((listener, week), ())

    @classmethod
    def of(cls, history: pd.DataFrame, current: pd.DataFrame, now: datetime) -> Memory:
        """From the rows of `playlists_history` and of `playlists`, whichever of them was written last."""
        import pandas as pd

        past = history[history["kind"] == "discovery"]
        recent = past[past["valid_to"].isna() | (past["valid_to"] > pd.Timestamp(now - REMEMBERED))]
        lists = current[current["kind"] == "discovery"]
        both = pd.concat([recent[["listener", "track"]], lists[["listener", "track"]]])
        given = {str(name): frozenset(part["track"]) for name, part in both.groupby("listener")}
        ordered = lists.sort_values("position")
        standing = {
            (str(name), str(week)): list(zip(part["track"], part["reason"], strict=True))
            for (name, week), part in ordered.groupby(["listener", "version"])
        }
        return cls(given, standing)


def extended(history: pd.DataFrame, lists: pd.DataFrame, now: datetime) -> pd.DataFrame:
    """The history with today's lists: rows that no longer stand end now, new ones begin. The same lists change nothing.

    Rows that ended more than 90 days ago are left out.
    """
    import pandas as pd

    moment = pd.Timestamp(now)
    standing, past = history[history["valid_to"].isna()], history[history["valid_to"].notna()]
    past = past[past["valid_to"] > moment - KEPT]
    rows = lists[IDENTITY].reset_index(drop=True)
    holds, known = _keys(standing).isin(set(_keys(rows))), _keys(rows).isin(set(_keys(standing)))
    ending = standing[~holds].assign(valid_to=moment)
    starting = rows[~known].assign(valid_from=moment, valid_to=pd.NaT)
    parts = [part for part in (past, standing[holds], ending, starting) if len(part)]
    if not parts:
        return history.head(0)
    timed = [
        part.assign(**{name: pd.to_datetime(part[name], utc=True).astype(TIME) for name in TIMES}) for part in parts
    ]
    whole = pd.concat(timed, ignore_index=True)
    return whole.sort_values(["playlist", "valid_from", "version", "position"], kind="stable", ignore_index=True)


def repeats(history: pd.DataFrame) -> Verdict:
    """Did a discovery list give a track that an earlier one had given within 60 days?"""
    rows = history[history["kind"] == "discovery"].sort_values("valid_from", kind="stable")
    if rows.empty:
        return Verdict(True, "no discovery lists yet")
    # a track that only changes its place within a week is the same gift
    gifts = rows.groupby(["listener", "track", "version"], as_index=False).agg(
        begun=("valid_from", "min"), left=("valid_to", lambda ends: ends.max() if ends.notna().all() else None)
    )
    gifts = gifts.sort_values("begun", kind="stable")
    before = gifts.groupby(["listener", "track"])["left"].shift()
    earlier = gifts.duplicated(["listener", "track"])
    again = earlier & (before.isna() | (gifts["begun"] - before.astype(gifts["begun"].dtype) < REMEMBERED))
    count = int(again.sum())
    return Verdict(
        count == 0, f"{count} of {len(gifts):,} tracks were given again within {REMEMBERED.days} days",
        {"again": count, "given": len(gifts)},
    )  # fmt: skip


def _keys(rows: pd.DataFrame) -> pd.Series:
    """What tells rows apart, as one text per row."""
    return rows[IDENTITY].astype(object).where(rows[IDENTITY].notna(), "").astype(str).agg("\x1f".join, axis=1)
