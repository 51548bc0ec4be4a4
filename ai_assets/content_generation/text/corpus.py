"""Training texts: what the plain grammar writes about invented fact sets, and texts that editors approved.

Here belong examples and where they come from. Fitting a model to them belongs to ``training``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ai_assets.content_generation.facts import GENRES, MOODS, FactSet, PlaylistStatistics
from ai_assets.content_generation.text.grammar import grammar_for
from ai_assets.content_generation.text.lexicon import LANGUAGES

_OTHER_GENRES = ("drum & bass", "trip-hop", "ambient", "afrobeat", "soul", "R&B")
_PLAYLIST_SHARE = 0.25
_GIVEN = 0.8


@dataclass(frozen=True)
class Example:
    """One text to learn from: facts, language, its tokens in the grammar, and the item when an editor approved it."""

    facts: FactSet
    lang: str
    tokens: tuple[str, ...]
    item: str = ""


@dataclass(frozen=True)
class Edited:
    """A text that an editor approved or changed, as rendered."""

    facts: FactSet
    lang: str
    text: str
    item: str = "edited"


def random_facts(count: int, *, seed: int, playlists: float = _PLAYLIST_SHARE) -> list[FactSet]:
    """Invented fact sets: every optional fact is given with probability .8, ``playlists`` is the share of playlists."""
    rng = np.random.default_rng(seed)
    return [_random_fact_set(rng, number, playlists) for number in range(count)]


def grammar_examples(fact_sets: Sequence[FactSet], *, seed: int) -> list[Example]:
    """One text of the plain grammar for each fact set, in the three languages by turns."""
    rng = np.random.default_rng(seed)
    examples = []
    for number, facts in enumerate(fact_sets):
        lang = LANGUAGES[number % len(LANGUAGES)]
        examples.append(Example(facts, lang, tuple(grammar_for(facts, lang).sample(facts, rng))))
    return examples


def edited_examples(edited: Sequence[Edited]) -> tuple[list[Example], list[tuple[int, str]]]:
    """Examples of the edited texts that the grammar can write, and (index, reason) of those it cannot.

    A free rewording is outside the grammar: the model cannot learn it, and saying so beats learning something else.
    """
    examples, refused = [], []
    for index, entry in enumerate(edited):
        tokens = grammar_for(entry.facts, entry.lang).parse(entry.text, entry.facts)
        if tokens is None:
            refused.append((index, "the text is not one the sentence patterns can write about these facts"))
        else:
            examples.append(Example(entry.facts, entry.lang, tuple(tokens), entry.item))
    return examples, refused


def _random_fact_set(rng: np.random.Generator, number: int, playlists: float) -> FactSet:
    def given() -> bool:
        return bool(rng.random() < _GIVEN)

    is_playlist = rng.random() < playlists
    genres = GENRES if rng.random() < 0.9 else _OTHER_GENRES
    genre = str(rng.choice(genres)) if given() else None
    tempo = round(float(rng.uniform(60, 190)), int(rng.integers(2))) if given() else None
    mood = str(rng.choice(MOODS)) if given() else None
    energy = round(float(rng.random()), 2) if given() else None
    key = f"{rng.choice(list('CDEFGAB'))}{rng.choice(['', '#', 'b'])} {rng.choice(['major', 'minor'])}"
    if not is_playlist:
        artist = f"Artist {number}"
        return FactSet(f"Title {number}", artist, genre, tempo, key if given() else None, mood, energy)
    tracks = int(rng.integers(5, 80))
    artists = int(rng.integers(1, tracks + 1)) if given() else None
    statistics = PlaylistStatistics(tracks, int(tracks * rng.uniform(2.5, 5)) if given() else None, artists)
    return FactSet(f"Title {number}", None, genre, tempo, None, mood, energy, statistics)
