"""Hyper-parameter search: one Optuna study in the platform database, shared by workers, with an exact budget.

A worker says by heartbeats that it lives. When it dies, its trial is marked as failed after a grace period and put back
into the queue with the same values, so that a study of n trials ends with exactly n that were completed or pruned. The
study's name comes from asset and data version: a search that is run again goes on. What is searched, and how a trial is
judged, stands with the model (`listening_study`).
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field

from resources.database import METADATA, Database, upsert
from resources.isolation import LimitedPool

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS, GRACE_SECONDS, RETRIES = 5, 15, 5
_WAIT_SECONDS = 0.5

SETTINGS = sa.Table(
    "model_settings",
    METADATA,
    sa.Column("asset", sa.String(100), primary_key=True),
    sa.Column("found", sa.Text, nullable=False),
)


class StudyBudget(BaseModel):
    """When a search ends: at so many trials in the study, or after so many seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(ge=1, le=10_000)
    seconds: float = Field(default=600.0, gt=0)


@dataclass(frozen=True)
class Found:
    """The best of a study."""

    study: str
    trial: int
    trials: int
    metric: str
    value: float
    default_value: float
    settings: Mapping[str, Any]
    plots: Mapping[str, bytes] = field(default_factory=dict)


class Best:
    """The best settings of each model asset, kept from search to search."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, asset: str, found: Found) -> None:
        values = {name: value for name, value in vars(found).items() if name != "plots"}
        row = {"asset": asset, "found": json.dumps({**values, "settings": dict(found.settings)}, sort_keys=True)}
        with self._database.begin() as connection:
            upsert(connection, SETTINGS, [row], update={"found": "new"})

    def of(self, asset: str) -> dict[str, Any] | None:
        rows = self._database.query(sa.select(SETTINGS).where(SETTINGS.c.asset == asset))
        return {"asset": asset, **json.loads(rows[0]["found"])} if rows else None


def settings_frame(found: Mapping[str, Any] | None) -> pd.DataFrame:
    """The table of a settings asset: one row, or none."""
    import pandas as pd

    from ai_assets.model_training.schemas import ModelSettings

    columns = list(ModelSettings.to_schema().columns)
    if found is None:
        return pd.DataFrame(columns=columns)
    return pd.DataFrame([{**found, "settings": json.dumps(found["settings"], sort_keys=True)}])[columns]


Objective = Callable[[Any], float]


def open_study(database_url: str, name: str, *, seed: int = 0) -> Any:
    """The study `name`, made if it is not there. Call `prepare_storage` once before several processes do."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name, storage=_storage(database_url), direction="maximize", load_if_exists=True,
        sampler=optuna.samplers.TPESampler(seed=seed, constant_liar=True, n_startup_trials=8),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=3),
    )  # fmt: skip


def _storage(database_url: str) -> Any:
    from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback

    arguments = {"connect_args": {"timeout": 60}} if database_url.startswith("sqlite") else {"pool_pre_ping": True}
    return RDBStorage(
        database_url, engine_kwargs=arguments, heartbeat_interval=HEARTBEAT_SECONDS, grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
    )  # fmt: skip


def run_study(
    objective: str, argument: Any, database: Database, name: str, budget: StudyBudget, *, workers: int
) -> Any:
    """Search with worker processes until the budget is met; the study.

    Args:
        objective: "package.module:function" called as `function(argument, trial)` in the workers.
        argument: picklable; by convention a folder in which the data lie.

    Raises:
        RuntimeError: a worker failed for good, with its error.
    """
    with database.lock("tuning:schema"):
        study = open_study(database.url, name)
    task = (objective, argument, database.url, str(database.locks), name, budget.model_dump())
    limit = budget.seconds + 120
    with LimitedPool(workers, wall_seconds=limit) as pool:
        tasks = [(*task, seed) for seed in range(workers)]
        for outcome in pool.map("ai_assets.model_training.tuning:work", tasks, expand=True, ordered=False):
            if outcome.status == "error":
                raise RuntimeError(f"a tuning worker failed: {outcome.error.strip().splitlines()[-1]}")
            if outcome.status != "ok":
                log.warning("a tuning worker was lost (%s); the others go on", outcome.error)
    return study


def work(
    objective: str, argument: Any, database_url: str, locks: str, name: str, budget: dict[str, Any], seed: int = 0
) -> int:
    """One worker: take trials until the study's budget is met; how many this worker ended."""
    import optuna

    from resources.isolation_worker import resolve

    judge, limits = resolve(objective), StudyBudget(**budget)
    database = Database(database_url, Path(locks))
    study = open_study(database_url, name, seed=seed)
    deadline, ended = time.monotonic() + limits.seconds, 0
    while time.monotonic() < deadline:
        trial = _next_trial(study, database, name, limits.trials)
        if trial is None:
            if _ended(study) >= limits.trials:
                break
            time.sleep(_WAIT_SECONDS)  # another worker has the last trials; should it die, they come back
            continue
        with _heartbeats(study, trial):
            try:
                study.tell(trial, judge(argument, trial))
                ended += 1
            except optuna.TrialPruned:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                ended += 1
            except BaseException:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                raise
    return ended


def _next_trial(study: Any, database: Database, name: str, trials: int) -> Any:
    """A trial to work on; None when the budget is spent or lies with other workers. One worker decides at a time."""
    import optuna

    with database.lock(f"tuning:{name}"):
        optuna.storages.fail_stale_trials(study)
        running = len(study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)))
        return study.ask() if _ended(study) + running < trials else None


def _ended(study: Any) -> int:
    from optuna.trial import TrialState

    return len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


@contextmanager
def _heartbeats(study: Any, trial: Any) -> Iterator[None]:
    """Say every few seconds that the trial's worker lives."""
    over, storage = threading.Event(), study._storage
    beats = getattr(storage, "_backend", storage)

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            try:
                beats.record_heartbeat(trial._trial_id)
            except Exception as error:  # the next beat may succeed; the grace period spans several
                log.warning("heartbeat of trial %d failed: %s", trial.number, error)

    beats.record_heartbeat(trial._trial_id)
    thread = threading.Thread(target=beat, name="tuning-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def plots(study: Any) -> dict[str, bytes]:
    """History (every trial, and the best so far) and importance (fANOVA) of a study, as PNGs."""
    import io

    import numpy as np
    import optuna
    from matplotlib.figure import Figure

    done = study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
    if not done:
        return {}

    def picture(draw: Callable[[Any], None]) -> bytes:
        figure = Figure(figsize=(5, 2.6), layout="constrained")
        draw(figure.subplots())
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90, metadata={"Software": None})
        return buffer.getvalue()

    def history(axis: Any) -> None:
        values = [trial.value for trial in done]
        axis.plot([trial.number for trial in done], values, "o", markersize=3, label="trial")
        axis.plot([trial.number for trial in done], np.maximum.accumulate(values), label="best so far")
        axis.set_xlabel("trial")
        axis.legend()

    made = {"history": picture(history)}
    if len({tuple(trial.params.values()) for trial in done}) >= 2 and len({trial.value for trial in done}) >= 2:
        shares = optuna.importance.get_param_importances(study)

        def importance(axis: Any) -> None:
            names = list(shares)[::-1]
            axis.barh(names, [shares[name] for name in names])
            axis.set_xlabel("importance")

        made["importance"] = picture(importance)
    return made
