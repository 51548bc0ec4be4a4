"""Titles and texts of lists: in three languages, without a listener, and only where they are true."""

from __future__ import annotations

import pandas as pd
import pytest

from ai_assets.content_generation.playlist_titles import playlist_title
from ai_assets.content_generation.playlist_words import PlaylistWords, words_for
from ai_assets.content_generation.subjects import playlist_subject, playlist_subjects

RANGES = {"genre": "Jazz", "mood": "calm", "tempo": (90, 120), "energy": (-1e9, 0.4), "years": (1990, 1e9)}


@pytest.mark.parametrize(
    ("kind", "about", "titles"),
    [
        ("familiar", {}, ("Daily favourites", "Lieblingsstücke des Tages", "Les favoris du jour")),
        ("genre", {"genre": "hip-hop"}, ("Hip-hop mix", "Hip-Hop-Mix", "Mix hip-hop")),
        ("genre", {"genre": "drum and bass"}, ("Drum and bass mix", "Drum and bass im Mix", "Mix drum and bass")),
        ("seeds", {"seeds": ["A\nB"]}, ("In the style of ‘A B’", "Im Stil von ‚A B‘", "Dans l’esprit de “A B”")),
        (
            "theme",
            RANGES,
            (
                "Jazz · calm · 90–120\u00a0BPM · energy up to 0.4 · from 1990",
                "Jazz · ruhig · 90–120\u00a0BPM · Energie bis 0,4 · ab 1990",
                "Jazz · calme · 90–120\u00a0BPM · énergie jusqu’à 0,4 · à partir de 1990",
            ),
        ),
        ("theme", {"mood": "nostalgic"}, ("Nostalgic", "Nostalgic", "Nostalgic")),
    ],
)
def test_titles_in_three_languages(kind: str, about: dict[str, object], titles: tuple[str, ...]) -> None:
    found = [playlist_title(kind, about, lang) for lang in ("en", "de", "fr")]
    assert [title.replace("\u202f", "\u00a0").replace(" BPM", "\u00a0BPM") for title in found] == list(titles)


def _lists() -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        (name, kind, listener, about, f"t{place}", f"A{place % 2}")
        for name, kind, listener, about, count in (
            ("familiar-l1", "familiar", "l1", "{}", 4), ("familiar-l2", "familiar", "l2", "{}", 5),
            ("mine", "theme", "l1", '{"genre": "jazz"}', 3), ("genre-jazz", "genre", None, '{"genre": "jazz"}', 3),
        )
        for place in range(count)
    ]  # fmt: skip
    lists = pd.DataFrame(rows, columns=["playlist", "kind", "listener", "about", "track", "artist"])
    return lists, pd.DataFrame({"track": [f"t{place}" for place in range(5)], "duration_seconds": 60.0})


def test_subjects_name_no_listener_and_are_as_many_as_there_are_kinds() -> None:
    subjects = {subject.name: subject for subject in playlist_subjects(*_lists())}
    assert {name[:10] for name in subjects} == {"genre-jazz", "own-famili", "own-theme-"}
    assert not [name for name in subjects if "l1" in name or "l2" in name or "mine" in name]
    own, shared = subjects["own-familiar"].facts.playlist, subjects["genre-jazz"].facts.playlist
    assert own is not None and shared is not None
    assert (own.tracks, own.artists, shared.tracks, shared.artists, shared.minutes) == (5, None, 3, 2, 3)
    assert subjects["own-familiar"].facts_in("de").title == "Lieblingsstücke des Tages"


def test_a_text_is_shown_only_with_as_many_tracks_as_it_names() -> None:
    lists, _ = _lists()
    rows = lists[lists["playlist"] == "familiar-l2"].to_dict("records")
    words = {playlist_subject(rows): PlaylistWords("Title", "Five tracks.", 5)}
    assert words_for(words, rows).text == "Five tracks."
    assert words_for(words, rows[:4]) == PlaylistWords("Title", "", 5)
    assert words_for({}, rows) == PlaylistWords("", "", None)
