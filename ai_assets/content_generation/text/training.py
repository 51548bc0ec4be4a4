"""Fitting the text model: a fixed number of steps, one thread, one seed, so that the same call gives the same weights.

Here belong the presets and the optimisation. The texts come from ``corpus``, the sampling is in ``decode``.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.content_generation.text.corpus import Example, grammar_examples, random_facts
from ai_assets.content_generation.text.decode import TextGenerator
from ai_assets.content_generation.text.grammar import State, grammar_for
from ai_assets.content_generation.text.model import Llama, ModelSize, untrained
from ai_assets.content_generation.text.nearest import KnownTexts
from ai_assets.content_generation.text.tokens import HEADER_LENGTH, Vocabulary, header, vocabulary

logger = logging.getLogger(__name__)
Progress = Callable[[int, float], None]
_BATCH = 64
_LEARNING_RATE = 4e-3
_WARM_UP = 20


@dataclass(frozen=True)
class Preset:
    """How much to train: ``steps`` of ``_BATCH`` texts, ``texts`` from the grammar, and the model's size."""

    name: str
    steps: int
    texts: int
    size: ModelSize


PRESETS: dict[str, Preset] = {
    "full": Preset("full", 350, 6000, ModelSize()),
    "demo": Preset("demo", 160, 4000, ModelSize()),
    # Enough to follow the format; what it chooses is close to chance within the grammar. The card says so.
    "tiny": Preset("tiny", 30, 600, ModelSize(width=64, layers=2, inner=176)),
}


def fit_preset(
    name: str = "full", *, approved: Sequence[Example] = (), seed: int = 0, progress: Progress | None = None
) -> TextGenerator:
    """Train with a preset on the grammar's texts and on those that editors approved (``corpus.edited_examples``).

    Raises ``ValueError`` for an unknown preset.
    """
    return fit_texts(training_texts(name, approved=approved, seed=seed), name, seed=seed, progress=progress)


def fit_texts(
    examples: Sequence[Example], name: str, *, seed: int = 0, progress: Progress | None = None
) -> TextGenerator:
    """Train with a preset on the texts of ``training_texts``."""
    preset = _preset(name)
    generator = fit(examples, steps=preset.steps, seed=seed, progress=progress, size=preset.size)
    generator.card["preset"] = preset.name
    generator.card["approved_texts"] = len({example.item for example in examples if example.item})
    return generator


def training_texts(name: str, *, approved: Sequence[Example] = (), seed: int = 0) -> list[Example]:
    """The training set of a preset: texts of the grammar, of which a share gives way to those that editors approved."""
    examples = grammar_examples(random_facts(_preset(name).texts, seed=seed), seed=seed)
    if approved:
        rng = np.random.default_rng(seed)
        for number in np.flatnonzero(rng.random(len(examples)) < approved_share(len(approved))):
            examples[number] = approved[int(rng.integers(len(approved)))]
    return examples


def _preset(name: str) -> Preset:
    if name not in PRESETS:
        raise ValueError(f"text preset is {name!r}, expected one of {', '.join(PRESETS)}")
    return PRESETS[name]


def fit(
    data: Sequence[Example],
    *,
    steps: int,
    seed: int,
    progress: Progress | None = None,
    size: ModelSize | None = None,
) -> TextGenerator:
    """Train on ``data`` for ``steps`` and return the generator; ``progress(step, loss)`` is called after each step.

    Raises ``ValueError`` without data or steps.
    """
    if not data or steps < 1:
        raise ValueError(f"training needs texts and at least one step, got {len(data)} texts and {steps} steps")
    import torch

    size = size or ModelSize()
    words = vocabulary()
    known: dict[State, list[int]] = {}
    texts = [_Text(entry, words, known) for entry in data]
    order = np.random.default_rng(seed)
    with one_thread(), _deterministic():
        model = untrained(size, len(words), seed=seed)
        optimizer = torch.optim.AdamW(model.weights.values(), lr=_LEARNING_RATE, betas=(0.9, 0.95), weight_decay=0.01)
        loss = 0.0
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * _schedule(step, steps)
            batch = [texts[int(pick)] for pick in order.integers(len(texts), size=_BATCH)]
            loss = _step(model, optimizer, batch)
            if progress is not None:
                progress(step + 1, loss)
    logger.info("text model: %d steps on %d texts, last loss %.3f nats per choice", steps, len(data), loss)
    card = {
        "steps": steps,
        "seed": seed,
        "texts": len(data),
        "data_sha256": _digest(texts),
        "last_loss": round(loss, 4),
    }
    trained = Llama(size, {name: weight.detach() for name, weight in model.weights.items()})
    learned = KnownTexts.of([(entry.lang, words.encode(entry.tokens)) for entry in data])
    return TextGenerator(trained, words, card=card, known=learned)


def approved_share(approved: int) -> float:
    """Share of the corpus that approved texts make: half with 200, at most .95; a few must not be learned by heart."""
    return min(0.95, approved / (approved + 200))


@contextmanager
def one_thread() -> Iterator[None]:
    """One torch thread inside, the former number after: sums are then taken in one order on every machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _deterministic() -> Iterator[None]:
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


class _Text:
    """A training text as numbers, with the places where the grammar leaves a choice and what it allows there."""

    def __init__(self, entry: Example, words: Vocabulary, known: dict[State, list[int]]) -> None:
        grammar = grammar_for(entry.facts, entry.lang)
        self.numbers = words.encode([*header(entry.facts, entry.lang), *entry.tokens])
        self.places: list[int] = []
        self.allowed: list[list[int]] = []
        state = grammar.start(entry.facts)
        for place, token in enumerate(entry.tokens, start=HEADER_LENGTH - 1):
            edges = grammar.after(state)
            if len(edges) > 1:
                self.places.append(place)
                if state not in known:
                    known[state] = words.encode(edges)
                self.allowed.append(known[state])
            state = edges[token]


def _step(model: Llama, optimizer: Any, batch: list[_Text]) -> float:
    """One step on the mean negative log-likelihood of the choices the grammar left open."""
    import torch
    from torch.nn import functional

    numbers = torch.zeros((len(batch), max(len(text.numbers) for text in batch)), dtype=torch.long)
    for row, text in enumerate(batch):
        numbers[row, : len(text.numbers)] = torch.tensor(text.numbers)
    rows = torch.tensor([row for row, text in enumerate(batch) for _ in text.places])
    places = torch.tensor([place for text in batch for place in text.places])
    allowed = [options for text in batch for options in text.allowed]
    choices = torch.tensor([choice for choice, options in enumerate(allowed) for _ in options])
    closed = torch.full((len(allowed), model.weights["model.embed_tokens.weight"].shape[0]), float("-inf"))
    closed[choices, torch.tensor([option for options in allowed for option in options])] = 0.0
    logits = model.logits(model.hidden(numbers[:, :-1])[rows, places]) + closed
    loss = functional.cross_entropy(logits, numbers[rows, places + 1])
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.weights.values(), 1.0)
    optimizer.step()
    return float(loss.detach())


def _schedule(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / min(_WARM_UP, steps))
    return warm * (0.05 + 0.95 * 0.5 * (1 + float(np.cos(np.pi * step / steps))))


def _digest(texts: Sequence[_Text]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(np.array([len(text.numbers), *text.numbers], dtype="<i4").tobytes())
    return digest.hexdigest()
