"""Helpers: a generation of a small world, and the real server process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1] / "recommendation_update"))
from listening_world import World

from ai_assets.recommendation_update import build
from ai_assets.recommendation_update.serving_folder import write_generation
from resources.platform import Platform

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-for-tests"
EMBEDDING = "sound/1"


@dataclass(frozen=True)
class Reply:
    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server."""

    port: int
    process: subprocess.Popen[str]
    log: Path

    @property
    def login(self) -> str:
        """The path of the one-time address that was printed."""
        return self.log.read_text().partition("listening room: ")[2].split()[0].partition(f":{self.port}")[2]

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = TOKEN, raw: bytes | None = None
    ) -> Reply:
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return Reply(answer.status, answer.read(), dict(answer.headers))
        except urllib.error.HTTPError as error:
            return Reply(error.code, error.read(), dict(error.headers))

    def recommend(self, listener: str, k: int = 10) -> list[str]:
        reply = self.ask("GET", f"/recommendations/{urllib.parse.quote(listener, safe='')}?k={k}")
        assert reply.status == 200, reply.body
        return [row["track"] for row in reply.json["recommendations"]]

    def similar(self, track: str, k: int = 10) -> list[str]:
        reply = self.ask("GET", f"/similar/{urllib.parse.quote(track, safe='')}?k={k}")
        assert reply.status == 200, reply.body
        return [row["track"] for row in reply.json["similar"]]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    return {**kept, "AI_ASSETS_HOME": str(home), "AI_ASSETS_API_TOKEN": TOKEN, "OMP_NUM_THREADS": "1", **more}


@contextmanager
def serving(home: Path, *, program: str | None = None, **more: str) -> Iterator[Server]:
    """Start `ai-assets serve` (or a program that starts it in another way) on a free port."""
    command = [sys.executable, "-m", "ai_assets.cli", "serve", "--port", "0"]
    command = command if program is None else [sys.executable, "-c", program]
    log = home.parent / f"serve-{datetime.now(UTC):%H%M%S%f}.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            command, env=environment(home, **more), cwd=ROOT, stdout=file, stderr=subprocess.PIPE, text=True
        )
    try:
        port = 0
        assert process.stderr is not None
        for line in process.stderr:
            with log.open("a") as file:
                file.write(line)
            if "serving on http" in line:
                port = int(line.rsplit(":", 1)[1])
                break
        assert port, log.read_text()
        yield Server(port, process, log)
    finally:
        process.terminate()
        with log.open("a") as file:
            file.write(process.communicate(timeout=30)[1] or "")


def publish(
    platform: Platform, world: World, model: Path, *, mark: str = "", catalogue: pd.DataFrame | None = None
) -> str:
    """Write a serving generation of the world; `mark` is put behind every title."""
    rows = world.catalogue if catalogue is None else catalogue
    arrays, facts = build.serving_arrays(model, rows, world.content)
    plays = build.play_counts(rows["track"].to_numpy(str), world.events["track"])
    marked = rows.assign(plays=plays, title=rows["title"] + mark)
    facts |= {"embedding": EMBEDDING, "models": {"collaborative_model": "collaborative_model/1"}, "delta_sequence": 0}
    facts |= {"external_sequence": -1, "made_at": datetime.now(UTC).isoformat(timespec="seconds")}
    return write_generation(platform.home.indices / "serving", marked, arrays, ranker=None, facts=facts)


def copy_of(template: Path, folder: Path) -> Path:
    shutil.copytree(template, folder / "home")
    return folder / "home"
