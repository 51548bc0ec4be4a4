"""Fitting the music model: a fixed number of steps, one thread, one seed, so that the same call gives the same weights.

Here belong the presets and the optimisation. Sampling is in ``decode``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.content_generation.music.corpus import Corpus
from ai_assets.content_generation.music.decode import MusicGenerator
from ai_assets.content_generation.music.model import ScoreModel, untrained
from ai_assets.content_generation.music.ngram import NGram
from ai_assets.content_generation.music.scores import Score, without_duplicates
from ai_assets.content_generation.music.tokens import HEADER_LENGTH
from ai_assets.content_generation.text.model import ModelSize
from ai_assets.content_generation.text.training import one_thread

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)
Progress = Callable[[int, float], None]
LEAST_SCORES = 5
FEW_SCORES = 100
WINDOW = 192
_BATCH = 16
_LEARNING_RATE = 3e-3
_WARM_UP = 20
_MINOR_WEIGHT = 3.0


class TooFewScores(ValueError):
    """There are not enough scores to learn from; the message says how many are needed."""


@dataclass(frozen=True)
class Preset:
    """Number of steps of ``_BATCH`` crops, and the model's size; without steps the n-gram answers."""

    name: str
    steps: int
    size: ModelSize


_SIZE = ModelSize(width=128, layers=4, inner=344, longest=1024)
PRESETS: dict[str, Preset] = {
    "full": Preset("full", 480, _SIZE),
    "demo": Preset("demo", 200, _SIZE),
    # So few steps teach a transformer less than counting does: the n-gram answers, and each item says so.
    "tiny": Preset("tiny", 0, _SIZE),
}


def fit_preset(
    scores: Sequence[Score],
    preset: str = "full",
    *,
    seed: int = 0,
    progress: Progress | None = None,
    few_scores: int = FEW_SCORES,
) -> MusicGenerator:
    """Train with a preset on ``scores`` (duplicates are left out).

    Under ``few_scores`` scores, or with ``tiny``, the n-gram is fitted instead of the transformer; the generator's
    ``decoder`` says which. Raises ``TooFewScores`` under ``LEAST_SCORES`` and ``ValueError`` for an unknown preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"music preset is {preset!r}, expected one of {', '.join(PRESETS)}")
    kept = without_duplicates(scores)
    if len(kept) < LEAST_SCORES:
        raise TooFewScores(f"{len(kept)} usable scores without duplicates, at least {LEAST_SCORES} are needed")
    steps = PRESETS[preset].steps if len(kept) >= few_scores else 0
    corpus = Corpus.of(kept)
    card: dict[str, Any] = {"preset": preset, "steps": steps, "seed": seed, "scores": len(kept)}
    card["data_sha256"] = corpus.digest()
    if steps == 0:
        reason = f"preset {preset}" if len(kept) >= few_scores else f"fewer than {few_scores} scores"
        card["decoder_reason"] = f"n-gram instead of the transformer: {reason}"
        return MusicGenerator(NGram(corpus.rows, len(corpus.words), by_mode=True), corpus, card=card)
    model, loss = fit(corpus, kept, steps=steps, size=PRESETS[preset].size, seed=seed, progress=progress)
    logger.info("music model: %d steps on %d scores, last loss %.3f nats per token", steps, len(kept), loss)
    card["last_loss"] = round(loss, 4)
    return MusicGenerator(model, corpus, card=card)


def fit(
    corpus: Corpus,
    scores: Sequence[Score],
    *,
    steps: int,
    size: ModelSize = _SIZE,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[ScoreModel, float]:
    """Train a transformer on the rows of ``corpus`` for ``steps``; gives it with the mean loss of the last steps."""
    import torch

    rows = training_rows(corpus, scores)
    weights = np.array([len(row[0]) * (_MINOR_WEIGHT if s.mode == "minor" else 1.0) for row, s in zip(rows, scores)])  # noqa: B905
    minor = np.array([s.mode == "minor" for s in scores])
    if minor.any() and weights[minor].sum() > weights[~minor].sum():
        weights[minor] /= _MINOR_WEIGHT
    rng = np.random.default_rng(seed)
    picks = rng.choice(len(rows), size=(steps, _BATCH), p=weights / weights.sum())
    with one_thread():
        before = torch.are_deterministic_algorithms_enabled()
        torch.use_deterministic_algorithms(True)
        try:
            model = untrained(size, len(corpus.words), seed=seed)
            optimizer = torch.optim.AdamW(
                model.weights.values(), lr=_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.05
            )
            losses = []
            for step in range(steps):
                for group in optimizer.param_groups:
                    group["lr"] = _LEARNING_RATE * _schedule(step, steps)
                crops = [_crop(rows[int(pick)], corpus, rng) for pick in picks[step]]
                losses.append(_step(model, optimizer, crops))
                if progress is not None:
                    progress(step + 1, losses[-1])
        finally:
            torch.use_deterministic_algorithms(before)
    trained = ScoreModel(size, {name: weight.detach() for name, weight in model.weights.items()})
    return trained, float(np.mean(losses[-20:]))


def training_rows(corpus: Corpus, scores: Sequence[Score]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Token numbers [n] and places [3, n] of every score."""
    from ai_assets.content_generation.music.decode import row_of

    return [row_of(corpus, score) for score in scores]


def _crop(
    row: tuple[np.ndarray, np.ndarray], corpus: Corpus, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Header and ``WINDOW`` tokens of a score from a bar line on; half of the crops start with the first bar."""
    numbers, places = row
    longest = WINDOW + 1
    if len(numbers) <= longest or rng.random() < 0.3:
        return numbers[:longest], places[:, :longest]
    bars = np.flatnonzero((numbers == corpus.words.bar) | (corpus.words.copies[numbers] > 0))
    start = int(rng.choice(bars[bars <= max(HEADER_LENGTH, len(numbers) - longest // 2)]))
    taken = np.r_[0:HEADER_LENGTH, start : min(len(numbers), start + longest - HEADER_LENGTH)]
    return numbers[taken], places[:, taken]


def _step(model: ScoreModel, optimizer: Any, crops: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """One step on the mean negative log-likelihood of the tokens; padding does not count."""
    import torch
    from torch.nn import functional

    length = max(len(numbers) for numbers, _ in crops)
    tokens = np.full((len(crops), length), -100, dtype=np.int64)
    places = np.zeros((3, len(crops), length), dtype=np.int64)
    for place, (numbers, where) in enumerate(crops):
        tokens[place, : len(numbers)] = numbers
        places[:, place, : len(numbers)] = where
    inputs = torch.from_numpy(np.where(tokens[:, :-1] < 0, 0, tokens[:, :-1]))
    targets = torch.from_numpy(tokens[:, 1:])
    hidden: Tensor = model.hidden_at(inputs, torch.from_numpy(places[:, :, :-1]))
    loss = functional.cross_entropy(model.logits(hidden).flatten(0, 1), targets.flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.weights.values(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / min(_WARM_UP, steps))
    return warm * (0.03 + 0.97 * 0.5 * (1 + float(np.cos(np.pi * step / steps))))
