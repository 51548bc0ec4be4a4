import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from resources.alerts import Alert, Alerts
from resources.database import Database
from resources.metrics import AssetNode, InstanceMetrics, Reading, database_readings, serve_metrics
from resources.quarantine import Quarantine, Rejected


@dg.asset(
    partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]),
    check_specs=[dg.AssetCheckSpec("not_empty", asset="tracks")],
)
def tracks(context) -> Iterator:
    if context.partition_key == "b":
        raise ValueError("b fails")
    yield dg.MaterializeResult(
        metadata={"rows": 7, "seconds": 0.5, "peak_memory_bytes": 1000, "note": "text"},
        check_results=[dg.AssetCheckResult(passed=False, check_name="not_empty")],
    )


@pytest.fixture
def scrape(tmp_path: Path) -> Iterator:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    database.prepare()
    Quarantine(database).add([Rejected("tracks", "x.wav", "damaged", "DECODE")], "run")
    Alerts(database).raise_alert(Alert("k", "STALE", "stale"))
    broken = {"on": False}

    def index() -> list[Reading]:
        if broken["on"]:
            raise OSError("index folder is away")
        return [Reading("index_age_seconds", "Age of the index.", {("collaborative_index",): 3.0}, ("index",))]

    with dg.instance_for_test() as instance:
        graph = [AssetNode("tracks", ("a", "b", "c"), ("not_empty",)), AssetNode("never_made")]
        metrics = InstanceMetrics(
            instance, lambda: graph, [("database", lambda: database_readings(database)), ("index", index)]
        )
        server, _ = serve_metrics(metrics, port=0)
        url = f"http://127.0.0.1:{server.server_port}/metrics"

        def read() -> dict:
            with urllib.request.urlopen(url) as answer:
                read.text = answer.read().decode()
            return {
                (sample.name, *sorted(sample.labels.values())): sample.value
                for family in text_string_to_metric_families(read.text)
                for sample in family.samples
            }

        read.instance, read.broken = instance, broken
        yield read
        server.shutdown()
        server.server_close()


def test_a_scrape_shows_runs_steps_assets_checks_partitions_and_other_rooms(scrape) -> None:
    before = scrape()
    assert before[("ai_assets_runs", "queued")] == 0 and before[("ai_assets_queue_age_seconds",)] == 0
    for partition in ("a", "b"):
        dg.materialize([tracks], instance=scrape.instance, partition_key=partition, raise_on_error=False)
    for _ in range(2):  # a second scrape counts nothing twice
        found = scrape()
    assert found[("ai_assets_runs", "success")] == 1 and found[("ai_assets_runs", "failure")] == 1
    assert found[("ai_assets_steps_total", "success", "tracks")] == 1
    assert found[("ai_assets_steps_total", "failure", "tracks")] == 1
    assert found[("ai_assets_step_seconds_count", "tracks")] == 2
    assert found[("ai_assets_asset_rows", "tracks")] == 7 and found[("ai_assets_asset_seconds", "tracks")] == 0.5
    assert found[("ai_assets_asset_peak_memory_bytes", "tracks")] == 1000
    assert found[("ai_assets_check_passed", "not_empty", "tracks")] == 0
    assert found[("ai_assets_partitions_missing", "tracks")] == 2
    assert found[("ai_assets_partitions_failed", "tracks")] == 1
    assert found[("ai_assets_quarantine_rows", "DECODE", "tracks")] == 1 and found[("ai_assets_alerts", "firing")] == 1
    assert found[("ai_assets_index_age_seconds", "collaborative_index")] == 3
    run_ids = [run.run_id for run in scrape.instance.get_runs()]
    assert not any(run_id in scrape.text for run_id in run_ids)


def test_one_failing_source_is_counted_and_hides_no_other(scrape) -> None:
    assert scrape()[("ai_assets_exporter_errors_total", "index")] == 0
    scrape.broken["on"] = True
    scrape()
    found = scrape()
    assert found[("ai_assets_exporter_errors_total", "index")] >= 1
    assert ("ai_assets_index_age_seconds", "collaborative_index") not in found
    assert found[("ai_assets_alerts", "firing")] == 1


def test_a_queued_run_and_a_heartbeat_have_their_age(scrape) -> None:
    from dagster import DagsterRunStatus
    from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
    from dagster._daemon.types import DaemonHeartbeat

    @dg.job
    def waiting() -> None:
        pass

    repository = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("location"), "repository")
    scrape.instance.create_run_for_job(
        waiting, status=DagsterRunStatus.QUEUED, remote_job_origin=RemoteJobOrigin(repository, "waiting"),
        job_code_origin=None,
    )  # fmt: skip

    scrape.instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - 100, "SENSOR", "id", []))
    found = scrape()
    assert found[("ai_assets_runs", "queued")] == 1 and 0 < found[("ai_assets_queue_age_seconds",)] < 60
    assert 99 < found[("ai_assets_daemon_heartbeat_age_seconds", "sensor")] < 160


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (apt: prometheus)")
def test_promtool_accepts_the_families(scrape) -> None:
    dg.materialize([tracks], instance=scrape.instance, partition_key="a")
    scrape()
    checked = subprocess.run(["promtool", "check", "metrics"], input=scrape.text, text=True, capture_output=True)
    own = [line for line in checked.stderr.splitlines() if "ai_assets" in line]
    assert own == [], checked.stderr
