"""The instance templates: accepted by Dagster, with the queue, limits, monitoring and launcher that were promised."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dagster import DagsterInstance
from dagster._core.run_coordinator import QueuedRunCoordinator

from ai_assets.home import prepare_home
from resources.settings import load_settings

TEMPLATES = Path(__file__).parents[2] / "resources" / "instance"


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DagsterInstance:
    monkeypatch.setenv("DAGSTER_HOME", "")
    monkeypatch.setenv("AI_ASSETS_HOME", "")
    platform = prepare_home(load_settings(home=tmp_path))
    return DagsterInstance.from_config(str(platform.home.dagster))


def test_a_home_s_instance_queues_watches_and_retries(instance: DagsterInstance) -> None:
    assert isinstance(instance.run_coordinator, QueuedRunCoordinator)
    assert type(instance.run_coordinator).__name__ == "AttributedRunCoordinator"
    assert instance.run_launcher.supports_check_run_worker_health
    assert instance.run_monitoring_enabled and instance.run_monitoring_max_runtime_seconds == 21600
    assert instance.run_retries_enabled and not instance.run_retries_retry_on_asset_or_op_failure
    limits = instance.get_concurrency_config()
    assert limits.run_queue_config is not None
    assert limits.run_queue_config.max_concurrent_runs == 2
    keys = {item["key"] for item in limits.run_queue_config.tag_concurrency_limits}
    assert keys == {"dagster/backfill", "dagster/partition", "ai_assets/purpose"}
    assert limits.pool_config.default_pool_limit == 1


def test_the_two_templates_differ_in_storage_and_numbers_alone() -> None:
    local, team = (yaml.safe_load((TEMPLATES / f"{name}.yaml").read_text()) for name in ("local", "team"))
    assert set(team) - set(local) == {"storage"} and not set(local) - set(team)
    for name in ("run_coordinator", "run_launcher", "run_retries", "run_monitoring"):
        assert local[name] == team[name]
