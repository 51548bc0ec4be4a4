"""The small Llama of the text generator with two additions for scores: where in the bar, and where in the tune.

Each token's embedding gets that of its bar number modulo 16, its ticks since the bar line and the ticks left, all of
which follow from the tokens before it. Small models do not learn to count bars by themselves in so few steps. Training
and decoding do not belong here. torch is imported when used.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ai_assets.content_generation.music.tokens import LONGEST
from ai_assets.content_generation.text.model import NORM_EPSILON, Cache, Llama, ModelSize
from ai_assets.content_generation.text.model import shapes as llama_shapes

if TYPE_CHECKING:
    from torch import Tensor

PLACES = {"places.bar": 17, "places.since": LONGEST + 1, "places.left": LONGEST + 1}
_SPREAD = 0.02


class ScoreModel(Llama):
    """``weights`` by name, and the computation on them."""

    def hidden_at(self, numbers: Tensor, places: Tensor, cache: Cache | None = None, start: int = 0) -> Tensor:
        """The last layer's normed output [batch, length, width]: tokens [batch, length], places [3, batch, length].

        ``cache`` keeps keys and values between calls; ``start`` is then the first position.
        """
        from torch.nn import functional

        weights = self.weights
        x = functional.embedding(numbers, weights["model.embed_tokens.weight"])
        for name, place in zip(PLACES, places, strict=True):
            x = x + functional.embedding(place, weights[name])
        turn = self._turn(start, numbers.shape[1])
        for layer in range(self.size.layers):
            name = f"model.layers.{layer}."
            normed = _norm(x, weights[name + "input_layernorm.weight"])
            x = x + self._attention(name + "self_attn.", normed, turn, cache[layer] if cache else None, start)
            normed = _norm(x, weights[name + "post_attention_layernorm.weight"])
            inner = functional.silu(normed @ weights[name + "mlp.gate_proj.weight"].T)
            x = (
                x
                + (inner * (normed @ weights[name + "mlp.up_proj.weight"].T)) @ weights[name + "mlp.down_proj.weight"].T
            )
        return _norm(x, weights["model.norm.weight"])

    def double(self) -> ScoreModel:
        """The same model in double precision."""
        return ScoreModel(self.size, {name: weight.double() for name, weight in self.weights.items()})

    def log_probabilities(self, rows: Sequence[tuple[np.ndarray, np.ndarray]], window: int) -> list[np.ndarray]:
        """Log-probability of every token but the first of each row: (numbers [n], places [3, n]).

        A row longer than ``window`` is read in windows that overlap by half, so that no token is judged with less than
        half a window before it, nor at a distance that was not trained.
        """
        import torch

        found = []
        with torch.inference_mode():
            for numbers, places in rows:
                result = np.zeros(len(numbers) - 1)
                done = 0
                while done < len(result):
                    first = 0 if done == 0 else max(0, done - window // 2)
                    stop = min(first + window, len(result))
                    part = torch.from_numpy(numbers[None, first:stop])
                    hidden = self.hidden_at(part, torch.from_numpy(places[:, None, first:stop]))[0, done - first :]
                    chances = torch.log_softmax(self.logits(hidden).double(), -1)
                    following = torch.from_numpy(numbers[done + 1 : stop + 1])
                    result[done:stop] = chances[torch.arange(stop - done), following].numpy()
                    done = stop
                found.append(result)
        return found


def shapes(size: ModelSize, tokens: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every weight, in order."""
    return llama_shapes(size, tokens) | {name: (count, size.width) for name, count in PLACES.items()}


def untrained(size: ModelSize, tokens: int, *, seed: int) -> ScoreModel:
    """A model with random weights that can be trained."""
    import torch

    random = torch.Generator().manual_seed(seed)
    weights = {
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=random) * _SPREAD
        for name, shape in shapes(size, tokens).items()
    }
    return ScoreModel(size, {name: weight.requires_grad_() for name, weight in weights.items()})


def _norm(x: Tensor, weight: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.rms_norm(x, (x.shape[-1],), weight, NORM_EPSILON)
