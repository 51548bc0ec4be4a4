"""Texts, covers and music made from validated facts, checked, marked as synthetic and reproducible bit for bit.

Texte, Cover und Musik aus geprüften Fakten: kontrolliert, als synthetisch gekennzeichnet und bitgenau wiederholbar.

Textes, pochettes et musiques créés à partir de faits validés : contrôlés, signalés comme synthétiques et
reproductibles au bit près.

Here belong the generators (one sub-package for each modality), the facts they may use, the record of how an item came
to be, and the review that decides what is published. Feature extraction and training machinery do not belong here.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    """The family's task, loaded when it is first asked for, so that plain modules stay light to import."""
    if name == "generate_content_task":
        from ai_assets.content_generation.tasks import generate_content_task

        return generate_content_task
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
