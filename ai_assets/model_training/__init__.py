"""Model training: the machinery every model shares, and the models that learn from listening.

Modelltraining: die gemeinsame Technik aller Modelle, dazu die Modelle, die aus dem Hören lernen.

Entraînement : le mécanisme commun à tous les modèles, et les modèles qui apprennent des écoutes.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The family's task, loaded when it is first asked for, so that plain modules stay light to import."""
    if name == "train_model_task":
        from ai_assets.model_training.tasks import train_model_task

        return train_model_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
