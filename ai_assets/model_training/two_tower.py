"""A two-tower listening model: a user tower that reads the history, an item tower, cosine and softmax between them.

There are no user ids in it, so a new listener or a new event is one forward pass, and that pass is two numpy lines:
answering needs no torch. Trained with the multinomial likelihood of a listener's items given a random part of them.

Sources: D. Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018 (objective, input dropout);
K. Mao et al., "SimpleX", CIKM 2021 (cosine with temperature); X. Yi et al., RecSys 2019 (logQ correction).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.interactions import Histories, Interactions, history_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FULL_SOFTMAX_ITEMS = 50_000
SAMPLED_ITEMS = 8_192
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class TowerConfig:
    """Hyper-parameters; `tau` is the softmax temperature, `dropout` the share of the history hidden in training."""

    dim: int = 64
    tau: float = 0.15
    dropout: float = 0.5
    epochs: int = 40
    batch: int = 256
    learning_rate: float = 0.01
    weight_decay: float = 0.0


@dataclass(frozen=True)
class TwoTower:
    """A fitted model, as arrays.

    Attributes:
        inputs: (items, dim) what each history item adds to the user vector.
        outputs: (items, dim) unit vectors of the items.
        losses: mean training loss per epoch, in nats per item.
    """

    inputs: Vectors
    outputs: Vectors
    config: TowerConfig
    losses: tuple[float, ...] = field(default=())
    name: str = "two_tower"

    def user_vectors(self, histories: Histories) -> Vectors:
        """(users, dim) unit vectors; zeros for empty histories."""
        summed = np.asarray(history_matrix(histories, len(self.inputs)) @ self.inputs)
        return (summed / np.maximum(np.linalg.norm(summed, axis=1, keepdims=True), 1e-12)).astype(np.float32)

    def scores(self, histories: Histories) -> Vectors:
        """(users, items) cosines."""
        return self.user_vectors(histories) @ self.outputs.T

    def item_vectors(self) -> Vectors:
        return self.outputs

    def save(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "two_tower.npz", inputs=self.inputs, outputs=self.outputs)
        text = json.dumps({"config": asdict(self.config), "losses": list(self.losses)}, sort_keys=True)
        (folder / "two_tower.json").write_text(text)

    @classmethod
    def load(cls, folder: Path) -> TwoTower:
        text: dict[str, Any] = json.loads((folder / "two_tower.json").read_text())
        with np.load(folder / "two_tower.npz", allow_pickle=False) as data:
            return cls(data["inputs"], data["outputs"], TowerConfig(**text["config"]), tuple(text["losses"]))


def fit_two_tower(
    interactions: Interactions,
    *,
    seed: int = 0,
    config: TowerConfig | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> TwoTower:
    """Fit on all listeners. Deterministic by seed on a CPU; counts epochs, not seconds."""
    import torch

    config = config or TowerConfig()
    matrix = interactions.matrix()
    with _deterministic(torch):
        generator = torch.Generator().manual_seed(seed)
        shape = (interactions.item_count, config.dim)
        inputs = torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.1)
        outputs = torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.1)
        optimiser = torch.optim.Adam([inputs, outputs], lr=config.learning_rate, weight_decay=config.weight_decay)
        steps = max(1, config.epochs * -(-matrix.shape[0] // config.batch))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        losses = []
        for epoch in range(config.epochs):
            total, items = 0.0, 0.0
            order = torch.randperm(matrix.shape[0], generator=generator).numpy()
            for start in range(0, len(order), config.batch):
                rows = order[start : start + config.batch]
                loss, count = _loss(torch, matrix[rows], inputs, outputs, config, generator)
                if count == 0:
                    continue
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                total, items = total + loss.item() * count, items + count
            losses.append(total / max(items, 1.0))
            if progress is not None:
                progress(epoch + 1, losses[-1])
        final = torch.nn.functional.normalize(outputs.detach(), dim=1)
    return TwoTower(inputs.detach().numpy().copy(), final.numpy().copy(), config, tuple(losses))


def _loss(
    torch: Any, rows: csr_matrix, inputs: Any, outputs: Any, config: TowerConfig, generator: Any
) -> tuple[Any, float]:
    """Multinomial loss of a batch of listeners, and how many items it is over."""
    columns = torch.from_numpy(rows.indices.astype(np.int64))
    counts = torch.from_numpy(np.diff(rows.indptr).astype(np.int64))
    owner = torch.repeat_interleave(torch.arange(rows.shape[0]), counts)
    shown = torch.rand(len(columns), generator=generator) >= config.dropout
    summed = torch.zeros(rows.shape[0], inputs.shape[1]).index_add(0, owner[shown], inputs[columns[shown]])
    known = summed.norm(dim=1) > 0
    users = torch.nn.functional.normalize(summed, dim=1)
    if outputs.shape[0] <= FULL_SOFTMAX_ITEMS:
        log_shares = torch.log_softmax(users @ torch.nn.functional.normalize(outputs, dim=1).T / config.tau, dim=1)
        found = log_shares[owner, columns]
    else:
        found = _sampled(torch, users, owner, columns, outputs, config, generator)
    kept = found[known[owner]]
    return (-kept.mean() if len(kept) else kept.sum()), float(len(kept))


def _sampled(
    torch: Any, users: Any, owner: Any, columns: Any, outputs: Any, config: TowerConfig, generator: Any
) -> Any:
    """Log shares over the batch's own items and a uniform sample, corrected by the sampling rate."""
    drawn = torch.randint(outputs.shape[0], (SAMPLED_ITEMS,), generator=generator)
    chosen, place = torch.unique(torch.cat([columns, drawn]), return_inverse=True)
    own = torch.zeros(len(chosen), dtype=torch.bool).index_fill_(0, place[: len(columns)], True)
    rate = torch.where(own, 1.0, SAMPLED_ITEMS / outputs.shape[0])
    logits = users @ torch.nn.functional.normalize(outputs[chosen], dim=1).T / config.tau - torch.log(rate)
    return torch.log_softmax(logits, dim=1)[owner, place[: len(columns)]]


class _deterministic:  # noqa: N801
    """One thread and deterministic kernels while the block runs."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch

    def __enter__(self) -> None:
        self._before = self._torch.get_num_threads(), self._torch.are_deterministic_algorithms_enabled()
        self._torch.set_num_threads(1)
        self._torch.use_deterministic_algorithms(True)

    def __exit__(self, *_: object) -> None:
        self._torch.set_num_threads(self._before[0])
        self._torch.use_deterministic_algorithms(self._before[1])
