"""Answers through a real home: lake, database, rules of the moment, playlists as files."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

import pytest

from ai_assets.recommendation_update.answers import (
    NothingToAnswer,
    find_track,
    recommend_answer,
    similar_answer,
    snapshot_of,
)
from ai_assets.recommendation_update.playlist_answers import playlist_file
from ai_assets.recommendation_update.playlist_files import Entry, jspf, m3u8
from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.rules import Rule
from resources.platform import Platform


def test_a_new_rule_holds_at_the_next_answer_on_every_surface(platform: Platform) -> None:
    before = recommend_answer(platform, "l003", 20)
    assert not before["cold"] and before["listener"] == "l003" and len(before["recommendations"]) == 20
    genres = snapshot_of(platform).catalogue["genre"]
    codes = snapshot_of(platform).codes
    top = str(genres[codes[before["recommendations"][0]["track"]]])
    store = RuleStore(platform.database)
    name = store.add(Rule("genre", "is", top))
    after = recommend_answer(platform, "l003", 20)
    alike = similar_answer(platform, before["recommendations"][0]["track"], 20)
    for shown in (after["recommendations"], alike["similar"]):
        assert shown and top not in {genres[codes[row["track"]]] for row in shown}
    assert "#EXTINF" not in playlist_file(platform, f"genre-{top}", "m3u8")
    store.remove(name)
    again = recommend_answer(platform, "l003", 20)
    assert again["recommendations"] == before["recommendations"]


def test_asking_for_a_listener_never_seen_is_cold_and_names_nothing(platform: Platform) -> None:
    answer = recommend_answer(platform, "stranger-4711", 5)
    assert answer["cold"] and len(answer["recommendations"]) == 5
    assert {"listener", "recommendations", "generation", "model", "trace_id"} <= set(answer)
    written = [path for path in platform.home.root.rglob("*") if path.is_file()]
    assert not [path for path in written if b"stranger-4711" in path.read_bytes()]


def test_a_track_is_named_by_id_path_or_artist_and_title(platform: Platform) -> None:
    snapshot = snapshot_of(platform)
    full = f"{platform.home.root}/landing/audio/style1/25.flac"
    for reference in ("t0025", "landing/audio/style1/25.flac", full, "artist 5 -  SONG 25"):
        assert find_track(snapshot, reference, home=platform.home.root) == 25, reference
    with pytest.raises(NothingToAnswer, match="no-such-track"):
        similar_answer(platform, "no-such-track", 3)


def test_a_playlist_is_exported_as_m3u8_and_jspf(platform: Platform) -> None:
    rows = platform.lake.table("playlists").frame()
    name = rows[rows["kind"] == "discovery"]["playlist"].iloc[0]
    tracks = rows[rows["playlist"] == name].sort_values("position")["track"].tolist()
    lines = playlist_file(platform, name, "m3u8").splitlines()
    assert lines[:2] == ["#EXTM3U", f"#PLAYLIST:{name}"]
    assert [f"t{int(Path(line).stem):04}" for line in lines[3::2]] == tracks
    lengths = [int(line.removeprefix("#EXTINF:").split(",")[0]) for line in lines[2::2]]
    assert lengths == [100 + int(track[1:]) for track in tracks]
    value = json.loads(playlist_file(platform, name, "jspf"))["playlist"]
    assert [track["identifier"] for track in value["track"]] == [[f"urn:track:{track}"] for track in tracks]
    assert all(track["duration"] > 1_000 and track["annotation"] for track in value["track"])
    with pytest.raises(NothingToAnswer, match="no playlist 'x'"):
        playlist_file(platform, "x", "m3u8")


def test_names_cannot_add_lines_to_a_playlist_file() -> None:
    evil = Entry("t1", "A\n/etc/passwd", "B\r\u2028#EXTINF", path="/music/ä b.flac", seconds=61.4)
    unplayable = [Entry("t2", "C", "D"), Entry("t3", "E", "F", path="/music/x\ny.flac")]
    lines = m3u8("My\nlist", [evil, *unplayable]).split("\n")
    assert lines == ["#EXTM3U", "#PLAYLIST:My list", "#EXTINF:61,B  #EXTINF - A /etc/passwd", "/music/ä b.flac", ""]
    track = jspf("l", [evil])["playlist"]["track"][0]
    assert unquote(track["location"][0]) == "file:///music/ä b.flac" and track["duration"] == 61_400
    assert "location" not in jspf("l", unplayable[:1])["playlist"]["track"][0]
