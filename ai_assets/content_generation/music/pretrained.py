"""Tunes from a pretrained MusicGen in a local folder: sound only, slow, and under the licence of its weights.

Here belong loading and asking it. On two cores it needs about ten times as long as the tune lasts: it runs in a process
of its own with a time limit (``pretrained_models``), never as part of a catalogue's batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.music.audio import flac, levelled, loudness, true_peak
from ai_assets.content_generation.prompts import music_prompt
from ai_assets.content_generation.provenance import Rejection, folder_digests
from ai_assets.content_generation.safe_loading import CheckpointError, go_offline, inspect, verify_loaded

ARCHITECTURES = frozenset({"MusicgenForConditionalGeneration"})
SECONDS = 8.0
_CANDIDATES = 2
_QUIETEST = 1e-4


@dataclass(frozen=True, eq=False)
class PretrainedTune:
    """A tune by a pretrained model: ``data`` is marked FLAC; there are no notes, so no MIDI."""

    data: bytes
    seed: int
    facts: FactSet
    checks: dict[str, Any]
    notes: tuple[str, ...]
    candidates: int
    rejections: tuple[Rejection, ...]
    decoding: dict[str, Any] = field(default_factory=dict)
    midi: bytes = b""


class PretrainedComposer:
    """MusicGen behind the checks. Made by ``load``."""

    name = "music_pretrained"

    def __init__(self, model: Any, tokenizer: Any, *, version: str, licence: str | None, seconds: float) -> None:
        self.model, self.tokenizer, self.version, self.license, self.seconds = (
            model,
            tokenizer,
            version,
            licence,
            seconds,
        )

    @classmethod
    def load(cls, folder: Path, *, seconds: float = SECONDS) -> PretrainedComposer:
        """Load a local folder; nothing is downloaded. Raises ``CheckpointError`` that names what is wrong."""
        go_offline()
        checkpoint = inspect(Path(folder), architectures=ARCHITECTURES)
        import torch
        from transformers import AutoTokenizer, MusicgenForConditionalGeneration

        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(checkpoint.folder, **options)
            model, info = MusicgenForConditionalGeneration.from_pretrained(
                checkpoint.folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{folder} cannot be loaded: {error}") from error
        verify_loaded(checkpoint, model.state_dict(), info)
        digests = folder_digests(checkpoint.folder)
        version = min(digest for name, digest in digests.items() if name.endswith(".safetensors"))[:12]
        return cls(model.eval(), tokenizer, version=version, licence=checkpoint.licence, seconds=seconds)

    def sample(
        self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int], prompt: str | None = None
    ) -> list[PretrainedTune]:
        """One tune for each fact set, each alone: ``generate`` knows a global seed only, so a batch would change it.

        ``prompt``: the caller's own words instead of the fact table's.
        """
        items = [self._one(facts, seed, prompt) for facts, seed in zip(fact_sets, seeds, strict=True)]
        return [replace(item, decoding={**item.decoding, "prompt_given": prompt is not None}) for item in items]

    def nearest(self, item: PretrainedTune) -> None:
        """What the model was trained on is not known here."""

    def _one(self, facts: FactSet, seed: int, given: str | None) -> PretrainedTune:
        prompt = given or music_prompt(facts)
        refused: list[Rejection] = []
        samples = np.zeros((1, 1))
        for candidate in range(_CANDIDATES):
            samples = self._sound(prompt, seed, candidate)
            level = float(np.sqrt(np.mean(samples**2)))
            if np.isfinite(samples).all() and level > _QUIETEST:
                return self._item(samples, prompt, facts, seed, tuple(refused), passed=True)
            refused.append(Rejection(candidate, "silence", f"root mean square {level:.1e}"))
        return self._item(np.nan_to_num(samples), prompt, facts, seed, tuple(refused), passed=False)

    def _sound(self, prompt: str, seed: int, candidate: int) -> np.ndarray:
        """Samples [frames, channels]."""
        import torch

        tokens = self.tokenizer([prompt], return_tensors="pt")
        codec = self.model.config.audio_encoder
        steps = max(8, round(self.seconds * codec.frame_rate))
        with torch.random.fork_rng(), torch.inference_mode():
            torch.manual_seed(int(np.random.SeedSequence([seed, candidate]).generate_state(1)[0]))
            sound = self.model.generate(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], do_sample=True,
                guidance_scale=3.0, max_new_tokens=steps,
            )  # fmt: skip
        samples: np.ndarray = sound[0].double().numpy().T
        return samples

    def _item(
        self,
        samples: np.ndarray,
        prompt: str,
        facts: FactSet,
        seed: int,
        refused: tuple[Rejection, ...],
        *,
        passed: bool,
    ) -> PretrainedTune:
        rate = int(self.model.config.audio_encoder.sampling_rate)
        sound = levelled(samples, rate)
        level = loudness(sound.astype(np.float64), rate)
        checks = {
            "passed": passed,
            "seconds": round(len(sound) / rate, 3),
            "loudness_lufs": round(level, 2) if np.isfinite(level) else None,
            "true_peak_dbtp": round(true_peak(sound.astype(np.float64)), 2),
            "licence_of_weights": self.license or "not stated",
            "needs_review": f"composed by a pretrained model; licence of its weights: {self.license or 'not stated'}",
        }
        notes = (*facts.notes, "tempo and key were asked for in words and are not guaranteed")
        return PretrainedTune(
            flac(sound, rate), seed, facts, checks, notes, len(refused) + (1 if passed else 0), refused,
            {"decoder": "pretrained", "prompt": prompt, "seconds": self.seconds, "guidance": 3.0},
        )  # fmt: skip
