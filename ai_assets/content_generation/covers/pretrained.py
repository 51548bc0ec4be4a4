"""Covers from a pretrained Stable Diffusion pipeline in a local folder: loaded safely, asked in words, checked.

Here belong the look at the folder, the generation, and what the safety checker says. The prompt is built from the fact
table in ``prompts``. diffusers comes with the extra ``pretrained`` and is imported when a pipeline is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.covers.checks import LEAST_SPREAD, perceptual_hash, spread
from ai_assets.content_generation.covers.generator import ProceduralArtist
from ai_assets.content_generation.covers.marking import png, thumbnail
from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.prompts import cover_prompt
from ai_assets.content_generation.provenance import Rejection, folder_digests
from ai_assets.content_generation.safe_loading import (
    Checkpoint,
    CheckpointError,
    go_offline,
    inspect_weights,
    licence_of,
    read_json,
    verify_loaded,
)

_CANDIDATES = 4
_PIPELINE = "StableDiffusionPipeline"
# Component -> allowed (library, class). diffusers imports whatever module a folder names before it refuses the class.
_COMPONENTS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "unet": (("diffusers", "UNet2DConditionModel"),),
    "vae": (("diffusers", "AutoencoderKL"),),
    "text_encoder": (("transformers", "CLIPTextModel"),),
    "tokenizer": (("transformers", "CLIPTokenizer"), ("transformers", "CLIPTokenizerFast")),
    "feature_extractor": tuple(
        ("transformers", name)
        for name in ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor")
    ),
    "safety_checker": (("stable_diffusion", "StableDiffusionSafetyChecker"),),
    "scheduler": tuple(
        ("diffusers", name)
        for name in (
            "DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler", "EulerAncestralDiscreteScheduler",
            "EulerDiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler", "UniPCMultistepScheduler",
        )
    ),
}  # fmt: skip
_WEIGHTED = ("unet", "vae", "text_encoder", "safety_checker")
_REQUIRED = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


@dataclass(frozen=True)
class PipelineFolder:
    """A pipeline's folder that passed the look before loading."""

    folder: Path
    components: Mapping[str, Checkpoint]
    has_checker: bool
    licence: str | None


@dataclass(frozen=True)
class Painting:
    """Settings of the pipeline. ``size`` in pixels; None is what the model was made for."""

    steps: int = 25
    guidance: float = 7.5
    size: int | None = None


@dataclass(frozen=True, eq=False)
class PretrainedCover:
    """A picture by a pretrained pipeline: ``data`` is the PNG, marked; there is no vector form."""

    data: bytes
    seed: int
    facts: FactSet
    checks: dict[str, Any]
    notes: tuple[str, ...]
    candidates: int
    rejections: tuple[Rejection, ...]
    decoding: dict[str, Any] = field(default_factory=dict)
    svg: str = ""

    def draw(self, size: int) -> bytes:
        """The picture as PNG, made smaller to ``size`` if it is larger; a size below keeps the mark."""
        return self.data if size >= self.checks["size"] else thumbnail(self.data, size)


