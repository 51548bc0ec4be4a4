"""A small diffusion transformer over the tokens of a scene.

Adaptive layer norm as in DiT (Peebles and Xie 2023, arXiv:2212.09748), the condition also added to every token; it
predicts the clean scene, from which the velocity of a rectified flow (Liu et al. 2022, arXiv:2209.03003) follows.
Training and sampling loops do not belong here, apart from one Euler run. torch is imported when used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ai_assets.content_generation.covers.scene import CONDITION_WIDTH, NUMBERS, SHAPES

if TYPE_CHECKING:
    from torch import Tensor

# Tokens have a spread of about a half; the flow starts from a spread of one. Places and sizes are made larger:
# a grid or a row of bands is told by small differences, which the noise of the last steps must not drown.
SCALES = (2.0,) * 6 + (6.0,) * 2 + (3.0,) * 2 + (2.0,) * 6
_FREQUENCIES = 16
_NEAREST_END = 0.2


@dataclass(frozen=True)
class ModelSize:
    """Width, layers, heads and width of the feed-forward part: 0.3 M parameters.

    In the same time a model twice as wide takes half the steps and draws worse (figures in docs/quality/covers.md).
    """

    width: int = 64
    layers: int = 4
    heads: int = 4
    inner: int = 256


class SceneTransformer:
    """``weights`` by name, and the computation on them."""

    def __init__(self, size: ModelSize, weights: dict[str, Tensor]) -> None:
        self.size, self.weights = size, weights

    def clean(self, noisy: Tensor, time: Tensor, lead: Tensor) -> Tensor:
        """The clean scene [batch, 25, 16] expected behind ``noisy`` at ``time`` [batch] (0 noise, 1 scene)."""
        import torch
        from torch.nn import functional

        batch, length, width = noisy.shape[0], noisy.shape[1], self.size.width
        speeds = torch.exp(torch.arange(_FREQUENCIES, dtype=noisy.dtype) * (math.log(200.0) / _FREQUENCIES))
        angles = time[:, None] * speeds
        told = self._linear("lead.in", torch.cat((angles.cos(), angles.sin(), lead), dim=1))
        told = self._linear("lead.out", functional.silu(told))
        gates = functional.silu(told)
        x = self._linear("in", noisy) + self.weights["place"] + self._linear("lead.token", told)[:, None]
        for layer in range(self.size.layers):
            name = f"layer.{layer}."
            change = self._linear(name + "change", gates)[:, None].chunk(6, dim=-1)
            normed = functional.layer_norm(x, (width,)) * (1 + change[1]) + change[0]
            parts = (
                self._linear(name + "qkv", normed).view(batch, length, 3, self.size.heads, -1).permute(2, 0, 3, 1, 4)
            )
            mixed = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2])
            mixed = mixed.transpose(1, 2).reshape(batch, length, width)
            x = x + change[2] * self._linear(name + "mixed", mixed)
            normed = functional.layer_norm(x, (width,)) * (1 + change[4]) + change[3]
            x = x + change[5] * self._linear(name + "down", functional.gelu(self._linear(name + "up", normed)))
        return self._linear("out", functional.layer_norm(x, (width,)))

    def flow(self, noise: Tensor, lead: Tensor, *, steps: int) -> Tensor:
        """Scenes [batch, 25, 16] reached from ``noise`` by ``steps`` Euler steps; in token units (not scaled)."""
        import torch

        x = noise
        for step in range(steps):
            time = step / steps
            found = self.clean(x, torch.full((len(x),), time, dtype=x.dtype), lead)
            x = x + (found - x) / (1 - time) / steps
        return x / torch.tensor(SCALES, dtype=x.dtype)

    def loss(self, scenes: Tensor, noise: Tensor, time: Tensor, lead: Tensor) -> Tensor:
        """Mean squared error of the velocity for scenes in token units, its weight bounded near the end."""
        import torch

        target = scenes * torch.tensor(SCALES, dtype=scenes.dtype)
        at = time[:, None, None]
        found = self.clean(at * target + (1 - at) * noise, time, lead)
        return (((found - target) / (1 - at).clamp_min(_NEAREST_END)) ** 2).mean()

    def double(self) -> SceneTransformer:
        """The same model in double precision."""
        return SceneTransformer(self.size, {name: weight.double() for name, weight in self.weights.items()})

    def _linear(self, name: str, x: Tensor) -> Tensor:
        from torch.nn import functional

        return functional.linear(x, self.weights[name + ".weight"], self.weights[name + ".bias"])


def shapes(size: ModelSize) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in order."""
    width = size.width
    layers = {
        "lead.in": (2 * _FREQUENCIES + CONDITION_WIDTH, width),
        "lead.out": (width, width),
        "lead.token": (width, width),
        "in": (NUMBERS, width),
    }
    for layer in range(size.layers):
        name = f"layer.{layer}."
        layers |= {
            name + "change": (width, 6 * width),
            name + "qkv": (width, 3 * width),
            name + "mixed": (width, width),
        }
        layers |= {name + "up": (width, size.inner), name + "down": (size.inner, width)}
    layers["out"] = (width, NUMBERS)
    found: dict[str, tuple[int, ...]] = {"place": (SHAPES + 1, width)}
    for name, (before, after) in layers.items():
        found |= {name + ".weight": (after, before), name + ".bias": (after,)}
    return found


def untrained(size: ModelSize, *, seed: int) -> SceneTransformer:
    """A model with random weights that can be trained; its layers begin as the identity."""
    import torch

    random = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes(size).items():
        if name.endswith("bias") or "change" in name or name == "out.weight":
            weight = torch.zeros(shape)
        else:
            weight = torch.randn(shape, generator=random) * (0.3 if name == "place" else shape[1] ** -0.5)
        weights[name] = weight.requires_grad_()
    return SceneTransformer(size, weights)
