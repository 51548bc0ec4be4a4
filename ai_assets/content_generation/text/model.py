"""A small Llama: RMS norm, rotary positions, gated feed-forward, tied embeddings.

The computation and the names of the weights are those of ``LlamaForCausalLM`` in Hugging Face transformers (Touvron et
al. 2023, arXiv:2302.13971), so its weights load there; it is written here because importing transformers costs 1.7 s
and 150 MB that three layers do not need. Training and decoding do not belong here. torch is imported when used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ROPE_BASE = 10000.0
NORM_EPSILON = 1e-6
_SPREAD = 0.02
Cache = list[tuple["Tensor", "Tensor"]]


@dataclass(frozen=True)
class ModelSize:
    """Width, layers, heads, width of the feed-forward part, and the longest row of tokens."""

    width: int = 128
    layers: int = 3
    heads: int = 4
    inner: int = 352
    longest: int = 160


class Llama:
    """``weights`` by name, and the computation on them."""

    def __init__(self, size: ModelSize, weights: dict[str, Tensor]) -> None:
        self.size, self.weights = size, weights

    def hidden(self, numbers: Tensor, cache: Cache | None = None, start: int = 0) -> Tensor:
        """The last layer's normed output [batch, length, width] for token numbers [batch, length].

        ``cache`` (from ``new_cache``) keeps keys and values between calls; ``start`` is then the first position.
        """
        from torch.nn import functional

        weights = self.weights
        x = weights["model.embed_tokens.weight"][numbers]
        turn = self._turn(start, numbers.shape[1])
        for layer in range(self.size.layers):
            name = f"model.layers.{layer}."
            normed = _norm(x, weights[name + "input_layernorm.weight"])
            x = x + self._attention(name + "self_attn.", normed, turn, cache[layer] if cache else None, start)
            normed = _norm(x, weights[name + "post_attention_layernorm.weight"])
            gate = functional.silu(normed @ weights[name + "mlp.gate_proj.weight"].T)
            inner = gate * (normed @ weights[name + "mlp.up_proj.weight"].T)
            x = x + inner @ weights[name + "mlp.down_proj.weight"].T
        return _norm(x, weights["model.norm.weight"])

    def logits(self, hidden: Tensor) -> Tensor:
        """Scores [..., tokens] of all tokens for outputs of ``hidden`` [..., width]."""
        return hidden @ self.weights["model.embed_tokens.weight"].T

    def double(self) -> Llama:
        """The same model in double precision."""
        return Llama(self.size, {name: weight.double() for name, weight in self.weights.items()})

    def _attention(
        self, name: str, x: Tensor, turn: tuple[Tensor, Tensor], kept: tuple[Tensor, Tensor] | None, start: int
    ) -> Tensor:
        from torch.nn import functional

        batch, length, width = x.shape
        query, key, value = (
            (x @ self.weights[f"{name}{part}_proj.weight"].T).view(batch, length, self.size.heads, -1).transpose(1, 2)
            for part in "qkv"
        )
        query, key = _rotate(query, *turn), _rotate(key, *turn)
        if kept is not None:
            end = start + length
            kept[0][:, :, start:end], kept[1][:, :, start:end] = key, value
            key, value = kept[0][:, :, :end], kept[1][:, :, :end]
        mixed = functional.scaled_dot_product_attention(query, key, value, is_causal=length > 1)
        return mixed.transpose(1, 2).reshape(batch, length, width) @ self.weights[name + "o_proj.weight"].T

    def _turn(self, start: int, length: int) -> tuple[Tensor, Tensor]:
        import torch

        dtype = self.weights["model.norm.weight"].dtype
        half = self.size.width // self.size.heads // 2
        speeds = ROPE_BASE ** (-torch.arange(half, dtype=dtype) / half)
        angles = torch.arange(start, start + length, dtype=dtype)[:, None] * speeds
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()


def shapes(size: ModelSize, tokens: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in order."""
    width, inner = size.width, size.inner
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (tokens, width)}
    for layer in range(size.layers):
        name = f"model.layers.{layer}."
        found |= {f"{name}self_attn.{part}_proj.weight": (width, width) for part in "qkvo"}
        found |= {f"{name}mlp.{part}_proj.weight": (inner, width) for part in ("gate", "up")}
        found |= {f"{name}mlp.down_proj.weight": (width, inner)}
        found |= {f"{name}{norm}_layernorm.weight": (width,) for norm in ("input", "post_attention")}
    return found | {"model.norm.weight": (width,)}


def untrained(size: ModelSize, tokens: int, *, seed: int) -> Llama:
    """A model with random weights that can be trained."""
    import torch

    random = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=random) * _SPREAD
        for name, shape in shapes(size, tokens).items()
    }
    return Llama(size, {name: weight.requires_grad_() for name, weight in weights.items()})


def new_cache(size: ModelSize, batch: int) -> Cache:
    """Empty keys and values of each layer for ``batch`` rows."""
    import torch

    shape = (batch, size.heads, size.longest, size.width // size.heads)
    return [(torch.zeros(shape), torch.zeros(shape)) for _ in range(size.layers)]


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    import torch

    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + NORM_EPSILON))


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    import torch

    left, right = x.chunk(2, dim=-1)
    return x * cosine + torch.cat((-right, left), dim=-1) * sine
