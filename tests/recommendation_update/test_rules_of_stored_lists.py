"""Rule x stored playlist: what was written before a rule, a dislike or a deletion is not shown or exported after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from listening_world import World
from rule_table import RULES

from ai_assets.recommendation_update.answers import snapshot_of
from ai_assets.recommendation_update.playlist_answers import playlist_file, playlist_lists
from ai_assets.recommendation_update.rule_store import RuleStore
from resources.platform import Platform


def _exported(platform: Platform, playlist: str) -> set[str]:
    """Tracks of the list's two files, which must agree."""
    rows = json.loads(playlist_file(platform, playlist, "jspf"))["playlist"]["track"]
    found = [row["identifier"][0].removeprefix("urn:track:") for row in rows]
    lines = playlist_file(platform, playlist, "m3u8").splitlines()
    places = [line.rsplit("/", 1)[1].partition(".")[0] for line in lines if not line.startswith("#")]
    assert [f"t{int(place):04}" for place in places] == found
    return set(found)


def _holding(lists: dict[str, list[dict[str, Any]]], banned: set[str]) -> dict[str, set[str]]:
    shown = {name: {row["track"] for row in rows} & banned for name, rows in lists.items()}
    return {name: tracks for name, tracks in shown.items() if tracks}


def test_every_kind_of_rule_holds_for_lists_written_before_it(platform: Platform, world: World) -> None:
    store, before = RuleStore(platform.database), playlist_lists(platform)
    tracks = world.catalogue["track"].to_numpy(str)
    for kind, (rule, excluded) in RULES.items():
        banned = set(tracks[np.flatnonzero(excluded(world.catalogue))].tolist())
        held = _holding(before, banned)
        if kind != "track":  # of one single track no list need know
            assert held, f"{kind}: no list names what the rule excludes, so this proves nothing"
        name = store.add(rule)
        assert not _holding(playlist_lists(platform), banned), kind
        for playlist in list(held)[:1]:
            assert not _exported(platform, playlist) & banned, kind
        store.remove(name)
    assert playlist_lists(platform) == before


def test_a_rule_of_one_listener_holds_for_their_lists_alone(platform: Platform, world: World) -> None:
    before = playlist_lists(platform)
    owner, track = next((rows[0]["listener"], rows[0]["track"]) for rows in before.values() if rows[0]["listener"])
    genre = world.catalogue.set_index("track")["genre"]
    rule = replace(RULES["genre"][0], value=genre[track], listener=owner)
    banned = set(genre.index[genre == genre[track]])
    RuleStore(platform.database).add(rule)
    after = playlist_lists(platform)
    own = {name for name, rows in before.items() if rows[0]["listener"] == owner}
    assert own & set(_holding(before, banned)) and not own & set(_holding(after, banned))
    assert {name: rows for name, rows in after.items() if name not in own} == {
        name: rows for name, rows in before.items() if name not in own
    }
    for name in own & set(after):
        assert not _exported(platform, name) & banned


def test_what_is_disliked_or_heard_since_leaves_the_listeners_lists(platform: Platform) -> None:
    def of(kind: str) -> Callable[[], set[str]]:
        return lambda: {
            row["track"]
            for rows in playlist_lists(platform, platform.pseudonyms.of("l003")).values()
            for row in rows
            if rows[0]["listener"] and rows[0]["kind"] == kind
        }

    familiar, discovery = of("familiar"), of("discovery")
    disliked, heard = sorted(familiar())[0], sorted(discovery())[0]
    at = datetime.now(UTC).isoformat()
    one = {"listener": "l003", "played_at": at, "seconds_played": 200.0}
    platform.event_stream.append(
        [{**one, "event_id": "a", "track": disliked, "liked": False}, {**one, "event_id": "b", "track": heard}]
    )
    assert disliked not in familiar() and familiar()
    assert heard not in discovery() and discovery()
    for name, rows in playlist_lists(platform, platform.pseudonyms.of("l003")).items():
        if rows[0]["listener"]:
            assert disliked not in _exported(platform, name), name
            assert rows[0]["kind"] != "discovery" or heard not in _exported(platform, name), name


def test_a_deleted_track_leaves_every_list(platform: Platform) -> None:
    from ai_assets.data_processing.external_tracks import ExternalTracks
    from resources.vector_index.delta import DeltaStore

    before = playlist_lists(platform)
    gone = next(iter(before.values()))[0]["track"]
    held = _holding(before, {gone})
    dim = snapshot_of(platform).sources.content.shape[1]
    store = DeltaStore(platform.database, "content", dim=dim, model_version="sound/1")
    ExternalTracks(platform.database).withdraw(gone, store)
    assert held and not _holding(playlist_lists(platform), {gone})
    assert not _exported(platform, next(iter(held))) & {gone}
