"""Covers for facts: the generator, the procedural artist as its baseline, and the checks of one cover."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.content_generation.covers import drawing, flow
from ai_assets.content_generation.covers.scenes import FIELDS, SHAPES, STYLES, Scene, draw_scene, wish_of
from ai_assets.content_generation.facts import FactSet

CHECK_PIXELS = 256


@dataclass(frozen=True)
class CoverItem:
    """One cover: its rounded scene is the master of every picture of it."""

    tokens: Scene
    style: str
    caption: drawing.Caption

    @cached_property
    def _small(self) -> tuple[Any, dict[str, Any], bool]:
        return drawing.with_caption(drawing.raster(self.tokens, 1024), self.caption)

    @cached_property
    def svg(self) -> str:
        """The master as SVG."""
        return drawing.svg(self.tokens, self.caption, dark_text=self._small[2])

    def draw(self, size: int = 1024) -> bytes:
        """A PNG of that many pixels a side."""
        if size == 1024:
            return drawing.png(self._small[0])
        return drawing.png(drawing.with_caption(drawing.raster(self.tokens, size), self.caption)[0])

    @cached_property
    def checks(self) -> dict[str, Any]:
        """Values and verdicts: readable title, not blank, finite."""
        image, text, _ = self._small
        grey = np.asarray(image.convert("L").resize((CHECK_PIXELS, CHECK_PIXELS)), float)
        counts = np.bincount(grey.astype(int).ravel(), minlength=256) / grey.size
        entropy = float(-(counts[counts > 0] * np.log2(counts[counts > 0])).sum())
        readable = not text["title_drawn"] or text["contrast"] >= drawing.CONTRAST
        return {
            **text,
            "entropy_bits": round(entropy, 3),
            "style": self.style,
            "passed": bool(readable and entropy > 0.3),
        }


class CoverGenerator:
    """A trained flow over shapes. Made by `flow.fit_preset` or `load`."""

    name = "cover_generator"

    def __init__(
        self, weights: dict[str, Any], mean: NDArray[np.float32], spread: NDArray[np.float32], card: dict[str, Any]
    ) -> None:
        self._weights, self._mean, self._spread = weights, mean.astype(np.float32), spread.astype(np.float32)
        self.card = card

    @cached_property
    def version(self) -> str:
        """Digest of the weights."""
        digest = hashlib.sha256(self._mean.tobytes() + self._spread.tobytes())
        for name in sorted(self._weights):
            digest.update(name.encode() + self._weights[name].numpy().tobytes())
        return digest.hexdigest()[:12]

    def sample(self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int]) -> list[CoverItem]:
        """A cover per fact set; an item is the same alone and in a batch."""
        wishes = [wish_of(facts) for facts in fact_sets]
        if not wishes:
            return []
        scenes = flow.sample_scenes(self._weights, wishes, seeds) * self._spread + self._mean
        return [
            CoverItem(tidy(scene), wish.style, drawing.caption_of(facts.title, facts.artist))
            for scene, wish, facts in zip(scenes, wishes, fact_sets, strict=True)
        ]

    def save(self, folder: Path) -> None:
        """Write `model.safetensors` and `config.json`."""
        import torch
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        extra = {"mean": torch.from_numpy(self._mean), "spread": torch.from_numpy(self._spread)}
        tensors = {name: value.contiguous() for name, value in {**self._weights, **extra}.items()}
        save_file(tensors, str(folder / "model.safetensors"))
        (folder / "config.json").write_text(json.dumps({"format": "cover-flow-1", **self.card}, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> CoverGenerator:
        """Read a saved generator. Raises ValueError for a folder of another kind or with other weights."""
        import torch
        from safetensors.torch import load_file

        card = json.loads((folder / "config.json").read_text())
        if card.pop("format", None) != "cover-flow-1":
            raise ValueError(f"{folder} holds no cover generator")
        tensors = load_file(str(folder / "model.safetensors"))
        mean, spread = tensors.pop("mean").numpy(), tensors.pop("spread").numpy()
        expected = {name: tuple(value.shape) for name, value in flow.new_weights(torch, torch.Generator()).items()}
        if {name: tuple(value.shape) for name, value in tensors.items()} != expected or mean.shape != (FIELDS,):
            raise ValueError(f"{folder}: weights are missing, unexpected or of another shape")
        return cls(tensors, mean, spread, card)


class ProceduralArtist:
    """The teacher as a generator of its own: the baseline."""

    name = "procedural_artist"
    version = "1"

    def sample(self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int]) -> list[CoverItem]:
        """A cover per fact set."""
        items = []
        for facts, seed in zip(fact_sets, seeds, strict=True):
            wish = wish_of(facts)
            scene = draw_scene(wish, np.random.default_rng(seed))
            items.append(CoverItem(tidy(scene), wish.style, drawing.caption_of(facts.title, facts.artist)))
        return items


def tidy(scene: Scene) -> Scene:
    """Rounded to a thousandth, so that an item is equal alone and in a batch; nearly round shapes become round."""
    scene = np.nan_to_num(np.asarray(scene, np.float32)).round(3)
    w, h = scene[1:, 8], scene[1:, 9]
    near = np.abs(w - h) < 0.08 * np.maximum(np.abs(w), np.abs(h))
    scene[1:, 8] = np.where(near, (w + h) / 2, w)
    scene[1:, 9] = np.where(near, (w + h) / 2, h)
    return scene.round(3)


__all__ = ["SHAPES", "STYLES", "CoverGenerator", "CoverItem", "ProceduralArtist", "tidy"]
