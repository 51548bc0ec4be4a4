"""Model training: the model that learns from listening, and the search for its settings.

Modelltraining: das Modell, das aus dem Hören lernt, und die Suche nach seinen Einstellungen.

Entraînement : le modèle qui apprend des écoutes, et la recherche de ses réglages.
"""

import json
import tempfile
from pathlib import Path

import dagster as dg
import pandas as pd
from pydantic import Field

from ai_assets.contract import Product, Table, platform_asset
from ai_assets.model_training import schemas
from ai_assets.model_training.training_run import PROMOTION, train
from resources.lake.tables import LakeTable
from resources.platform import Platform

GROUP = "model_training"


class Budget(dg.Config):
    """How long to search: until the study has so many trials, or for so many seconds, whichever comes first."""

    trials: int = Field(default=0, ge=0, le=10_000, description="Trials the study is to have; 0 keeps what is known.")
    seconds: float = Field(default=600.0, gt=0, description="Longest search.")


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", schema=schemas.ModelSettings,
    kinds=["optuna", "deltalake"], quiet=["interactions"],
)  # fmt: skip
def collaborative_settings(config: Budget, interactions: LakeTable, platform: dg.ResourceParam[Platform]) -> Table:
    """The best settings found for the listening model, by search on the training days; empty: the defaults hold."""
    from ai_assets.model_training import listening_study, tuning

    best = tuning.Best(platform.database)
    plots: dict[str, bytes] = {}
    if config.trials > 0 and interactions.exists:
        with tempfile.TemporaryDirectory(prefix="tuning-") as scratch:
            found = listening_study.search(
                interactions.frame(), platform.database, Path(scratch),
                budget=tuning.StudyBudget(trials=config.trials, seconds=config.seconds),
                workers=platform.settings.tuning_workers,
            )  # fmt: skip
        if found is not None:
            best.keep("collaborative_model", found)
            plots = {f"plot_{name}": png for name, png in found.plots.items()}
    return Table(tuning.settings_frame(best.of("collaborative_model")), metadata=plots)


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["model", "pytorch"], checks=[PROMOTION],
)  # fmt: skip
def collaborative_model(
    context: dg.AssetExecutionContext,
    interactions: pd.DataFrame,
    collaborative_settings: pd.DataFrame,
    platform: dg.ResourceParam[Platform],
) -> Product:
    """Learns from who played what: a two-tower model that reads histories, fused with iALS; judged on later days."""
    from ai_assets.model_training.distributed import Launch
    from ai_assets.model_training.listening import train_collaborative

    settings = platform.settings
    launch = Launch(
        processes=settings.training_processes, nodes=settings.training_nodes, rendezvous=settings.training_rendezvous,
        wall_seconds=settings.training_seconds,
    )  # fmt: skip
    tuned = json.loads(collaborative_settings["settings"].iloc[0]) if len(collaborative_settings) else None
    place = platform.home.cache / "training" / "collaborative_model"
    return train(
        context, platform, "collaborative_model",
        lambda folder: train_collaborative(interactions, folder, place=place, launch=launch, tuned=tuned),
    )  # fmt: skip


@platform_asset(
    group=GROUP, owner="machine-learning", policy="on_request", kinds=["numpy"], deps=["collaborative_model"],
    checks=[PROMOTION],
)  # fmt: skip
def item_update(
    context: dg.AssetExecutionContext, interactions: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Between trainings: plays since then folded into the item factors, as a version that must win on later plays.

    A version of `collaborative_model`; it waits until enough plays have come since the champion was fitted.
    """
    from ai_assets.model_training.item_update import update_items

    name = "collaborative_model"
    standing = platform.registry.champion(name)
    champion = platform.registry.fetch(name) if standing is not None else None
    return train(
        context, platform, name, lambda folder: update_items(interactions, champion, folder), asset="item_update"
    )


ASSETS = [collaborative_settings, collaborative_model, item_update]
