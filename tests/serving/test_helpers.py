"""Processes that answer beside the API of a large catalogue: the same answers, at once fresh, gone with the API."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from serving_home import TOKEN, Server, serving

from ai_assets.benchmarks.serve_world import EMBEDDING, Synthetic, make_home
from ai_assets.recommendation_update.answers import recommend_answer
from resources.platform import Platform
from resources.settings import Settings

PATIENCE = 60.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Synthetic:
    """The smallest catalogue that asks indices."""
    return make_home(tmp_path_factory.mktemp("large") / "home", tracks=10_000, dim=8, say=lambda _text: None)


@pytest.fixture(scope="module")
def server(large: Synthetic) -> Iterator[Server]:
    with serving(Path(large.platform.settings.home)) as running:
        yield running


def helpers(server: Server) -> list[psutil.Process]:
    return [process for process in psutil.Process(server.process.pid).children() if _helps(process)]


def _helps(process: psutil.Process) -> bool:
    try:
        return "ai_assets.serving.helper" in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_helpers_answer_as_the_command_line_does(server: Server, large: Synthetic) -> None:
    assert 1 <= len(helpers(server)) <= 4
    platform = Platform(Settings(home=Path(large.platform.settings.home)))
    for number in (1, 2, 3):
        reply = server.ask("GET", f"/recommendations/listener-{number}?k=7").json
        told = recommend_answer(platform, f"listener-{number}", 7)
        assert list(reply) == list(told) and reply["listener"] == f"listener-{number}"
        assert reply["recommendations"] == told["recommendations"] and len(told["recommendations"]) == 7


def test_an_event_a_track_and_a_withdrawal_hold_in_the_very_next_answer_of_each(
    server: Server, large: Synthetic
) -> None:
    heard: set[str] = set()
    for _ in range(6):  # by turns whichever helper is asked
        shown = server.recommend("listener-9", 5)
        assert not heard & set(shown)
        heard.add(shown[0])
        event = {"listener": "listener-9", "track": shown[0], "played_at": datetime.now(UTC).isoformat()}
        assert server.ask("POST", "/events", event).status == 202
    for listener in ("listener-10", "listener-11", "listener-12", "listener-13"):
        gone = server.recommend(listener, 5)[0]
        assert server.ask("DELETE", f"/tracks/{gone}").status == 204
        assert all(gone not in server.recommend(each, 50) for each in ("listener-10", "listener-11", "listener-13"))
    body = {"title": "New", "artist": "Nobody", "vector": large.content[5].tolist(), "embedding": EMBEDDING}
    entered = server.ask("PUT", "/tracks/new-one", body).json["track"]
    assert entered in server.similar("t000005", 3)


def test_a_helper_that_dies_is_replaced_and_no_question_fails(server: Server) -> None:
    first = {process.pid for process in helpers(server)}
    for pid in first:
        os.kill(pid, signal.SIGKILL)
        for listener in range(4):
            assert server.recommend(f"listener-{listener}")
    until(lambda: len(helpers(server)) == len(first) and not first & {process.pid for process in helpers(server)})
    assert server.recommend("listener-1")


def test_counters_count_every_answer_once(server: Server) -> None:
    def counted() -> float:
        lines = server.ask("GET", "/metrics").body.decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("ai_assets_api_recommendations_total")
        )

    before = counted()
    for listener in range(5):
        server.recommend(f"listener-{listener}")
    assert counted() == before + 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_helpers_end_with_the_server(number: signal.Signals, large: Synthetic) -> None:
    with serving(Path(large.platform.settings.home)) as running:
        assert running.ask("GET", "/health").status == 200
        beside = helpers(running)
        assert beside
        running.process.send_signal(number)
        until(lambda: not any(_helps(process) for process in beside))


def test_what_is_asked_wrongly_is_told_with_a_code_and_what_to_do(server: Server) -> None:
    address = server.ask("GET", "/recomendations/l003")
    assert (address.status, address.json["code"]) == (404, "not_there") and "/openapi.json" in address.json["detail"]
    method = server.ask("PATCH", "/events", {})
    assert (method.status, method.json["code"]) == (405, "invalid_request") and method.headers["allow"] == "POST"
    assert "PATCH" in method.json["faults"][0]["message"]
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    form = {"authorization": f"Bearer {TOKEN}", "content-type": "application/x-www-form-urlencoded"}  # as curl -d sends
    connection.request("POST", "/recommendations/session", json.dumps({"tracks": ["t0001"]}), form)
    answer = connection.getresponse()
    assert answer.status == 422
    assert "Content-Type: application/json" in json.loads(answer.read())["faults"][0]["message"]
