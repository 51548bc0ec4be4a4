"""The assets of lists: what was decided about them, the playlists of today, and every version of them."""

from datetime import UTC, datetime
from functools import partial
from typing import Any

import dagster as dg
import pandas as pd

from ai_assets.contract import Out, Table, platform_asset, platform_multi_asset
from ai_assets.contract.validation import empty_frame
from ai_assets.recommendation_update import checks, schemas
from ai_assets.recommendation_update.current import histories, open_snapshot
from ai_assets.recommendation_update.mirrored import outdated, rows_of
from ai_assets.recommendation_update.playlist_memory import Memory, extended
from ai_assets.recommendation_update.playlists import all_playlists
from ai_assets.recommendation_update.wishes import WishStore
from resources.platform import Platform

GROUP = "recommendation_update"


@platform_asset(
    group=GROUP, owner="backend", policy="on_request", schema=schemas.RecommendationRules, kinds=["deltalake"],
    outdated=partial(outdated, table="recommendation_rules"),
)  # fmt: skip
def recommendation_rules(platform: dg.ResourceParam[Platform]) -> pd.DataFrame:
    """The rules of this moment; answers follow a new rule at once, the batch tables when they are next made."""
    return _frame(schemas.RecommendationRules, rows_of(platform, "recommendation_rules"))


@platform_asset(group=GROUP, owner="backend", policy="on_request", schema=schemas.PlaylistWishes, kinds=["deltalake"])
def playlist_wishes(platform: dg.ResourceParam[Platform]) -> pd.DataFrame:
    """The playlists that were asked for, by theme or by seed tracks (`ai-assets playlists add`)."""
    return _frame(schemas.PlaylistWishes, rows_of(platform, "playlist_wishes"))


@platform_multi_asset(
    group=GROUP,
    owner="backend",
    policy="on_request",
    kinds=["deltalake"],
    deps=["listening_events", "recommendations", "recommendation_rules", "playlist_wishes"],
    outs={
        "playlists": Out(
            schemas.Playlists,
            "Familiar tracks of the day and discoveries of the week for every listener, mixes by genre and the lists "
            "that were asked for, each track with its reason.",
            code_version="2",
            checks=(checks.PLAYLIST_LENGTH, checks.ONE_VERSION, checks.UNHEARD),
        ),
        "playlists_history": Out(
            schemas.PlaylistsHistory,
            "Every version of every playlist; what discoveries gave within 60 days is not given again.",
            checks=(checks.NOT_AGAIN,),
        ),
    },
)
def playlists(tracks: pd.DataFrame, platform: dg.ResourceParam[Platform]) -> dict[str, Table | pd.DataFrame]:
    """The lists of today from the serving generation, and the history with them."""
    now = datetime.now(UTC)
    history, current = _own(platform, "playlists_history"), _own(platform, "playlists")
    snapshot = open_snapshot(platform)
    found: list[dict[str, Any]] = []
    heard: dict[str, set[str]] = {}
    if snapshot is not None:
        known = histories(platform, snapshot)
        names = snapshot.catalogue["track"]
        heard = {listener: set(names[past.heard].tolist()) for listener, past in known.items()}
        found = all_playlists(
            snapshot, known, day=now.date(), memory=Memory.of(history, current, now),
            wishes=WishStore(platform.database).current(), facts=tracks,
        )  # fmt: skip
    lists = _frame(schemas.Playlists, found)
    counts = lists.drop_duplicates("playlist").groupby("kind").size().rename("lists").reset_index()
    return {
        "playlists": Table(lists, metadata={"kinds": counts}, verdicts={"unheard": checks.unheard(lists, heard)}),
        "playlists_history": extended(history, lists, now),
    }


def _own(platform: Platform, name: str) -> pd.DataFrame:
    """What the table holds now; rows of an older release, which lacks columns, count as none."""
    schema = schemas.PlaylistsHistory if name == "playlists_history" else schemas.Playlists
    columns = list(schema.to_schema().columns)
    table = platform.lake.table(name)
    frame = table.frame() if table.exists else pd.DataFrame()
    return frame if set(columns) <= set(frame) else empty_frame(schema)


def _frame(schema: type[schemas.Strict], rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(schema.to_schema().columns)) if rows else empty_frame(schema)


ASSETS = [recommendation_rules, playlist_wishes, playlists]
