"""Data processing: from landed files and events to validated tables of events, listeners and tracks.

Datenverarbeitung: aus abgelegten Dateien und Hörereignissen werden geprüfte Tabellen.

Traitement des données : des fichiers déposés et des écoutes aux tables validées.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The family's task, loaded when it is first asked for, so that plain modules stay light to import."""
    if name == "process_data_task":
        from ai_assets.data_processing.tasks import process_data_task

        return process_data_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
