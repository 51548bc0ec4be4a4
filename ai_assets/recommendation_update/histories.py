"""What a listener has played: the window the models read, and apart from it all that was ever heard or disliked.

The window forgets, the masks never do. A window row is what `interactions` holds too - one per day and track with a
positive strength, in the order of the day's last play - so that the models see the same when answering as in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.interactions import play_strength

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from resources.lake.tables import LakeTable

WINDOW = 500
COLUMNS = ["listener", "track", "played_at", "seconds_played", "skipped", "liked"]
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Play:
    """One event of a history given in a request: item code, and whether it was liked (None = not said)."""

    item: int
    liked: bool | None = None


@dataclass(frozen=True)
class History:
    """One listener's past.

    Attributes:
        recent: item codes for the models, oldest first, at most the last 500.
        heard: all distinct item codes ever played, ascending; plays: (len(heard),) how often.
        disliked: distinct item codes that were ever disliked: never again.
        listener: pseudonym, whose own rules hold; None for an anonymous history.
    """

    recent: Codes
    heard: Codes
    plays: Codes
    disliked: Codes
    listener: str | None = field(default=None)

    def __len__(self) -> int:
        """Number of plays."""
        return int(self.plays.sum())

    @classmethod
    def of(cls, plays: Sequence[Play], listener: str | None = None) -> History:
        """From plays in order, oldest first."""
        codes = np.array([play.item for play in plays], np.int64)
        refused = np.array([play.liked is False for play in plays], bool)
        heard, counts = np.unique(codes, return_counts=True)
        return cls(codes[~refused][-WINDOW:], heard, counts, np.unique(codes[refused]), listener)


def all_histories(events: LakeTable, codes: Mapping[str, int]) -> dict[str, History]:
    """Histories of all listeners by pseudonym; tracks that are not in the catalogue are left out."""
    return _by_listener(events.arrow(COLUMNS), codes) if events.exists else {}


def history_of(events: LakeTable, listener: str, codes: Mapping[str, int]) -> History:
    """One listener's history (pseudonym); empty for a listener never seen."""
    import pyarrow.dataset as ds

    empty = History.of([], listener)
    if not events.exists:
        return empty
    data = events.dataset().to_table(columns=COLUMNS, filter=ds.field("listener") == listener)
    return _by_listener(data, codes).get(listener, empty)


def _by_listener(data: pa.Table, codes: Mapping[str, int]) -> dict[str, History]:
    frame = data.to_pandas()
    known = frame.assign(code=frame["track"].map(codes)).dropna(subset=["code"])
    known = known.assign(
        code=known["code"].astype("int64"),
        strength=play_strength(known["seconds_played"], known["skipped"], known["liked"]),
        day=known["played_at"].dt.floor("D"),
        disliked=[value is not None and not value for value in known["liked"]],
    )
    recent = _windows(known)
    counts = known.groupby(["listener", "code"], sort=True).agg(plays=("code", "size"), disliked=("disliked", "any"))
    found = {}
    for listener, part in counts.groupby(level="listener", sort=True):
        heard = part.index.get_level_values("code").to_numpy(np.int64)
        refused = heard[part["disliked"].to_numpy(bool)]
        window = recent.get(str(listener), np.empty(0, np.int64))
        found[str(listener)] = History(window, heard, part["plays"].to_numpy(np.int64), refused, str(listener))
    return found


def _windows(events: pd.DataFrame) -> dict[str, Codes]:
    """The last rows of every listener, as the models were trained on them."""
    grouped = events.groupby(["listener", "day", "track"], sort=True)
    rows = grouped.agg(code=("code", "first"), strength=("strength", "sum"), last=("played_at", "max")).reset_index()
    rows = rows[rows["strength"] > 0].sort_values(["listener", "last"], kind="stable")
    return {
        str(listener): part.to_numpy(np.int64)[-WINDOW:]
        for listener, part in rows.groupby("listener", sort=False)["code"]
    }
