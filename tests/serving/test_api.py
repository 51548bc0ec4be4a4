"""The API as its users meet it: a real process, a small home."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from listening_world import PER_STYLE, World
from serving_home import EMBEDDING, TOKEN, Server, serving

from ai_assets.data_processing.external_tracks import external_track_id
from ai_assets.recommendation_update import build
from ai_assets.recommendation_update.current import histories, open_snapshot
from ai_assets.recommendation_update.index_updates import reason_to_compact
from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.rules import Rule
from resources.platform import Platform
from resources.settings import Settings

STYLES = 12


def event(listener: str, track: str, minutes: float = 0, **more: Any) -> dict[str, Any]:
    at = datetime.now(UTC) - timedelta(hours=2) + timedelta(minutes=minutes)
    return {"listener": listener, "track": track, "played_at": at.isoformat(), "seconds_played": 200, **more}


def style(track: str) -> int:
    return int(track[1:]) // PER_STYLE


# -- who may ask, and how much ------------------------------------------------------------------------------------


def test_only_health_and_readiness_are_open(server: Server) -> None:
    assert server.ask("GET", "/health", token=None).json == {"status": "ok"}
    assert server.ask("GET", "/ready", token=None).json["generation"].startswith("gen-")
    paths = ("/recommendations/l003", "/similar/t0001", "/metrics", "/docs", "/openapi.json", "/nothing", "/health/x")
    for path in paths:
        for token in (None, "", "wrong", TOKEN + "x", TOKEN[:-1], "ü"):
            reply = server.ask("GET", path, token=token)
            assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer", (path, token)
    assert server.ask("POST", "/events", event("x", "t0001"), token=None).status == 401
    assert server.ask("DELETE", "/tracks/t0001", token=None).status == 401
    assert server.similar("t0002", 240).count("t0001") == 1
    paths_described = server.ask("GET", "/openapi.json").json["paths"]
    assert {"/events", "/tracks/{identifier}", "/recommendations/session"} <= set(paths_described)
    page = server.ask("GET", "/docs").body.decode()
    assert all(path in page for path in paths_described), "every route stands on the page"
    assert "<script" not in page and "//" not in re.sub("http://127.0.0.1:8080", "", page), "nothing from elsewhere"


def test_a_body_above_ten_megabytes_is_refused_however_it_is_sent(server: Server, platform: Platform) -> None:
    before = platform.event_stream.last()
    big = b"[" + b" " * 10_000_000 + b"]"
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    headers = {"authorization": f"Bearer {TOKEN}"}
    connection.putrequest("POST", "/events")
    for name, value in (*headers.items(), ("content-length", str(len(big)))):
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.getresponse().status == 413
    parts = (big[start : start + 1_000_000] for start in range(0, len(big), 1_000_000))
    chunked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        chunked.request("POST", "/events", body=parts, headers=headers, encode_chunked=True)
        status = chunked.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server hangs up on what it will not read
    assert status == 413
    assert platform.event_stream.last() == before


def test_more_requests_than_the_rate_allows_are_told_to_wait(own_home: Path) -> None:
    with serving(own_home, AI_ASSETS_API_RATE_LIMIT="2") as server:
        statuses, deadline = [server.ask("GET", "/similar/t0001").status for _ in range(2)], time.monotonic() + 60
        while statuses[-1] != 429 and time.monotonic() < deadline:
            statuses.append(server.ask("GET", "/similar/t0001").status)
        assert statuses[:2] == [200] * 2 and statuses[-1] == 429
        late = server.ask("GET", "/similar/t0001")
        assert late.status == 200 or int(late.headers["retry-after"]) >= 1
        time.sleep(1.1)
        assert server.ask("GET", "/similar/t0001").status == 200


# -- asking -------------------------------------------------------------------------------------------------------


def test_every_surface_gives_the_same_answer(
    server: Server, platform: Platform, command: Callable[..., Any], home: Path
) -> None:
    """Command line, HTTP, and the lists that the batch asset and the task write."""
    server.ask("POST", "/events", [event("l003", f"t{160 + row:04}", row, event_id=f"new{row}") for row in range(3)])
    rules = RuleStore(platform.database)
    banned = server.recommend("l003")[2]
    rule, deadline = rules.add(Rule("track", "is", banned)), time.monotonic() + 60
    while banned in server.recommend("l003"):
        assert time.monotonic() < deadline, "the rule never held"
        time.sleep(0.05)
    by_http = server.ask("GET", "/recommendations/l003?k=10").json
    by_command = command("recommend", "l003", "--k", "10")
    assert by_http.pop("list_id") == by_http.pop("trace_id") != by_command.pop("trace_id")
    assert by_command.pop("list_id") and by_http == by_command
    snapshot = open_snapshot(platform)
    assert snapshot is not None
    rows = build.recommend_all(snapshot, histories(platform, snapshot), 10)
    own = [row for row in rows if row["listener"] == platform.pseudonyms.of("l003")]
    assert [row["track"] for row in own] == [row["track"] for row in by_http["recommendations"]]
    assert [row["reasons"] for row in own] == [row["reasons"] for row in by_http["recommendations"]]
    assert [round(row["score"], 6) for row in own] == [row["score"] for row in by_http["recommendations"]]
    path = "landing/audio/style1/25.flac"
    one = server.ask("GET", f"/similar/{path}").json
    two = command("similar", str(home / path))
    assert one.pop("trace_id") != two.pop("trace_id") and one == two
    rules.remove(rule)


def test_a_listener_never_seen_gets_popular_tracks_and_leaves_no_trace(server: Server, home: Path) -> None:
    raw = "Zoë/O'Neill+never seen"
    reply = server.ask("GET", "/recommendations/Zo%C3%AB%2FO%27Neill%2Bnever%20seen?k=5").json
    assert reply["cold"] is True and len(reply["recommendations"]) == 5 and reply["listener"] == raw
    assert all(row["reasons"] == ["popular with all listeners"] for row in reply["recommendations"])
    server.ask("POST", "/events", event("never-seen-but-told@example.org", "t0001"))
    for path in [*home.rglob("*"), server.log]:
        if path.is_file():
            data = path.read_bytes()
            assert b"O'Neill" not in data and b"never-seen-but-told" not in data, path


def test_an_anonymous_history_is_answered_and_not_stored(server: Server, platform: Platform) -> None:
    tracks: list[Any] = [f"t{4 * PER_STYLE + place:04}" for place in range(10)]
    before = platform.event_stream.last()
    body = {"tracks": [*tracks, "Nobody - Nothing", {"track": "t0100", "liked": False}], "k": 12}
    reply = server.ask("POST", "/recommendations/session", body).json
    found = [row["track"] for row in reply["recommendations"]]
    assert len(found) == 12 and not {*tracks, "t0100"} & set(found) and reply["unknown_tracks"] == ["Nobody - Nothing"]
    assert sum(style(track) == 4 for track in found) >= 4 and reply["cold"] is False
    assert platform.event_stream.last() == before


@pytest.mark.parametrize("path", ["/recommendations/l003?k=0", "/recommendations/l003?k=x", "/similar/t0001?k=1001"])
def test_a_count_out_of_range_is_named(path: str, server: Server) -> None:
    reply = server.ask("GET", path)
    assert reply.status == 422 and reply.json["faults"][0]["field"] == "k"


def test_an_unknown_track_is_not_there(server: Server) -> None:
    reply = server.ask("GET", "/similar/Nobody%20-%20Nothing")
    assert reply.status == 404 and "Nobody - Nothing" in reply.json["detail"]


# -- events -------------------------------------------------------------------------------------------------------


def test_an_event_changes_the_very_next_answer(server: Server) -> None:
    before = server.recommend("l003", 20)
    wanted = next(number for number in range(STYLES) if not any(style(track) == number for track in before))
    played = [event("l003", f"t{wanted * PER_STYLE + place:04}", place) for place in range(5)]
    assert server.ask("POST", "/events", played).json["accepted"] == 5
    after = server.recommend("l003", 20)
    assert np.mean([style(track) == wanted for track in after]) >= 0.25
    assert not {item["track"] for item in played} & set(after)


def test_events_of_another_process_are_seen_without_asking_for_it(server: Server, platform: Platform) -> None:
    top = server.recommend("l003")[0]
    platform.event_stream.append([event("l003", top)])
    deadline = time.monotonic() + 60
    while top in server.recommend("l003", 50):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_disliked_track_never_comes_back(server: Server, command: Callable[..., Any]) -> None:
    top = server.recommend("l007")[0]
    assert server.ask("POST", "/events", event("l007", top, liked=False)).status == 202
    server.ask("POST", "/events", event("l007", top, 5, liked=True))
    assert top not in server.recommend("l007", 1000)
    answer = command("recommend", "l007", "--k", "1000")
    assert top not in [row["track"] for row in answer["recommendations"]]
    assert top in server.recommend("l008", 1000) or top in server.similar("t0001", 240)


def test_the_same_event_again_counts_once(server: Server, platform: Platform) -> None:
    one = event("brand-new", "t0042", event_id="once")
    for _ in range(3):
        assert server.ask("POST", "/events", one).status == 202
    snapshot = open_snapshot(platform)
    assert snapshot is not None
    assert len(histories(platform, snapshot)[platform.pseudonyms.of("brand-new")]) == 1
    assert server.ask("GET", "/recommendations/brand-new").json["cold"] is False


def test_faulty_events_are_all_named_and_none_is_taken(server: Server, platform: Platform) -> None:
    before = platform.event_stream.last()
    bad = [
        event("x", "t0001"),
        {"listener": "secret-listener", "played_at": "2026-01-01"},
        {"listener": "x", "track": "t0001", "played_at": "yesterday"},
        event("x", "t0001", seconds_played=-1),
        event("x", "t0001", position=0),
        "no object",
    ]
    reply = server.ask("POST", "/events", bad)
    assert reply.status == 422 and [fault["index"] for fault in reply.json["faults"]] == [1, 2, 3, 4, 5]
    assert "track is missing" in reply.json["faults"][0]["message"] and b"secret-listener" not in reply.body
    for raw in (b"", b"{", b'{"listener": NaN}', b"\xff\xfe", b"[" * 100_000, b"3"):
        assert server.ask("POST", "/events", raw=raw).status == 422, raw[:20]
    assert platform.event_stream.last() == before
    # a wrong clock is no fault of form: ingestion puts it into quarantine
    late = {"listener": "clock", "track": "t0001", "played_at": "1999-01-01T00:00:00Z"}
    ahead = {**late, "played_at": (datetime.now(UTC) + timedelta(minutes=20)).isoformat()}
    assert server.ask("POST", "/events", [late, ahead]).status == 202
    assert server.ask("GET", "/recommendations/clock").json["cold"] is True


DYING = """
import os, sys
from ai_assets.serving.live_state import LiveState
inner = LiveState.follow_events
def follow(self):
    inner(self)
    if self._sequence:
        os._exit(9)
