"""Sampling tunes: the model proposes, the meter automaton allows, a generator of random numbers per item decides.

Here belong the generators (transformer, and n-gram as baseline), their files, and the item they give. Each candidate
has its own random numbers, and near ties are decided in double precision, so that an item is the same alone and in any
batch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.music.arrangement import Arrangement, arrange
from ai_assets.content_generation.music.checks import check, key_margin
from ai_assets.content_generation.music.corpus import Corpus
from ai_assets.content_generation.music.midi import midi_bytes
from ai_assets.content_generation.music.model import ScoreModel, shapes
from ai_assets.content_generation.music.ngram import NGram
from ai_assets.content_generation.music.plan import Plan, plan
from ai_assets.content_generation.music.scores import Score, without_duplicates
from ai_assets.content_generation.music.tokens import START, Automaton, Vocabulary, decode, encode
from ai_assets.content_generation.provenance import Rejection
from ai_assets.content_generation.text.decode import ModelFolderError
from ai_assets.content_generation.text.model import ModelSize, new_cache
from ai_assets.content_generation.text.training import one_thread

CANDIDATES = 4
ROUNDS = 3
SAMPLE_RATE = 44_100
BARS = (4, 32)
TEMPERATURE = 0.95
# A token less likely than this share of the likeliest one is not drawn.
LEAST_CHANCE = 0.02
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
_FORMAT = "music-1"
_ROWS = 64
_WINDOW = 192
_BUSIEST_BAR = 24
# Logits of the same row in batches of another size differ by about 1e-5 in single precision.
_NEAR_TIE = 1e-3


@dataclass(frozen=True)
class MusicItem:
    """One generated tune.

    ``tokens`` is what the model wrote (in C major or A minor), ``score`` the melody and chords in the asked key,
    ``midi`` the master file. ``decoder`` is ``transformer`` or ``ngram``; ``candidates`` is how many were written,
    ``rejections`` which of them failed a check.
    """

    seed: int
    facts: FactSet
    tokens: tuple[str, ...]
    score: Score
    arrangement: Arrangement
    midi: bytes
    checks: dict[str, Any]
    candidates: int = 1
    rejections: tuple[Rejection, ...] = ()
    notes: tuple[str, ...] = ()
    decoder: str = "transformer"
    decoding: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""

    def audio(self, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
        """The tune as sound: float32 [frames, 2] at -14 LUFS with a true peak below -1 dBTP."""
        from ai_assets.content_generation.music.audio import render

        return self._sound if sample_rate == SAMPLE_RATE else render(self.arrangement, sample_rate)

    @cached_property
    def _sound(self) -> np.ndarray:
        from ai_assets.content_generation.music.audio import render

        return render(self.arrangement, SAMPLE_RATE)

    def picture(self, width: int = 1200, height: int = 480) -> bytes:
        """The piano roll as PNG, marked as made by a model."""
        from ai_assets.content_generation.music.picture import piano_roll

        return piano_roll(self.arrangement, width=width, height=height)


@dataclass(eq=False)
class _Row:
    """One candidate while it is being written."""

    automaton: Automaton
    rng: np.random.Generator
    numbers: list[int]
    places: list[tuple[int, int, int]] = field(default_factory=lambda: [(0, 0, 0)])


class MusicGenerator:
    """A fitted model that writes within the meter automaton. Made by ``training.fit_preset`` or ``load``."""

    name = "music_generator"
    license = "Apache-2.0"

    def __init__(self, model: ScoreModel | NGram, corpus: Corpus, *, card: dict[str, Any]) -> None:
        self.model, self.corpus, self.card = model, corpus, dict(card)
        self._exact: ScoreModel | None = None

    @property
    def words(self) -> Vocabulary:
        """The tokens that the model knows."""
        return self.corpus.words

    @property
    def decoder(self) -> str:
        """``transformer``, or ``ngram`` where there are too few scores or the preset is ``tiny``."""
        return "ngram" if isinstance(self.model, NGram) else "transformer"

    @property
    def version(self) -> str:
        """Head of the SHA-256 over corpus and weights: other weights, other version, other seeds."""
        digest = hashlib.sha256(f"{self.decoder} {self.corpus.digest()}".encode())
        if isinstance(self.model, ScoreModel):
            for name, tensor in sorted(self.model.weights.items()):
                digest.update(name.encode("ascii") + tensor.numpy().tobytes())
        else:
            digest.update(f"{self.model.order} {self.model.by_mode}".encode())
        return digest.hexdigest()[:12]

    def sample(
        self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int], bars: int = 16, rounds: int = ROUNDS
    ) -> list[MusicItem]:
        """One tune of ``bars`` bars for each fact set: the best of ``CANDIDATES`` by key finder and copied run.

        An item of which no candidate passes its checks is tried again in up to ``rounds`` rounds. Raises ``ValueError``
        for a number of bars outside ``BARS`` or of seeds that differs from that of the fact sets.
        """
        if not BARS[0] <= bars <= BARS[1]:
            raise ValueError(f"bars is {bars}, expected {BARS[0]} to {BARS[1]}")
        if len(seeds) != len(fact_sets):
            raise ValueError(f"{len(seeds)} seeds for {len(fact_sets)} fact sets")
        styles = frozenset(self.words.tokens[n].split(" ", 1)[1] for n in self.words.header["style"])
        plans = [plan(facts, seed, styles=styles) for facts, seed in zip(fact_sets, seeds, strict=True)]
        tried: list[list[MusicItem]] = [[] for _ in plans]
        waiting = list(range(len(plans)))
        for attempt in range(rounds):
            numbers = range(attempt * CANDIDATES, (attempt + 1) * CANDIDATES)
            rows = [self._row(plans[i], seeds[i], number, bars) for i in waiting for number in numbers]
            self._write(rows)
            for place, row in enumerate(rows):
                index = waiting[place // CANDIDATES]
                tried[index].append(self._finished(row, fact_sets[index], seeds[index], plans[index], bars))
            waiting = [i for i in waiting if not any(item.checks["passed"] for item in tried[i])]
            if not waiting:
                break
        return [_best(items) for items in tried]

    def nll_per_note(self, scores: Sequence[Score]) -> float:
        """Mean negative log-likelihood of whole scores in nats per note, header and unknown tokens counted."""
        rows = [row_of(self.corpus, score) for score in scores]
        if isinstance(self.model, NGram):
            found = [self.model.log_probabilities(numbers.tolist()) for numbers, _ in rows]
        else:
            with one_thread():
                found = self.model.log_probabilities(rows, _WINDOW)
        nats = sum(self.corpus.nats(score, each) for score, each in zip(scores, found, strict=True))
        return nats / sum(len(score.notes) for score in scores)

    def save(self, folder: Path) -> None:
        """Write ``config.json`` and ``model.safetensors`` (weights and the training rows; nothing is pickled)."""
        from safetensors.numpy import save_file

        folder.mkdir(parents=True, exist_ok=True)
        config: dict[str, Any] = {
            "format": _FORMAT,
            "name": self.name,
            "license": self.license,
            "decoder": self.decoder,
            "card": self.card,
            "bounds": self.corpus.bounds,
            "names": self.corpus.names,
            "tokens": self.words.tokens,
        }
        arrays = {
            "corpus.rows": np.concatenate(self.corpus.rows).astype(np.int32),
            "corpus.lengths": np.array([len(row) for row in self.corpus.rows], dtype=np.int32),
            "corpus.intervals": self.corpus.intervals.astype(np.int32),
        }
        if isinstance(self.model, ScoreModel):
            config["size"] = asdict(self.model.size)
            arrays |= {name: weight.numpy() for name, weight in self.model.weights.items()}
        else:
            config |= {"order": self.model.order, "by_mode": self.model.by_mode}
        (folder / CONFIG_FILE).write_text(json.dumps(config, indent=1, ensure_ascii=False), encoding="utf-8")
        save_file(arrays, folder / WEIGHTS_FILE)

    @classmethod
    def load(cls, folder: Path) -> MusicGenerator:
        """The generator saved in ``folder``; ``ModelFolderError`` for a missing or damaged file or odd weights."""
        config = _read_config(folder)
        weights_file = folder / WEIGHTS_FILE
        if not weights_file.is_file():
            raise ModelFolderError(f"{weights_file} is missing: train the music generator again")
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays = load_file(weights_file)
            flat, lengths = arrays.pop("corpus.rows"), arrays.pop("corpus.lengths")
            rows = tuple(np.split(flat.astype(np.int64), np.cumsum(lengths)[:-1]))
            intervals = arrays.pop("corpus.intervals").astype(np.int64)
            names = tuple(config["names"])
            corpus = Corpus(Vocabulary(config["tokens"]), tuple(config["bounds"]), names, rows, intervals)
            if config["decoder"] == "ngram":
                order, by_mode = config["order"], config["by_mode"]
                counts = NGram(rows, len(corpus.words), order=order, by_mode=by_mode)
                return cls(counts, corpus, card=config["card"])
            size = ModelSize(**config["size"])
        except (SafetensorError, TypeError, KeyError, ValueError) as error:
            raise ModelFolderError(f"{weights_file} or {CONFIG_FILE} beside it is damaged: {error!r}") from error
        if {name: weight.shape for name, weight in arrays.items()} != shapes(size, len(corpus.words)):
            raise ModelFolderError(f"{weights_file}: names or shapes of the weights do not fit {CONFIG_FILE}")
        import torch

        weights = {name: torch.from_numpy(weight) for name, weight in arrays.items()}
        return cls(ScoreModel(size, weights), corpus, card=config["card"])

    def nearest(self, item: MusicItem) -> dict[str, Any] | None:
        """The training score with which the melody shares its longest run, and that run in notes."""
        name, run = item.checks["nearest_training_item"], item.checks["longest_copied_run"]
        return None if name is None else {"id": name, "longest_copied_run": run}

    def _row(self, wishes: Plan, seed: int, candidate: int, bars: int) -> _Row:
        automaton = Automaton(self.words, bars, wishes.wanted)
        return _Row(automaton, np.random.default_rng([seed, candidate]), [self.words.numbers[START]])

    def _finished(self, row: _Row, facts: FactSet, seed: int, wishes: Plan, bars: int) -> MusicItem:
        tokens = self.words.decode(row.numbers)
        plain = decode(tokens)
        move = (wishes.tonic - plain.tonic) % 12
        score = plain.transposed(move - 12 if move > 6 else move)
        played = arrange(score, bars=bars, tempo_bpm=wishes.tempo_bpm, genre=wishes.genre, energy=wishes.energy)
        verdict = check(score, tokens, self.corpus, bars=bars)
        verdict["seconds"] = round(played.seconds, 3)
        return MusicItem(
            seed, facts, tuple(tokens), score, played, midi_bytes(played), verdict,
            notes=facts.notes + self._notes(), decoder=self.decoder,
            decoding={"temperature": TEMPERATURE, "least_chance": LEAST_CHANCE, "bars": bars, "decoder": self.decoder,
                      "candidates": CANDIDATES},
        )  # fmt: skip

    def _notes(self) -> tuple[str, ...]:
        reason = self.card.get("decoder_reason")
        return (str(reason),) if reason else ()

    def _write(self, rows: list[_Row]) -> None:
        if isinstance(self.model, NGram):
            for row in rows:
                while not row.automaton.done:
                    self._push(row, np.log(self.model.probabilities(row.numbers)))
            return
        with one_thread():
            for start in range(0, len(rows), _ROWS):
                self._decode(self.model, rows[start : start + _ROWS])

    def _decode(self, model: ScoreModel, rows: list[_Row]) -> None:
        """Write all rows in step, one token of each at a time."""
        import torch

        size = replace(model.size, longest=16 + max(row.automaton.bars for row in rows) * (2 * _BUSIEST_BAR + 4))
        with torch.inference_mode():
            cache = new_cache(size, len(rows))
            position = 0
            while not all(row.automaton.done for row in rows):
                numbers = torch.tensor([[row.numbers[-1]] for row in rows])
                places = torch.tensor([row.places[-1] for row in rows]).T[:, :, None]
                hidden = model.hidden_at(numbers, places, cache, position)[:, -1]
                position += 1
                for row, logits in zip(rows, model.logits(hidden).numpy(), strict=True):
                    if not row.automaton.done:
                        self._push(row, logits)

    def _push(self, row: _Row, logits: np.ndarray) -> None:
        automaton = row.automaton
        options = np.flatnonzero(automaton.allowed())
        if automaton.in_bar > _BUSIEST_BAR and automaton.since < automaton.size:
            options = options[[int(self.words.lengths[options].argmax())]]
        pick = 0
        if len(options) > 1:
            noise = -np.log(-np.log(row.rng.random(len(options))))
            pick, sure = _choose(logits[options].astype(np.float64), noise)
            if not sure and isinstance(self.model, ScoreModel):
                pick, _ = _choose(self._exact_logits(row)[options], noise)
        number = int(options[pick])
        automaton.push(number)
        row.numbers.append(number)
        row.places.append(automaton.place())

    def _exact_logits(self, row: _Row) -> np.ndarray:
        import torch

        if self._exact is None:
            assert isinstance(self.model, ScoreModel)
            self._exact = self.model.double()
        places = torch.tensor(row.places).T[:, None, :]
        hidden = self._exact.hidden_at(torch.tensor([row.numbers]), places)[0, -1]
        logits: np.ndarray = self._exact.logits(hidden).numpy()
        return logits


class NGramGenerator(MusicGenerator):
    """The n-gram on the same tokens and under the same automaton: the baseline that is reported beside the model."""

    name = "music_ngram"

    @classmethod
    def fit(cls, scores: Sequence[Score]) -> NGramGenerator:
        """The n-gram of ``scores`` without duplicates."""
        corpus = Corpus.of(without_duplicates(scores))
        return cls(NGram(corpus.rows, len(corpus.words)), corpus, card={"scores": len(corpus.names)})


def row_of(corpus: Corpus, score: Score) -> tuple[np.ndarray, np.ndarray]:
    """Token numbers [n] and places [3, n] of a score."""
    tokens = encode(score, corpus.bounds)
    places = corpus.words.places(tokens)
    return corpus.words.encode(tokens), np.stack([places.bar, places.since, places.left])


def _choose(logits: np.ndarray, noise: np.ndarray) -> tuple[int, bool]:
    """The option drawn by Gumbel noise among those likely enough, and whether a tiny change could alter it."""
    below = logits.max() - logits
    limit = -float(np.log(LEAST_CHANCE))
    scores = np.where(below <= limit, logits / TEMPERATURE + noise, -np.inf)
    pick = int(scores.argmax())
    rest = np.delete(scores, pick)
    sure = bool(scores[pick] - rest.max() >= _NEAR_TIE) and not bool((np.abs(below - limit) < _NEAR_TIE).any())
    return pick, sure


def _best(items: list[MusicItem]) -> MusicItem:
    """The candidate with the fewest failed checks, then the one whose key is clearest."""
    order = sorted(range(len(items)), key=lambda n: (len(items[n].checks["failed"]), -key_margin(items[n].score), n))
    refused = tuple(
        Rejection(n, name, _reason(name, items[n].checks))
        for n in range(len(items))
        for name in items[n].checks["failed"]
    )
    return replace(items[order[0]], candidates=len(items), rejections=refused)


def _reason(name: str, checks: dict[str, Any]) -> str:
    if name == "key":
        return f"{checks['key_found']} is heard, {checks['key_asked']} was asked"
    if name == "copied_run":
        return f"{checks['longest_copied_run']} notes as in {checks['nearest_training_item']}"
    return f"{checks['bars']} bars, {checks['notes']} notes from {checks['lowest']} to {checks['highest']}"


def _read_config(folder: Path) -> dict[str, Any]:
    file = folder / CONFIG_FILE
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelFolderError(f"{file} is missing: train the music generator first") from None
    except ValueError as error:
        raise ModelFolderError(f"{file} is not readable as JSON: {error}") from error
    if not isinstance(config, dict) or config.get("format") != _FORMAT:
        raise ModelFolderError(f"{file}: expected the format {_FORMAT!r}")
    return config
