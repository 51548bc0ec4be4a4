"""What content is made about: fact sets of tracks and playlists from the catalogue. Plain functions over frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ai_assets.content_generation.facts import FactSet, fact_set

if TYPE_CHECKING:
    import pandas as pd

LANGUAGES = ("en", "de", "fr")


@dataclass(frozen=True)
class Subject:
    """A track or playlist and its validated facts."""

    name: str
    facts: FactSet


def track_facts(row: dict[str, Any]) -> FactSet:
    """Facts of one row of `tracks`; what is absent stays out."""
    given = {
        "title": row["title"],
        "artist": row["artist"],
        "genre": row["genre"],
        "tempo_bpm": None if _absent(row["tempo_bpm"]) else round(float(row["tempo_bpm"]), 1),
        "key": row["key"],
        "mood": row["mood"],
        "energy": None if _absent(row["energy_index"]) else round(float(row["energy_index"]), 3),
    }
    return fact_set({name: value for name, value in given.items() if not _absent(value)})


def track_subjects(tracks: pd.DataFrame, limit: int | None = None) -> list[Subject]:
    """Tracks that are there, in the order of their ids (the first `limit`)."""
    rows = tracks[~tracks["deleted"]].sort_values("track", kind="stable")
    rows = rows if limit is None else rows.head(limit)
    return [Subject(str(row["track"]), track_facts(row)) for row in rows.to_dict("records")]


def playlist_subjects(playlists: pd.DataFrame, tracks: pd.DataFrame) -> list[Subject]:
    """Mixes by genre, with the statistics of their tracks. Lists of single listeners get no texts."""
    shared = playlists[playlists["listener"].isna()]
    seconds = dict(zip(tracks["track"], tracks["duration_seconds"], strict=True))
    subjects = []
    for name, part in shared.groupby("playlist", sort=True):
        minutes = (
            sum(float(seconds.get(track) or 0.0) for track in part["track"] if not _absent(seconds.get(track))) / 60
        )
        statistics = {"tracks": len(part), "artists": int(part["artist"].nunique())}
        if minutes >= 1:
            statistics["minutes"] = round(minutes)
        genre = str(name).removeprefix("genre-")
        facts = fact_set({"title": f"{genre.capitalize()} mix", "genre": genre, "playlist": statistics})
        subjects.append(Subject(str(name), facts))
    return subjects


def _absent(value: Any) -> bool:
    return value is None or value != value or str(value) == "<NA>"
