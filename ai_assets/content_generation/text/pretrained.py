"""Texts from a pretrained causal language model on the user's machine, as candidates that the checker must accept.

Here belong loading the model safely, asking it, and falling back. Titles and artists never reach the model: it writes
about ``TITLE`` and ``ARTIST``, and the names are filled in afterwards, so that a title cannot act as an instruction. Of
four candidates the first that says what the facts say is taken; if all are refused, the plain grammar answers, and the
item says so. transformers comes with the extra ``pretrained`` and is imported when a model is loaded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.facts import FactSet, clean
from ai_assets.content_generation.provenance import Rejection, folder_digests
from ai_assets.content_generation.safe_loading import CheckpointError, go_offline, inspect, resolve, verify_loaded
from ai_assets.content_generation.text.checker import Report, check
from ai_assets.content_generation.text.decode import GrammarGenerator, TextItem, languages
from ai_assets.content_generation.text.grammar import given_facts, left_out
from ai_assets.content_generation.text.lexicon import LANGUAGES, lexicon

ARCHITECTURES = frozenset(
    {
        "GPT2LMHeadModel",
        "GPTNeoXForCausalLM",
        "Gemma2ForCausalLM",
        "Gemma3ForCausalLM",
        "LlamaForCausalLM",
        "MistralForCausalLM",
        "Phi3ForCausalLM",
        "Qwen2ForCausalLM",
        "Qwen3ForCausalLM",
    }
)
_TITLE, _ARTIST = "TITLE", "ARTIST"
_LENGTH = (60, 600)
_LANGUAGE_NAMES = {"en": "English", "de": "German", "fr": "French"}
_FACT_NAMES = ("genre", "mood", "energy", "tempo", "key", "tracks", "minutes", "artists")


@dataclass(frozen=True)
class DecodingSettings:
    """How candidates are drawn. ``require_all``: a text that leaves a given fact out is refused too."""

    candidates: int = 4
    temperature: float = 0.8
    top_k: int = 40
    new_tokens: int = 160
    require_all: bool = True


class PretrainedGenerator:
    """A pretrained model behind the checker. Made by ``load``."""

    name = "text_pretrained"

    def __init__(
        self, model: Any, tokenizer: Any, *, version: str, licence: str | None, settings: DecodingSettings
    ) -> None:
        self.model, self.tokenizer = model, tokenizer
        self.version, self.license, self.settings = version, licence, settings
        self._fallback = GrammarGenerator()

    @classmethod
    def load(
        cls, model: str | Path, *, revision: str | None = None, settings: DecodingSettings | None = None
    ) -> PretrainedGenerator:
        """Load a local folder, or a hub id already in the local cache with its commit ``revision``; never downloads.

        Raises ``CheckpointError`` that names what is wrong: see ``safe_loading``.
        """
        go_offline()
        folder = resolve(model, revision=revision)
        checkpoint = inspect(folder, architectures=ARCHITECTURES)
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options = {"local_files_only": True, "trust_remote_code": False}
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            loaded, info = AutoModelForCausalLM.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **options
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{folder} cannot be loaded: {error}") from error
        verify_loaded(checkpoint, loaded.state_dict(), info)
        if len(tokenizer) > loaded.config.vocab_size:
            raise CheckpointError(f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model fewer")
        digests = folder_digests(folder)
        version = digests[min(name for name in digests if name.endswith(".safetensors"))][:12]
        chosen = settings or DecodingSettings()
        return cls(loaded.eval(), tokenizer, version=version, licence=checkpoint.licence, settings=chosen)

    def sample(
        self, fact_sets: Sequence[FactSet], *, seeds: Sequence[int], lang: str | Sequence[str]
    ) -> list[TextItem]:
        """One item for each fact set; ``decoder`` is ``grammar`` when all candidates were refused."""
        langs = languages(lang, len(fact_sets))
        return [self._one(facts, seed, own) for facts, seed, own in zip(fact_sets, seeds, langs, strict=True)]

    def nearest(self, item: TextItem) -> None:
        """What a pretrained model was trained on is not known here."""

    def _one(self, facts: FactSet, seed: int, lang: str) -> TextItem:
        given_facts(facts)
        refused: list[Rejection] = []
        for candidate in range(self.settings.candidates):
            raw = self._continue(prompt(facts, lang), np.random.default_rng([seed, candidate]))
            text = filled(raw, facts, lang)
            report = check(text, facts, lang, length=_LENGTH, require_all=self.settings.require_all)
            faults = [(fault.check, f"found {fault.found!r}, expected {fault.expected!r}") for fault in report.faults]
            if (spoken := identified_language(raw)) not in (None, lang):
                faults.append(("language", f"py3langid hears {spoken}, expected {lang}"))
            if not faults:
                return self._item(text, facts, lang, seed, report, tuple(refused))
            refused += [Rejection(candidate, name, reason) for name, reason in faults]
        item = self._fallback.sample([facts], seeds=[seed], lang=lang)[0]
        note = f"all {self.settings.candidates} candidates of the pretrained model were refused: written by the grammar"
        tried = self.settings.candidates + item.candidates
        return replace(item, candidates=tried, rejections=tuple(refused), notes=(*item.notes, note))

    def _item(
        self, text: str, facts: FactSet, lang: str, seed: int, report: Report, refused: tuple[Rejection, ...]
    ) -> TextItem:
        notes = facts.notes + left_out(facts)
        spans, sentences = _places(text, facts, lang)
        return TextItem(
            text=text,
            lang=lang,
            seed=seed,
            facts=facts,
            tokens=(),
            fact_spans=spans,
            fact_sentences=sentences,
            checks={**report.to_mapping(), "left_out": list(notes)},
            notes=notes,
            candidates=len({rejection.candidate for rejection in refused}) + 1,
            rejections=refused,
            decoder="pretrained",
            decoding=asdict(self.settings),
        )

    def _continue(self, text: str, rng: np.random.Generator) -> str:
        """What the model writes after ``text``: top-k sampling by Gumbel-max with the item's own random numbers."""
        import torch

        numbers = self.tokenizer(text, return_tensors="pt")["input_ids"]
        limit = getattr(self.model.config, "max_position_embeddings", None)
        cache: Any = None
        written: list[int] = []
        ends = self.tokenizer.eos_token_id
        with torch.inference_mode():
            for _ in range(self.settings.new_tokens):
                if limit is not None and numbers.shape[1] + len(written) >= limit:
                    break
                feed = numbers if not written else torch.tensor([[written[-1]]])
                answer = self.model(input_ids=feed, past_key_values=cache, use_cache=True)
                cache = answer.past_key_values
                logits = answer.logits[0, -1].double().numpy()
                best = np.argsort(-logits, kind="stable")[: self.settings.top_k]
                noise = -np.log(-np.log(rng.random(len(best))))
                token = int(best[int((logits[best] / self.settings.temperature + noise).argmax())])
                if token == ends:
                    break
                written.append(token)
        return str(self.tokenizer.decode(written, skip_special_tokens=True)).split("\n\n")[0].strip()


