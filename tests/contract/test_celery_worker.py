"""Tasks on a real worker: sent with `.delay()` over Redis, done there, with the caller's trace id."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

URL = os.environ.get("AI_ASSETS_TEST_REDIS", "redis://127.0.0.1:6379/7")
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.team

CALLER = """
import sys
from ai_assets.data_processing import process_data_task
sent = process_data_task.delay(data_path=sys.argv[1], process_type="validate", trace_id="trace-of-mine")
answer = sent.get(timeout=90)
print(answer["trace_id"], answer["metrics"]["read"], answer["metrics"]["refused"], answer["status"])
"""


def test_a_task_sent_with_delay_is_done_by_a_worker(tmp_path: Path) -> None:
    import redis

    try:
        redis.Redis.from_url(URL, socket_connect_timeout=2).ping()
    except redis.RedisError as error:
        reason = f"no Redis at {URL}: {type(error).__name__}"
        if os.environ.get("AI_ASSETS_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    events = tmp_path / "events.jsonl"
    events.write_text('{"listener": "u", "track": "A - B", "played_at": "2026-10-01T10:00:00Z"}\n{broken\n')
    variables = {**os.environ, "AI_ASSETS_HOME": str(tmp_path / "home"), "AI_ASSETS_BROKER_URL": URL}
    worker = subprocess.Popen([sys.executable, "-m", "ai_assets.cli", "worker"], cwd=ROOT, env=variables)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CALLER, str(events)],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.split() == ["trace-of-mine", "2", "1", "done"]
    finally:
        worker.terminate()
        worker.wait(30)


def test_without_a_broker_the_error_names_the_setting(tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "AI_ASSETS_BROKER_URL"}
    variables["AI_ASSETS_HOME"] = str(tmp_path)
    script = "from ai_assets.data_processing import process_data_task; process_data_task.delay(data_path='x')"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "AI_ASSETS_BROKER_URL" in done.stderr
