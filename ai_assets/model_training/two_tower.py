"""A two-tower listening model: a user tower that reads the history, an item tower, cosine and softmax between them.

There are no user ids in it, so a new listener or a new event is one forward pass, and that pass is two numpy lines:
answering needs no torch. Trained with the multinomial likelihood of a listener's items given a random part of them.

Sources: D. Liang et al., "Variational Autoencoders for Collaborative Filtering", WWW 2018 (objective, input dropout);
K. Mao et al., "SimpleX", CIKM 2021 (cosine with temperature); X. Yi et al., RecSys 2019 (logQ correction).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.interactions import Histories, Interactions, history_matrix
from ai_assets.model_training.trainer import Part, Progress, Recipe, identity_of, train

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

FULL_SOFTMAX_ITEMS = 50_000
SAMPLED_ITEMS = 8_192
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class TowerConfig:
    """Hyper-parameters; `tau` is the softmax temperature, `dropout` the share of the history hidden in training.

    `patience`: epochs without a gain of `least_gain` nats after which training stops (0 = never).
    """

    dim: int = 64
    tau: float = 0.15
    dropout: float = 0.5
    epochs: int = 40
    batch: int = 256
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    patience: int = 0
    least_gain: float = 1e-4


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


def recipe_of(config: TowerConfig, *, seed: int = 0) -> Recipe:
    """How the trainer is to train a tower."""
    return Recipe(
        epochs=config.epochs, learning_rate=config.learning_rate, weight_decay=config.weight_decay, seed=seed,
        patience=config.patience, least_gain=config.least_gain,
    )  # fmt: skip


def fit_two_tower(
    interactions: Interactions,
    *,
    seed: int = 0,
    config: TowerConfig | None = None,
    held_out: Interactions | None = None,
    checkpoints: Path | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> TwoTower:
    """Fit on all listeners. Deterministic by seed on a CPU; counts epochs, not seconds.

    Args:
        held_out: rows of the same ids whose loss, given the histories of `interactions`, early stopping watches.
        checkpoints: folder in which an interrupted fit is resumed.
        progress: called after every epoch with its number and the watched loss; what it raises ends the fit.
    """
    config = config or TowerConfig()
    learner = TowerLearner(interactions.matrix(), config, held_out.matrix() if held_out is not None else None)

    def told(state: Progress) -> None:
        if progress is not None:
            progress(state.epoch, state.watched[-1])

    found = train(learner, recipe_of(config, seed=seed), checkpoints=checkpoints, on_epoch=told)
    return arrays_of(found.module.inputs, found.module.outputs, config, found.losses)


def arrays_of(inputs: Any, outputs: Any, config: TowerConfig, losses: Sequence[float]) -> TwoTower:
    """The model of trained parameters (items, dim)."""
    import torch

    final = torch.nn.functional.normalize(outputs.detach(), dim=1)
    return TwoTower(inputs.detach().numpy().copy(), final.numpy().copy(), config, tuple(losses))


class TowerLearner:
    """The two towers as the trainer sees them: batches of listeners, a random part of each history hidden."""

    def __init__(self, matrix: csr_matrix, config: TowerConfig, held_out: csr_matrix | None = None) -> None:
        self.matrix, self.config, self.held_out = matrix, config, held_out
        self.steps_per_epoch = -(-matrix.shape[0] // config.batch)
        arrays = {"indices": matrix.indices, "indptr": matrix.indptr}
        if held_out is not None:
            arrays |= {"held_indices": held_out.indices, "held_indptr": held_out.indptr}
        self.identity = identity_of("two_tower", asdict(config), list(matrix.shape), **arrays)

    def module(self, generator: Any) -> Any:
        return _module((self.matrix.shape[1], self.config.dim), self.config, generator)

    def batches(self, generator: Any, part: Part) -> Iterator[dict[str, Any]]:
        """Every process draws order and masks of the whole batch, and keeps its own listeners."""
        import torch

        order = torch.randperm(self.matrix.shape[0], generator=generator).numpy()
        for start in range(0, len(order), self.config.batch):
            listeners = order[start : start + self.config.batch]
            rows = self.matrix[listeners]
            shown = torch.rand(rows.nnz, generator=generator) >= self.config.dropout
            pool = None
            if self.matrix.shape[1] > FULL_SOFTMAX_ITEMS:
                drawn = torch.randint(self.matrix.shape[1], (SAMPLED_ITEMS,), generator=generator)
                pool = _pool(torch, rows, drawn)
            mine = part.rows(rows.shape[0])
            cut = slice(int(rows.indptr[mine.start]), int(rows.indptr[mine.stop]))
            yield _batch(torch, rows[mine], shown[cut], pool, part.device)

    def validation(self, module: Any) -> float | None:
        """Mean loss of the held-out rows given the whole histories, in nats per item; None without such rows."""
        import torch

        if self.held_out is None:
            return None
        outputs = torch.nn.functional.normalize(module.outputs, dim=1)
        total, count = 0.0, 0
        with torch.no_grad():
            for start in range(0, self.matrix.shape[0], 1_024):
                known, truth = self.matrix[start : start + 1_024], self.held_out[start : start + 1_024]
                batch = _batch(torch, known, torch.ones(known.nnz, dtype=torch.bool), None, outputs.device)
                users = torch.nn.functional.normalize(module.summed(batch), dim=1)
                log_shares = torch.log_softmax(users @ outputs.T / self.config.tau, dim=1)
                owner, columns = (torch.from_numpy(part.astype(np.int64)) for part in truth.nonzero())
                total -= float(log_shares[owner.to(users.device), columns.to(users.device)].sum())
                count += truth.nnz
        return total / count if count else None


def _pool(torch: Any, rows: csr_matrix, drawn: Any) -> tuple[Any, Any]:
    """Items to compare with, and how likely each was to be in: all of the batch, and a uniform sample."""
    own = torch.from_numpy(rows.indices.astype(np.int64))
    chosen, place = torch.unique(torch.cat([own, drawn]), return_inverse=True)
    certain = torch.zeros(len(chosen), dtype=torch.bool).index_fill_(0, place[: len(own)], True)
    return chosen, torch.where(certain, 1.0, len(drawn) / rows.shape[1])


def _batch(torch: Any, rows: csr_matrix, shown: Any, pool: Any, device: Any) -> dict[str, Any]:
    """Listeners of a batch: whose each item is, and which of them the user tower sees."""
    counts = torch.from_numpy(np.diff(rows.indptr).astype(np.int64))
    return {
        "listeners": rows.shape[0],
        "owner": torch.repeat_interleave(torch.arange(rows.shape[0]), counts).to(device),
        "columns": torch.from_numpy(rows.indices.astype(np.int64)).to(device),
        "shown": shown.to(device),
        "pool": None if pool is None else tuple(part.to(device) for part in pool),
    }


def _module(shape: tuple[int, int], config: TowerConfig, generator: Any) -> Any:
    """The module: a batch -> (sum of losses, weight); its parameters are `inputs` and `outputs` (items, dim)."""
    import torch

    class Towers(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inputs = torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.1)
            self.outputs = torch.nn.Parameter(torch.randn(shape, generator=generator) * 0.1)

        def summed(self, batch: Any) -> Any:
            seen = batch["shown"]
            empty = self.inputs.new_zeros(batch["listeners"], shape[1])
            return empty.index_add(0, batch["owner"][seen], self.inputs[batch["columns"][seen]])

        def forward(self, batch: Any) -> Any:
            summed = self.summed(batch)
            known = (summed.norm(dim=1) > 0)[batch["owner"]]
            users = torch.nn.functional.normalize(summed, dim=1)
            if batch["pool"] is None:
                logits = users @ torch.nn.functional.normalize(self.outputs, dim=1).T / config.tau
                found = torch.log_softmax(logits, dim=1)[batch["owner"], batch["columns"]]
            else:
                found = _sampled(torch, users, batch, self.outputs, config)
            return -found[known].sum(), known.sum()

    return Towers()


def _sampled(torch: Any, users: Any, batch: Any, outputs: Any, config: TowerConfig) -> Any:
    """Log shares over the batch's own items and a uniform sample, corrected by the sampling rate."""
    chosen, rate = batch["pool"]
    logits = users @ torch.nn.functional.normalize(outputs[chosen], dim=1).T / config.tau - torch.log(rate)
    return torch.log_softmax(logits, dim=1)[batch["owner"], torch.searchsorted(chosen, batch["columns"])]
