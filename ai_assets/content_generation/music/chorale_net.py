"""The network of ``chorales``: a causal transformer over frames with a head for each voice.

Attention has a learned bias by distance, so that four beats or a bar back can be looked up. torch is imported inside:
the package stays light to import.
"""

from __future__ import annotations

from typing import Any


def chorale_net(
    width: int, layers: int, heads: int, voices: int, pitches: int, held: int, bar: int, reach: int, drop: float
) -> Any:
    """An untrained network: (frames [b, t, v], held [b, t, v], phase [b, t]) -> nats [b, t, v].

    A frame is told from those before it; the first from nothing. Within a frame the outer voices come first.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    order = [0, voices - 1, *range(1, voices - 1)][:voices]

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.mixed = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.distance = nn.Parameter(torch.zeros(1, heads, reach))
            for weight in (self.mixed.weight, self.down.weight, self.down.bias):
                nn.init.zeros_(weight)

        def forward(self, x: Any, apart: Any, later: Any) -> Any:
            batch, length = x.shape[:2]
            parts = self.qkv(self.first(x)).view(batch, length, 3, heads, -1).permute(2, 0, 3, 1, 4)
            bias = self.distance[:, :, apart].masked_fill(later, float("-inf")).expand(batch, -1, -1, -1)
            seen = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=bias)
            x = x + self._dropped(self.mixed(seen.transpose(1, 2).reshape(batch, length, width)))
            return x + self._dropped(self.down(functional.gelu(self.up(self.second(x)), approximate="tanh")))

        def _dropped(self, x: Any) -> Any:
            return functional.dropout(x, drop, self.training)

    class Head(nn.Module):
        """The chances of one voice's pitch, with a say of its own for keeping the pitch it had."""

        def __init__(self) -> None:
            super().__init__()
            self.up, self.out, self.keep = (
                nn.Linear(width, 2 * width),
                nn.Linear(2 * width, pitches),
                nn.Linear(2 * width, 1),
            )

        def forward(self, x: Any, before: Any) -> Any:
            x = functional.dropout(functional.gelu(self.up(x), approximate="tanh"), drop, self.training)
            return self.out(x).scatter_add(-1, before[..., None], self.keep(x))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.before = nn.ModuleList(_embedding(pitches, 0.3) for _ in range(voices))
            self.held = nn.ModuleList(_embedding(held, 0.2) for _ in range(voices))
            self.sung = nn.ModuleList(_embedding(pitches, 0.3) for _ in range(voices))
            self.phase = _embedding(bar, 0.2)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.last = nn.LayerNorm(width)
            self.heads = nn.ModuleList(Head() for _ in range(voices))

        def forward(self, frames: Any, held_for: Any, phase: Any) -> Any:
            before, kept = (functional.pad(value[:, :-1], (0, 0, 1, 0)) for value in (frames, held_for))
            told = [self.before[v](before[..., v]) for v in range(voices)]
            x = self.phase(phase) + sum(told) + sum(self.held[v](kept[..., v]) for v in range(voices))
            x = functional.dropout(x, drop, self.training)
            places = torch.arange(frames.shape[1])
            apart = (places[:, None] - places[None]).clamp(0, reach - 1)
            for block in self.blocks:
                x = block(x, apart, places[:, None] < places[None])
            x = self.last(x)
            nats: list[Any] = [None] * voices
            for voice in order:
                logits = self.heads[voice](x + told[voice], before[..., voice])
                found = functional.cross_entropy(logits.flatten(0, 1), frames[..., voice].flatten(), reduction="none")
                nats[voice] = found.view(frames.shape[:2])
                x = x + self.sung[voice](frames[..., voice])
            return torch.stack(nats, dim=-1)

    def _embedding(count: int, spread: float) -> Any:
        table = nn.Embedding(count, width)
        nn.init.normal_(table.weight, std=spread)
        return table

    return Net()
