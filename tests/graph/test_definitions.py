"""The whole graph: it loads, reads as one story, and every asset keeps the house's promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from ai_assets.contract import CONTRACTS as KNOWN
from ai_assets.definitions import build_definitions, family_assets
from ai_assets.freshness import POLICIES
from ai_assets.planning import topological
from resources.settings import load_settings

HEAVY = ("torch", "librosa", "mlflow", "lightgbm", "sklearn", "transformers", "numba", "scipy", "matplotlib", "annoy")

# Other tests of the same process may have declared small assets of their own.
CONTRACTS = {key.path[-1]: KNOWN[key.path[-1]] for asset in family_assets() for key in asset.keys}


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_definitions(load_settings(home=tmp_path_factory.mktemp("home")))


def test_every_definition_loads(definitions: dg.Definitions) -> None:
    repository = definitions.get_repository_def()
    repository.load_all_definitions()
    jobs = {job.name for job in repository.get_all_jobs()}
    assert {
        "audio_batches_job", "event_days_job", "analyze_audio", "models_job", "recommendations_job", "content_job",
    } <= jobs  # fmt: skip
    sensors = {sensor.name for sensor in repository.sensor_defs}
    assert {"new_audio", "new_events", "vanished_files", "retrain", "compact", "run_failures", "keep_fresh"} <= sensors
    assert all(sensor.default_status == dg.DefaultSensorStatus.RUNNING for sensor in repository.sensor_defs)
    assert {schedule.name for schedule in repository.schedule_defs} >= {"daily", "weekly"}
    named = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    for item in (*named, *repository.sensor_defs, *repository.schedule_defs):
        assert item.description, f"{item.name} has no description"


def test_every_asset_has_an_owner_a_group_a_description_and_a_blocking_check_on_its_rows(
    definitions: dg.Definitions,
) -> None:
    graph = definitions.resolve_asset_graph()
    for name, contract in CONTRACTS.items():
        node = graph.get(dg.AssetKey(name))
        assert node.owners == [f"team:{contract.owner}"], name
        assert node.group_name == contract.group
        assert len(node.description or "") > 30, name
        assert node.code_version, name
        checks = {key.name for key in node.check_keys}
        assert checks, f"{name} has no check"
        if contract.schema is not None:
            assert "contract" in checks, name
            assert node.metadata["dagster/column_schema"].columns, name


def test_the_lineage_has_no_cycle_and_models_are_never_retrained_by_a_new_file(definitions: dg.Definitions) -> None:
    order = topological(CONTRACTS)
    place = {name: index for index, name in enumerate(order)}
    for name, contract in CONTRACTS.items():
        assert all(place[item] < place[name] for item in contract.dependencies if item in place), name
    graph = definitions.resolve_asset_graph()
    for name, contract in CONTRACTS.items():
        condition = graph.get(dg.AssetKey(name)).automation_condition
        assert (condition is not None) == (contract.policy == "keep_fresh"), name
        assert "model" not in contract.kinds or contract.policy == "on_request", name


def test_the_groups_read_as_a_story_no_two_point_at_each_other(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    groups = {key: graph.get(key).group_name for key in graph.get_all_asset_keys()}
    arrows = {
        (groups[parent], groups[key])
        for key in groups
        for parent in graph.get(key).parent_keys
        if groups[parent] != groups[key]
    }
    order = [
        "landing",
        "audio_analysis",
        "data_processing",
        "model_training",
        "recommendation_update",
        "content_generation",
        "quality",
    ]
    assert set(groups.values()) == set(order)
    assert {(a, b) for a, b in arrows if order.index(a) > order.index(b)} == set()


def test_every_end_product_has_a_freshness_policy(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert set(POLICIES) <= set(CONTRACTS)
    assert all(graph.get(dg.AssetKey(name)).freshness_policy == policy for name, policy in POLICIES.items())


def test_every_column_of_every_table_is_described(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for name, contract in CONTRACTS.items():
        if contract.schema is None:
            continue
        columns = graph.get(dg.AssetKey(name)).metadata["dagster/column_schema"].columns
        assert [column.name for column in columns if not column.description] == [], name


def test_only_partitioned_assets_are_in_the_jobs_that_are_backfilled(definitions: dg.Definitions) -> None:
    for job, column in (("audio_batches_job", "batch"), ("event_days_job", "day")):
        keys = definitions.resolve_job_def(job).asset_layer.executable_asset_keys
        assert keys
        for key in keys:
            partitioning = CONTRACTS[key.path[-1]].partitioning
            assert partitioning is not None
            assert partitioning.column == column


def test_loading_the_definitions_loads_no_heavy_package() -> None:
    script = f"import sys, ai_assets.definitions; print([name for name in {HEAVY!r} if name in sys.modules])"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
