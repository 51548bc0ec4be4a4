"""Fitting the cover model: a fixed number of steps, one thread, one seed, so that the same call gives the same weights.

Here belong the presets and the optimisation. The scenes come from ``artist``, the sampling is in ``generator``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ai_assets.content_generation.covers import artist
from ai_assets.content_generation.covers.generator import CoverGenerator, one_thread
from ai_assets.content_generation.covers.model import ModelSize, SceneTransformer, untrained
from ai_assets.content_generation.covers.scene import NUMBERS, SHAPES, Condition, random_condition
from ai_assets.content_generation.muon import Muon

logger = logging.getLogger(__name__)
Progress = Callable[[int, float], None]
_BATCH = 64
_LEARNING_RATE = 6e-3
_MATRIX_RATE = 0.05
_WARM_UP = 40
_AVERAGE = 0.98


@dataclass(frozen=True)
class Preset:
    """How much to train: ``steps`` of ``_BATCH`` scenes, ``scenes`` by the artist, the model's size, a word on it."""

    name: str
    steps: int
    scenes: int
    size: ModelSize
    note: str


PRESETS: dict[str, Preset] = {
    "full": Preset("full", 1600, 16384, ModelSize(), "best quality; figures in docs/quality/covers.md"),
    "demo": Preset("demo", 800, 16384, ModelSize(), "shorter training; figures in docs/quality/covers.md"),
    "tiny": Preset("tiny", 100, 1024, ModelSize(layers=2, inner=192), "rough: for trying the way, not the pictures"),
}


def training_scenes(count: int, *, seed: int) -> tuple[list[Condition], np.ndarray]:
    """``count`` conditions and the artist's scenes [count, 25, 16] that training with this seed sees."""
    rng = np.random.default_rng(seed)
    leads = [random_condition(rng) for _ in range(count)]
    return leads, artist.scenes(leads, seed=seed + 1)


def fit_preset(preset: str, *, seed: int = 0, progress: Progress | None = None) -> CoverGenerator:
    """Train with a preset (``full``, ``demo`` or ``tiny``) on the procedural artist's scenes.

    Raises ``ValueError`` for an unknown preset.
    """
    leads, scenes = training_scenes(chosen(preset).scenes, seed=seed)
    return fit_scenes(leads, scenes, preset, seed=seed, progress=progress)


def fit_scenes(
    leads: list[Condition], scenes: np.ndarray, preset: str, *, seed: int = 0, progress: Progress | None = None
) -> CoverGenerator:
    """Train with a preset on any scenes [n, 25, 16]."""
    own = chosen(preset)
    generator = fit(leads, scenes, steps=own.steps, seed=seed, progress=progress, size=own.size)
    generator.card |= {"preset": own.name, "note": own.note}
    return generator


def chosen(preset: str) -> Preset:
    """The preset of this name; raises ``ValueError``."""
    if preset not in PRESETS:
        raise ValueError(f"cover preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    return PRESETS[preset]


def fit(
    leads: list[Condition],
    scenes: np.ndarray,
    *,
    steps: int,
    seed: int,
    progress: Progress | None = None,
    size: ModelSize | None = None,
) -> CoverGenerator:
    """Train on scenes [n, 25, 16] and their conditions; ``progress(step, loss)`` is called after each step.

    Raises ``ValueError`` without scenes or steps, or when there is not one condition for each scene.
    """
    if not leads or steps < 1 or scenes.shape != (len(leads), SHAPES + 1, NUMBERS):
        raise ValueError(f"training needs steps and one scene per condition, got {steps}, {scenes.shape}, {len(leads)}")
    import torch

    size, rng = size or ModelSize(), np.random.default_rng(seed)
    targets = torch.from_numpy(scenes.astype(np.float32))
    vectors = torch.from_numpy(np.stack([lead.vector() for lead in leads]).astype(np.float32))
    loss = 0.0
    with one_thread(), _deterministic():
        model = untrained(size, seed=seed)
        average = {name: weight.detach().clone() for name, weight in model.weights.items()}
        inner = {name for name, weight in model.weights.items() if name.startswith("layer.") and weight.ndim == 2}
        muon = Muon([weight for name, weight in model.weights.items() if name in inner])
        rest = [weight for name, weight in model.weights.items() if name not in inner]
        optimizer = torch.optim.AdamW(rest, lr=_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
        for step in range(steps):
            rate = _schedule(step, steps)
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * rate
            picks = torch.from_numpy(rng.integers(len(leads), size=_BATCH))
            noise = torch.from_numpy(rng.standard_normal((_BATCH, SHAPES + 1, NUMBERS), dtype=np.float32))
            found = model.loss(targets[picks], noise, torch.from_numpy(_times(rng)), vectors[picks])
            for weight in model.weights.values():
                weight.grad = None
            found.backward()
            torch.nn.utils.clip_grad_norm_(model.weights.values(), 1.0)
            optimizer.step()
            muon.step(_MATRIX_RATE * rate)
            # The average looks back over at most a tenth of the way, so that a short training sheds its random start.
            kept = min(_AVERAGE, (1 + step) / (10 + step))
            for name, weight in model.weights.items():
                average[name].lerp_(weight.detach(), 1 - kept)
            loss = float(found.detach())
            if progress is not None:
                progress(step + 1, loss)
    logger.info("cover model: %d steps on %d scenes, last loss %.3f", steps, len(leads), loss)
    digest = hashlib.sha256(np.ascontiguousarray(scenes, dtype="<f8").tobytes()).hexdigest()
    card = {"steps": steps, "seed": seed, "scenes": len(leads), "data_sha256": digest, "last_loss": round(loss, 4)}
    known = np.round(scenes * 1000).astype(np.int16)
    return CoverGenerator(SceneTransformer(size, average), card=card, known=known)


@contextmanager
def _deterministic() -> Iterator[None]:
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def _times(rng: np.random.Generator) -> np.ndarray:
    """Times [batch] of a logit-normal distribution, one from each of as many equal parts: less noise in the loss."""
    from scipy.special import ndtri

    shares = (rng.random() + np.arange(_BATCH)) / _BATCH % 1
    times: np.ndarray = (1 / (1 + np.exp(-ndtri(np.clip(shares, 1e-4, 1 - 1e-4))))).astype(np.float32)
    return times


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / min(_WARM_UP, steps))
    return warm * (0.02 + 0.98 * 0.5 * (1 + float(np.cos(np.pi * step / steps))))
