"""Audio analysis: decode once, then features, descriptors, findings, classes and embeddings of every recording.

Audioanalyse: einmal dekodieren, dann Merkmale, Kennwerte, Befunde, Klassen und Einbettungen jeder Aufnahme.

Analyse audio : un seul décodage, puis descripteurs, anomalies, classes et plongements de chaque enregistrement.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The family's task, loaded when it is first asked for, so that plain modules stay light to import."""
    if name == "analyze_audio_task":
        from ai_assets.audio_analysis.tasks import analyze_audio_task

        return analyze_audio_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
