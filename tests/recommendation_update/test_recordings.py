"""Versions of one song: told by their titles, never two in a list, never a wrong song taken for a version."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ai_assets.recommendation_update.histories import History, Play
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from ai_assets.recommendation_update.recordings import kind_of, recording_groups, song_keys, song_of


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("Nightfall", "studio"), ("Nightfall (Live)", "live"), ("Nightfall - Live at the Hall, 1999", "live"),
        ("Nightfall - 2011 Remaster", "remaster"), ("Nightfall [Remastered]", "remaster"),
        ("Nightfall (Deluxe Edition)", "deluxe"), ("Nightfall (Radio Edit)", "edit"),
        ("Nightfall (Someone Remix)", "remix"), ("Nightfall (version acoustique)", "acoustic"),
        ("Live and Let Go", "studio"), ("Alive", "studio"), ("Mixed Feelings", "studio"), ("Demo-cracy", "studio"),
    ],
)  # fmt: skip
def test_the_kind_is_what_the_title_says_outside_of_its_own_words(title: str, kind: str) -> None:
    assert kind_of(title) == kind


def test_versions_share_a_group_and_other_songs_do_not() -> None:
    titles = [
        "Été", "Ete (Live)", "ÉTÉ - Remastered 2009", "Été (feat. Somebody)", "Été II", "Été", "Untitled", "Untitled",
        "Live", "(Live)",
    ]  # fmt: skip
    artists = ["Ana", "ana", "Ana", "ANA", "Ana", "Other", "Unknown artist", "Unknown artist", "Ana", "Ana"]
    groups = recording_groups(titles, artists)
    assert len(set(groups[:4].tolist())) == 1
    assert len(set(groups[4:8].tolist())) == 4
    assert groups[4] != groups[0]
    assert song_of("(Live)") == "live"


def with_versions(snapshot: QuerySnapshot) -> tuple[QuerySnapshot, np.ndarray]:
    """Of every five tracks, four become versions of the first, by the same artist."""
    titles, artists = snapshot.catalogue["title"].copy(), snapshot.catalogue["artist"].copy()
    for place in range(0, len(titles) - 4, 5):
        for other, version in enumerate(("Live", "Remix", "Demo", "2011 Remaster"), start=1):
            titles[place + other], artists[place + other] = f"{titles[place]} ({version})", artists[place]
    songs = np.array(song_keys(titles, artists), object)
    catalogue = {**snapshot.catalogue, "title": titles, "artist": artists, "song": songs}
    sources = replace(snapshot.sources, artists=np.unique(artists.astype(str), return_inverse=True)[1])
    changed = replace(snapshot, catalogue=catalogue, sources=sources)
    return changed, changed.songs


def test_no_list_holds_two_versions_of_a_song(snapshot: QuerySnapshot) -> None:
    plain_history = History.of([Play(place) for place in range(12)])
    changed, songs = with_versions(snapshot)
    for history in (plain_history, History.of([])):
        chosen = [answer.item for answer in recommend(changed, history, 40)[0]]
        assert len(chosen) == 40
        assert len(set(songs[chosen].tolist())) == 40
    unfiltered = [answer.item for answer in recommend(snapshot, plain_history, 40)[0]]
    assert len(set(songs[unfiltered].tolist())) < 40, "the planted versions would have met in one list"


def test_what_is_similar_is_no_version_of_the_track_itself(snapshot: QuerySnapshot) -> None:
    changed, songs = with_versions(snapshot)
    for item in (0, 5, 30):
        found = [code for code, _ in similar(changed, item, 20)]
        assert songs[item] not in songs[found]
        assert len(set(songs[found].tolist())) == len(found) == 20
