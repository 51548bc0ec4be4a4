"""Small assets under the contract, with every promise in one place; their behaviour is set by `MODE`."""

from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

from ai_assets.contract import (
    Check,
    Out,
    Partitioning,
    PermanentError,
    Product,
    Verdict,
    accept,
    platform_asset,
    platform_multi_asset,
    reject,
)  # fmt: skip
from resources.lake.tables import LakeTable

MODE: dict[str, Any] = {}
DAYS = Partitioning(dg.StaticPartitionsDefinition(["d1", "d2", "d3"]), "day")


class Plays(pa.DataFrameModel):
    """Plays."""

    track: Series[str] = pa.Field(description="Track id.")
    plays: Series[int] = pa.Field(ge=0, description="How often.")

    class Config:
        strict = True
        coerce = True


class DailyPlays(Plays):
    """Plays of a day."""

    day: Series[str]


def _few(frame: pd.DataFrame) -> Verdict:
    return Verdict(len(frame) < 3, f"{len(frame)} rows", {"count": len(frame)})


@platform_asset(
    group="data_processing", owner="data-engineering", policy="source", schema=Plays, code_version="7",
    kinds=["deltalake"], checks=[Check("few", "Not many rows.", _few)],
)  # fmt: skip
def small_source() -> pd.DataFrame:
    """Plays of tracks."""
    MODE["bodies"] = MODE.get("bodies", 0) + 1
    if "raise" in MODE:
        raise MODE["raise"]
    for source in MODE.get("reject", []):
        reject(source, table="small_source", reason="broken", code="broken")
    for source in MODE.get("accept", []):
        accept(source, table="small_source")
    return pd.DataFrame({"track": MODE.get("tracks", ["a", "b"]), "plays": MODE.get("plays", [1, 2])})


@platform_asset(group="data_processing", owner="data-engineering", schema=Plays, quiet=["small_quiet"])
def small_down(small_source: pd.DataFrame, small_quiet: LakeTable) -> pd.DataFrame:
    """The same, read under contract."""
    MODE["down"] = MODE.get("down", 0) + 1
    MODE["quiet_exists"] = small_quiet.exists
    return small_source


@platform_asset(group="data_processing", owner="data-engineering", policy="source", schema=Plays)
def small_quiet() -> pd.DataFrame:
    """An input whose change makes nothing stale."""
    return pd.DataFrame({"track": ["q"], "plays": MODE.get("quiet", [1])})


@platform_asset(
    group="data_processing", owner="data-engineering", policy="source", schema=DailyPlays, partitions=DAYS,
    checks=[Check("few", "Not many rows.", _few)],
)  # fmt: skip
def small_days(context: dg.AssetExecutionContext) -> pd.DataFrame:
    """Plays by day."""
    keys = MODE.get("keys", list(context.partition_keys))
    return pd.DataFrame({"track": "a", "plays": MODE.get("plays", 1), "day": keys})


@platform_multi_asset(
    group="data_processing", owner="data-engineering", policy="source", partitions=DAYS,
    outs={"small_left": Out(DailyPlays, "Left."), "small_right": Out(DailyPlays, "Right.", code_version="4")},
)  # fmt: skip
def small_pair(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
    """Two tables of one step."""
    keys = list(context.partition_keys)
    good = pd.DataFrame({"track": "a", "plays": 1, "day": keys})
    return {"small_left": good, "small_right": good.assign(**MODE.get("right", {}))}


@platform_asset(group="model_training", owner="machine-learning", policy="on_request", kinds=["model"])
def small_product(small_source: LakeTable) -> Product:
    """A product that is no table."""
    return Product("ab" * 32, metadata={"size": 3})


ASSETS = [small_source, small_quiet, small_down, small_days, small_pair, small_product]

__all__ = ["ASSETS", "MODE", "PermanentError"]