LiveState.follow_events = follow
from ai_assets.cli import main
main(["serve", "--port", "0"])
"""


def test_an_event_appended_before_a_crash_is_there_and_a_retry_does_not_double_it(
    own_home: Path,
) -> None:
    """The process dies between the append and the answer: the sender heard nothing and sends it again."""
    one, platform = event("crash-listener", "t0042"), Platform(Settings(home=own_home))
    with serving(own_home, program=DYING) as server:
        with pytest.raises((ConnectionError, http.client.HTTPException, OSError)):
            server.ask("POST", "/events", one)
        assert server.process.wait(timeout=20) == 9
    assert platform.event_stream.last() == 1
    with serving(own_home) as server:
        assert server.ask("GET", "/recommendations/crash-listener").json["cold"] is False
        assert server.ask("POST", "/events", one).status == 202
        server.kill()
    snapshot = open_snapshot(platform)
    assert snapshot is not None
    assert len(histories(platform, snapshot)[platform.pseudonyms.of("crash-listener")]) == 1


# -- tracks -------------------------------------------------------------------------------------------------------


def near(world: World, item: int) -> list[float]:
    rng = np.random.default_rng(item)
    return (world.content[item] + 0.01 * rng.standard_normal(world.content.shape[1])).tolist()


def test_an_entered_track_is_found_at_once_everywhere(
    server: Server, world: World, platform: Platform, command: Callable[..., Any]
) -> None:
    body = {"title": "Brand New", "artist": "Somebody", "vector": near(world, 25), "embedding": EMBEDDING}
    reply = server.ask("PUT", "/tracks/shop-4711", body)
    track = reply.json.get("track")
    assert reply.status == 201 and track == external_track_id("shop-4711")
    assert server.similar("t0025")[0] == track
    assert server.similar("shop-4711")[0] == "t0025" == server.similar("Somebody - Brand New")[0]
    assert command("similar", "t0025")["similar"][0]["track"] == track
    played = {"tracks": [f"t{20 + place:04}" for place in range(6)] * 5, "k": 100}
    found = server.ask("POST", "/recommendations/session", played).json["recommendations"]
    assert track in [row["track"] for row in found]
    assert server.ask("POST", "/events", event("fan", "shop-4711")).status == 202
    assert server.ask("GET", "/recommendations/fan").json["cold"] is False
    assert reason_to_compact(platform).startswith("tracks were entered")  # the sensor takes it into the tables
    again = server.ask("PUT", f"/tracks/{track}", {"title": "Renamed"})
    assert again.status == 200 and again.json["track"] == track
    first = server.ask("GET", "/similar/t0025?k=1").json["similar"][0]
    assert (first["title"], first["artist"]) == ("Renamed", "Somebody")


def test_a_vector_must_fit(server: Server, world: World) -> None:
    vector = near(world, 3)
    bad: list[tuple[dict[str, Any], str]] = [
        ({"vector": vector}, "embedding"),
        ({"vector": vector, "embedding": "sound/2"}, "embedding"),
        ({"vector": vector[:-1], "embedding": EMBEDDING}, "vector"),
        ({"vector": [0.0] * len(vector), "embedding": EMBEDDING}, "vector"),
        ({"vector": [1e308] * len(vector), "embedding": EMBEDDING}, "vector"),
        ({"vector": ["x"], "embedding": EMBEDDING}, "vector.0"),
        ({"embedding": EMBEDDING}, "vector"),
        ({"title": ""}, "title"),
        ({"colour": "red"}, "colour"),
    ]
    for body, field in bad:
        reply = server.ask("PUT", "/tracks/bad", body)
        assert reply.status == 422 and reply.json["faults"][0]["field"] == field, (body, reply.body)
    assert server.ask("GET", "/similar/bad").status == 404


def test_a_withdrawn_track_is_gone_at_once_and_for_good(
    server: Server, world: World, platform: Platform, model: Path, command: Callable[..., Any]
) -> None:
    from serving_home import publish

    gone = server.similar("t0025")[0]
    assert server.ask("DELETE", f"/tracks/{gone}").status == 204
    played = {"tracks": ["t0025"] * 5, "k": 1000}

    def everywhere() -> set[str]:
        session = server.ask("POST", "/recommendations/session", played).json["recommendations"]
        return {*server.similar("t0025", 1000), *(row["track"] for row in session), *server.recommend("nobody", 1000)}

    assert gone not in everywhere()
    assert gone not in [row["track"] for row in command("similar", "t0025", "--k", "1000")["similar"]]
    name = publish(platform, world, model)
    deadline = time.monotonic() + 60
    while server.ask("GET", "/ready").json["generation"] != name:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert gone not in everywhere()
    assert server.ask("DELETE", f"/tracks/{gone}").status == 204
    assert server.ask("DELETE", "/tracks/never-there").status == 404
    assert server.ask("PUT", f"/tracks/{gone}", {}).status == 200
    assert server.similar("t0025")[0] == gone and gone in everywhere()


@pytest.mark.parametrize("scope", ["all", "one listener"])
def test_a_new_rule_of_any_kind_holds_on_every_surface_soon(server: Server, platform: Platform, scope: str) -> None:
    """The look for new rules is every fifth of a second; how long a slow machine takes is not what is tested here."""
    listener, played = "l005", {"tracks": ["t0025"] * 5, "k": 1000}
    pseudonym = platform.pseudonyms.of(listener) if scope == "one listener" else None
    kinds = {
        Rule("artist", "is", "artist 3"): range(15, 20), Rule("album", "is", "album 4"): range(20, 25),
        Rule("folder", "is", "style2"): range(40, 60), Rule("genre", "is", "style4"): range(80, 100),
        Rule("kind", "is", "live"): (200, 205, 210, 215), Rule("duration", "longer_than", "300"): range(201, 240),
        Rule("genre", "is", "style5", season="01-01..12-31"): range(100, 120),
    }  # fmt: skip

    def shown() -> set[str]:
        personal = set(server.recommend(listener, 1000))
        if scope == "one listener":
            return personal
        session = server.ask("POST", "/recommendations/session", played).json["recommendations"]
        return personal | {row["track"] for row in session} | set(server.similar("t0065", 1000))

    store = RuleStore(platform.database)
    before = shown()
    names = [store.add(replace(rule, listener=pseudonym)) for rule in kinds]
    banned = {f"t{code:04}" for codes in kinds.values() for code in codes}
    assert all(before & {f"t{code:04}" for code in codes} for codes in kinds.values()), "nothing would be excluded"
    deadline = time.monotonic() + 60
    while (after := shown()) & banned:
        assert time.monotonic() < deadline, sorted(after & banned)[:5]
        time.sleep(0.1)
    assert after and not shown() & banned
    if scope == "one listener":
        assert banned & set(server.recommend("nobody", 1000)), "others are not touched"
    for name in names:
        store.remove(name)
    while shown() != before:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_answering_process_holds_no_heavy_library(server: Server) -> None:
    server.recommend("l003")
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "numpy" in maps and not [name for name in ("libtorch", "librosa", "sklearn", "dagster") if name in maps]


def test_metrics_have_bounded_labels(server: Server) -> None:
    server.recommend("some-private-listener")
    server.ask("POST", "/events", event("some-private-listener", "t0001"))
    text = server.ask("GET", "/metrics").body.decode()
    assert 'ai_assets_api_requests_total{route="/recommendations/{listener:path}",status="200"}' in text
    assert "ai_assets_api_events_total" in text and "ai_assets_serving_generation_age_seconds" in text
    assert "some-private-listener" not in text


def test_the_token_is_made_once_and_shown_once(own_home: Path) -> None:
    home = own_home
    with serving(home, AI_ASSETS_API_TOKEN="") as server:
        kept = (home / "secrets" / "api-token").read_text().strip()
        assert server.log.read_text().count(kept) == 1
        assert (home / "secrets" / "api-token").stat().st_mode & 0o777 == 0o600
        assert server.ask("GET", "/similar/t0001", token=kept).status == 200
        assert server.ask("GET", "/similar/t0001").status == 401
    with serving(home, AI_ASSETS_API_TOKEN="") as server:
        assert kept not in server.log.read_text()
        assert server.ask("GET", "/similar/t0001", token=kept).status == 200


def test_json_is_utf8(server: Server) -> None:
    reply = server.ask("GET", "/recommendations/Zo%C3%AB")
    assert json.loads(reply.body.decode())["listener"] == "Zoë"
