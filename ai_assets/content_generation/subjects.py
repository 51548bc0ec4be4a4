"""What content is made about: fact sets of tracks and playlists from the catalogue. Plain functions over frames."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ai_assets.content_generation.facts import FactError, FactSet, fact_set
from ai_assets.content_generation.playlist_titles import playlist_title
from ai_assets.content_generation.text.lexicon import LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from resources.lake.ledger import Ledger


@dataclass(frozen=True)
class Subject:
    """A track or playlist and its validated facts; `titles` by language, where the title is not the same in all."""

    name: str
    facts: FactSet
    titles: Mapping[str, str] = field(default_factory=dict)

    def facts_in(self, lang: str | None) -> FactSet:
        """The facts as they are told in a language."""
        title = self.titles.get(lang or "")
        return self.facts if title is None else replace(self.facts, title=title)


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


def track_subjects(tracks: pd.DataFrame, limit: int | None = None) -> tuple[list[Subject], list[tuple[str, str]]]:
    """Tracks that are there, in the order of their ids (the first `limit`), and (track, reason) of unusable ones."""
    rows = tracks[~tracks["deleted"]].sort_values("track", kind="stable")
    rows = rows if limit is None else rows.head(limit)
    subjects, refused = [], []
    for row in rows.to_dict("records"):
        try:
            subjects.append(Subject(str(row["track"]), track_facts(row)))
        except FactError as error:
            refused.append((str(row["track"]), str(error)))
    return subjects, refused


def playlist_subjects(playlists: pd.DataFrame, tracks: pd.DataFrame) -> list[Subject]:
    """Playlists with their titles and the statistics of their tracks.

    Lists of single listeners that are of one kind and theme are one subject, as long as the longest of them: its text
    names no listener, and is shown with lists of that length.
    """
    seconds = dict(zip(tracks["track"], tracks["duration_seconds"], strict=True))
    subjects: dict[str, Subject] = {}
    for _, part in playlists.groupby("playlist", sort=True):
        rows = part.to_dict("records")
        name = playlist_subject(rows)
        before = subjects.get(name)
        if before is not None and before.facts.playlist is not None and before.facts.playlist.tracks >= len(rows):
            continue
        statistics: dict[str, int] = {"tracks": len(rows)}
        if not isinstance(rows[0]["listener"], str):
            known = [float(seconds[row["track"]]) for row in rows if not _absent(seconds.get(row["track"]))]
            statistics["artists"] = int(part["artist"].nunique())
            if sum(known) >= 60:
                statistics["minutes"] = round(sum(known) / 60)
        about = json.loads(rows[0]["about"])
        titles = {lang: playlist_title(rows[0]["kind"], about, lang) for lang in LANGUAGES}
        genre = {"genre": about["genre"]} if "genre" in about else {}
        facts = fact_set({"title": titles["en"], "playlist": statistics, **genre})
        subjects[name] = Subject(name, facts, titles)
    return [subjects[name] for name in sorted(subjects)]


def playlist_subject(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the texts of a playlist stand under: its name, or where it is a single listener's, its kind and theme.

    Args:
        rows: of `playlists`, of one list.
    """
    first = rows[0]
    if not isinstance(first["listener"], str):
        return str(first["playlist"])
    theme = json.loads(first["about"])
    digest = f"-{sha256(first['about'].encode()).hexdigest()[:8]}" if theme else ""
    return f"own-{first['kind']}{digest}"


def materializations(ledger: Ledger, assets: Sequence[str]) -> dict[str, dict[str, str]]:
    """Which materialization of each asset the facts come from: content hash, run, time; what was never made is left
    out."""
    found = {}
    for asset in assets:
        entry = ledger.entry(asset)
        if entry is not None:
            found[asset] = {"content_hash": entry.content_hash, "run_id": entry.run_id, "written_at": entry.written_at}
    return found


def _absent(value: Any) -> bool:
    return value is None or value != value or str(value) == "<NA>"
