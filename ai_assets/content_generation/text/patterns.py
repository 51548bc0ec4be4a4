"""Sentence patterns made machine-readable: parts, alternatives, slots, and what each pattern needs.

Here belong reading and validating patterns. The sentences themselves are in ``patterns_en.txt``,
``patterns_de.txt`` and ``patterns_fr.txt``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ai_assets.content_generation.text.lexicon import LANGUAGES, lexicon

Alternative = tuple[str, ...]
KINDS: tuple[str, ...] = ("track", "playlist")
_TOKEN = re.compile(r"\{[^{}]+\}|[.,:;]|[^\s.,:;{}\[\]|]+")
_PART = re.compile(r"\[([^\[\]]*)\]|([^\[\]]+)")


class PatternError(ValueError):
    """A pattern that cannot be used; the message quotes it."""


@dataclass(frozen=True)
class Pattern:
    """One sentence pattern: ``parts`` in order, each a tuple of alternatives, each a tuple of tokens.

    ``needs`` are the facts that the sentence names, each exactly once whatever alternatives are taken.
    """

    name: str
    lang: str
    kind: str
    opening: bool
    source: str
    parts: tuple[tuple[Alternative, ...], ...]
    needs: frozenset[str]

    def sentences(self) -> Iterator[Alternative]:
        """Every token sequence this pattern allows."""
        for choice in itertools.product(*self.parts):
            yield tuple(itertools.chain.from_iterable(choice))

    def samples(self) -> list[Alternative]:
        """A few sentences that together hold every alternative at least once."""
        longest = max(len(part) for part in self.parts)
        picks = ([part[step % len(part)] for part in self.parts] for step in range(longest))
        return list(dict.fromkeys(tuple(itertools.chain.from_iterable(pick)) for pick in picks))


def is_slot(token: str) -> bool:
    """Whether a token stands for a fact."""
    return token.startswith("{")


def slot_fact(token: str) -> str:
    """The fact a slot token stands for: ``{mood.f_dat}`` gives ``mood``."""
    return token.strip("{}").partition(".")[0]


def read(source: str, *, name: str, lang: str, kind: str, opening: bool) -> Pattern:
    """The ``Pattern`` of a source text. Raises ``PatternError`` when it breaks a rule that the grammar relies on."""
    parts = tuple(_alternatives(match[1], match[2]) for match in _PART.finditer(source))
    needs = frozenset(itertools.chain.from_iterable(map(_needs, parts)))
    pattern = Pattern(name, lang, kind, opening, source, parts, needs)
    _validate(pattern)
    return pattern


@cache
def patterns(lang: str, kind: str) -> tuple[Pattern, ...]:
    """All patterns of a language for ``track`` or ``playlist``, openings first."""
    found = []
    for opening, section in ((True, "openings"), (False, "bodies")):
        for number, source in enumerate(_sections(lang)[f"{kind} {section}"], start=1):
            name = f"{lang}.{kind}.{section}.{number:02d}"
            found.append(read(source, name=name, lang=lang, kind=kind, opening=opening))
    return tuple(found)


def all_patterns() -> tuple[Pattern, ...]:
    """The patterns of all languages and kinds."""
    return tuple(itertools.chain.from_iterable(patterns(lang, kind) for lang in LANGUAGES for kind in KINDS))


@cache
def _sections(lang: str) -> dict[str, list[str]]:
    text = resources.files("ai_assets.content_generation.text").joinpath(f"patterns_{lang}.txt").read_text("utf-8")
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("== "):
            lines = sections.setdefault(line.removeprefix("== ").strip(), [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line.strip())
    return sections


def _alternatives(choices: str | None, text: str | None) -> tuple[Alternative, ...]:
    options = [text or ""] if choices is None else choices.split("|")
    return tuple(tuple(_TOKEN.findall(option)) for option in options)


def _needs(part: tuple[Alternative, ...]) -> list[str]:
    facts = [sorted(slot_fact(token) for token in option if is_slot(token)) for option in part]
    if any(other != facts[0] for other in facts):
        raise PatternError(f"alternatives of {part} name different facts")
    return facts[0]


def _validate(pattern: Pattern) -> None:
    known = lexicon(pattern.lang).slots()
    for sentence in pattern.sentences():
        slots = [token for token in sentence if is_slot(token)]
        if unknown := [slot for slot in slots if slot.strip("{}") not in known]:
            raise PatternError(f"{pattern.name}: unknown slot {unknown[0]} in {pattern.source!r}")
        if len({slot_fact(slot) for slot in slots}) != len(slots):
            raise PatternError(f"{pattern.name}: a fact is named twice in {pattern.source!r}")
        if sentence.count(".") != 1 or sentence[-1] != ".":
            raise PatternError(f"{pattern.name}: a sentence must end with its only full stop: {pattern.source!r}")
    if pattern.opening != ("title" in pattern.needs):
        raise PatternError(f"{pattern.name}: openings, and only they, carry the title: {pattern.source!r}")
    if any(len(set(part)) != len(part) for part in pattern.parts):
        raise PatternError(f"{pattern.name}: the same alternative twice in {pattern.source!r}")
