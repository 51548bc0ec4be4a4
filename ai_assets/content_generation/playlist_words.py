"""Titles and texts of playlists for those who show lists: joined on reading, published ones alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ai_assets.content_generation.reviewing import review_rows
from ai_assets.content_generation.subjects import playlist_subject
from resources.platform import Platform

TABLE = "playlist_descriptions"


@dataclass(frozen=True)
class PlaylistWords:
    """Title and text of a list, and the number of tracks that the text speaks of (None: it names none)."""

    title: str
    text: str
    tracks: int | None


def published_words(platform: Platform, lang: str) -> dict[str, PlaylistWords]:
    """The words of every subject (`subjects.playlist_subject`) in a language; none before texts were made."""
    table = platform.lake.table(TABLE)
    if not table.exists:
        return {}
    reviews = review_rows(platform)
    published = reviews[(reviews["source"] == TABLE) & reviews["published"].astype(bool)]
    texts = dict(zip(published["item"], published["text"], strict=True))
    found = {}
    for row in table.arrow(["item", "subject", "lang", "provenance"]).to_pylist():
        if row["lang"] == lang and row["item"] in texts:
            facts = json.loads(row["provenance"])["facts"]
            tracks = (facts.get("playlist") or {}).get("tracks")
            found[row["subject"]] = PlaylistWords(str(facts.get("title") or ""), str(texts[row["item"]]), tracks)
    return found


def words_for(words: Mapping[str, PlaylistWords], rows: Sequence[Mapping[str, Any]]) -> PlaylistWords:
    """The words of one list (its rows); without the text where that is not true of these rows, empty where none are."""
    own = words.get(playlist_subject(rows))
    if own is None:
        return PlaylistWords("", "", None)
    return own if own.tracks in (None, len(rows)) else PlaylistWords(own.title, "", own.tracks)
