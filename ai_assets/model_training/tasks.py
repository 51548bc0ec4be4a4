"""Tasks of model training. / Aufgaben des Trainings. / Tâches d'entraînement."""

from pathlib import Path
from typing import Any, Literal

from ai_assets.contract.errors import PermanentError
from ai_assets.contract.tasks import TaskCall, platform_task
from ai_assets.launch import launched

ModelType = Literal[
    "genre_classifier", "track_embedder", "outlier_detector", "collaborative_model", "ranking_model",
    "text_generator", "cover_generator", "music_generator",
]  # fmt: skip
NEEDS = {"ranking_model": ("ranking_dataset",)}


@platform_task
def train_model_task(
    call: TaskCall,
    dataset_path: str | None = None,
    model_type: ModelType = "ranking_model",
    hyperparams: dict[str, Any] | None = None,
    version: str = "auto",
) -> dict[str, Any]:
    """Train one model on the platform's tables, register it, and promote it when it is better.

    Trainiert ein Modell auf den Tabellen der Plattform, registriert es und befördert es, wenn es besser ist.

    Entraîne un modèle sur les tables de la plateforme, l’enregistre et le promeut s’il est meilleur.

    Args:
        dataset_path: an event file to take in first; None trains on what is there.
        model_type: name of the model.
        hyperparams: not adjustable yet; anything but None or {} is refused.
        version: `auto`; the registry numbers versions.

    Raises:
        PermanentError: an argument that cannot be met, or a training that failed.
    """
    if hyperparams:
        raise PermanentError(f"hyperparams: {sorted(hyperparams)} cannot be set here; the trainers choose by data")
    if version != "auto":
        raise PermanentError("version: expected 'auto', because the registry numbers versions")
    with launched() as launcher:
        if dataset_path is not None:
            path = Path(dataset_path).expanduser()
            if not path.is_file():
                raise PermanentError(f"dataset_path {dataset_path}: expected a file of events")
            launcher.event_inbox().register(path)
            launcher.bring_up_to_date(only=("raw_events", "listening_events", "interactions"), trace_id=call.trace_id)
        names = (*NEEDS.get(model_type, ()), model_type)
        items = launcher.planner.forced(names)
        summary = launcher.bring_up_to_date(items=items, trace_id=call.trace_id, run_id=call.run_id)
        registry = launcher.platform.registry
        if summary.failures:
            raise PermanentError(f"{summary.failures[0].asset}: {summary.failures[0].message}")
        versions = registry.versions(model_type)
    if not versions:
        raise PermanentError(f"{model_type}: there are too few data to train on; the asset's page says what is missing")
    newest = max(versions, key=lambda item: item.version)
    return {
        "model_uri": f"models:/{newest.name}/{newest.version}",
        "model_version": newest.label,
        "metrics": dict(newest.metrics),
        "promoted": "champion" in newest.aliases,
        "explainability": {"data_versions": newest.data_versions, "main_metric": newest.tags.get("main_metric", "")},
    }
