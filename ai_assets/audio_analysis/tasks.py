"""Tasks of audio analysis. / Aufgaben der Audioanalyse. / Tâches de l'analyse audio."""

from typing import Any

from ai_assets.contract.errors import PermanentError
from ai_assets.contract.tasks import TaskCall, platform_task
from ai_assets.launch import run_op_job


@platform_task
def analyze_audio_task(call: TaskCall, audio_path: str, model_version: str = "latest") -> dict[str, Any]:
    """Analyse one file: features, anomalies, classification. Nothing is added to the catalogue.

    Analysiert eine Datei: Merkmale, Befunde und Klasse. Der Katalog bleibt, wie er ist.

    Analyse un fichier : descripteurs, anomalies et classe. Le catalogue reste tel quel.

    Args:
        audio_path: path of a regular file.
        model_version: of the genre classifier: `latest` (the champion) or a number.

    Raises:
        PermanentError: the file is not accepted; the message names it and the reason.
    """
    config = {"audio_path": audio_path, "model_version": model_version}
    answer = run_op_job("analyze_audio", config, run_id=call.run_id, trace_id=call.trace_id)
    if answer["status"] in ("refused", "killed", "timeout"):
        raise PermanentError(f"audio_path {audio_path}: {answer['status']}: {answer['reason']}")
    return {**answer, "status": "done", "file_status": answer["status"]}
