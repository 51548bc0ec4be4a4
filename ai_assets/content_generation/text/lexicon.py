"""How each language writes a fact: forms of genres, moods and energy, numbers, key names, quotation marks.

Here belong the word forms and the rules of spelling. Sentences belong to the patterns; an entry always carries every
form its language uses, so that a pattern never has to know which value it will meet.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ai_assets.content_generation.facts import FactSet, shortened

LANGUAGES: tuple[str, ...] = ("en", "de", "fr")
NBSP = "\u00a0"
_NAME_LIMIT = 120

Forms = Mapping[str, str]


@dataclass(frozen=True)
class Lexicon:
    """All forms of one language.

    ``genres``, ``moods`` and ``energies`` map a value to its forms; ``other_genre`` holds a template with ``{genre}``
    for each form of a genre that is not in the list; ``counts`` maps a form such as ``tracks.dat`` to the words for one
    and for many; ``notes`` maps a letter with its accidental to the key's tonic, ``key_pattern`` puts the key together.
    """

    lang: str
    quotes: tuple[str, str]
    untitled: str
    unknown_artist: str
    decimal: str
    thousands: str
    unit_space: str
    genres: Mapping[str, Forms]
    other_genre: Forms
    moods: Mapping[str, Forms]
    energies: Mapping[str, Forms]
    tempo_units: Forms
    counts: Mapping[str, tuple[str, str]]
    tonics: Mapping[str, Mapping[str, str]]
    modes: Mapping[str, str]
    spaced_punctuation: str = ""

    def slots(self) -> frozenset[str]:
        """Names of all slots this language knows, such as ``mood.f_dat``."""
        names = {"title", "artist", "key", *self.counts}
        for fact, table in (("genre", self.genres), ("mood", self.moods), ("energy", self.energies)):
            names |= {_slot(fact, form) for form in next(iter(table.values()))}
        return frozenset(names | {_slot("tempo", form) for form in self.tempo_units})

    def render(self, slot: str, facts: FactSet) -> str:
        """The text that stands for ``slot`` in a sentence about ``facts``. The fact must be given."""
        fact, _, form = slot.partition(".")
        if fact == "title":
            return self.quotes[0] + shortened(facts.title or self.untitled) + self.quotes[1]
        if fact == "artist":
            return shortened(facts.artist or self.unknown_artist, _NAME_LIMIT)
        if fact == "genre":
            return self.genre(facts.genre or "", form)
        if fact == "mood":
            return self.moods[facts.mood or ""][form]
        if fact == "energy":
            return self.energies[facts.energy_class or ""][form]
        if fact == "tempo":
            return self.number(facts.tempo_bpm or 0.0) + self.unit_space + self.tempo_units[form]
        if fact == "key":
            return self.key(facts.key or "")
        return self._count(slot, facts)

    def genre(self, genre: str, form: str) -> str:
        """One form of a known genre, or of another genre, which is written as given."""
        if genre in self.genres:
            return self.genres[genre][form]
        given = shortened(genre, _NAME_LIMIT)
        text = self.other_genre[form].replace("{genre}", given)
        return f"{english_article(given)} {text}" if self.lang == "en" and form == "a" else text

    def number(self, value: float) -> str:
        """A number with at most one decimal as the language writes it; ``.0`` is left out."""
        whole, _, decimal = f"{value:,.1f}".partition(".")
        text = whole.replace(",", self.thousands)
        return text if decimal == "0" else text + self.decimal + decimal

    def key(self, key: str) -> str:
        """A key such as ``Db minor`` as the language names it: D♭ minor, des-Moll, ré bémol mineur."""
        tonic, mode = key.split(" ")
        return self.tonics[mode][tonic] + self.modes[mode]

    def _count(self, slot: str, facts: FactSet) -> str:
        count = getattr(facts.playlist, slot.partition(".")[0])
        singular, plural = self.counts[slot]
        return self.number(count) + self.unit_space + (singular if count == 1 else plural)


def lexicon(lang: str) -> Lexicon:
    """The lexicon of ``en``, ``de`` or ``fr``. Raises ``ValueError`` for another language."""
    from ai_assets.content_generation.text import lexicon_de, lexicon_en, lexicon_fr

    lexicons = {"en": lexicon_en.LEXICON, "de": lexicon_de.LEXICON, "fr": lexicon_fr.LEXICON}
    if lang not in lexicons:
        raise ValueError(f"language is {lang!r}, expected one of {', '.join(LANGUAGES)}")
    return lexicons[lang]


def english_article(word: str) -> str:
    """``a`` or ``an`` by the sound of ``word``: an hour, a UK act, an R&B track, an 80 BPM groove, a one-off."""
    head = re.split(r"[^\w&]", word.lstrip("“\"'("), maxsplit=1)[0]
    if not head:
        return "a"
    if head[0].isdigit():
        digits = re.match(r"\d+", head)
        number = digits.group() if digits else ""
        return "an" if number[0] == "8" or number in ("11", "18") else "a"
    if len(head) <= 4 and head.isupper():
        return "an" if head[0] in "AEFHILMNORSX" else "a"
    lower = head.lower()
    if re.match(r"(hour|honest|heir|hono)", lower):
        return "an"
    return "a" if re.match(r"(uni([^nm]|$)|us[aeu]|uk|eu|one|once|u$)", lower) else "an" if lower[0] in "aeiou" else "a"


def _slot(fact: str, form: str) -> str:
    return f"{fact}.{form}" if form else fact
