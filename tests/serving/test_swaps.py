"""Generations are swapped under load, and broken ones are not taken."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from listening_world import World
from serving_home import Server, publish, serving

from resources.platform import Platform
from resources.settings import Settings

SWAPS = 12


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.03)


def test_no_request_is_dropped_or_mixed_while_generations_are_swapped(
    server: Server, platform: Platform, world: World, model: Path
) -> None:
    swap_under_load(server, platform, world, model, SWAPS)


@pytest.mark.team
def test_a_hundred_swaps_give_no_wrong_answer(own_home: Path, world: World, model: Path) -> None:
    with serving(own_home, AI_ASSETS_API_RATE_LIMIT="0") as server:
        swap_under_load(server, Platform(Settings(home=own_home)), world, model, 100)


def swap_under_load(server: Server, platform: Platform, world: World, model: Path, swaps: int) -> None:
    """Each generation's titles end with its name: an answer must be whole, from one generation."""
    done, wrong, seen = threading.Event(), [], set()

    def load(listener: str) -> None:
        while not done.is_set():
            path = f"/recommendations/{listener}?k=10" if listener != "similar" else "/similar/t0025"
            reply = server.ask("GET", path)
            answer = reply.json if reply.status == 200 else {}
            rows = answer.get("recommendations", answer.get("similar", []))
            ending = "" if answer.get("generation") == "gen-1" else f"<{answer.get('generation')}>"
            if len(rows) != 10 or any(row["title"].partition(" ")[2].partition(" ")[2] != ending for row in rows):
                wrong.append((reply.status, reply.body[:200]))
            seen.add(answer.get("generation"))

    threads = [threading.Thread(target=load, args=(name,)) for name in ("l003", "l007", "nobody", "similar")]
    for thread in threads:
        thread.start()
    for number in range(2, swaps + 2):
        name = publish(platform, world, model, mark=f" <gen-{number}>")
        wait_for(lambda name=name: server.ask("GET", "/ready", token=None).json["generation"] == name)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong and len(seen) >= swaps // 2


def test_a_damaged_generation_is_not_taken_and_the_last_good_one_says_how_old_it_is(
    server: Server, platform: Platform, world: World, model: Path, home: Path
) -> None:
    before = server.recommend("l003")
    folder = home / "indices" / "serving"
    name = publish(platform, world, model)
    wait_for(lambda: server.ask("GET", "/ready").json["generation"] == name)
    broken = publish(platform, world, model, mark=" <broken>")
    (folder / broken / "model.npz").write_bytes(b"PK\x03\x04 no more than that")
    (folder / "CURRENT").write_text("gen-1")  # something else for a moment, so that both orders are seen
    (folder / "CURRENT").write_text(broken)
    wait_for(lambda: bool(server.ask("GET", "/ready").json["faults"]) or server.recommend("l003") != before)
    ready = server.ask("GET", "/ready")
    if ready.json["generation"] == name:
        assert ready.status == 200 and ready.json["status"] == "ready, not up to date"
        assert broken in str(ready.json["faults"]) and ready.json["generation_age_seconds"] >= 0
    assert server.recommend("l003") == before
    with serving(home) as fresh:  # a start on the broken one falls back, too
        assert fresh.recommend("l003") == before
        wait_for(lambda: bool(fresh.ask("GET", "/ready").json["faults"]))
    name = publish(platform, world, model)
    wait_for(lambda: server.ask("GET", "/ready").json["generation"] == name)
    wait_for(lambda: server.ask("GET", "/ready").json["status"] == "ready")


def test_a_home_without_a_generation_is_alive_and_not_ready(tmp_path: Path) -> None:
    with serving(tmp_path / "fresh") as server:
        assert server.ask("GET", "/health").status == 200
        ready = server.ask("GET", "/ready")
        assert ready.status == 503 and "ai-assets run" in ready.json["because"]
        assert server.ask("GET", "/recommendations/x").status == 503
        one = {"listener": "x", "track": "a - b", "played_at": "2026-05-01T10:00:00Z"}
        assert server.ask("POST", "/events", one).status == 202


def test_answers_go_on_while_the_database_is_away(server: Server, home: Path) -> None:
    before = server.recommend("l003")
    away = home / "platform.db.away"
    files = [home / f"platform.db{end}" for end in ("", "-wal", "-shm")]
    held = {path: path.read_bytes() for path in files if path.exists()}
    (home / "platform.db").rename(away)
    (home / "platform.db").mkdir()
    for path in files[1:]:
        path.unlink(missing_ok=True)
    try:
        wait_for(lambda: bool(server.ask("GET", "/ready").json["faults"]))
        assert server.recommend("l003") == before
        one = {"listener": "x", "track": "t0001", "played_at": "2026-05-01T10:00:00Z"}
        assert server.ask("POST", "/events", one).status == 503
    finally:
        (home / "platform.db").rmdir()
        for path, data in held.items():
            path.write_bytes(data)
    wait_for(lambda: server.ask("GET", "/ready").json["status"] == "ready")
