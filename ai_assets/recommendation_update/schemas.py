"""The promises of the recommendation tables."""

import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from ai_assets.recommendation_update.candidates import FEATURES

UTC_TIME = {"unit": "us", "tz": "UTC"}


class Strict(pa.DataFrameModel):
    """Base of all tables: exactly these columns, values coerced to their types."""

    class Config:
        strict = True
        coerce = True


class RankingDataset(pa.DataFrameModel):
    """Candidates with features as they were known at a date, and whether they were played afterwards."""

    listener: Series[str] = pa.Field(description="Pseudonym of the listener.")
    track: Series[str]
    window: Series[str] = pa.Field(
        isin=["train", "test"], description="Labels of the test window come after all others."
    )
    label: Series[int] = pa.Field(isin=[0, 1], description="1 = played for the first time after the date.")
    relevant: Series[int] = pa.Field(ge=1, description="The listener's later first plays in all, candidates or not.")
    weight: Series[float] = pa.Field(ge=1, description="Inverse chance that the place of the play was looked at.")
    features: Series[float] = pa.Field(
        alias="^(" + "|".join(FEATURES) + ")$",
        regex=True,
        nullable=True,
        description="Features of the ranker, as they were known at the date.",
    )

    class Config:
        strict = "filter"
        coerce = True


class Recommendations(Strict):
    """The lists of all listeners, best first."""

    listener: Series[str] = pa.Field(description="Pseudonym of the listener.")
    rank: Series[int] = pa.Field(ge=1)
    track: Series[str]
    title: Series[str]
    artist: Series[str]
    score: Series[float] = pa.Field(ge=0, le=1)
    reasons: Series[object] = pa.Field(metadata={"arrow": "list<string>"})
    generation: Series[str] = pa.Field(description="Serving generation that answered.")


class RecommendationRules(Strict):
    """What must not be recommended, as it stands in the platform database."""

    rule: Series[str] = pa.Field(unique=True, description="Id of the rule.")
    scope: Series[str] = pa.Field(isin=["all", "listener"], description="For whom it holds.")
    listener: Series[str] = pa.Field(description="Pseudonym of the listener it holds for; empty = for all.")
    field: Series[str] = pa.Field(description="What it looks at: artist, album, folder, genre, kind, duration, …")
    operator: Series[str] = pa.Field(description="How it compares.")
    value: Series[str] = pa.Field(description="With what.")
    season: Series[str] = pa.Field(description="Days of every year on which it holds; empty = always.")
    added_at: Series[str] = pa.Field(description="When it was entered, UTC.")


class PlaylistWishes(Strict):
    """Playlists that were asked for, as they stand in the platform database."""

    playlist: Series[str] = pa.Field(unique=True, description="Stable name.")
    listener: Series[str] = pa.Field(description="Pseudonym of the listener it is for; empty = for everybody.")
    wish: Series[str] = pa.Field(description="JSON: seed tracks, genre, mood, ranges, length.")
    added_at: Series[str] = pa.Field(description="When it was entered, UTC.")


PLAYLIST_KINDS = ["familiar", "discovery", "genre", "theme", "seeds"]


class Playlists(Strict):
    """Daily familiar tracks and weekly discoveries per listener, mixes by genre, and the lists that were asked for."""

    playlist: Series[str] = pa.Field(description="Stable name.")
    kind: Series[str] = pa.Field(isin=PLAYLIST_KINDS)
    version: Series[str] = pa.Field(description="The day it was made for, of discoveries the ISO week.")
    listener: Series[str] = pa.Field(nullable=True, description="Null = for everybody.")
    about: Series[str] = pa.Field(description="JSON: genre, theme or titles of the seed tracks.")
    position: Series[int] = pa.Field(ge=1)
    track: Series[str]
    title: Series[str]
    artist: Series[str]
    reason: Series[str]


class PlaylistsHistory(Strict):
    """Every version of every playlist of the last 90 days, and from when to when each track stood in it."""

    playlist: Series[str] = pa.Field(description="Stable name.")
    kind: Series[str] = pa.Field(isin=PLAYLIST_KINDS)
    version: Series[str] = pa.Field(description="The day it was made for, of discoveries the ISO week.")
    listener: Series[str] = pa.Field(nullable=True, description="Null = for everybody.")
    position: Series[int] = pa.Field(ge=1)
    track: Series[str]
    reason: Series[str]
    valid_from: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME)
    valid_to: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME, nullable=True)


class RecommendationQuality(Strict):
    """What the lists are worth, by metric and group."""

    metric: Series[str]
    group: Series[str]
    value: Series[float] = pa.Field(nullable=True)
    low: Series[float] = pa.Field(nullable=True, description="Lower end of the 95 % interval over listeners.")
    high: Series[float] = pa.Field(nullable=True, description="Upper end of the interval.")
    baseline: Series[float] = pa.Field(nullable=True, description="The same metric of popular tracks.")
