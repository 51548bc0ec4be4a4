"""The vocabulary of the text model and the header that tells it what the text is about.

Here belong numbering tokens and describing a fact set in a few tokens. Names never become tokens: they stay slots.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from ai_assets.content_generation.facts import ENERGY_CLASSES, GENRES, MOODS, FactSet
from ai_assets.content_generation.text.grammar import END, grammar, kind_of
from ai_assets.content_generation.text.lexicon import LANGUAGES
from ai_assets.content_generation.text.patterns import KINDS, all_patterns

PAD = "<pad>"
_TEMPO_CLASSES = ("slow", "medium", "fast")
_TEMPO_BOUNDS = (90.0, 130.0)
_NONE = "none"
HEADER_LENGTH = 7


class Vocabulary:
    """Tokens and their numbers; ``tokens[0]`` fills up short rows and is never sampled."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = tuple(tokens)
        self.numbers = {token: number for number, token in enumerate(self.tokens)}

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, tokens: Iterable[str]) -> list[int]:
        """Numbers of tokens that are all in the vocabulary (``KeyError`` otherwise)."""
        return [self.numbers[token] for token in tokens]


def vocabulary() -> Vocabulary:
    """The vocabulary of the present patterns: filler, end, header tokens, then all words in order."""
    words: set[str] = set()
    for lang in LANGUAGES:
        for kind in KINDS:
            words |= grammar(lang, kind).words()
    return Vocabulary([PAD, END, *_header_tokens(), *sorted(words)])


def header(facts: FactSet, lang: str) -> list[str]:
    """``HEADER_LENGTH`` tokens for language, kind, energy, mood, genre, tempo and mode of a fact set."""
    genre = _NONE if facts.genre is None else facts.genre if facts.genre in GENRES else "other"
    tempo = _NONE if facts.tempo_bpm is None else _TEMPO_CLASSES[sum(facts.tempo_bpm >= b for b in _TEMPO_BOUNDS)]
    values = {
        "lang": lang,
        "kind": kind_of(facts),
        "energy": facts.energy_class or _NONE,
        "mood": facts.mood or _NONE,
        "genre": genre,
        "tempo": tempo,
        "mode": facts.mode or _NONE,
    }
    return [f"<{name}={value}>" for name, value in values.items()]


def grammar_digest() -> str:
    """SHA-256 (hex) of all patterns: a model belongs to the patterns it was trained on."""
    sources = "\n".join(f"{pattern.name} {pattern.source}" for pattern in all_patterns())
    return hashlib.sha256(sources.encode("utf-8")).hexdigest()


def _header_tokens() -> list[str]:
    values: dict[str, Sequence[str]] = {
        "lang": LANGUAGES,
        "kind": KINDS,
        "energy": (_NONE, *ENERGY_CLASSES),
        "mood": (_NONE, *MOODS),
        "genre": (_NONE, "other", *GENRES),
        "tempo": (_NONE, *_TEMPO_CLASSES),
        "mode": (_NONE, "major", "minor"),
    }
    return [f"<{name}={value}>" for name, options in values.items() for value in options]