def prompt(facts: FactSet, lang: str) -> str:
    """What the model is asked: the fact table with placeholders for the names, worded in the text's language."""
    words, given = lexicon(lang), given_facts(facts)
    forms = {
        name: min((slot for slot in words.slots() if slot.partition(".")[0] == name), key=len) for name in _FACT_NAMES
    }
    table = [f"{name}: {_value(words.render(forms[name], facts), name)}" for name in _FACT_NAMES if name in given]
    names = [f"title: {words.quotes[0]}{_TITLE}{words.quotes[1]}"] + (
        [f"artist: {_ARTIST}"] if "artist" in given else []
    )
    kind = "playlist" if facts.playlist is not None else "track"
    lines = [f"Facts about a {kind}:", *names, *table, ""]
    ask = f"A description of two or three sentences in {_LANGUAGE_NAMES[lang]} that names each fact once and adds none:"
    return "\n".join([*lines, ask, ""])


def filled(raw: str, facts: FactSet, lang: str) -> str:
    """The model's text with the names in the places of their placeholders, the title in its quotation marks."""
    words = lexicon(lang)
    left, right = (re.escape(mark) for mark in words.quotes)
    title, artist = words.render("title", facts), words.render("artist", facts)
    pattern = re.compile(rf"{left}{_TITLE}{right}|[\"“”„«]?\b{_TITLE}\b[\"“”»]?|\b{_ARTIST}\b")
    return pattern.sub(lambda hit: artist if hit.group() == _ARTIST else title, clean(raw))


def identified_language(text: str) -> str | None:
    """Language of a text among English, German and French by py3langid; None when it is not installed."""
    identifier = _identifier()
    return None if identifier is None else str(identifier.classify(re.sub(rf"\b({_TITLE}|{_ARTIST})\b", "", text))[0])


@cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE)
    identifier.set_languages(sorted(LANGUAGES))
    return identifier


def _value(text: str, name: str) -> str:
    # A genre is free text from a file's tag: kept to one short line of letters, so that it stays a value.
    return re.sub(r"[^\w&+'’./ -]", "", text)[:40] if name == "genre" else text


def _places(text: str, facts: FactSet, lang: str) -> tuple[dict[str, tuple[int, int]], dict[str, int]]:
    words = lexicon(lang)
    spans: dict[str, tuple[int, int]] = {}
    for fact in given_facts(facts):
        forms = [words.render(slot, facts) for slot in words.slots() if slot.partition(".")[0] == fact]
        at = [(text.find(form), len(form)) for form in forms if form in text]
        if at:
            start, length = max(at, key=lambda place: place[1])
            spans[fact] = (start, start + length)
    ends = [match.start() for match in re.finditer(r"[.!?](?=\s|$)", text)]
    return spans, {fact: sum(end < start for end in ends) for fact, (start, _) in spans.items()}
