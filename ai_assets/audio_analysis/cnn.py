"""A small convolutional network on log-mel crops: a 128-d unit embedding and a head per kind of label.

Belongs here: the network, its training and its files. Does not belong here: making log-mels (`log_mel`), the linear
embedding that is the default (`track_embedder`).

Four convolution blocks on 64 bands x 5 s, mean and maximum pooling, 128 numbers of unit length; heads (genre, mood,
instrument, style ...) share the trunk and each learns only from the tracks that carry its label (masked multi-task
loss). Training counts steps: random crops, mixup (Zhang et al., ICLR 2018), SpecAugment (Park et al., 2019), roll in
time, and a supervised contrastive term (Khosla et al., NeurIPS 2020) on the first head's labels within a batch, which
is what makes near vectors share a label.

A network trained on the synthetic library knows synthetic sounds: whoever shows its answers says so (`trained_on`).

>>> network = fit(log_mels, {"genre": labels}, steps=1500)     # doctest: +SKIP
>>> vectors = network.embed(log_mels)                          # doctest: +SKIP
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.model_training.trainer import Part, Progress, Recipe, identity_of, train

LogMel = NDArray[Any]
FRAMES = 216  # 5 s
BANDS = 64
DIM = 128
_WIDTHS = (24, 48, 96, 128)
_FLOOR_DB, _RANGE_DB = -80.0, 80.0
_EVERY_FRAMES = FRAMES // 2
_LARGEST_CROPS = 12
_STEPS_PER_EPOCH = 50
_FORMAT = 1


@dataclass(frozen=True)
class Training:
    """How a network was, or is to be, trained."""

    steps: int = 500
    batch: int = 32
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    contrastive: float = 0.5
    mixup: float = 0.2
    seed: int = 0
    trained_on: str = "unnamed"


def training_for(tracks: int) -> Training:
    """Settings by size: fifty looks at each track, between 500 and 3,000 steps (a fraction of a second each)."""
    standard = Training()
    return replace(standard, steps=int(np.clip(50 * tracks // standard.batch, 500, 3_000)))


class AudioNetwork:
    """A trained network with the labels of its heads."""

    name = "log-mel-cnn"

    def __init__(self, module: Any, heads: Mapping[str, tuple[str, ...]], training: Training) -> None:
        self.module, self.heads, self.training = module, dict(heads), training

    @property
    def trained_on(self) -> str:
        """What it was trained on, to be said wherever its answers are shown."""
        return self.training.trained_on

    def embed(self, log_mels: Sequence[LogMel]) -> NDArray[np.float32]:
        """(n, 128) unit vectors of log-mels (frames, 64) in dB; long ones are the mean over up to twelve crops."""
        vectors = np.array([self._embed(log_mel)[0] for log_mel in log_mels], np.float32)
        return vectors.reshape(-1, DIM)

    def predict(self, log_mels: Sequence[LogMel]) -> dict[str, NDArray[np.float64]]:
        """Per head the probabilities (n, labels of the head), averaged over crops."""
        found = [self._embed(log_mel)[1] for log_mel in log_mels]
        return {
            head: np.array([each[head] for each in found], np.float64).reshape(-1, len(names))
            for head, names in self.heads.items()
        }

    def _embed(self, log_mel: LogMel) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
        import torch

        images = np.stack([_image(log_mel, start) for start in _starts(len(log_mel))])
        self.module.eval()
        with torch.no_grad():
            vectors, scores = self.module(torch.from_numpy(images))
            mean = vectors.mean(0)
            unit = (mean / mean.norm().clamp_min(1e-9)).numpy()
            return unit, {head: torch.softmax(each, 1).mean(0).numpy() for head, each in scores.items()}

    def save(self, folder: Path) -> None:
        """Write cnn.safetensors and cnn.json."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {name: value.contiguous() for name, value in self.module.state_dict().items()}, folder / "cnn.safetensors"
        )
        facts = {
            "format": _FORMAT,
            "heads": {head: list(names) for head, names in self.heads.items()},
            "training": asdict(self.training),
        }
        (folder / "cnn.json").write_text(json.dumps(facts, indent=1))

    @classmethod
    def load(cls, folder: Path) -> AudioNetwork:
        """Read what `save` wrote.

        Raises
        ------
        ValueError : another format. RuntimeError : weights that do not fit the network.
        """
        from safetensors.torch import load_file

        facts = json.loads((folder / "cnn.json").read_text())
        if facts.get("format") != _FORMAT:
            raise ValueError(f"{folder}/cnn.json is of format {facts.get('format')}, this version reads {_FORMAT}")
        heads = {head: tuple(names) for head, names in facts["heads"].items()}
        module = _network({head: len(names) for head, names in heads.items()})
        module.load_state_dict(load_file(folder / "cnn.safetensors"))
        return cls(module, heads, Training(**facts["training"]))


