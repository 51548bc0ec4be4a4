"""The Celery executor when things die: workers, the broker, the run's own process; duplicates and forgeries."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest
from conftest import OwnRedis, Team, is_alive, missing, wait_for

pytestmark = [pytest.mark.team, pytest.mark.timeout(300)]


def outcome(team: Team, leader: subprocess.Popen, seconds: float = 120) -> str:
    leader.wait(seconds)
    return team.output(leader)


def kill_worker(worker: subprocess.Popen) -> None:
    """As the kernel does it for want of memory: the worker alone, with no goodbye."""
    os.kill(worker.pid, signal.SIGKILL)


def test_a_worker_killed_in_the_middle_costs_one_attempt(team: Team) -> None:
    first = team.worker()
    leader = team.lead(seconds=6)
    wait_for(lambda: team.notes("begin"), 60, "the step begins")
    kill_worker(first)
    wait_for(lambda: not is_alive(team.notes("begin")[0][0]), 20, "its step is gone with it")
    team.worker()
    text = outcome(team, leader)
    assert leader.returncode == 0, text
    assert "its worker is gone" in text
    assert [attempt for _, attempt in team.notes("begin")] == [0, 1]
    assert team.attempts() == [1]


def test_a_step_killed_alone_is_tried_again(team: Team) -> None:
    team.worker()
    leader = team.lead(seconds=3)
    wait_for(lambda: team.notes("begin"), 60, "the step begins")
    os.kill(team.notes("begin")[0][0], signal.SIGKILL)
    text = outcome(team, leader)
    assert leader.returncode == 0, text
    assert "by signal 9" in text and team.attempts() == [1]


def test_without_a_worker_the_step_fails_within_a_minute_and_says_how_to_start_one(team: Team) -> None:
    team.worker("--queue", "cpu")
    leader = team.lead("gpu_job")
    text = outcome(team, leader, 180)
    assert leader.returncode == 1
    assert "ai-assets worker --queue gpu" in text
    assert "STEP_UP_FOR_RETRY" not in text  # no retry finds a worker either


def test_the_broker_killed_for_six_seconds_costs_nothing(team: Team, redis_server: OwnRedis) -> None:
    team.worker()
    leader = team.lead(seconds=12)
    wait_for(lambda: team.notes("begin"), 60, "the step begins")
    redis_server.kill()
    time.sleep(6)
    redis_server.start()
    text = outcome(team, leader)
    assert leader.returncode == 0, text
    assert [attempt for _, attempt in team.notes("begin")] == [0]
    again = team.lead(seconds=0)
    assert outcome(team, again) and again.returncode == 0, team.output(again)


def test_a_step_sent_while_the_broker_is_away_or_lost_with_it_is_sent_again(team: Team, redis_server: OwnRedis) -> None:
    leader = team.lead(seconds=0)
    wait_for(lambda: "Sent to the workers" in team.output(leader), 60, "the step is sent")
    redis_server.kill()  # the message is lost with it
    time.sleep(2)
    redis_server.start()
    team.worker()
    text = outcome(team, leader)
    assert leader.returncode == 0, text
    assert len(team.notes("end")) == 1


def test_cancelling_ends_the_step_within_seconds(team: Team) -> None:
    team.worker()
    leader = team.lead(seconds=60)
    wait_for(lambda: team.notes("begin"), 60, "the step begins")
    leader.send_signal(signal.SIGINT)
    wait_for(lambda: not is_alive(team.notes("begin")[0][0]), 20, "the step's process is gone")
    outcome(team, leader, 30)
    assert leader.returncode != 0 and not team.notes("end")


def test_a_step_whose_leader_was_killed_ends_itself(team: Team) -> None:
    team.worker()
    leader = team.lead(seconds=120)
    wait_for(lambda: team.notes("begin"), 60, "the step begins")
    leader.kill()
    wait_for(lambda: not is_alive(team.notes("begin")[0][0]), 30, "the step's process is gone")
    assert not team.notes("end")


SEND_AGAIN = """
import json, sys
from resources.celery.app import app
from resources.executors import queue_name
from resources.settings import load_settings
for _ in range(int(sys.argv[2])):
    app.send_task("ai_steps.run_step", json.loads(sys.argv[1]), queue=queue_name(load_settings(), "cpu"), ignore_result=True)
"""

LISTEN = """
import json, sys, time
import redis
server = redis.Redis.from_url(sys.argv[1])
from resources.executors import queue_name
from resources.settings import load_settings
key = queue_name(load_settings(), "cpu")
while not server.llen(key):
    time.sleep(0.05)
