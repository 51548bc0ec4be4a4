"""Tasks of content generation. / Aufgaben der Inhalte. / Tâches de création de contenus."""

import json
from typing import Any, Literal

from ai_assets.content_generation.facts import clean
from ai_assets.contract.errors import PermanentError
from ai_assets.contract.tasks import TaskCall, platform_task
from ai_assets.launch import run_op_job
from resources.settings import load_settings

LONGEST_PROMPT = 500


@platform_task
def generate_content_task(
    call: TaskCall,
    prompt: str | None = None,
    content_type: Literal["text", "cover", "music", "image"] = "text",
    facts: dict[str, Any] | None = None,
    model_version: str = "latest",
    lang: Literal["en", "de", "fr"] = "en",
) -> dict[str, Any]:
    """Generate one item from the facts of a track: a text, a cover (`image` or `cover`) or a tune.

    Erzeugt ein Stück aus Fakten: einen Text, ein Cover (`image` oder `cover`) oder eine Melodie.

    Génère un contenu à partir de faits : un texte, une pochette (`image` ou `cover`) ou une mélodie.

    Args:
        prompt: words for a configured pretrained picture or music model; use `facts` otherwise.
        facts: title, artist, genre, tempo_bpm, key, mood, energy.
        model_version: `latest`: the champion; `pretrained`: the configured pretrained model. `.delay` does not wait.
        lang: of a text.

    Raises:
        PermanentError: an argument that cannot be met; the message names it.
    """
    modality = "cover" if content_type == "image" else content_type
    if prompt is not None:
        if getattr(load_settings(), f"pretrained_{modality}") is None:
            raise PermanentError(f"prompt: no pretrained model for {modality} is configured; give `facts` instead")
        if modality == "text" or not 1 <= len(clean(prompt)) <= LONGEST_PROMPT:
            raise PermanentError(
                f"prompt: 1 to {LONGEST_PROMPT} letters for a cover or music; a text is made from `facts` alone"
            )
    elif facts is None:
        raise PermanentError("facts: is required (title, artist, genre, tempo_bpm, key, mood, energy)")
    if model_version not in ("latest", "pretrained"):
        raise PermanentError("model_version: expected 'latest' or 'pretrained'; promote another version to use it")
    config = {
        "modality": modality, "facts": json.dumps(facts or {}), "lang": lang, "prompt": clean(prompt or ""),
        "pretrained": prompt is not None or model_version == "pretrained",
    }  # fmt: skip
    item = run_op_job("generate_content", config, run_id=call.run_id, trace_id=call.trace_id)
    return {
        "content": item.get("text") or item.get("files"),
        "content_type": modality,
        "model_version": item["provenance"]["model_version"],
        "provenance": item["provenance"],
        "explainability": item.get("explainability") or {"facts": item["facts"], "checks": item["checks"]},
    }