def fit(
    log_mels: Sequence[LogMel],
    labels: Mapping[str, Sequence[str | None]],
    *,
    training: Training | None = None,
    checkpoints: Path | None = None,
    on_epoch: Callable[[Progress], None] | None = None,
) -> AudioNetwork:
    """Train a network by steps, in whole epochs of fifty.

    The same input and seed give the same network on the same machine.

    Parameters
    ----------
    log_mels : per track (frames, 64) in dB, as `log_mel` keeps them.
    labels : per head one name per track, None where a track has none. The first head drives the contrastive term.
    checkpoints : folder in which an interrupted training is resumed.
    on_epoch : called after every fifty steps.

    Raises
    ------
    ValueError : no track, a head whose length differs, or a head with fewer than two labels.
    """
    how = training or Training()
    heads, targets = _targets(labels, len(log_mels))
    learner = _Learner(log_mels, targets, {head: len(names) for head, names in heads.items()}, how)
    recipe = Recipe(
        epochs=-(-how.steps // learner.steps_per_epoch), learning_rate=how.learning_rate, optimizer="adamw",
        weight_decay=how.weight_decay, schedule="one_cycle", seed=how.seed, threads=None,
    )  # fmt: skip
    found = train(learner, recipe, checkpoints=checkpoints, on_epoch=on_epoch)
    return AudioNetwork(found.module.network, heads, how)


class _Learner:
    """The network as the trainer sees it: fifty steps are an epoch, each on augmented and mixed random crops."""

    def __init__(
        self,
        log_mels: Sequence[LogMel],
        targets: Mapping[str, NDArray[np.int64]],
        heads: Mapping[str, int],
        how: Training,
    ) -> None:
        self.log_mels, self.targets, self.heads, self.how = log_mels, targets, heads, how
        self.steps_per_epoch = min(_STEPS_PER_EPOCH, how.steps)
        sounds = {f"mel{at}": log_mel for at, log_mel in enumerate(log_mels)}
        labels = {f"head_{head}": values for head, values in targets.items()}
        self.identity = identity_of("log-mel-cnn", asdict(how), dict(heads), **sounds, **labels)

    def module(self, generator: Any) -> Any:
        return _objective(_network(self.heads), self.how)

    def validation(self, module: Any) -> float | None:
        return None

    def batches(self, generator: Any, part: Part) -> Iterator[dict[str, Any]]:
        import torch

        # numpy draws for the augmentation; its seed comes from the generator that checkpoints keep.
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        order: list[int] = []
        for _ in range(self.steps_per_epoch):
            while len(order) < self.how.batch:
                order += rng.permutation(len(self.log_mels)).tolist()
            chosen, order = np.array(order[: self.how.batch]), order[self.how.batch :]
            images = np.stack([_augmented(self.log_mels[at], rng) for at in chosen])
            mixed = self.how.mixup > 0 and rng.random() < 0.5
            share = float(rng.beta(self.how.mixup, self.how.mixup)) if mixed else 1.0
            partner = rng.permutation(len(chosen))
            own = part.rows(len(chosen))
            blended = images * np.float32(share) + images[partner] * np.float32(1 - share)
            yield {
                "images": torch.from_numpy(blended[own]).to(part.device),
                "share": share,
                "truth": self._numbers(chosen[own], part),
                "partner": self._numbers(chosen[partner][own], part),
            }

    def _numbers(self, chosen: NDArray[np.int64], part: Part) -> dict[str, Any]:
        import torch

        return {head: torch.from_numpy(values[chosen]).to(part.device) for head, values in self.targets.items()}


def _objective(network: Any, how: Training) -> Any:
    """The network with its losses: a batch -> (sum of losses, rows)."""
    from torch import nn

    class Objective(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: Any) -> Any:
            vectors, scores = self.network(batch["images"])
            share, loss = batch["share"], vectors.new_zeros(())
            for head, each in scores.items():
                loss = loss + share * _cross_entropy(each, batch["truth"][head])
                if share < 1:
                    loss = loss + (1 - share) * _cross_entropy(each, batch["partner"][head])
            if share == 1.0 and how.contrastive > 0:
                loss = loss + how.contrastive * _contrastive(vectors, next(iter(batch["truth"].values())))
            return loss * len(vectors), len(vectors)

    return Objective()


def _targets(
    labels: Mapping[str, Sequence[str | None]], tracks: int
) -> tuple[dict[str, tuple[str, ...]], dict[str, NDArray[np.int64]]]:
    """Names and numbers (-1 = none) per head."""
    if tracks == 0 or not labels:
        raise ValueError("training needs at least one log-mel and one head of labels")
    heads: dict[str, tuple[str, ...]] = {}
    targets: dict[str, NDArray[np.int64]] = {}
    for head, names in labels.items():
        if len(names) != tracks:
            raise ValueError(f"head {head!r} has {len(names)} labels for {tracks} log-mels")
        known = sorted({name for name in names if name is not None})
        if len(known) < 2:
            raise ValueError(f"head {head!r} needs at least two labels, there are {known}")
        heads[head] = tuple(known)
        targets[head] = np.array([-1 if name is None else known.index(name) for name in names], np.int64)
    return heads, targets


def _starts(frames: int) -> list[int]:
    """Where the crops begin that describe a track: half overlapping, at most twelve, spread evenly."""
    if frames <= FRAMES:
        return [0]
    starts = np.arange(0, frames - FRAMES + 1, _EVERY_FRAMES)
    if len(starts) > _LARGEST_CROPS:
        starts = starts[np.linspace(0, len(starts) - 1, _LARGEST_CROPS).round().astype(int)]
    return [int(start) for start in starts]


def _image(log_mel: LogMel, start: int) -> NDArray[np.float32]:
    """(1, 64, FRAMES) crop, 1 = the track's loudest value, -1 = 80 dB below it; a short track is repeated."""
    if len(log_mel) == 0:
        return np.full((1, BANDS, FRAMES), -1, np.float32)
    rows = np.arange(start, start + FRAMES) % len(log_mel)
    crop = log_mel[rows].astype(np.float32) - np.float32(log_mel.max())
    return np.ascontiguousarray((np.maximum(crop, _FLOOR_DB) / (_RANGE_DB / 2) + 1).T[None])


def _augmented(log_mel: LogMel, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random crop, rolled in time, louder or quieter, one stripe of bands and one of frames blanked."""
    start = int(rng.integers(0, max(1, len(log_mel) - FRAMES + 1)))
    image = np.roll(_image(log_mel, start), int(rng.integers(FRAMES)), axis=2) + np.float32(rng.uniform(-0.1, 0.1))
    band, wide = int(rng.integers(BANDS)), int(rng.integers(1, 10))
    image[:, band : band + wide] = -1
    frame, long = int(rng.integers(FRAMES)), int(rng.integers(1, 40))
    image[:, :, frame : frame + long] = -1
    return image


def _cross_entropy(scores: Any, truth: Any) -> Any:
    """Mean over the labelled rows, zero where there is none; labels are smoothed by .1."""
    import torch

    if not bool((truth >= 0).any()):
        return scores.sum() * 0
    return torch.nn.functional.cross_entropy(scores, truth, ignore_index=-1, label_smoothing=0.1)


def _contrastive(vectors: Any, truth: Any, *, temperature: float = 0.2) -> Any:
    """Supervised contrastive loss over the rows that share their label with another row of the batch."""
    import torch

    self_mask = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    positive = (truth[:, None] == truth[None]) & (truth >= 0)[:, None] & ~self_mask
    logits = (vectors @ vectors.T / temperature).masked_fill(self_mask, -1e9)
    log_share = logits - torch.logsumexp(logits, 1, keepdim=True)
    counts = positive.sum(1)
    if not bool((counts > 0).any()):
        return vectors.sum() * 0
    each = (log_share * positive).sum(1) / counts.clamp_min(1)
    return -each[counts > 0].mean()


def _network(heads: Mapping[str, int]) -> Any:
    """The module: images (n, 1, 64, frames) -> unit vectors (n, 128) and scores per head."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            blocks: list[Any] = []
            before = 1
            for width in _WIDTHS:
                blocks += [
                    nn.Conv2d(before, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                    nn.MaxPool2d(2),
                ]
                before = width
            self.trunk = nn.Sequential(*blocks)
            self.drop = nn.Dropout(0.2)
            self.embedding = nn.Linear(2 * before, DIM)
            self.heads = nn.ModuleDict({f"head_{head}": nn.Linear(DIM, count) for head, count in heads.items()})

        def forward(self, images: Any) -> Any:
            found = self.trunk(images.contiguous(memory_format=torch.channels_last))
            pooled = torch.cat([found.mean((2, 3)), found.amax((2, 3))], 1)
            vectors = nn.functional.normalize(self.embedding(self.drop(pooled)), dim=1, eps=1e-9)
            # Unit vectors are scaled, or the heads could never be sure.
            return vectors, {name.removeprefix("head_"): head(8 * vectors) for name, head in self.heads.items()}

    # Twice as fast on a CPU as the usual memory order (measured).
    return Network().to(memory_format=torch.channels_last)
