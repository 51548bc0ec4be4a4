"""Model training: the model that learns from listening.

Modelltraining: das Modell, das aus dem Hören lernt.

Entraînement : le modèle qui apprend des écoutes.
"""

import dagster as dg
import pandas as pd

from ai_assets.contract import Product, platform_asset
from ai_assets.model_training.training_run import PROMOTION, train
from resources.platform import Platform


@platform_asset(
    group="model_training", owner="machine-learning", policy="on_request", kinds=["model", "pytorch"],
    checks=[PROMOTION],
)  # fmt: skip
def collaborative_model(
    context: dg.AssetExecutionContext, interactions: pd.DataFrame, platform: dg.ResourceParam[Platform]
) -> Product:
    """Learns from who played what: a two-tower model that reads histories, fused with iALS; judged on later days."""
    from ai_assets.model_training.listening import train_collaborative

    return train(context, platform, "collaborative_model", lambda folder: train_collaborative(interactions, folder))


ASSETS = [collaborative_model]
