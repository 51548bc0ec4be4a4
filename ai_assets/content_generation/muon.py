"""Muon: momentum whose steps are made orthogonal, for the matrices of a transformer's layers.

K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. Own lines instead of
`torch.optim.Muon`, which works in bfloat16: most processors only emulate it. It needs half as many steps as AdamW.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_MOMENTUM = 0.95
_ITERATIONS = 5
# Coefficients of the quintic Newton-Schulz iteration that brings all singular values near one.
_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon:
    """The optimiser of some matrices; ``step`` uses and keeps their ``grad``."""

    def __init__(self, matrices: Sequence[Tensor], *, weight_decay: float = 0.01) -> None:
        import torch

        self._matrices, self._decay = list(matrices), weight_decay
        self._momentum = [torch.zeros_like(matrix) for matrix in self._matrices]

    def step(self, learning_rate: float) -> None:
        """Move every matrix by one orthogonal step."""
        import torch

        with torch.no_grad():
            for matrix, momentum in zip(self._matrices, self._momentum, strict=True):
                assert matrix.grad is not None
                momentum.mul_(_MOMENTUM).add_(matrix.grad)
                update = _orthogonal(matrix.grad.add(momentum, alpha=_MOMENTUM))
                matrix.mul_(1 - learning_rate * self._decay).add_(update, alpha=-learning_rate)


def _orthogonal(update: Tensor) -> Tensor:
    """The nearest matrix with orthonormal rows or columns, scaled so that tall and wide ones move alike."""
    import torch

    tall = update.shape[0] > update.shape[1]
    x = update.T if tall else update
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        square = x @ x.T
        x = torch.addmm(x, torch.addmm(square, square, square, beta=_B, alpha=_C), x, beta=_A)
    scale = max(1.0, update.shape[0] / update.shape[1]) ** 0.5
    return (x.T if tall else x) * scale
