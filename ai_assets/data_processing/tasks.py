"""Tasks of data processing. / Aufgaben der Datenverarbeitung. / Tâches du traitement des données."""

from pathlib import Path
from typing import Any, Literal

from ai_assets.contract.errors import PermanentError
from ai_assets.contract.tasks import TaskCall, platform_task
from ai_assets.launch import answer, launched

EVENTS = ("raw_events", "listening_events", "interactions", "listeners")


@platform_task
def process_data_task(
    call: TaskCall,
    data_path: str,
    process_type: Literal["etl", "features", "validate"] = "etl",
    params: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Bring a file of events (etl), or a folder of audio (features), into the platform, or only validate a file.

    Nimmt Ereignisse aus einer Datei (etl) oder Audio aus einem Ordner (features) auf oder prüft nur (validate).

    Intègre un fichier d’écoutes (etl) ou un dossier audio (features), ou se contente de vérifier le fichier (validate).

    Args:
        data_path: event file, or for `features` a folder of audio.
        process_type: `etl`, `features` or `validate`.
        params: for later use; unknown names are refused.

    Raises:
        PermanentError: the path does not exist, or `params` names something unknown.
    """
    path = Path(data_path).expanduser()
    if params:
        raise PermanentError(f"params: unknown names {sorted(params)}; none are known yet")
    wants_folder = process_type == "features"
    if not (path.is_dir() if wants_folder else path.is_file()):
        raise PermanentError(f"data_path {data_path}: expected {'a folder of audio' if wants_folder else 'a file'}")
    if process_type == "validate":
        return _validated(path)
    with launched() as launcher:
        sources, roots = None, None
        if wants_folder:
            roots = [launcher.inbox().register_root(path)]
            taken = launcher.take_audio(roots)
            names = [name for name in launcher.planner.order if launcher.is_audio_table(name)]
        else:
            sources, taken = [launcher.event_inbox().register(path)], None
            names = list(EVENTS)
        summary = launcher.bring_up_to_date(only=names, trace_id=call.trace_id, run_id=call.run_id)
        found = answer(launcher.platform, summary, taken, sources)
    if summary.failures:
        raise PermanentError(f"{summary.failures[0].asset}: {summary.failures[0].message}")
    counts = found["audio"] if wants_folder else found["events"]
    quarantined = counts["refused"] if wants_folder else counts["quarantined"]
    return {"output": names, "metrics": counts, "quarantined": quarantined, "status": found["status"]}


def _validated(path: Path) -> dict[str, Any]:
    """Judge every line of an event file and store nothing."""
    from ai_assets.data_processing.event_inspection import inspect_events

    found = inspect_events(path)
    if found.command is None:
        raise PermanentError(f"data_path {path}: nothing says {', '.join(found.missing) or 'what its columns are'}")
    reasons = {code: kind["count"] for code, kind in found.reasons.items()}
    metrics = {"read": found.rows, "accepted": found.rows - found.refused, "refused": found.refused}
    return {"output": {"reasons": reasons}, "metrics": metrics, "quarantined": 0}
