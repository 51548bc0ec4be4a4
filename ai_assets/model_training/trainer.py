"""The one loop that trains our torch models: seeded, resumable, early stopping, on one process or several.

What is learned is a `Learner` (module, batches, loss); how long, how fast and on what is a `Recipe`. The loop owns
seeds, device, mixed precision, the optimizer, early stopping, checkpoints and the log. Does not belong here: starting
several processes (`distributed`), and any one model.

Every process draws the same random numbers for the whole batch and works on its own rows of it; losses are sums over
rows that are divided by the weight of the whole batch. So the loss curve does not depend on the number of processes,
but for the order of additions.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field

from ai_assets.model_training import checkpoint

log = logging.getLogger(__name__)

_SEED_SPACE = 2**31


class Recipe(BaseModel):
    """How a model is trained. Unknown or impossible values are refused with the name of the field."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: int = Field(default=40, ge=1, le=10_000)
    learning_rate: float = Field(default=0.01, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    optimizer: Literal["adam", "adamw"] = "adam"
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    seed: int = Field(default=0, ge=0, lt=_SEED_SPACE)
    patience: int = Field(default=0, ge=0, description="Epochs without a gain after which to stop; 0 = never.")
    least_gain: float = Field(default=0.0, ge=0, description="What counts as a gain of the watched loss.")
    device: Literal["auto", "cpu", "cuda"] = "auto"
    mixed_precision: bool = Field(default=True, description="bfloat16 where the device is a GPU; never on a CPU.")
    threads: int | None = Field(
        default=1, ge=1, description="Threads of the CPU kernels; None leaves them as they are."
    )


@dataclass(frozen=True)
class Part:
    """Which of the processes this one is, and where it computes."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    def rows(self, count: int) -> slice:
        """This process's share of `count` rows: every row belongs to exactly one process."""
        return slice(count * self.rank // self.world, count * (self.rank + 1) // self.world)


class Learner(Protocol):
    """What is learned.

    `module(batch)` returns (sum of losses, weight) over this process's rows; `batches` draws from `generator` the same
    numbers on every process; `validation` is the loss to watch for early stopping, or None: then the training loss is.
    `identity` names data and architecture: a checkpoint of another identity is not resumed.
    """

    identity: str
    steps_per_epoch: int

    def module(self, generator: Any) -> Any: ...
    def batches(self, generator: Any, part: Part) -> Iterator[Any]: ...
    def validation(self, module: Any) -> float | None: ...


@dataclass
class Progress:
    """Where a training stands; what a checkpoint keeps beside the tensors."""

    epoch: int = 0
    losses: list[float] = field(default_factory=list)
    watched: list[float] = field(default_factory=list)
    best: float | None = None
    best_epoch: int = 0
    stopped_early: bool = False

    def note(self, loss: float, validation: float | None, recipe: Recipe) -> bool:
        """Enter an epoch; True if it is the best so far."""
        self.epoch += 1
        self.losses.append(loss)
        self.watched.append(loss if validation is None else validation)
        gain = math.inf if self.best is None else self.best - self.watched[-1]
        better = gain > recipe.least_gain
        if better:
            self.best, self.best_epoch = self.watched[-1], self.epoch
        elif recipe.patience and self.epoch - self.best_epoch >= recipe.patience:
            self.stopped_early = True
        return better


@dataclass(frozen=True)
class Result:
    """A trained module (on the CPU; with early stopping its best epoch's weights), and how it came about."""

    module: Any
    losses: tuple[float, ...]
    watched: tuple[float, ...]
    best_epoch: int
    stopped_early: bool
    resumed_at: int
    device: str


def identity_of(*parts: Any, **arrays: Any) -> str:
    """A digest of JSON-able facts and of arrays: what a checkpoint belongs to."""
    import numpy as np

    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}{array.dtype}{array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def pick_device(recipe: Recipe, rank: int = 0) -> str:
    """`cuda:N` where a GPU is there and wanted, else `cpu`. Raises ValueError when "cuda" is asked for in vain."""
    import torch

    if recipe.device != "cpu" and torch.cuda.is_available():
        return f"cuda:{rank % torch.cuda.device_count()}"
    if recipe.device == "cuda":
        raise ValueError("device is 'cuda', but torch finds no GPU on this machine; use 'auto' or 'cpu'")
    return "cpu"


def train(
    learner: Learner,
    recipe: Recipe,
    *,
    checkpoints: Path | None = None,
    part: Part | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
) -> Result:
    """Train; the same learner and recipe give the same weights on the same machine, resumed or not.

    Args:
        checkpoints: folder of the checkpoint, written after every epoch; an unfinished training found there goes on.
        part: this process of a distributed training whose process group is up; None trains alone.
        on_epoch: called after every epoch (on every process); what it raises ends the training (pruning).

    Raises:
        ValueError: a loss that is no number, with the epoch and the remedy.
    """
    import torch

    part = part or Part(device=pick_device(recipe))
    with _seeded(recipe):
        run = _Run(learner, recipe, part, checkpoints)
        while run.progress.epoch < recipe.epochs and not run.progress.stopped_early:
            run.epoch()
            if on_epoch is not None:
                on_epoch(run.progress)
        if recipe.patience and run.best:
            run.module.load_state_dict(run.best)
        module = run.module.to("cpu").eval()
        for parameter in module.parameters():
            parameter.grad = None
    progress = run.progress
    assert isinstance(module, torch.nn.Module)
    return Result(
        module, tuple(progress.losses), tuple(progress.watched), progress.best_epoch, progress.stopped_early,
        run.resumed_at, part.device,
    )  # fmt: skip


class _Run:
    """The state of one training in this process."""

    def __init__(self, learner: Learner, recipe: Recipe, part: Part, checkpoints: Path | None) -> None:
        import torch

        self.learner, self.recipe, self.part = learner, recipe, part
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.module = learner.module(self.generator).to(part.device)
        self.optimizer = _optimizer(torch, self.module, recipe)
        self.scheduler = _scheduler(torch, self.optimizer, recipe, recipe.epochs * max(1, learner.steps_per_epoch))
        self.progress, self.resumed_at = Progress(), 0
        self.best: dict[str, Any] = {}
        facts = recipe.model_dump(exclude={"device", "mixed_precision", "threads"})
        self.identity = identity_of(learner.identity, facts)
        self.path = checkpoints / f"{self.identity[:32]}{checkpoint.SUFFIX}" if checkpoints is not None else None
        self._resume()
        if part.world > 1:
            ids = [torch.device(part.device).index] if part.device.startswith("cuda") else None
            self.forward: Any = torch.nn.parallel.DistributedDataParallel(self.module, device_ids=ids)
        else:
            self.forward = self.module

    def epoch(self) -> None:
        """One pass over the data, then validation, the log and the checkpoint."""
        total, weight = 0.0, 0.0
        self.module.train()
        for batch in self.learner.batches(self.generator, self.part):
            loss, rows = self._step(batch)
            total, weight = total + loss, weight + rows
        mean = total / max(weight, 1.0)
        if not math.isfinite(mean):
            raise ValueError(
                f"the loss of epoch {self.progress.epoch + 1} is {mean}: lower the learning rate "
                f"({self.recipe.learning_rate}) or look for values that are no numbers"
            )
        self.module.eval()
        if self.progress.note(mean, self.learner.validation(self.module), self.recipe) and self.recipe.patience:
            self.best = {name: value.detach().clone() for name, value in self.module.state_dict().items()}
        if self.part.rank == 0:
            if self.path is not None:
                checkpoint.write(self.path, self._state())
            self._report(mean)

    def _report(self, loss: float) -> None:
        at = self.progress
        log.info(
            "epoch %d of %d: loss %.5f, watched %.5f, best epoch %d", at.epoch, self.recipe.epochs, loss,
            at.watched[-1], at.best_epoch,
        )  # fmt: skip

    def _step(self, batch: Any) -> tuple[float, float]:
        """Forward, backward, update; the sum of losses and the weight over the whole batch."""
        import torch

        half = self.recipe.mixed_precision and self.part.device.startswith("cuda")
        with torch.autocast(self.part.device.split(":")[0], dtype=torch.bfloat16, enabled=half):
            loss, rows = self.forward(batch)
        both = torch.stack([loss.detach().double(), torch.as_tensor(rows).double().to(loss.device)])
        if self.part.world > 1:
            torch.distributed.all_reduce(both)
        total, weight = both.tolist()
        self.optimizer.zero_grad()
        # Also without a row: the processes must exchange gradients as often as one another.
        (loss * (self.part.world / max(weight, 1.0))).backward()
        if weight > 0:
            self.optimizer.step()
            self.scheduler.step()
        return total, weight

    def _state(self) -> bytes:
        import torch

        held, rest = checkpoint.flatten(self.optimizer.state_dict())
        tensors = {f"module.{name}": value for name, value in self.module.state_dict().items()}
        tensors |= {f"optimizer.{name}": value for name, value in held.items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        tensors |= {"random.generator": self.generator.get_state(), "random.global": torch.get_rng_state()}
        if self.part.device.startswith("cuda"):
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.part.device)
        return checkpoint.encode(tensors, {
            "identity": self.identity, "optimizer": rest, "scheduler": self.scheduler.state_dict(),
            "progress": vars(self.progress),
        })  # fmt: skip

    def _resume(self) -> None:
        import torch

        content = checkpoint.read(self.path) if self.path is not None and self.part.rank == 0 else None
        if self.part.world > 1:
            content = _broadcast(torch, content, self.part.device)
        if content is None:
            return
        tensors, facts = checkpoint.decode(content)
        if facts["identity"] != self.identity:
            return
        groups: dict[str, dict[str, Any]] = {"module": {}, "optimizer": {}, "best": {}, "random": {}}
        for name, value in tensors.items():
            group, rest = name.split(".", 1)
            groups[group][rest] = value
        self.module.load_state_dict(groups["module"])
        self.optimizer.load_state_dict(checkpoint.unflatten(groups["optimizer"], facts["optimizer"]))
        self.scheduler.load_state_dict(facts["scheduler"])
        self.best = groups["best"]
        self.generator.set_state(groups["random"]["generator"])
        torch.set_rng_state(groups["random"]["global"])
        if "cuda" in groups["random"] and self.part.device.startswith("cuda"):
            torch.cuda.set_rng_state(groups["random"]["cuda"], self.part.device)
        self.progress = Progress(**facts["progress"])
        self.resumed_at = self.progress.epoch
        log.info("resumed after epoch %d of %d", self.resumed_at, self.recipe.epochs)


def _broadcast(torch: Any, content: bytes | None, device: str) -> bytes | None:
    """What process 0 read, on every process: they go on from the same state whatever machine they are on."""
    import numpy as np

    size = torch.tensor([len(content or b"")], device=device)
    torch.distributed.broadcast(size, 0)
    if int(size) == 0:
        return None
    held = torch.empty(int(size), dtype=torch.uint8)
    if content:
        held = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
    held = held.to(device)
    torch.distributed.broadcast(held, 0)
    return bytes(held.cpu().numpy().tobytes())


def _optimizer(torch: Any, module: Any, recipe: Recipe) -> Any:
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)


def _scheduler(torch: Any, optimizer: Any, recipe: Recipe, steps: int) -> Any:
    schedules = torch.optim.lr_scheduler
    if recipe.schedule == "cosine":
        return schedules.CosineAnnealingLR(optimizer, steps)
    if recipe.schedule == "one_cycle":
        return schedules.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps, pct_start=0.2)
    return schedules.ConstantLR(optimizer, factor=1.0)


@contextmanager
def _seeded(recipe: Recipe) -> Iterator[None]:
    """Own random numbers, deterministic kernels and the recipe's threads while the block runs."""
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        if recipe.threads is not None:
            torch.set_num_threads(recipe.threads)
        # A GPU has no deterministic kernel for some operations; there the seed is fixed and that is said.
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
