"""The exporter on a real home; the alert rules, each with a case that fires; every panel's expression on a real scrape."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from ai_assets.contract.tasks import platform_task
from resources.database import Database
from resources.settings import load_settings
from resources.task_counts import count_task, durations, requests

MONITORING = Path(__file__).parents[2] / "resources" / "instance" / "monitoring"


def needs(program: str) -> None:
    if shutil.which(program) is None:
        reason = f"{program} is not installed (apt-get install prometheus prometheus-alertmanager)"
        if os.environ.get("AI_ASSETS_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)


def read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def eventually(question: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    home = tmp_path_factory.mktemp("exporter") / "home"
    variables = {**os.environ, "AI_ASSETS_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ai_assets.cli", "exporter", "--port", "0"],
        env=variables, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    found = re.search(r"http://\S+/metrics", process.stdout.readline())
    assert found is not None
    platform = load_settings(home=home)
    count_task(Database(platform.database, home / "locks"), "analyze_audio_task", "done", 0.7)
    yield found.group()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_an_empty_home_has_its_families_and_no_error(exporter: str) -> None:
    families = {family.name: family for family in text_string_to_metric_families(read(exporter))}
    assert {
        "ai_assets_runs", "ai_assets_queue_age_seconds", "ai_assets_task_requests", "ai_assets_task_seconds",
        "ai_assets_disk_free_bytes", "ai_assets_alert_outbox_age_seconds", "ai_assets_partitions_missing",
    } <= set(families)  # fmt: skip
    assert all(sample.value == 0 for sample in families["ai_assets_exporter_errors"].samples if "total" in sample.name)
    calls = {tuple(sorted(s.labels.items())): s.value for s in families["ai_assets_task_requests"].samples}
    assert calls[(("status", "done"), ("task", "analyze_audio_task"))] == 1


def test_calls_are_counted_by_how_they_end_and_how_long_they_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path / "home"))

    @platform_task
    def counted_task(call: object, fail: bool = False) -> dict[str, int]:
        if fail:
            raise RuntimeError("as asked")
        return {}

    counted_task()
    counted_task()
    with pytest.raises(RuntimeError):
        counted_task(fail=True)
    settings = load_settings()
    database = Database(settings.database, settings.places.locks)
    assert requests(database) == {("counted_task", "done"): 2, ("counted_task", "failed"): 1}
    buckets, total = durations(database)[("counted_task",)]
    assert buckets[-1] == ("+Inf", 3)
    assert total >= 0


def test_every_alert_has_a_remedy_and_a_case_that_fires_and_one_that_does_not() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
    cases = {case["name"] for case in yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]}
    assert cases == {f"{rule['alert']} {how}" for rule in rules for how in ("fires", "stays quiet")}
    assert all(rule["annotations"]["remedy"] and rule["annotations"]["summary"] for rule in rules)


@pytest.mark.team
def test_promtool_and_amtool_accept_rules_cases_and_configuration() -> None:
    needs("promtool")
    needs("amtool")
    for words in (
        ["promtool", "test", "rules", "alerts_test.yaml"],
        ["promtool", "check", "config", "prometheus.yaml"],
        ["amtool", "check-config", "alertmanager.yaml"],
    ):
        done = subprocess.run(words, cwd=MONITORING, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.team
def test_a_prometheus_scrapes_the_exporter_and_every_panel_of_the_dashboard_can_be_drawn(
    exporter: str, tmp_path: Path
) -> None:
    needs("prometheus")
    config = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    target = urllib.parse.urlsplit(exporter).netloc
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / "alerts.yaml")]
    config["alerting"] = {}
    config["scrape_configs"] = [{"job_name": "ai-assets", "static_configs": [{"targets": [target]}]}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    port = 20000 + os.getpid() % 10000
    prometheus = subprocess.Popen(
        [
            "prometheus", f"--config.file={tmp_path / 'prometheus.yaml'}", f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}", "--log.level=error",
        ]
    )  # fmt: skip
    api = f"http://127.0.0.1:{port}/api/v1"

    def query(expression: str) -> dict:
        return json.loads(read(f"{api}/query?query={urllib.parse.quote(expression)}"))

    def scraped() -> bool:
        try:
            found = query('up{job="ai-assets"} == 1')["data"]["result"]
        except OSError:
            return False
        return bool(found)

    try:
        eventually(scraped, 60, "Prometheus never reached the exporter")
        panels = json.loads((MONITORING / "dashboard.json").read_text())["panels"]
        expressions = [target["expr"] for panel in panels for target in panel["targets"]]
        assert len(expressions) >= 20
        for expression in expressions:
            assert query(expression)["status"] == "success", expression
        known = set(json.loads(read(f"{api}/label/__name__/values"))["data"])
        empty_home = {"ai_assets_daemon_heartbeat_age_seconds"}  # families that an untouched home has no sample of
        exported = {name.split(" ")[2] for name in read(exporter).splitlines() if name.startswith("# TYPE")}
        for name in {name for text in expressions for name in re.findall(r"ai_assets_\w+", text)}:
            base = re.sub(r"_(bucket|total|count|sum)$", "", name)
            assert {name, base} & (known | exported | empty_home), f"no such metric: {name}"
    finally:
        prometheus.terminate()
        prometheus.wait(20)