message = json.loads(server.lindex(key, 0))
import base64
print(json.dumps(json.loads(base64.b64decode(message["body"]))[0]))
"""


def test_a_message_delivered_again_is_not_worked_on_twice(team: Team, redis_server: OwnRedis) -> None:
    leader = team.lead(seconds=4)
    heard = team.start("-c", LISTEN, redis_server.url)
    assert heard.wait(60) == 0, team.output(heard)
    arguments = team.output(heard).strip()
    assert team.start("-c", SEND_AGAIN, arguments, "3").wait(30) == 0
    team.worker("--concurrency", "3")
    text = outcome(team, leader)
    assert leader.returncode == 0, text
    assert team.start("-c", SEND_AGAIN, arguments, "2").wait(30) == 0  # long after
    redis_server.kill()
    redis_server.start()  # and with no memory of it in Redis
    assert team.start("-c", SEND_AGAIN, arguments, "2").wait(30) == 0
    time.sleep(8)
    assert len(team.notes("begin")) == 1 and team.attempts() == [0]


FORGE = """
import sys
from celery import Celery
from resources.executors import queue_name
from resources.settings import load_settings
plain = Celery(broker=sys.argv[1], backend=sys.argv[1])
queue = queue_name(load_settings(), "cpu")
for headers in ({}, {"ai_assets_signature": "0" * 64}):
    plain.send_task("ai_steps.run_step", ["r", "slow", 0, "x"], queue=queue, headers=headers)
answer = plain.send_task("ai_tasks.process_data_task", kwargs={"data_path": "/etc/passwd"}, queue="ai_tasks")
try:
    answer.get(timeout=30)
except Exception as error:
    print("refused", error)
"""


def refusals(team: Team) -> list[tuple[str, str]]:
    """Task and reason of each message that the audit trail says was refused."""
    found = subprocess.run(
        [sys.executable, "-m", "ai_assets.cli", "audit", "list", "--json"],
        env=team.variables, capture_output=True, text=True, check=True,
    )  # fmt: skip
    rows = [json.loads(line) for line in found.stdout.splitlines()]
    rows = rows[0] if rows and isinstance(rows[0], list) else rows
    return sorted((row["subject"]["task"], row["details"]["reason"]) for row in rows if row["action"] == "refuse_task")


def test_a_forged_message_is_refused_and_audited(team: Team, redis_server: OwnRedis) -> None:
    team.worker()
    forger = team.start("-c", FORGE, redis_server.url)
    forger.wait(60)
    assert "refused" in team.output(forger) and "AI_ASSETS_UNSIGNED_TASKS" in team.output(forger)
    expected = [
        ("ai_steps.run_step", "no signature"),
        ("ai_steps.run_step", "wrong signature"),
        ("ai_tasks.process_data_task", "no signature"),
    ]
    wait_for(lambda: len(refusals(team)) >= len(expected), 60, "three refused messages on record")
    assert refusals(team) == expected
    assert not any("execute_step" in command for command in _commands_below(os.getpid()))


def _commands_below(pid: int) -> Iterator[str]:
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            yield " ".join(process.cmdline())


RABBIT = os.environ.get("AI_ASSETS_TEST_RABBITMQ", "amqp://guest:guest@127.0.0.1:5672//")


def test_rabbitmq_carries_steps_as_well(team: Team) -> None:
    import kombu

    from resources.celery.signing import fingerprint

    try:
        connection = kombu.Connection(RABBIT, connect_timeout=3).ensure_connection(max_retries=1)
    except Exception as error:
        missing(f"no RabbitMQ at {RABBIT}: {type(error).__name__}")
    team.variables["AI_ASSETS_BROKER_URL"] = RABBIT
    worker = team.worker("--queue", "cpu,gpu,io")
    try:
        leader = team.lead(seconds=5)
        wait_for(lambda: team.notes("begin"), 60, "the step begins")
        kill_worker(worker)
        team.worker("--queue", "cpu,gpu,io")
        text = outcome(team, leader)
        assert leader.returncode == 0, text
        assert team.attempts() == [1]
    finally:
        mark = fingerprint((team.home / "secrets" / "worker-key").read_text().strip().encode())
        with connection.channel() as channel:
            for queue in ("cpu", "gpu", "io"):
                channel.queue_delete(f"ai_steps.{mark}.{queue}")
        connection.release()
