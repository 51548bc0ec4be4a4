"""What is searched for the listening model, and how a trial is judged: on training days alone, never on the test days.

The days on which the model itself is judged are cut off first; of the rest the last fifth is what a trial must foresee.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.model_training import metrics
from ai_assets.model_training.fusion import reciprocal_rank_fusion
from ai_assets.model_training.ials import fit_ials
from ai_assets.model_training.interactions import Interactions
from ai_assets.model_training.listening import (
    LEAST_LISTENERS,
    LEAST_ROWS,
    TEST_SHARE,
    K,
    configs,
    first_plays,
    listening_data,
    with_settings,
)
from ai_assets.model_training.splits import time_split
from ai_assets.model_training.trainer import identity_of
from ai_assets.model_training.tuning import Found, StudyBudget, open_study, plots, run_study
from ai_assets.model_training.two_tower import fit_two_tower
from resources.database import Database

if TYPE_CHECKING:
    import pandas as pd

DATA = "study.npz"


def search(
    interactions: pd.DataFrame, database: Database, folder: Path, *, budget: StudyBudget, workers: int
) -> Found | None:
    """Search; the best settings, or None when there are too few rows or no trial was completed in time.

    The first trial is the defaults: the answer is never worse than they are on the same days.
    """
    arrays = study_data(interactions)
    if arrays is None:
        return None
    with (folder / DATA).open("wb") as file:
        np.savez(file, **arrays)
    name = study_name(arrays)
    with database.lock("tuning:schema"):
        study = open_study(database.url, name)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(defaults(_read(folder)[0]))
    run_study(
        "ai_assets.model_training.listening_study:trial_value", str(folder), database, name, budget, workers=workers
    )
    return summary(study)


def study_data(interactions: pd.DataFrame) -> dict[str, Any] | None:
    """What a search reads, as arrays: training rows, and the first plays to foresee; None when there are too few."""
    before, _ = time_split(listening_data(interactions), TEST_SHARE)
    train, held_out = time_split(before, TEST_SHARE)
    held_out = first_plays(train, held_out)
    if before.user_count < LEAST_LISTENERS or len(train) < LEAST_ROWS or not len(held_out):
        return None
    return {
        "users": train.users, "items": train.items, "times": train.times,
        "held_users": held_out.users, "held_items": held_out.items, "shape": [before.user_count, before.item_count],
    }  # fmt: skip


def study_name(arrays: dict[str, Any]) -> str:
    """By asset and data: a search over the same data goes on where the last one ended."""
    return f"collaborative_model-{identity_of('first_plays', **arrays)[:16]}"


def summary(study: Any) -> Found | None:
    """The best of a study; None while no trial is complete."""
    from optuna.trial import TrialState

    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not done:
        return None
    best = max(done, key=lambda trial: (trial.value, -trial.number))
    ended = len(done) + len(study.get_trials(deepcopy=False, states=(TrialState.PRUNED,)))
    standard = next((trial.value for trial in done if trial.number == 0), float("nan"))
    return Found(
        study.study_name, best.number, ended, "ndcg_at_10", float(best.value), float(standard), dict(best.params),
        plots(study),
    )  # fmt: skip


def defaults(data: Interactions) -> dict[str, Any]:
    """The values of the search space that the defaults are."""
    tower, ials = configs(data)
    return {
        "tower.tau": tower.tau, "tower.dropout": tower.dropout, "tower.learning_rate": tower.learning_rate,
        "tower.dim": tower.dim, "ials.alpha0": ials.alpha0, "ials.reg": ials.reg,
    }  # fmt: skip


def trial_value(folder: str, trial: Any) -> float:
    """NDCG@10 over first plays of later days; pruned by the tower's loss on them."""
    import optuna

    train, held_out = _read(Path(folder))
    chosen = {
        "tower.tau": trial.suggest_float("tower.tau", 0.05, 0.5, log=True),
        "tower.dropout": trial.suggest_float("tower.dropout", 0.1, 0.8),
        "tower.learning_rate": trial.suggest_float("tower.learning_rate", 1e-3, 5e-2, log=True),
        "tower.dim": trial.suggest_categorical("tower.dim", [16, 32, 64, 128]),
        "ials.alpha0": trial.suggest_float("ials.alpha0", 0.02, 2.0, log=True),
        "ials.reg": trial.suggest_float("ials.reg", 1e-4, 0.1, log=True),
    }
    tower_config, ials_config = with_settings(configs(train), chosen)

    def watch(epoch: int, loss: float) -> None:
        trial.report(-loss, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    tower = fit_two_tower(train, config=tower_config, held_out=held_out, progress=watch)
    histories = train.histories()
    fused = reciprocal_rank_fusion([tower.scores(histories), fit_ials(train, config=ials_config).scores(histories)])
    found = metrics.evaluate(metrics.top_k(fused, K, seen=train.matrix()), held_out.matrix())["ndcg"]
    return float(np.nanmean(found))


def _read(folder: Path) -> tuple[Interactions, Interactions]:
    with np.load(folder / DATA, allow_pickle=False) as data:
        users, items = (np.arange(count).astype(str) for count in data["shape"])
        ones, held_ones = np.ones(len(data["users"])), np.ones(len(data["held_users"]))
        return (
            Interactions(data["users"], data["items"], data["times"], ones, users, items),
            Interactions(data["held_users"], data["held_items"], 0 * held_ones, held_ones, users, items),
        )
