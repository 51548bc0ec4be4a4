"""Runs that were cut off with the UI are closed; all others are left alone."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from ai_assets.home import open_instance, prepare_home
from ai_assets.serving.interrupted import SERVED_TAG, close_interrupted_runs
from resources.settings import load_settings


@dg.job
def empty() -> None: ...


def test_only_unfinished_runs_of_a_code_server_are_closed(tmp_path: Path, monkeypatch) -> None:
    for name in ("AI_ASSETS_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(tmp_path))  # restored afterwards: opening an instance sets both
    platform = prepare_home(load_settings(home=tmp_path / "home"))
    served = {SERVED_TAG: "{}"}
    with open_instance(platform) as instance:
        started = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTED, tags=served)
        done = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.SUCCESS, tags=served)
        own = instance.create_run_for_job(empty, status=dg.DagsterRunStatus.STARTED)
    assert close_interrupted_runs(platform) == 1
    assert close_interrupted_runs(platform) == 0
    with open_instance(platform) as instance:
        assert instance.get_run_by_id(started.run_id).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(done.run_id).status == dg.DagsterRunStatus.SUCCESS
        assert instance.get_run_by_id(own.run_id).status == dg.DagsterRunStatus.STARTED
