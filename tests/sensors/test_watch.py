"""What the platform notices about itself: each thing raises its alert, and is said to be over when it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test

from ai_assets.home import prepare_home
from resources.lake.ledger import LEDGER
from resources.platform import Platform
from resources.settings import load_settings
from sensors.inputs import take_new_audio
from sensors.watch import AUDIT_EVERY, failed_checks, look_around

NOW = datetime.now(UTC)


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return prepare_home(load_settings(home=tmp_path))


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def queued(instance: dg.DagsterInstance, job: str) -> dg.DagsterRun:
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("location"), "repository")
    return create_run_for_test(
        instance, job_name=job, status=dg.DagsterRunStatus.QUEUED, remote_job_origin=RemoteJobOrigin(origin, job)
    )


def firing(platform: Platform) -> dict[str, str]:
    return {row["dedup_key"]: row["code"] for row in platform.alerts.list_alerts(state="firing")}


def test_a_home_that_is_well_alerts_nothing(platform: Platform, instance: dg.DagsterInstance) -> None:
    queued(instance, "models_job")
    look_around(instance, platform, None, now=NOW)
    assert firing(platform) == {}


def test_a_run_that_waits_too_long_is_told_until_it_starts(platform: Platform, instance: dg.DagsterInstance) -> None:
    run = queued(instance, "models_job")
    look_around(instance, platform, None, now=NOW + timedelta(minutes=30))
    assert firing(platform) == {"queue": "queue_stuck"}
    assert run.run_id in platform.alerts.list_alerts()[0]["title"]
    instance.report_run_canceled(run)
    look_around(instance, platform, None, now=NOW + timedelta(minutes=31))
    assert firing(platform) == {}


def test_an_end_product_that_was_not_made_in_time_is_told(platform: Platform, instance: dg.DagsterInstance) -> None:
    row = {column.name: "" for column in LEDGER.columns} | {
        "asset": "recommendations", "token": 1, "rows": 1, "bytes": 1, "table_version": 0,
        "written_at": NOW.isoformat(timespec="seconds"),
    }  # fmt: skip
    with platform.database.begin() as connection:
        connection.execute(LEDGER.insert().values(row))
    look_around(instance, platform, None, now=NOW + timedelta(hours=35))
    assert firing(platform) == {}
    look_around(instance, platform, None, now=NOW + timedelta(hours=37))
    assert firing(platform) == {"stale:recommendations": "stale"}


def test_a_changed_audit_record_is_told_within_the_hour(platform: Platform, instance: dg.DagsterInstance) -> None:
    for number in range(3):
        platform.audit.append("promote", "alice", {"model": f"m{number}"})
    cursor = look_around(instance, platform, None, now=NOW)
    assert firing(platform) == {}
    text = platform.audit.path.read_text()
    platform.audit.path.write_text(text.replace("alice", "mallo", 1))
    assert look_around(instance, platform, cursor, now=NOW + timedelta(minutes=1)) == cursor
    assert firing(platform) == {}
    look_around(instance, platform, cursor, now=NOW + AUDIT_EVERY)
    assert firing(platform) == {"audit": "audit_broken"}


def test_a_blocking_check_that_failed_is_told_until_it_passes(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "dagster-here").mkdir()
    good = tmp_path / "good"

    @dg.asset_check(asset="table", blocking=True)
    def no_gap() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=good.exists())

    @dg.asset_check(asset="table")
    def nice_to_have() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN)

    @dg.asset
    def table() -> None: ...

    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster-here")) as instance:
        failed = dg.materialize([table, no_gap, nice_to_have], instance=instance, raise_on_error=False)
        for alert in failed_checks(instance, failed.run_id):
            platform.alerts.raise_alert(alert)
        look_around(instance, platform, None, now=NOW)
        assert firing(platform) == {"check:table:no_gap": "check_failed"}
        good.touch()
        dg.materialize([table, no_gap, nice_to_have], instance=instance, raise_on_error=False)
        look_around(instance, platform, None, now=NOW)
        assert firing(platform) == {}


def test_a_folder_that_cannot_be_read_is_told_until_it_can(platform: Platform, instance: dg.DagsterInstance) -> None:
    folder = platform.home.landing_audio
    folder.rename(folder.with_name("away"))
    folder.write_text("no folder")
    take_new_audio(instance, platform)
    assert firing(platform) == {"storage:landing/audio": "storage_fault"}
    folder.unlink()
    folder.with_name("away").rename(folder)
    take_new_audio(instance, platform)
    assert firing(platform) == {}
