"""Real MLflow on SQLite: one store is made once for this file, because its schema costs seconds."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from resources.mlflow_tracking import MlflowTracking, StepIdentity, TrackingError, prepare, tracking_uri
from resources.model_files import UnsafeModel, check_file, examine_folder
from resources.model_registry import ModelNotFound, ModelRegistry
from resources.redaction import REDACTOR


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mlflow")
    code = "import sys, pathlib, resources.mlflow_tracking as m; m.prepare(pathlib.Path(sys.argv[1]))"
    both = [subprocess.Popen([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE) for _ in range(2)]
    errors = [one.communicate()[1].decode() for one in both]
    assert [one.returncode for one in both] == [0, 0], errors  # two first openings at once
    return folder


@pytest.fixture
def tracking(store: Path) -> MlflowTracking:
    return MlflowTracking(store, ui_url="http://127.0.0.1:5000")


@pytest.fixture
def registry(tracking: MlflowTracking, tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tracking, tmp_path / "cache")


def model_folder(place: Path, value: float = 1.0) -> Path:
    place.mkdir(parents=True)
    save_file({"weight": np.full((2, 3), value, np.float32)}, place / "weights.safetensors")
    np.savez(place / "scaler.npz", mean=np.zeros(3), std=np.ones(3))
    (place / "config.json").write_text(json.dumps({"layers": [1, 2]}))
    (place / "ranker.txt").write_text("tree\nversion=v4\nnum_class=1\n")
    return place


def statuses(tracking: MlflowTracking, dagster_run: str) -> dict[str, list[str]]:
    client = tracking.client()
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    found = client.search_runs(
        [experiment], f"tags.dagster_run_id = '{dagster_run}'", order_by=["attributes.start_time"]
    )
    answer: dict[str, list[str]] = {}
    for run in sorted(found, key=lambda one: one.data.tags.get("attempt", "")):
        answer.setdefault(run.info.run_name, []).append(run.info.status)
    return answer


def test_each_attempt_is_a_run_of_its_own_with_its_true_status_below_one_parent(tracking: MlflowTracking) -> None:
    first = StepIdentity("ranking_model", "run-a", "2026-01-01", 0, "t" * 32, "backfill-1")
    with pytest.raises(ZeroDivisionError), tracking.start(first) as run:
        run.log_params({"leaves": 31})
        raise ZeroDivisionError
    assert statuses(tracking, "run-a")["run run-a"] == ["FAILED"]
    second = StepIdentity("ranking_model", "run-a", "2026-01-01", 1, "t" * 32, "backfill-1")
    with tracking.start(second) as run:
        run.log_params({"leaves": 63})  # a changed value, which a shared run would refuse
        run.log_metrics({"ndcg": 0.5})
    with pytest.raises(KeyboardInterrupt), tracking.start(StepIdentity("embedder", "run-b")):
        raise KeyboardInterrupt
    assert statuses(tracking, "run-a") == {
        "ranking_model[2026-01-01]": ["FAILED", "FINISHED"],
        "run run-a": ["FINISHED"],
    }
    assert statuses(tracking, "run-b") == {"embedder": ["KILLED"], "run run-b": ["KILLED"]}
    stored = tracking.client().get_run(run.run_id)
    assert stored.data.params == {"leaves": "63"} and stored.data.metrics == {"ndcg": 0.5}
    assert {key: stored.data.tags[key] for key in second.tags()} == second.tags()
    parent = tracking.client().get_run(stored.data.tags["mlflow.parentRunId"])
    assert parent.data.tags["dagster_run_id"] == "run-a"
    assert run.metadata["mlflow_url"].endswith(f"/runs/{run.run_id}")


def test_a_run_left_open_by_a_killed_process_is_closed_by_the_next_attempt(
    tracking: MlflowTracking, store: Path
) -> None:
    code = (
        "import os, sys, signal; from pathlib import Path; from resources.mlflow_tracking import *\n"
        "with MlflowTracking(Path(sys.argv[1])).start(StepIdentity('a', 'run-k')): os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(store)], capture_output=True).returncode == -9
    assert statuses(tracking, "run-k") == {"a": ["RUNNING"], "run run-k": ["RUNNING"]}
    with tracking.start(StepIdentity("a", "run-k", attempt=1)):
        pass
    assert statuses(tracking, "run-k") == {"a": ["KILLED", "FINISHED"], "run run-k": ["FINISHED"]}


def test_disabled_tracking_opens_nothing(tmp_path: Path) -> None:
    with MlflowTracking(tmp_path / "none", disabled=True).start(StepIdentity("a", "r")) as run:
        run.log_metrics({"x": 1.0})
    assert run.metadata == {} and not (tmp_path / "none").exists()


@pytest.mark.parametrize("place", ["file:///tmp/mlruns", "file:mlruns", "ftp://host/x"])
def test_stores_that_cannot_work_are_refused_with_what_to_give_instead(place: str) -> None:
    with pytest.raises(TrackingError, match="folder"):
        tracking_uri(place)


def test_a_model_comes_back_verified_and_shows_in_mlflow(registry: ModelRegistry, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    example = np.ones((2, 3), np.float32)
    arguments = {
        "metrics": {"ndcg": 0.25}, "params": {"factors": 64}, "tags": {"code_version": "1"},
        "signature": (example, np.ones(2)), "input_example": example, "plots": {"curve.png": b"\x89PNG\r\n\x1a\n"},
        "model_card_markdown": "# Collaborative model\nMetrics and limits.", "data_versions": {"interactions": "abc"},
    }  # fmt: skip
    version = registry.log_model("collaborative_model", folder, **arguments)
    assert version.version == 1 and version.digest == examine_folder(folder).digest
    again = registry.log_model("collaborative_model", folder, **arguments)
    assert again == version and again.run_id == version.run_id  # a retried step makes no second version
    fetched = registry.fetch("collaborative_model", 1)
    assert (fetched / "weights.safetensors").read_bytes() == (folder / "weights.safetensors").read_bytes()
    assert version.metrics == {"ndcg": 0.25} and version.data_versions == {"interactions": "abc"}
    from mlflow.models import Model

    described = Model.load(registry.artifacts(version))
    assert described.flavors["ai_assets"]["digest"] == version.digest
    assert described.signature.inputs.inputs[0].shape == (-1, 3) and described.saved_input_example_info is not None
    logged = registry.tracking.client().get_logged_model(Path(registry.artifacts(version)).parent.name)
    assert {metric.key: metric.value for metric in logged.metrics} == {"ndcg": 0.25} and logged.params[
        "factors"
    ] == "64"


def test_no_secret_gets_into_mlflow(registry: ModelRegistry, store: Path, tmp_path: Path) -> None:
    REDACTOR.add("mlflow-canary-1234")
    secret = "key mlflow-canary-1234"
    with registry.tracking.start(StepIdentity("a", "run-s")) as run:
        run.log_params({"p": secret, "factors": 8})
        run.set_tags({"t": secret})
        run.log_text(secret, "note.txt")
        registry.log_model(
            "music_generator", model_folder(tmp_path / "m", 5.0), params={"q": secret}, tags={"u": secret},
            model_card_markdown=secret, run_id=run.run_id,
        )  # fmt: skip
    files = [path.read_bytes() for path in store.rglob("*") if path.is_file()]
    assert not any(b"mlflow-canary-1234" in data for data in files) and any(b"[redacted]" in data for data in files)
    assert registry.version("music_generator", 1).run_id == run.run_id


def test_promotion_and_rollback_move_the_champion(registry: ModelRegistry, tmp_path: Path) -> None:
    assert registry.champion("ranking_model") is None
    with pytest.raises(ModelNotFound):
        registry.fetch("ranking_model")
    for number in (1, 2, 3):
        assert registry.log_model("ranking_model", model_folder(tmp_path / str(number), number)).version == number
        registry.promote("ranking_model", number, f"better by {number}")
    assert registry.champion("ranking_model").version == 3
    assert registry.rollback("ranking_model").version == 2
    assert registry.rollback("ranking_model").version == 1
    with pytest.raises(ModelNotFound, match="earlier champion"):
        registry.rollback("ranking_model")
    with pytest.raises(ModelNotFound, match="'nosuch' has no earlier champion"):
        registry.rollback("nosuch")
    assert registry.champion("ranking_model").aliases == ("champion",)
    assert registry.champion("ranking_model").tags["promotion_reason"] == "better by 1"
    assert [one.version for one in registry.versions("ranking_model")] == [3, 2, 1]


def test_one_flipped_byte_in_the_store_stops_fetching_and_promoting(registry: ModelRegistry, tmp_path: Path) -> None:
    version = registry.log_model("outlier_detector", model_folder(tmp_path / "m", 7.0))
    stored = Path(registry.artifacts(version)) / "model"
    data = bytearray((stored / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (stored / "weights.safetensors").write_bytes(data)
    with pytest.raises(UnsafeModel, match="differs from the registered manifest"):
        registry.promote("outlier_detector", 1, "none")
    assert registry.champion("outlier_detector") is None and not (registry.cache / version.digest).exists()


def test_a_damaged_cache_is_fetched_again(registry: ModelRegistry, tmp_path: Path) -> None:
    registry.log_model("text_generator", model_folder(tmp_path / "m", 8.0))
    fetched = registry.fetch("text_generator", 1)
    (fetched / "config.json").write_text("{}")
    assert json.loads((registry.fetch("text_generator", 1) / "config.json").read_text()) == {"layers": [1, 2]}


def _evil_files() -> dict[str, bytes]:
    import torch

    torch_file = io.BytesIO()
    torch.save({"w": torch.zeros(2)}, torch_file)
    objects = io.BytesIO()
    np.savez(objects, a=np.array([{}], dtype=object))
    array = io.BytesIO()
    np.save(array, np.array([{}], dtype=object), allow_pickle=True)
    return {
        "weights.safetensors": pickle.dumps({"a": 1}), "old.txt": pickle.dumps({"a": [1, 2]}, protocol=0),
        "model.json": pickle.dumps([1], protocol=0), "torch.npz": torch_file.getvalue(),
        "objects.npz": objects.getvalue(),
        "array.npy": array.getvalue(), "code.txt": b"cos\nsystem\n(S'true'\ntR.", "model.onnx": pickle.dumps([1]),
    }  # fmt: skip


def test_pickles_are_refused_whatever_their_name(registry: ModelRegistry, tmp_path: Path) -> None:
    for number, (name, data) in enumerate(_evil_files().items()):
        folder = model_folder(tmp_path / str(number))
        (folder / name).write_bytes(data)
        with pytest.raises(UnsafeModel, match=name):
            registry.log_model("genre_classifier", folder)
    folder = model_folder(tmp_path / "link")
    (folder / "link.json").symlink_to(folder / "config.json")
    with pytest.raises(UnsafeModel, match="link"):
        examine_folder(folder)
    assert registry.versions("genre_classifier") == []


def test_formats_are_told_by_content(tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "m")
    found = {path.name: check_file(path) for path in folder.iterdir()}
    assert found == {
        "weights.safetensors": "safetensors",
        "scaler.npz": "npz",
        "config.json": "json",
        "ranker.txt": "text",
    }


def test_a_copied_home_serves_its_models_from_the_new_place(
    registry: ModelRegistry, store: Path, tmp_path: Path
) -> None:
    source = registry.artifacts(registry.log_model("cover_generator", model_folder(tmp_path / "m", 9.0)))
    copy = tmp_path / "other home" / "mlflow"
    shutil.copytree(store, copy)
    shutil.rmtree(source)  # the copy must not look at the old place
    moved = ModelRegistry(MlflowTracking(copy), tmp_path / "cache2")
    assert (moved.fetch("cover_generator", 1) / "config.json").exists()
    with moved.tracking.start(StepIdentity("a", "run-m")) as run:
        run.log_text("x", "note.txt")
    client = moved.tracking.client()
    assert client.get_run(run.run_id).info.artifact_uri.startswith(str(copy))
    import sqlite3

    left = [line for line in sqlite3.connect(copy / "mlflow.db").iterdump() if str(store) in line]
    assert left == []
    assert prepare(copy) == moved.tracking.uri


def test_importing_the_registry_does_not_import_mlflow() -> None:
    code = "import sys, resources.model_registry; print('mlflow' in sys.modules, 'torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False", "False"]
