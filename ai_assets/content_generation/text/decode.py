"""Sampling texts: the model proposes, the sentence automaton allows, a generator per item decides.

Here belong the generators that write texts from facts (the model, and the plain grammar as baseline), their files, and
the item they give. Each item has its own random numbers, and near ties are decided in double precision, so that an item
is the same alone and in any batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.provenance import Rejection
from ai_assets.content_generation.text.checker import check
from ai_assets.content_generation.text.grammar import END, Rendered, State, grammar_for, left_out
from ai_assets.content_generation.text.lexicon import lexicon
from ai_assets.content_generation.text.model import Llama, ModelSize, new_cache, shapes
from ai_assets.content_generation.text.nearest import TRAINING_FILE, KnownTexts
from ai_assets.content_generation.text.tokens import HEADER_LENGTH, Vocabulary, grammar_digest, header, vocabulary

_BATCH = 128
_CANDIDATES = 4
# Logits of the same row in batches of another size differ by about 1e-5 in single precision.
_NEAR_TIE = 1e-3
_FORMAT = "text-llama-1"
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


class ModelFolderError(ValueError):
    """A model folder that cannot be used; the message names the file and what to do."""


@dataclass(frozen=True)
class TextItem:
    """One generated text.

    ``fact_spans`` maps a fact to its start and end in ``text``, ``fact_sentences`` to the number of its sentence (from
    0). ``checks`` is the checker's verdict on the rendered text; ``notes`` says what was left out and why. ``decoder``
    is ``model``, ``grammar`` or ``pretrained``, ``decoding`` holds its settings.
    """

    text: str
    lang: str
    seed: int
    facts: FactSet
    tokens: tuple[str, ...]
    fact_spans: dict[str, tuple[int, int]]
    fact_sentences: dict[str, int]
    checks: dict[str, Any]
    notes: tuple[str, ...] = ()
    candidates: int = 1
    rejections: tuple[Rejection, ...] = ()
    decoder: str = "model"
    decoding: dict[str, Any] = field(default_factory=dict)


class GrammarGenerator:
    """The weighted grammar alone: the baseline, and what answers when a pretrained model's texts are all refused."""

    name = "text_grammar"
    license = "Apache-2.0"

    @property
    def version(self) -> str:
        """Digest of the patterns."""
        return grammar_digest()[:12]

    def sample(
        self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int], lang: str | Sequence[str]
    ) -> list[TextItem]:
        """One text for each fact set; ``lang`` is one language or one for each."""
        return _best_candidates(_jobs(fact_sets, seeds, lang), self._write, "grammar", {})

    def nearest(self, item: TextItem) -> None:
        """There are no training texts."""

    def _write(self, jobs: list[_Row]) -> None:
        for job in jobs:
            job.tokens = job.grammar.sample(job.facts, job.rng)

    def save(self, folder: Path) -> None:
        """Write ``config.json``; there are no weights."""
        folder.mkdir(parents=True, exist_ok=True)
        config = {"format": "text-grammar-1", "grammar_sha256": grammar_digest()}
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> GrammarGenerator:
        """The grammar, if ``folder`` was saved with the present patterns (``ModelFolderError`` otherwise)."""
        _check_grammar(_read_config(folder, "text-grammar-1"), folder)
        return cls()


