"""Tasks of content generation. / Aufgaben der Inhalte. / Tâches de création de contenus."""

import json
from typing import Any, Literal

from ai_assets.contract.errors import PermanentError
from ai_assets.contract.tasks import TaskCall, platform_task
from ai_assets.launch import run_op_job


@platform_task
def generate_content_task(
    call: TaskCall,
    prompt: str | None = None,
    content_type: Literal["text", "cover", "music", "image"] = "text",
    facts: dict[str, Any] | None = None,
    model_version: str = "latest",
    lang: Literal["en", "de", "fr"] = "en",
) -> dict[str, Any]:
    """Generate one item from facts; `image` means cover.

    Args:
        prompt: only with a configured pretrained model; use `facts` otherwise.
        facts: title, artist, genre, tempo_bpm, key, mood, energy.
        model_version: `latest`: the champion.
        lang: of a text.

    Raises:
        PermanentError: an argument that cannot be met; the message names it.
    """
    if prompt is not None:
        raise PermanentError("prompt: no pretrained model is configured; give `facts` instead")
    if facts is None:
        raise PermanentError("facts: is required (title, artist, genre, tempo_bpm, key, mood, energy)")
    if model_version != "latest":
        raise PermanentError("model_version: expected 'latest'; promote another version to use it")
    modality = "cover" if content_type == "image" else content_type
    config = {"modality": modality, "facts": json.dumps(facts), "lang": lang}
    item = run_op_job("generate_content", config, run_id=call.run_id, trace_id=call.trace_id)
    return {
        "content": item.get("text") or item.get("files"),
        "content_type": modality,
        "model_version": item["provenance"]["model_version"],
        "provenance": item["provenance"],
        "explainability": item.get("explainability") or {"facts": item["facts"], "checks": item["checks"]},
    }
