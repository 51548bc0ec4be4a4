"""Four-part music on a grid of sixteenths: a small transformer over frames, and its likelihood of a piece.

Here belongs the model of voices that sound together (Bach's chorales, or any collection in the same form). Melodies
over chords have their own model (``model``). torch is imported when used.

A piece is an array [frames, voices] of MIDI pitches, 0 or less where a voice rests. Each frame is written voice by
voice, outer voices first: the transformer reads all earlier frames, a head for each voice also the voices of its own
frame that are already written. This is a chain rule over single notes, so nats per note compare with models that write
one note after another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.content_generation.muon import Muon
from ai_assets.content_generation.text.training import one_thread

if TYPE_CHECKING:
    from torch import Tensor

REACH = 128
_LOWEST, _PITCHES = 20, 88
_LONGEST_HELD, _BAR = 16, 16
_DROP = 0.15
_BATCH, _FRAMES = 24, 96
_LEARNING_RATE, _MATRIX_RATE, _AVERAGE = 3e-3, 0.02, 0.98


class ChoraleError(ValueError):
    """A file of chorales that cannot be used; the message names what was expected."""


@dataclass(frozen=True)
class ChoraleSize:
    """Width, layers and heads."""

    width: int = 128
    layers: int = 4
    heads: int = 4


def read_parts(file: Path) -> dict[str, list[np.ndarray]]:
    """The parts `train`, `valid` and `test` of a JSON file: lists of pieces, a piece a list of frames of pitches.

    Raises ``ChoraleError`` for anything else: another number of voices from frame to frame, or pitches out of range.
    """
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: [_piece(piece) for piece in data[name]] for name in ("train", "valid", "test")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ChoraleError(f"{file}: expected lists train, valid and test of pieces ({error!r})") from error
    voices = {piece.shape[1] for pieces in parts.values() for piece in pieces}
    if len(voices) != 1 or not all(parts.values()):
        raise ChoraleError(f"{file}: every part needs pieces, all with the same number of voices, found {voices}")
    return parts


def _piece(frames: Any) -> np.ndarray:
    pitches = np.array([[-1 if pitch is None else int(pitch) for pitch in frame] for frame in frames], dtype=np.int64)
    if pitches.ndim != 2 or len(pitches) < 2:
        raise ChoraleError("a piece needs two frames, all with the same number of voices")
    numbers = np.where(pitches > 0, pitches - _LOWEST, 0)
    if numbers.min() < 0 or numbers.max() >= _PITCHES:
        raise ChoraleError(f"pitches must lie from {_LOWEST + 1} to {_LOWEST + _PITCHES - 1}")
    return numbers


class ChoraleModel:
    """A fitted model. Made by ``fit``."""

    def __init__(self, net: Any, *, card: dict[str, Any]) -> None:
        self.net, self.card = net, dict(card)

    def nll_per_note(self, pieces: Sequence[np.ndarray]) -> float:
        """Mean nats of one voice in one frame; a held note counts in every frame, a rest too, padding is not there."""
        nats = notes = 0.0
        for piece in pieces:
            found = self.nats(piece)
            nats, notes = nats + float(found.sum()), notes + found.size
        return nats / notes

    def nats(self, piece: np.ndarray) -> np.ndarray:
        """Nats [frames, voices] of a piece; each frame is judged with at least half of ``REACH`` frames before it."""
        import torch

        self.net.eval()
        held, parts = _held(piece), []
        with one_thread(), torch.inference_mode():
            for start in range(0, len(piece), REACH // 2):
                begin, end = max(0, start - REACH // 2), min(len(piece), start + REACH // 2)
                phase = torch.arange(begin, end)[None] % _BAR
                rows = (torch.from_numpy(values[begin:end])[None] for values in (piece, held))
                parts.append(self.net(*rows, phase)[0, start - begin :].numpy())
        return np.concatenate(parts)


def fit(
    train: Sequence[np.ndarray],
    *,
    steps: int,
    seed: int = 0,
    size: ChoraleSize | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> ChoraleModel:
    """Fit to pieces, each shown in every key that keeps its voices within the ranges of the training pieces."""
    import torch

    rng, size = np.random.default_rng(seed), size or ChoraleSize()
    with one_thread(), _seeded(seed):
        net = _network(size, train[0].shape[1])
        average = {name: weight.detach().clone() for name, weight in net.named_parameters()}
        matrices = [w for name, w in net.named_parameters() if name.startswith("blocks.") and w.ndim == 2]
        ids = {id(weight) for weight in matrices}
        muon = Muon(matrices, weight_decay=0.05)
        rest = [weight for weight in net.parameters() if id(weight) not in ids]
        optimizer = torch.optim.AdamW(rest, lr=_LEARNING_RATE, betas=(0.9, 0.97), weight_decay=0.05)
        batches = _batches(train, rng)
        loss = 0.0
        for step in range(steps):
            rate = min(1.0, (step + 1) / 30) * (0.02 + 0.49 * (1 + float(np.cos(np.pi * step / steps))))
            optimizer.param_groups[0]["lr"] = _LEARNING_RATE * rate
            frames, held, phase, counted = next(batches)
            nats = net(frames, held, phase) * counted[..., None]
            mean = nats.sum() / (counted.sum() * nats.shape[-1])
            for weight in net.parameters():
                weight.grad = None
            mean.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            muon.step(_MATRIX_RATE * rate)
            with torch.no_grad():
                for name, weight in net.named_parameters():
                    average[name].lerp_(weight, 1 - _AVERAGE)
            loss = float(mean.detach())
            if progress is not None:
                progress(step + 1, loss)
        net.load_state_dict(average)
    card = {"steps": steps, "seed": seed, "pieces": len(train), "last_loss": round(loss, 4)}
    return ChoraleModel(net, card=card)


def _batches(train: Sequence[np.ndarray], rng: np.random.Generator) -> Iterator[tuple[Tensor, ...]]:
    """Frames, held counts, places in the bar, and which frames count (padding and cut beginnings do not)."""
    import torch

    voices = range(train[0].shape[1])
    sung = [[piece[:, voice][piece[:, voice] > 0] for voice in voices] for piece in train]
    low = [min(notes[voice].min() for notes in sung if len(notes[voice])) for voice in voices]
    high = [max(notes[voice].max() for notes in sung if len(notes[voice])) for voice in voices]
    chances = np.array([len(piece) for piece in train], dtype=float)
    while True:
        rows: list[list[np.ndarray]] = [[], [], [], []]
        for pick in rng.choice(len(train), size=_BATCH, p=chances / chances.sum()):
            down = max(low[v] - sung[pick][v].min() for v in voices if len(sung[pick][v]))
            up = min(high[v] - sung[pick][v].max() for v in voices if len(sung[pick][v]))
            piece = np.where(train[pick] > 0, train[pick] + int(rng.integers(min(0, down), max(0, up) + 1)), 0)
            start = int(rng.integers(0, max(1, len(piece) - _FRAMES + 1)))
            part, held = piece[start : start + _FRAMES], _held(piece)[start : start + _FRAMES]
            missing = ((0, _FRAMES - len(part)), (0, 0))
            counted = np.pad(np.ones(len(part), dtype=np.float32), missing[0])
            counted[0] = float(start == 0)
            bars = (start + np.arange(_FRAMES)) % _BAR
            values: tuple[np.ndarray, ...] = (np.pad(part, missing), np.pad(held, missing), bars, counted)
            for row, value in zip(rows, values, strict=True):
                row.append(value)
        yield tuple(torch.from_numpy(np.stack(row)) for row in rows)


def _held(piece: np.ndarray) -> np.ndarray:
    """For how many frames each voice has had its pitch, at most ``_LONGEST_HELD``."""
    held = np.zeros_like(piece)
    for frame in range(1, len(piece)):
        held[frame] = np.where(piece[frame] == piece[frame - 1], np.minimum(held[frame - 1] + 1, _LONGEST_HELD), 0)
    return held


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _network(size: ChoraleSize, voices: int) -> Any:
    from ai_assets.content_generation.music.chorale_net import chorale_net

    return chorale_net(size.width, size.layers, size.heads, voices, _PITCHES, _LONGEST_HELD + 1, _BAR, REACH, _DROP)
