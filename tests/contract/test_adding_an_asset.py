"""The example of the README: adding an asset is one function with a docstring, and a schema for its rows."""

from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from ai_assets.contract import Check, Verdict, platform_asset


class TopArtists(pa.DataFrameModel):
    """One row per artist."""

    artist: Series[str] = pa.Field(unique=True)
    plays: Series[int] = pa.Field(ge=1, description="Plays over all days.")

    class Config:
        strict = True
        coerce = True


def not_one_alone(frame: pd.DataFrame) -> Verdict:
    """A drift check: it warns and stops nothing."""
    return Verdict(frame["artist"].nunique() > 1, f"{len(frame)} artists")


@platform_asset(
    group="data_processing",
    owner="data-engineering",
    schema=TopArtists,
    checks=[Check("not_one_alone", "More than one artist is played.", not_one_alone)],
)
def top_artists(interactions: pd.DataFrame, tracks: pd.DataFrame) -> pd.DataFrame:
    """Artists by plays, from the interactions and the catalogue."""
    named = interactions.merge(tracks[["track", "artist"]], on="track")
    return named.groupby("artist", as_index=False)["plays"].sum().sort_values("plays", ascending=False)


def test_the_added_asset_has_everything_the_contract_gives(home: Any) -> None:
    import pyarrow as pa_

    from ai_assets.contract.spec import CONTRACTS

    try:
        lake = home.platform.lake
        known = {name: CONTRACTS.pop(name, None) for name in ("interactions", "tracks")}  # plain tables, for the test
        lake.replace("interactions", pa_.table({"track": ["t1", "t2", "t2"], "plays": [1, 2, 3]}), lake.attempt("r"))
        lake.replace("tracks", pa_.table({"track": ["t1", "t2"], "artist": ["Low", "Can"]}), lake.attempt("r"))
        run = home.run("top_artists", assets=[top_artists, dg.AssetSpec("interactions"), dg.AssetSpec("tracks")])
        assert run.success
        assert lake.read("top_artists").to_pylist() == [{"artist": "Can", "plays": 5}, {"artist": "Low", "plays": 1}]
        assert set(home.checks(run)) == {("top_artists/contract", None), ("top_artists/not_one_alone", None)}
    finally:
        CONTRACTS.pop("top_artists", None)
        CONTRACTS.update({name: contract for name, contract in known.items() if contract is not None})
