import base64
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from resources.logs import MARK, configure_logs, log_context, protect, rotate
from resources.redaction import MASK, Redactor

CANARY = "canary/Zq8+secret=41"


@pytest.fixture
def lines(tmp_path: Path) -> Iterator:
    root = logging.getLogger()
    level = root.level
    configure_logs(folder=tmp_path, console=False, redactor=Redactor([CANARY]))
    yield lambda: [json.loads(line) for line in (tmp_path / "ai-assets.jsonl").read_text().split("\n") if line]
    for handler in [one for one in root.handlers if getattr(one, MARK, False)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)


@pytest.mark.parametrize(
    "text",
    [
        CANARY, f"x{CANARY}y", base64.b64encode(CANARY.encode()).decode(), "canary%2FZq8%2Bsecret%3D41",
    ],
)  # fmt: skip
def test_a_known_secret_is_masked_in_every_form(text: str) -> None:
    cleaned = Redactor([CANARY]).text(f"before {text} after")
    assert MASK in cleaned and "Zq8" not in cleaned and cleaned.startswith("before ") and cleaned.endswith(" after")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("redis://user:hunter22@host:6379/0", "hunter22"), ("Authorization: Bearer abcdef123456789", "abcdef123456789"),
        ('{"api_key": "k-12345678"}', "k-12345678"), ("AI_ASSETS_API_TOKEN=tok_1234", "tok_1234"),
        ("key AKIAIOSFODNN7EXAMPLE here", "AKIAIOSFODNN7EXAMPLE"), ("postgresql+psycopg2://u:p%40ss@h/db", "p%40ss"),
        ("-----BEGIN PRIVATE KEY-----\nMIIabc\n-----END PRIVATE KEY-----", "MIIabc"),
    ],
)  # fmt: skip
def test_secrets_nobody_registered_are_known_by_their_form(text: str, secret: str) -> None:
    assert secret not in Redactor().text(text)


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Zoë & Øystein – »Tokens of Love« (feat. key change), 12:30, https://example.org/a?b=c"
    assert Redactor(["short"]).line(text) == text


def test_a_line_has_trace_run_step_and_attempt_and_no_secret(lines) -> None:
    with log_context(trace_id="t1", run_id="r1", step="audio_features", attempt=2):
        logging.getLogger("some.module").warning("key is %s", CANARY)
    logging.getLogger("some.module").info("outside")
    inside, outside = lines()
    assert {key: inside[key] for key in ("trace_id", "run_id", "step", "attempt")} == {
        "trace_id": "t1", "run_id": "r1", "step": "audio_features", "attempt": 2,
    }  # fmt: skip
    assert inside["event"] == f"key is {MASK}" and inside["level"] == "warning" and inside["timestamp"].endswith("Z")
    assert "trace_id" not in outside


def test_an_artist_cannot_forge_a_line_or_colour_a_terminal(lines, tmp_path: Path) -> None:
    evil = 'A\n{"level": "error", "event": "forged"}\r\x1b[31mred\x1b[0m \u2028 \u202egnp'
    logging.getLogger("catalogue").info("artist %s", evil)
    (line,) = lines()
    assert "\x1b" not in line["event"] and "\\n" in line["event"] and "\u202e" not in line["event"]
    assert len((tmp_path / "ai-assets.jsonl").read_bytes().splitlines()) == 1


def test_exceptions_and_structlog_values_are_redacted(lines, tmp_path: Path) -> None:
    import structlog

    try:
        raise RuntimeError(f"cannot reach redis://u:pass1234@h with {CANARY}")
    except RuntimeError:
        logging.getLogger("x").exception("failed")
    structlog.get_logger("y").info("configured", token="plain-value", nested={"password": "pw", "url": CANARY})
    text = (tmp_path / "ai-assets.jsonl").read_text()
    assert CANARY not in text and "pass1234" not in text and "plain-value" not in text and '"pw"' not in text
    assert "RuntimeError" in lines()[0]["exception"] and lines()[1]["event"] == "configured"


def test_a_secret_logged_by_a_step_is_not_in_dagsters_event_log() -> None:
    @dg.op
    def careless(context) -> None:
        protect(context.log, Redactor([CANARY]))
        context.log.info(f"using {CANARY}")

    @dg.job
    def careless_job() -> None:
        careless()

    with dg.instance_for_test() as instance:
        run = careless_job.execute_in_process(instance=instance).run_id
        stored = [entry.to_json() for entry in instance.all_logs(run)]
    assert any(f"using {MASK}" in one for one in stored) and not any(CANARY in one for one in stored)


def test_several_processes_append_whole_lines_and_a_full_log_is_rotated(tmp_path: Path) -> None:
    code = (
        "import logging, sys, pathlib; from resources.logs import configure_logs\n"
        "configure_logs(folder=pathlib.Path(sys.argv[1]), console=False)\n"
        "for n in range(300): logging.getLogger('p').info('%s', 'x' * 2000)"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    path = tmp_path / "ai-assets.jsonl"
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 600
    assert rotate(path, max_bytes=1000) and not path.exists() and (tmp_path / "ai-assets.jsonl.1").exists()
    assert not rotate(path)
