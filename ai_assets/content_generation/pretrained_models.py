"""Pretrained models on the user's machine, behind the interface of our own generators, each batch in its own process.

Here belong which folder serves which modality, the limits it runs under, and its papers. Loading and asking a model
stands with each modality. A batch that outlives its time is stopped; tasks run it on a worker, so nobody waits.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_assets.content_generation.papers import Source
from ai_assets.content_generation.provenance import folder_digests
from ai_assets.content_generation.safe_loading import OFFLINE_SETTINGS, CheckpointError, licence_of
from resources.settings import Settings

log = logging.getLogger(__name__)
_CLASSES = {
    "text": "ai_assets.content_generation.text.pretrained:PretrainedGenerator",
    "cover": "ai_assets.content_generation.covers.pretrained:PretrainedArtist",
    "music": "ai_assets.content_generation.music.pretrained:PretrainedComposer",
}


class NotConfigured(LookupError):
    """No pretrained model of this modality is configured; the message names the setting."""


class PretrainedModel:
    """A configured folder. ``sample`` loads it in a process of its own, within its time."""

    def __init__(self, modality: str, folder: Path, digests: Mapping[str, str], *, seconds: float) -> None:
        self.modality, self.folder, self.seconds = modality, folder, seconds
        self.name, self.license = f"{modality}_pretrained", licence_of(folder)
        weights = sorted(digest for name, digest in digests.items() if name.endswith(".safetensors"))
        self.version = weights[0][:12] if weights else "none"

    def sample(self, fact_sets: Sequence[Any], *, seeds: Sequence[int], **options: Any) -> list[Any]:
        """Items of a batch. Raises ``CheckpointError`` for a folder that is refused, or when the time is up."""
        from resources.isolation import LimitedError, run_limited

        log.info("%s: licence of the weights: %s", self.folder, self.license or "not stated")
        try:
            items: list[Any] = run_limited(
                "ai_assets.content_generation.pretrained_models:sample_here", self.modality, self.folder,
                list(fact_sets), list(seeds), options, wall_seconds=self.seconds, environment=OFFLINE_SETTINGS,
            )  # fmt: skip
        except LimitedError as error:
            if error.status == "timeout":
                raise CheckpointError(
                    f"{self.folder} did not finish within {self.seconds:g} s: raise AI_ASSETS_PRETRAINED_SECONDS"
                ) from error
            raise
        return items

    def nearest(self, item: Any) -> None:
        """What a pretrained model was trained on is not known here."""


def load_pretrained(settings: Settings, modality: str, facts: Mapping[str, Any]) -> Source:
    """The configured pretrained model of a modality with its papers. Raises NotConfigured, CheckpointError."""
    folder = {
        "text": settings.pretrained_text,
        "cover": settings.pretrained_cover,
        "music": settings.pretrained_music,
    }[modality]
    if folder is None:
        raise NotConfigured(
            f"no pretrained model for {modality} is configured: set AI_ASSETS_PRETRAINED_{modality.upper()}"
        )
    if not folder.is_dir():
        raise CheckpointError(f"the model folder {folder} does not exist")
    digests = folder_digests(folder)
    model = PretrainedModel(modality, folder, digests, seconds=settings.pretrained_seconds)
    return Source(model, f"{model.name}/{model.version}", digests, facts)


def sample_here(modality: str, folder: Path, fact_sets: list[Any], seeds: list[int], options: dict[str, Any]) -> Any:
    """Load the model and sample, in this process."""
    module, name = _CLASSES[modality].split(":")
    generator = getattr(importlib.import_module(module), name).load(folder)
    return generator.sample(fact_sets, seeds=seeds, **options)
