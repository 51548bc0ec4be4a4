import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from resources.alert_senders import WebhookSender, signature_is_valid
from resources.alerts import Alert, Alerts, LogSender
from resources.database import Database
from resources.redaction import Redactor

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FAILED = Alert("run:1", "RUN_FAILED", "Run failed for good", details={"asset": "tracks"}, trace_id="t" * 32)


class Receiver(http.server.ThreadingHTTPServer):
    """Answers with the given statuses, then 200; honours idempotency keys as a real receiver would."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses: list[int] = []
        self.requests: list[tuple[dict, bytes]] = []
        self.messages: dict[str, dict] = {}
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/alerts"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((dict(self.headers), body))
        time.sleep(self.server.delay)
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == 200:
            self.server.messages.setdefault(self.headers["Idempotency-Key"], json.loads(body))
        self.send_response(status)
        if status == 302:
            self.send_header("Location", self.server.url + "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def alerts(tmp_path: Path) -> Alerts:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    database.prepare()
    return Alerts(database, Redactor(["canary-secret"]))


def test_five_equal_alerts_and_three_refusals_are_one_delivery(alerts: Alerts, receiver: Receiver) -> None:
    receiver.statuses = [503, 503, 503]
    sender = WebhookSender(receiver.url, "key")
    for _ in range(5):
        alerts.raise_alert(FAILED, now=NOON)
    waits, now = [], NOON
    for _ in range(6):
        alerts.deliver(sender, now=now)
        (row,) = alerts.list_alerts()
        waits.append(row["attempts"])
        now += timedelta(seconds=2.0 ** row["attempts"] + 0.01)
    assert waits == [1, 2, 3, 0, 0, 0] and len(receiver.requests) == 4 and len(receiver.messages) == 1
    (message,) = receiver.messages.values()
    assert message["count"] == 5 and message["state"] == "firing" and message["trace_id"] == "t" * 32
    assert alerts.list_alerts()[0]["count"] == 5


def test_a_retry_before_its_time_is_not_made(alerts: Alerts, receiver: Receiver) -> None:
    receiver.statuses = [500]
    alerts.raise_alert(FAILED, now=NOON)
    for seconds in (0.0, 0.5, 1.9):
        alerts.deliver(WebhookSender(receiver.url, "key"), now=NOON + timedelta(seconds=seconds))
    assert len(receiver.requests) == 1 and alerts.lag_seconds(now=NOON + timedelta(seconds=1.5)) == 1.5


def test_a_delivery_is_signed_and_a_wrong_key_or_a_replay_is_seen(alerts: Alerts, receiver: Receiver) -> None:
    alerts.raise_alert(FAILED)
    assert alerts.deliver(WebhookSender(receiver.url, "key")) == 1
    ((headers, body),) = receiver.requests
    given = (headers["X-Timestamp"], body, headers["X-Signature"])
    now = time.time()
    assert signature_is_valid("key", *given, now=now)
    assert not signature_is_valid("other", *given, now=now)
    assert not signature_is_valid("key", *given, now=now + 301)
    assert not signature_is_valid("key", given[0], body + b" ", given[2], now=now)


def test_a_resolved_alert_is_told_and_may_fire_anew(alerts: Alerts, receiver: Receiver) -> None:
    sender = WebhookSender(receiver.url, "key")
    alerts.raise_alert(FAILED)
    assert alerts.resolve("run:1") and not alerts.resolve("run:1")  # over before anything was sent
    assert [alerts.deliver(sender) for _ in range(2)] == [2, 0]
    alerts.raise_alert(FAILED)
    assert [alerts.deliver(sender) for _ in range(2)] == [1, 0]
    assert [json.loads(body)["state"] for _, body in receiver.requests] == ["firing", "resolved", "firing"]
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.requests}) == 3
    assert [row["state"] for row in alerts.list_alerts(state="firing")] == ["firing"]


def test_a_receiver_that_is_down_slow_or_redirecting_loses_nothing(alerts: Alerts, receiver: Receiver) -> None:
    alerts.raise_alert(FAILED, now=NOON)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        assert alerts.deliver(WebhookSender(f"http://127.0.0.1:{closed.getsockname()[1]}", "key"), now=NOON) == 0
    receiver.delay = 0.5
    assert alerts.deliver(WebhookSender(receiver.url, "key", timeout=0.1), now=NOON + timedelta(minutes=1)) == 0
    receiver.delay, receiver.statuses = 0.0, [302]
    assert alerts.deliver(WebhookSender(receiver.url, "key"), now=NOON + timedelta(minutes=3)) == 0
    assert "302" in alerts.list_alerts()[0]["last_error"]
    time.sleep(0.6)  # the slow answer took the status that was meant for nobody
    assert alerts.deliver(WebhookSender(receiver.url, "key"), now=NOON + timedelta(minutes=9)) == 1


def test_a_deliverer_killed_between_sending_and_noting_sends_again_with_the_same_key(
    alerts: Alerts, receiver: Receiver, tmp_path: Path
) -> None:
    alerts.raise_alert(FAILED, now=NOON)
    code = (
        "import os, signal, sys; from pathlib import Path; from datetime import datetime\n"
        "from resources.alert_senders import WebhookSender; from resources.alerts import Alerts\n"
        "from resources.database import Database\n"
        "class Dying(WebhookSender):\n"
        "    def send(self, message, key): super().send(message, key); os.kill(os.getpid(), signal.SIGKILL)\n"
        "Alerts(Database(sys.argv[1], Path(sys.argv[2]))).deliver(Dying(sys.argv[3], 'key'))"
    )
    url = alerts.database.url
    died = subprocess.run([sys.executable, "-c", code, url, str(tmp_path / "locks"), receiver.url], env=os.environ)
    assert died.returncode == -signal.SIGKILL
    sender = WebhookSender(receiver.url, "key")
    assert alerts.deliver(sender) == 0  # still leased by the dead one
    assert alerts.deliver(sender, now=datetime.now(UTC) + timedelta(minutes=2)) == 1
    assert len(receiver.requests) == 2 and len(receiver.messages) == 1


def test_no_secret_leaves_and_the_log_is_the_default(alerts: Alerts, caplog: pytest.LogCaptureFixture) -> None:
    alerts.raise_alert(Alert("k", "DRIFT", "canary-secret\nforged", details={"token": "abcdef", "x": "canary-secret"}))
    with caplog.at_level("WARNING"):
        assert alerts.deliver(LogSender()) == 1
    (row,) = alerts.list_alerts()
    assert "canary-secret" not in json.dumps(row) + caplog.text and "abcdef" not in json.dumps(row)
    assert "\n" not in row["title"] and repr(WebhookSender("http://h/x", "k")) == "WebhookSender(timeout=5.0)"


def test_two_deliverers_at_once_send_each_alert_once(alerts: Alerts, receiver: Receiver) -> None:
    for number in range(4):
        alerts.raise_alert(Alert(f"k{number}", "STALE", "stale"))
    sender, receiver.delay = WebhookSender(receiver.url, "key"), 0.1  # so that each sends while the other looks
    both = [threading.Thread(target=alerts.deliver, args=(sender,)) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(receiver.requests) == 4 and alerts.lag_seconds() == 0.0
