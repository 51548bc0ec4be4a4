"""`ai-assets benchmark serve`: the real server with a catalogue of a given size under a given load.

The server runs on two cores, the load generator in a process of its own. While the load goes on, events are sent,
tracks entered and rules made, and the time until an answer knows of them is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.benchmarks.serve_world import EMBEDDING, Synthetic, make_home
from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.rules import Rule

TOKEN = "benchmark"
CORES = 2
PROBES = 8
WARM_SECONDS = 3.0


class ServerFailed(Exception):
    """The server did not start or did not answer."""


def serve_benchmark(
    *, tracks: int, dim: int, rate: float, seconds: float, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure; see INTERFACE for the keys. Raises ServerFailed."""
    with tempfile.TemporaryDirectory(prefix="ai-assets-serve-") as name:
        world = make_home(Path(name), tracks=tracks, dim=dim, say=say)
        process, port = _start(Path(name))
        try:
            say(f"asking {rate:g} times a second for {seconds:g} s")
            return _measure(world, process.pid, port, rate, seconds) | {"tracks": tracks, "dim": dim, "cores": CORES}
        finally:
            process.terminate()
            process.communicate()


def _start(home: Path) -> tuple[subprocess.Popen[str], int]:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("AI_ASSETS_", "DAGSTER_"))},
        "AI_ASSETS_HOME": str(home), "AI_ASSETS_API_TOKEN": TOKEN, "AI_ASSETS_API_RATE_LIMIT": "0",
    }  # fmt: skip
    command = [sys.executable, "-m", "ai_assets.cli", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    with suppress(AttributeError, OSError):  # not every system can
        os.sched_setaffinity(process.pid, sorted(os.sched_getaffinity(0))[:CORES])
    assert process.stderr is not None
    said = ""
    for line in process.stderr:
        said += line
        if "serving on http" in line:
            return process, int(line.rsplit(":", 1)[1])
    raise ServerFailed(f"the server did not start: {said[-2000:]}")


def _measure(world: Synthetic, pid: int, port: int, rate: float, seconds: float) -> dict[str, Any]:
    paths = [f"/recommendations/{name}?k=10" for name in world.listeners]
    _load(port, min(rate, 50), WARM_SECONDS, paths).communicate()
    load = _load(port, rate, seconds, paths)
    events, tracks, rules = [], [], []
    for number in range(PROBES):
        time.sleep(seconds / (2 * PROBES))
        events.append(_event_to_change(world, port, number))
        tracks.append(_track_to_findable(world, port, number))
        rules.append(_rule_to_hold(world, port, number))
    out, _ = load.communicate()
    if load.returncode != 0:
        raise ServerFailed("the load generator failed: is the server still there?")
    found = json.loads(out)
    times = np.array(found["milliseconds"])
    return {
        "p50_ms": round(float(np.quantile(times, 0.5)), 2),
        "p99_ms": round(float(np.quantile(times, 0.99)), 2),
        "achieved_rate": round(len(times) / found["seconds"], 1),
        "event_to_change_ms": round(max(events), 1),
        "track_to_findable_ms": round(max(tracks), 1),
        "rule_to_hold_ms": round(max(rules), 1),
        "errors": int(found["errors"]),
        "rss_mb": round(_rss_megabytes(pid)),
    }


def _load(port: int, rate: float, seconds: float, paths: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ai_assets.benchmarks.load"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    json.dump({"port": port, "token": TOKEN, "rate": rate, "seconds": seconds, "paths": paths}, process.stdin)
    process.stdin.close()
    process.stdin = None
    return process


def _event_to_change(world: Synthetic, port: int, number: int) -> float:
    """Milliseconds from sending an event to an answer without its track."""
    listener = f"fresh-{number}"
    path = f"/recommendations/{listener}?k=10"
    top = _ask(port, "GET", path)["recommendations"][0]["track"]
    start = time.perf_counter()
    event = {"listener": listener, "track": top, "played_at": datetime.now(UTC).isoformat()}
    _ask(port, "POST", "/events", event)
    while top in [row["track"] for row in _ask(port, "GET", path)["recommendations"]]:
        if time.perf_counter() - start > 60:
            raise ServerFailed("an event changed nothing for a minute")
    return (time.perf_counter() - start) * 1e3


def _track_to_findable(world: Synthetic, port: int, number: int) -> float:
    """Milliseconds from entering a track to being the nearest of the one it sounds like."""
    rng = np.random.default_rng(number)
    item = int(rng.integers(len(world.content)))
    vector = world.content[item] + 0.001 * rng.standard_normal(world.content.shape[1])
    start = time.perf_counter()
    body = {"title": f"New {number}", "artist": "Nobody", "vector": vector.tolist(), "embedding": EMBEDDING}
    track = _ask(port, "PUT", f"/tracks/new-{number}", body)["track"]
    while _ask(port, "GET", f"/similar/t{item:06}?k=1")["similar"][0]["track"] != track:
        if time.perf_counter() - start > 60:
            raise ServerFailed("an entered track was not found for a minute")
    return (time.perf_counter() - start) * 1e3


def _rule_to_hold(world: Synthetic, port: int, number: int) -> float:
    """Milliseconds from a rule in the database to answers for listener and track that keep it; it is removed then."""
    store = RuleStore(world.platform.database)
    paths = {f"/recommendations/unknown-{number}?k=10": "recommendations", f"/similar/t{number:06}?k=10": "similar"}
    banned = {path: _ask(port, "GET", path)[key][0]["track"] for path, key in paths.items()}
    start = time.perf_counter()
    names = [store.add(Rule("track", "is", track)) for track in sorted(set(banned.values()))]
    try:
        while any(
            banned[path] in [row["track"] for row in _ask(port, "GET", path)[key]] for path, key in paths.items()
        ):
            if time.perf_counter() - start > 60:
                raise ServerFailed("a new rule did not hold for a minute")
        return (time.perf_counter() - start) * 1e3
    finally:
        for name in names:
            store.remove(name)


def _ask(port: int, method: str, path: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _rss_megabytes(pid: int) -> float:
    """Of the server and its helpers; pages that they share count once where the system says so."""
    import psutil

    server = psutil.Process(pid)
    held = [process.memory_full_info() for process in (server, *server.children(recursive=True))]
    return float(sum(getattr(info, "pss", info.rss) for info in held) / 2**20)
