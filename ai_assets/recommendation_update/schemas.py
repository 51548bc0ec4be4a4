"""The promises of the recommendation tables."""

import pandera.pandas as pa
from pandera.typing import Series

from ai_assets.recommendation_update.candidates import FEATURES


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
    features: Series[float] = pa.Field(alias="^(" + "|".join(FEATURES) + ")$", regex=True, nullable=True)

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


class Playlists(Strict):
    """Daily familiar tracks and weekly discoveries per listener, and mixes by genre for all."""

    playlist: Series[str] = pa.Field(description="Stable name.")
    kind: Series[str] = pa.Field(isin=["familiar", "discovery", "genre"])
    listener: Series[str] = pa.Field(nullable=True, description="Null = for everybody.")
    position: Series[int] = pa.Field(ge=1)
    track: Series[str]
    title: Series[str]
    artist: Series[str]
    reason: Series[str]


class RecommendationQuality(Strict):
    """What the lists are worth, by metric and group."""

    metric: Series[str]
    group: Series[str]
    value: Series[float] = pa.Field(nullable=True)
    baseline: Series[float] = pa.Field(nullable=True, description="The same metric of popular tracks.")
