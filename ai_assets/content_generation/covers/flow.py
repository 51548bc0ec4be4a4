"""The model: a small transformer that turns noise into a scene, and its training by a fixed number of steps.

Sources: X. Liu, C. Gong, Q. Liu, "Flow Straight and Fast" (rectified flow), ICLR 2023; W. Peebles, S. Xie, "Scalable
Diffusion Models with Transformers" (adaptive layer norm), ICCV 2023.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.content_generation.covers.scenes import FIELDS, SHAPES, Wish, draw_scene, random_wish

if TYPE_CHECKING:
    from ai_assets.content_generation.covers.cover import CoverGenerator

TOKENS = SHAPES + 1
WIDTH, LAYERS, HEADS, CONDITION = 128, 4, 4, 13
BATCH, SCENES, RATE, DECAY, DROP = 64, 16_384, 4e-3, 0.98, 0.1
EULER_STEPS = 8


@dataclass(frozen=True)
class Preset:
    """How long to train; `tiny` gives rough scenes, and its model card says so."""

    steps: int
    scenes: int


PRESETS = {"full": Preset(900, SCENES), "demo": Preset(430, 8_192), "tiny": Preset(45, 1_024)}


def fit_preset(
    name: str = "full", *, seed: int = 0, progress: Callable[[int, float], None] | None = None
) -> CoverGenerator:
    """Train on scenes of the procedural artist. Deterministic by seed; one thread.

    Raises:
        ValueError: an unknown preset.
    """
    import torch

    from ai_assets.content_generation.covers.cover import CoverGenerator

    if name not in PRESETS:
        raise ValueError(f"cover preset is {name!r}, expected one of {', '.join(PRESETS)}")
    preset = PRESETS[name]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        scenes, wishes = training_scenes(preset.scenes, seed)
        mean, spread = scenes.mean((0, 1)), scenes.std((0, 1)) + 1e-3
        weights = _train(torch, (scenes - mean) / spread, wishes, preset.steps, seed, progress)
    finally:
        torch.set_num_threads(threads)
    return CoverGenerator(weights, mean, spread, {"preset": name, "steps": preset.steps, "seed": seed})


def training_scenes(count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(count, 25, 16) scenes and (count, 13) conditions."""
    rng = np.random.default_rng(seed)
    wishes = [random_wish(rng) for _ in range(count)]
    scenes = np.stack([draw_scene(wish, rng) for wish in wishes])
    return scenes, np.stack([wish.vector() for wish in wishes])


def _train(
    torch: Any, scenes: NDArray, wishes: NDArray, steps: int, seed: int, progress: Callable[[int, float], None] | None
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.nn.Parameter(value) for name, value in new_weights(torch, generator).items()}
    slow = {name: value.detach().clone() for name, value in weights.items()}
    optimiser = torch.optim.AdamW(weights.values(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.95))
    data, conditions = torch.from_numpy(scenes), torch.from_numpy(wishes)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 30) * 0.5 * (1 + math.cos(math.pi * step / steps))
        rows = torch.randint(len(data), (BATCH,), generator=generator)
        x, wish = data[rows], conditions[rows]
        wish = wish * (torch.rand(BATCH, 1, generator=generator) >= DROP)
        time = torch.sigmoid(torch.randn(BATCH, generator=generator))
        noise = torch.randn(x.shape, generator=generator)
        mixed = time[:, None, None] * x + (1 - time)[:, None, None] * noise
        guess = predict(torch, weights, mixed, time, wish)
        loss = (((guess - x) / (1 - time).clamp(min=0.05)[:, None, None]) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights.values(), 1.0)
        optimiser.step()
        with torch.no_grad():
            keep = min(DECAY, (1 + step) / (10 + step))
            for name, value in weights.items():
                slow[name].mul_(keep).add_(value, alpha=1 - keep)
        if progress is not None:
            progress(step + 1, float(loss.detach()))
    return slow


def new_weights(torch: Any, generator: Any) -> dict[str, Any]:
    """Untrained weights by name."""

    def matrix(rows: int, columns: int, scale: float = 1.0) -> Any:
        return torch.randn(rows, columns, generator=generator) * (scale / math.sqrt(rows))

    weights = {
        "in": matrix(FIELDS, WIDTH), "place": torch.randn(TOKENS, WIDTH, generator=generator) * 0.02,
        "wish": matrix(CONDITION, WIDTH), "time": matrix(64, WIDTH), "mix": matrix(WIDTH, WIDTH),
        "out": matrix(WIDTH, FIELDS, 0.1), "out_mod": matrix(WIDTH, 2 * WIDTH, 0.1),
    }  # fmt: skip
    for layer in range(LAYERS):
        weights |= {
            f"{layer}.qkv": matrix(WIDTH, 3 * WIDTH), f"{layer}.o": matrix(WIDTH, WIDTH, 0.3),
            f"{layer}.up": matrix(WIDTH, 4 * WIDTH), f"{layer}.down": matrix(4 * WIDTH, WIDTH, 0.3),
            f"{layer}.mod": matrix(WIDTH, 6 * WIDTH, 0.1),
        }  # fmt: skip
    return weights


def predict(torch: Any, w: dict[str, Any], x: Any, time: Any, wish: Any) -> Any:
    """The clean scene guessed from a mixed one: (n, 25, 16) and (n,), (n, 13) to (n, 25, 16)."""
    functional = torch.nn.functional
    waves = torch.exp(torch.arange(32) * (-math.log(10_000.0) / 32)) * 1_000 * time[:, None]
    asked = functional.silu(torch.cat([waves.sin(), waves.cos()], 1) @ w["time"] + wish @ w["wish"]) @ w["mix"]
    hidden = x @ w["in"] + w["place"] + asked[:, None]
    asked = functional.silu(asked)
    for layer in range(LAYERS):
        shift, scale, gate, shift2, scale2, gate2 = (asked @ w[f"{layer}.mod"])[:, None].chunk(6, dim=-1)
        normal = functional.layer_norm(hidden, (WIDTH,)) * (1 + scale) + shift
        q, k, v = (
            part.reshape(*part.shape[:2], HEADS, -1).transpose(1, 2)
            for part in (normal @ w[f"{layer}.qkv"]).chunk(3, -1)
        )
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(hidden.shape)
        hidden = hidden + (1 + gate) * (mixed @ w[f"{layer}.o"])
        normal = functional.layer_norm(hidden, (WIDTH,)) * (1 + scale2) + shift2
        hidden = hidden + (1 + gate2) * (functional.gelu(normal @ w[f"{layer}.up"]) @ w[f"{layer}.down"])
    shift, scale = (asked @ w["out_mod"])[:, None].chunk(2, dim=-1)
    return (functional.layer_norm(hidden, (WIDTH,)) * (1 + scale) + shift) @ w["out"]


def sample_scenes(weights: dict[str, Any], wishes: Sequence[Wish], seeds: Sequence[int]) -> NDArray[np.float32]:
    """(n, 25, 16) normalised scenes by 8 Euler steps; the noise of an item depends on its own seed alone."""
    import torch

    noise = np.stack([np.random.default_rng(seed).standard_normal((TOKENS, FIELDS)) for seed in seeds])
    x = torch.from_numpy(noise.astype(np.float32))
    wish = torch.from_numpy(np.stack([item.vector() for item in wishes]))
    with torch.no_grad():
        for step in range(EULER_STEPS):
            now, after = step / EULER_STEPS, (step + 1) / EULER_STEPS
            clean = predict(torch, weights, x, torch.full((len(x),), now), wish)
            x = x + (clean - x) * ((after - now) / (1 - now))
    return np.asarray(x.numpy())