class TextGenerator:
    """A trained model that writes within the grammar. Made by ``training.fit`` or ``load``."""

    name = "text_generator"
    license = "Apache-2.0"

    def __init__(self, model: Llama, words: Vocabulary, *, card: dict[str, Any], known: KnownTexts) -> None:
        self.model, self.words, self.card, self.known = model, words, dict(card), known
        self._exact: Llama | None = None
        self._allowed: dict[State, tuple[np.ndarray, list[str]]] = {}

    @property
    def version(self) -> str:
        """Head of the SHA-256 over all weights and the patterns: other weights, other version, other seeds."""
        digest = hashlib.sha256(grammar_digest().encode("ascii"))
        for name, tensor in sorted(self.model.weights.items()):
            digest.update(name.encode("ascii") + tensor.numpy().tobytes())
        return digest.hexdigest()[:12]

    def sample(
        self,
        fact_sets: Sequence[FactSet],
        *,
        seeds: Sequence[int],
        lang: str | Sequence[str],
        temperature: float = 1.0,
    ) -> list[TextItem]:
        """One text for each fact set; ``lang`` is one language or one for each, ``temperature`` 1 samples as trained.

        Raises ``FactError`` for a fact set without a title, or without an artist when it is a track.
        """
        decoding = {"temperature": temperature}
        jobs = _jobs(fact_sets, seeds, lang)
        return _best_candidates(jobs, lambda rows: self._write(rows, temperature), "model", decoding)

    def nearest(self, item: TextItem) -> dict[str, Any] | None:
        """The training text whose wording is nearest, with its similarity from 0 to 1."""
        return self.known.nearest(self.words.encode(item.tokens), item.lang)

    def score(self, facts: FactSet, lang: str, tokens: Sequence[str]) -> float:
        """Mean negative log-likelihood (nats per token) of a text within the grammar: how unusual it is.

        Words that the grammar forces cost nothing. Raises ``ValueError`` when the text is not in the grammar.
        """
        import torch

        grammar = grammar_for(facts, lang)
        if not grammar.accepts(tokens, facts):
            raise ValueError("the tokens are not a text of this grammar about these facts")
        numbers = self.words.encode([*header(facts, lang), *tokens, END])
        with torch.inference_mode():
            hidden = self.model.hidden(torch.tensor([numbers[:-1]]))[0, HEADER_LENGTH - 1 :]
            logits = self.model.logits(hidden).double().numpy()
        state, total = grammar.start(facts), 0.0
        for row, token in zip(logits, tokens, strict=False):
            options, _ = self._options(grammar.after(state), state)
            total += float(np.logaddexp.reduce(row[options]) - row[self.words.numbers[token]])
            state = grammar.after(state)[token]
        return total / len(tokens)

    def save(self, folder: Path) -> None:
        """Write ``config.json``, ``model.safetensors`` and ``training.safetensors``."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config = {
            "format": _FORMAT,
            "license": self.license,
            "grammar_sha256": grammar_digest(),
            "size": asdict(self.model.size),
            "card": self.card,
            "tokens": self.words.tokens,
        }
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
        save_file(self.model.weights, folder / WEIGHTS_FILE)
        self.known.save(folder)

    @classmethod
    def load(cls, folder: Path) -> TextGenerator:
        """The generator saved in ``folder``.

        Raises ``ModelFolderError`` for a missing or damaged file, weights that do not fit, or other sentence patterns.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        config = _read_config(folder, _FORMAT)
        _check_grammar(config, folder)
        weights_file = folder / WEIGHTS_FILE
        for file in (weights_file, folder / TRAINING_FILE):
            if not file.is_file():
                raise ModelFolderError(f"{file} is missing: train the text generator again")
        try:
            weights, known = load_file(weights_file), KnownTexts.load(folder)
            size, words = ModelSize(**config["size"]), Vocabulary(config["tokens"])
        except (SafetensorError, TypeError, KeyError) as error:
            raise ModelFolderError(f"{weights_file} or {CONFIG_FILE} beside it is damaged: {error}") from error
        if words.tokens != vocabulary().tokens:
            raise ModelFolderError(f"{folder / CONFIG_FILE}: the vocabulary is not that of the present patterns")
        if {name: tuple(weight.shape) for name, weight in weights.items()} != shapes(size, len(words)):
            raise ModelFolderError(f"{weights_file}: names or shapes of the weights do not fit {CONFIG_FILE}")
        return cls(Llama(size, weights), words, card=config["card"], known=known)

    def _write(self, jobs: list[_Row], temperature: float) -> None:
        from ai_assets.content_generation.text.training import one_thread

        with one_thread():
            for start in range(0, len(jobs), _BATCH):
                self._decode(jobs[start : start + _BATCH], temperature)

    def _decode(self, jobs: list[_Row], temperature: float) -> None:
        import torch

        numbers = torch.tensor([self.words.encode(header(job.facts, job.lang)) for job in jobs])
        longest = self.model.size.longest
        position = 0
        with torch.inference_mode():
            cache = new_cache(self.model.size, len(jobs))
            while position + numbers.shape[1] < longest:
                hidden = self.model.hidden(numbers, cache, position)[:, -1]
                position += numbers.shape[1]
                logits = self.model.logits(hidden).numpy()
                chosen = [self._next(job, row, temperature) for job, row in zip(jobs, logits, strict=True)]
                if all(job.done for job in jobs):
                    return
                numbers = torch.tensor(chosen)[:, None]
        raise RuntimeError(f"a text is longer than {longest} tokens: the patterns have grown, raise the limit")

    def _next(self, job: _Row, logits: np.ndarray, temperature: float) -> int:
        if job.done:
            return 0
        edges = job.grammar.after(job.state)
        options, tokens = self._options(edges, job.state)
        pick = 0
        if len(options) > 1:
            noise = -np.log(-np.log(job.rng.random(len(options))))
            scores = logits[options].astype(np.float64) / temperature + noise
            pick = int(scores.argmax())
            rest = np.delete(scores, pick)
            if scores[pick] - rest.max() < _NEAR_TIE / temperature:
                pick = int((self._exact_logits(job)[options] / temperature + noise).argmax())
        token = tokens[pick]
        if token == END:
            job.done = True
            return 0
        job.tokens.append(token)
        job.state = edges[token]
        return int(options[pick])

    def _options(self, edges: dict[str, State], state: State) -> tuple[np.ndarray, list[str]]:
        if state not in self._allowed:
            tokens = list(edges)
            self._allowed[state] = (np.array(self.words.encode(tokens)), tokens)
        return self._allowed[state]

    def _exact_logits(self, job: _Row) -> np.ndarray:
        import torch

        if self._exact is None:
            self._exact = self.model.double()
        numbers = self.words.encode([*header(job.facts, job.lang), *job.tokens])
        logits: np.ndarray = self._exact.logits(self._exact.hidden(torch.tensor([numbers]))[0, -1]).numpy()
        return logits


