"""The kinds of rules, each with the tracks of the small world that it excludes."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from ai_assets.recommendation_update.rules import Rule
from ai_assets.recommendation_update.wishes import Wish

LISTENER = "l003"


def _style(catalogue: pd.DataFrame, number: int) -> pd.Series:
    return catalogue["genre"] == f"style{number}"


RULES: dict[str, tuple[Rule, Callable[[pd.DataFrame], pd.Series]]] = {
    "artist": (Rule("artist", "is", "ARTIST 3"), lambda c: c["artist"] == "Artist 3"),
    "album": (Rule("album", "begins_with", "album 1"), lambda c: c["album"].str.startswith("Album 1")),
    "folder": (Rule("folder", "is", "style2"), lambda c: _style(c, 2)),
    "whole folder": (Rule("folder", "is", "landing/audio/style2"), lambda c: _style(c, 2)),
    "genre": (Rule("genre", "is", "style4"), lambda c: _style(c, 4)),
    "kind": (Rule("kind", "is", "live"), lambda c: c["title"].str.endswith("(Live)")),
    "track": (Rule("track", "is", "t0007"), lambda c: c["track"] == "t0007"),
    "title": (Rule("title", "contains", "song 11"), lambda c: c["title"].str.startswith("Song 11")),
    "long": (Rule("duration", "longer_than", "200"), lambda c: c["duration_seconds"] > 200),
    "short": (Rule("duration", "shorter_than", "150"), lambda c: c["duration_seconds"] < 150),
    "season": (Rule("genre", "is", "style5", season="01-01..12-31"), lambda c: _style(c, 5)),
}


WISHES = (
    Wish("a-theme", genre="style2", length=30), Wish("own-theme", LISTENER, genre="style4", length=30),
    *(Wish(f"like-{seed}", seeds=(f"t{seed:04}",), length=60) for seed in (7, 30, 45, 85, 105, 115, 205)),
    Wish("own-seeds", LISTENER, seeds=("t0041", "t0085"), length=60),
)  # fmt: skip
