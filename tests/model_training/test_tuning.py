"""Hyper-parameter search: exact budgets under real kills, lineage from study to training, pictures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ai_assets.model_training import listening_study, tuning
from ai_assets.model_training.listening import configs, train_collaborative, with_settings
from resources.database import Database


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    made.prepare()
    return made


@pytest.fixture(scope="module")
def interactions() -> pd.DataFrame:
    """60 listeners of three tastes over 20 days."""
    rng = np.random.default_rng(0)
    rows = []
    for listener in range(60):
        tracks = rng.choice(30, 15, replace=False) + 30 * (listener % 3)
        rows += [(f"l{listener}", f"t{track}", f"2026-01-{int(rng.integers(1, 21)):02}") for track in tracks]
    frame = pd.DataFrame(rows, columns=["listener", "track", "day"])
    return frame.assign(strength=1.0, last_played_at=pd.to_datetime(frame["day"]).astype("datetime64[us]"))


def test_a_search_meets_its_budget_starts_with_the_defaults_and_goes_on(
    interactions: pd.DataFrame, database: Database, tmp_path: Path
) -> None:
    budget = tuning.StudyBudget(trials=3, seconds=120)
    found = listening_study.search(interactions, database, tmp_path, budget=budget, workers=1)
    assert found is not None
    assert found.trials == 3
    assert found.value >= found.default_value, "the defaults are the first trial"
    assert all(png.startswith(b"\x89PNG") for png in found.plots.values()) and "history" in found.plots
    study = tuning.open_study(database.url, found.study)
    assert study.trials[0].params == pytest.approx(_defaults(interactions))
    again = listening_study.search(interactions, database, tmp_path, budget=budget, workers=1)
    assert again is not None and len(study.get_trials()) == 3, "the same data: the study is resumed, not repeated"
    # What was found is kept, shown as a table, and read by the training.
    best = tuning.Best(database)
    best.keep("collaborative_model", found)
    table = tuning.settings_frame(best.of("collaborative_model"))
    assert table["trials"].tolist() == [3]
    chosen = json.loads(table["settings"].iloc[0])
    trained = train_collaborative(interactions, _folder(tmp_path), tuned=chosen)
    assert not isinstance(trained, str)
    assert trained.params["tau"] == chosen["tower.tau"] and trained.params["dim"] == chosen["tower.dim"]


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return folder


def _defaults(interactions: pd.DataFrame) -> dict[str, float]:
    from ai_assets.model_training.listening import listening_data

    return listening_study.defaults(listening_data(interactions))


def test_without_a_search_there_is_an_empty_table(database: Database) -> None:
    assert tuning.settings_frame(tuning.Best(database).of("collaborative_model")).empty


def test_the_search_never_sees_the_days_on_which_the_model_is_judged(interactions: pd.DataFrame) -> None:
    """Other plays on the last days: the same study, whose name is a digest of all that it reads."""

    def study(frame: pd.DataFrame) -> str:
        arrays = listening_study.study_data(frame)
        assert arrays is not None
        return listening_study.study_name(arrays)

    days = interactions["last_played_at"]
    late, early = days > "2026-01-18", days < "2026-01-10"
    shuffled = interactions["track"].sample(frac=1, random_state=1).to_numpy()
    assert study(interactions.assign(track=interactions["track"].where(~late, shuffled))) == study(interactions)
    assert study(interactions.assign(track=interactions["track"].where(~early, shuffled))) != study(interactions)


def test_too_few_rows_are_not_searched(interactions: pd.DataFrame, database: Database, tmp_path: Path) -> None:
    budget = tuning.StudyBudget(trials=1)
    assert listening_study.search(interactions.head(10), database, tmp_path, budget=budget, workers=1) is None


def test_a_setting_that_no_model_has_is_refused(interactions: pd.DataFrame) -> None:
    from ai_assets.model_training.listening import listening_data

    with pytest.raises(ValueError, match=r"no setting is called 'tower\.depth'"):
        with_settings(configs(listening_data(interactions)), {"tower.depth": 3})


WORKER = """
import sys
import optuna
from ai_assets.model_training import tuning
from tests.model_training import test_tuning
tuning.HEARTBEAT_SECONDS, tuning.GRACE_SECONDS = 1, 4
print("started", flush=True)
sys.stdin.readline()
print(tuning.work("tests.model_training.test_tuning:slow", None, *sys.argv[1:4],
                  {"trials": int(sys.argv[4]), "seconds": 100}, int(sys.argv[5])), flush=True)
"""


def slow(_: object, trial: object) -> float:
    """An objective of about half a second that leaves a mark when it begins."""
    import optuna

    assert isinstance(trial, optuna.Trial)
    value = trial.suggest_float("x", -1, 1)
    trial.set_user_attr("worker", os.getpid())
    time.sleep(1.0)
    return -value * value


@pytest.mark.team
@pytest.mark.parametrize("kills", [1, 2])
def test_workers_share_a_study_and_killed_trials_are_retried_so_that_the_budget_is_met_exactly(
    tmp_path: Path, kills: int
) -> None:
    from optuna.trial import TrialState

    database = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    study = tuning.open_study(database.url, "shared")
    arguments = [database.url, str(database.locks), "shared", "12"]
    root = Path(__file__).parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    pipes: dict[str, int] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    workers = [
        subprocess.Popen([sys.executable, "-c", WORKER, *arguments, str(seed)], env=environment, text=True, **pipes)
        for seed in range(3)
    ]
    try:
        for worker in workers:  # all are ready before the first begins
            assert worker.stdout is not None and worker.stdout.readline() == "started\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        victims = workers[:kills]
        for victim in victims:
            _kill_within_a_trial(study, victim)
        for worker in workers[kills:]:
            assert worker.wait(timeout=150) == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    states = [trial.state for trial in study.get_trials()]
    assert states.count(TrialState.COMPLETE) == 12
    assert states.count(TrialState.FAIL) == kills
    assert len(states) == 12 + kills, "no trial is left running or waiting"
    complete = [trial.params for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    for trial in study.get_trials():
        if trial.state == TrialState.FAIL:
            assert trial.params in complete, "the killed trial is tried again with the same values"


def _kill_within_a_trial(study: object, victim: subprocess.Popen[str]) -> None:
    import optuna

    assert isinstance(study, optuna.Study)
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        running = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
        if any(trial.user_attrs.get("worker") == victim.pid for trial in running):
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            again = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
            if any(trial.user_attrs.get("worker") == victim.pid for trial in again):
                return
            pytest.fail("the trial ended before its worker was killed")
        time.sleep(0.02)
    pytest.fail("the worker took no trial")