@dataclass(eq=False)
class _Row:
    """One item while it is being written."""

    facts: FactSet
    lang: str
    seed: int
    candidate: int = 0
    tokens: list[str] = field(default_factory=list)
    done: bool = False

    def __post_init__(self) -> None:
        self.grammar = grammar_for(self.facts, self.lang)
        self.state = self.grammar.start(self.facts)
        self.rng = np.random.default_rng([self.seed, self.candidate])


def languages(lang: str | Sequence[str], count: int) -> list[str]:
    """One language for each of ``count`` items; raises ``ValueError`` for an unknown language or a wrong number."""
    langs = [lang] * count if isinstance(lang, str) else list(lang)
    if len(langs) != count:
        raise ValueError(f"{len(langs)} languages for {count} fact sets")
    for language in set(langs):
        lexicon(language)
    return langs


def finished_item(tokens: Sequence[str], facts: FactSet, lang: str, seed: int, *, decoder: str) -> TextItem:
    """The item of these tokens, rendered and checked."""
    rendered: Rendered = grammar_for(facts, lang).render(tokens, facts)
    notes = facts.notes + left_out(facts)
    return TextItem(
        text=rendered.text,
        lang=lang,
        seed=seed,
        facts=facts,
        tokens=tuple(tokens),
        fact_spans=rendered.facts,
        fact_sentences=rendered.sentences,
        checks={**check(rendered.text, facts, lang).to_mapping(), "left_out": list(notes)},
        notes=notes,
        decoder=decoder,
    )


def rejections(item: TextItem, candidate: int) -> tuple[Rejection, ...]:
    """What the checks found in a candidate."""
    faults = item.checks["faults"]
    return tuple(Rejection(candidate, f["check"], f"found {f['found']!r}, expected {f['expected']!r}") for f in faults)


def _jobs(fact_sets: Sequence[FactSet], seeds: Sequence[int], lang: str | Sequence[str]) -> list[_Row]:
    langs = languages(lang, len(fact_sets))
    return [_Row(facts, language, seed) for facts, language, seed in zip(fact_sets, langs, seeds, strict=True)]


def _best_candidates(
    jobs: list[_Row], write: Callable[[list[_Row]], None], decoder: str, decoding: dict[str, Any]
) -> list[TextItem]:
    """The first candidate of each job that passes the checks; after ``_CANDIDATES``, the last one with its faults."""
    items: dict[int, TextItem] = {}
    refused: dict[int, tuple[Rejection, ...]] = dict.fromkeys(range(len(jobs)), ())
    waiting = list(range(len(jobs)))
    for candidate in range(_CANDIDATES):
        rows = [_Row(jobs[index].facts, jobs[index].lang, jobs[index].seed, candidate) for index in waiting]
        write(rows)
        for index, row in zip(waiting, rows, strict=True):
            item = finished_item(row.tokens, row.facts, row.lang, row.seed, decoder=decoder)
            items[index] = replace(item, candidates=candidate + 1, rejections=refused[index], decoding=decoding)
            refused[index] += rejections(item, candidate)
        waiting = [index for index in waiting if not items[index].checks["passed"]]
        if not waiting:
            break
    return [items[index] for index in range(len(jobs))]


def _read_config(folder: Path, expected: str) -> dict[str, Any]:
    file = folder / CONFIG_FILE
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{file} is missing: train the text generator first") from None
    except ValueError as error:
        raise ModelFolderError(f"{file} is not readable as JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != expected:
        raise ModelFolderError(f"{file}: expected the format {expected!r}")
    return config


def _check_grammar(config: dict[str, Any], folder: Path) -> None:
    if config.get("grammar_sha256") != grammar_digest():
        raise ModelFolderError(f"{folder} was trained on other sentence patterns: train the text generator again")