class PretrainedArtist:
    """A pipeline behind the checks. Made by ``load``."""

    name = "cover_pretrained"

    def __init__(self, pipeline: Any, folder: PipelineFolder, *, version: str, settings: Painting) -> None:
        self.pipeline, self.folder, self.version, self.settings = pipeline, folder, version, settings
        self.license = folder.licence
        self._fallback = ProceduralArtist()

    @classmethod
    def load(cls, folder: Path, *, settings: Painting | None = None) -> PretrainedArtist:
        """Load a local folder in the diffusers layout. Raises ``CheckpointError`` that names what is wrong."""
        go_offline()
        looked = inspect_pipeline(Path(folder))
        import torch
        from diffusers import StableDiffusionPipeline

        options: dict[str, Any] = {} if looked.has_checker else {"safety_checker": None}
        try:
            pipeline = StableDiffusionPipeline.from_pretrained(
                looked.folder, local_files_only=True, use_safetensors=True, dtype=torch.float32,
                requires_safety_checker=looked.has_checker, **options,
            )  # fmt: skip
        except (OSError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{looked.folder} cannot be loaded: {error}") from error
        for name, checkpoint in looked.components.items():
            verify_loaded(checkpoint, getattr(pipeline, name).state_dict(), {})
        pipeline.set_progress_bar_config(disable=True)
        digests = folder_digests(looked.folder)
        version = min(digest for name, digest in digests.items() if name.endswith(".safetensors"))[:12]
        return cls(pipeline, looked, version=version, settings=settings or Painting())

    def sample(self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int], prompt: str | None = None) -> list[Any]:
        """One cover for each fact set, each painted alone with its own random numbers: equal in any batch.

        ``prompt``: the caller's own words instead of the fact table's.
        """
        return [self._one(facts, seed, prompt) for facts, seed in zip(fact_sets, seeds, strict=True)]

    def nearest(self, item: Any) -> None:
        """What the pipeline was trained on is not known here."""

    def _one(self, facts: FactSet, seed: int, given: str | None) -> Any:
        refused: list[Rejection] = []
        prompt = given or cover_prompt(facts)
        for candidate in range(_CANDIDATES):
            picture, flagged = self._paint(prompt, seed, candidate)
            if flagged:
                refused.append(Rejection(candidate, "safety_checker", "the safety checker refused the picture"))
            elif spread(picture) < LEAST_SPREAD:
                refused.append(
                    Rejection(candidate, "blank", f"the picture is nearly of one colour: {spread(picture):.4f}")
                )
            else:
                painted = self._item(picture, prompt, facts, seed, tuple(refused))
                return replace(painted, decoding={**painted.decoding, "prompt_given": given is not None})
        item = self._fallback.sample([facts], seeds=[seed])[0]
        reasons = "all candidates of the pretrained model were refused: drawn by the procedural artist"
        checks = {**item.checks, "needs_review": reasons}
        return replace(item, checks=checks, candidates=_CANDIDATES + 1, rejections=tuple(refused))

    def _paint(self, prompt: str, seed: int, candidate: int) -> tuple[np.ndarray, bool]:
        import torch

        random = torch.Generator("cpu").manual_seed(int(np.random.SeedSequence([seed, candidate]).generate_state(1)[0]))
        size = {"height": self.settings.size, "width": self.settings.size} if self.settings.size else {}
        with torch.inference_mode():
            answer = self.pipeline(
                prompt, num_inference_steps=self.settings.steps, guidance_scale=self.settings.guidance,
                generator=[random], output_type="np", **size,
            )  # fmt: skip
        picture = np.round(np.nan_to_num(answer.images[0]) * 255).astype(np.uint8)
        flagged = answer.nsfw_content_detected
        return picture, bool(flagged and flagged[0])

    def _item(
        self, picture: np.ndarray, prompt: str, facts: FactSet, seed: int, refused: tuple[Rejection, ...]
    ) -> PretrainedCover:
        doubt = "painted by a pretrained model"
        if not self.folder.has_checker:
            doubt += ", which has no safety checker"
        if self.license is None:
            doubt += "; the licence of its weights is not stated"
        checks = {
            "passed": True,
            "size": len(picture),
            "spread": round(spread(picture), 4),
            "perceptual_hash": perceptual_hash(picture),
            "safety_checker": "passed" if self.folder.has_checker else "absent",
            "title_drawn": False,
            "needs_review": doubt,
        }
        settings = {"steps": self.settings.steps, "guidance": self.settings.guidance, "prompt": prompt}
        return PretrainedCover(
            png(picture), seed, facts, checks, (*facts.notes, "no title is drawn on a pretrained model's picture"),
            len({rejection.candidate for rejection in refused}) + 1, refused, {"decoder": "pretrained", **settings},
        )  # fmt: skip


def inspect_pipeline(folder: Path) -> PipelineFolder:
    """Look at a folder in the diffusers layout without loading it.

    Raises ``CheckpointError`` for a missing folder or file, a pipeline or component class that is not allowed, code of
    its own, weights that are pickles or cut short, or a safety checker that is named but not there.
    """
    if not folder.is_dir():
        raise CheckpointError(f"the model folder {folder} does not exist")
    index_file = folder / "model_index.json"
    index = read_json(index_file)
    if index.get("_class_name") != _PIPELINE:
        raise CheckpointError(f"{index_file}: the pipeline {index.get('_class_name')!r} is not {_PIPELINE}")
    named = {name: value for name, value in index.items() if isinstance(value, list) and value != [None, None]}
    for name, value in named.items():
        if tuple(value) not in _COMPONENTS.get(name, ()):
            raise CheckpointError(f"{index_file}: the component {name} is of the class {value}, which is not allowed")
    if missing := [name for name in _REQUIRED if name not in named]:
        raise CheckpointError(f"{index_file} names no {', '.join(missing)}")
    for name in named:
        if not (folder / name).is_dir():
            advice = "; it is not left out silently: fetch it too" if name == "safety_checker" else ""
            raise CheckpointError(f"{folder}: model_index.json names {name}, but its folder is missing{advice}")
    components = {name: inspect_weights(folder / name) for name in _WEIGHTED if name in named}
    return PipelineFolder(folder, components, "safety_checker" in named, licence_of(folder))
