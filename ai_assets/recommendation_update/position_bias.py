"""How likely a place in a list is looked at, and weights that undo it when plays are learned from.

Plays at the top of a list say less about the track than plays further down. The chances are estimated from the log
alone: where the same track was shown at two places, only the place explains the difference (A. Agarwal et al.,
"Estimating Position Bias without Intrusive Interventions", WSDM 2019). Weights: T. Joachims et al., "Unbiased
Learning-to-Rank with Biased Feedback", WSDM 2017.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

PLACES = 20
LEAST_SHOWN = 200
LARGEST_WEIGHT = 10.0
Values = NDArray[np.float64]


def chances(shown: pd.DataFrame) -> Values:
    """(20,) chance that a place is looked at, the first one's being 1; ones where the log is too small to say.

    Args:
        shown: `track position played` of impressions; places from 1, those beyond 20 are left out.

    Each pair of neighbouring places is compared on the tracks shown at both, every track weighted by the smaller of
    its two counts; the product of the ratios is made non-increasing.
    """
    rows = shown[(shown["position"] >= 1) & (shown["position"] <= PLACES)]
    found = np.ones(PLACES)
    if rows.empty:
        return found
    tracks, track = np.unique(rows["track"].to_numpy(str), return_inverse=True)
    place = rows["position"].to_numpy(int) - 1
    views, plays = np.zeros((len(tracks), PLACES)), np.zeros((len(tracks), PLACES))
    np.add.at(views, (track, place), 1.0)
    np.add.at(plays, (track, place), rows["played"].to_numpy(float))
    rates = np.divide(plays, views, out=np.zeros_like(plays), where=views > 0)
    for at in range(1, PLACES):
        weight = np.minimum(views[:, at - 1], views[:, at])
        above, below = float(weight @ rates[:, at - 1]), float(weight @ rates[:, at])
        # Too few tracks were shown at both places: the curve goes on level rather than on noise.
        known = weight.sum() >= LEAST_SHOWN and above > 0 and below > 0
        found[at] = found[at - 1] * (min(below / above, 1.0) if known else 1.0)
    return found


def play_weights(positions: Values, looked_at: Values) -> Values:
    """(n,) inverse of the chance of each play's place, at most 10; 1 for plays that came from no list (NaN)."""
    listed = np.isfinite(positions) & (positions >= 1)
    at = np.clip(np.where(listed, positions, 1).astype(int) - 1, 0, len(looked_at) - 1)
    return np.where(listed, np.minimum(1.0 / looked_at[at], LARGEST_WEIGHT), 1.0)


def learned_weights(shown: pd.DataFrame, events: pd.DataFrame) -> pd.Series:
    """Weight of each play that came from a logged list, by (listener, track); the first such play counts.

    Args:
        shown: impressions (`list_id position track`). events: `listener track list_id played_at skipped`.
    """
    import pandas as pd

    listed = events[events["list_id"].isin(shown["list_id"].unique())] if len(shown) else events.head(0)
    kept = listed[~listed["skipped"].fillna(False).astype(bool)]
    heard = set(zip(kept["list_id"].astype(str), kept["track"].astype(str), strict=True))
    pairs = zip(shown["list_id"].astype(str), shown["track"].astype(str), strict=True)
    looked_at = chances(shown.assign(played=np.array([pair in heard for pair in pairs], float)))
    first = kept.merge(shown[["list_id", "track", "position"]], on=["list_id", "track"]).sort_values("played_at")
    first = first.drop_duplicates(["listener", "track"])
    weights = play_weights(first["position"].to_numpy(float), looked_at)
    return pd.Series(weights, pd.MultiIndex.from_frame(first[["listener", "track"]]), dtype=float)
