"""Does a rendered text say what its facts say, in its language, and nothing that must not be there?

The checker reads the text a reader would see, never the tokens it was made from, so it judges our own generator and a
pretrained model alike. Names are masked first: a title such as "Sad Techno in C minor at 120 BPM" is no statement.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from ai_assets.content_generation.facts import FactSet, clean
from ai_assets.content_generation.text.grammar import given_facts
from ai_assets.content_generation.text.lexicon import LANGUAGES, lexicon

_MASK = "\ufffc"
_PLACES = 6
_NUMBER = re.compile(r"\d+(?:[.,\u00a0\u202f]\d+)*")
_UNWANTED = {
    "url": re.compile(r"https?:|www\.|\b[\w-]+\.(?:com|org|net|io|de|fr)\b", re.IGNORECASE),
    "address": re.compile(r"\S@\S"),
    "markup": re.compile(r"<[A-Za-z/!?]|&[a-z]+;|\[[^\]]*\]\(|[*_`#]{2}|\{[^}]*\}"),
}
_ENERGY = {
    "en": r"\b(?P<low>low)[- ]energy\b|\b(?P<medium>medium)[- ]energy\b|\b(?P<high>high)[- ]energy\b",
    "de": r"\b(?:(?P<low>niedrig)|(?P<medium>mittler)|(?P<high>hoh))\w* Energie(?:niveau)?\b",
    "fr": r"\bénergie (?:est )?(?:(?P<low>faible)|(?P<medium>moyen)|(?P<high>élevé))",
}
# Words that only one of the three languages writes, frequent enough to be in any sentence.
_LANGUAGE_WORDS = {
    "en": "the is by of with from and this it its at to for here was that there are we you has have as "
    "beats per expect overall gathers holds collects brings together contains features",
    "de": "der die das ist von mit und ein eine einen einem kommt stammt bei den dem es gehört steht wird sie im auf "
    "zum ins vom sind wurden werden umfasst enthält versammelt bietet läuft klingt wirkt insgesamt sowie gesagt",
    "fr": "le la les l d est un une par avec et de du en à au dans signé voici sur il elle on y se que ce sont cet "
    "côté bref ici plutôt réunit rassemble propose compte regroupe relève énergie",
}
BLOCKED_WORDS: tuple[str, ...] = ("fuck", "shit", "bitch", "nazi", "scheiße", "fotze", "merde", "putain", "salope")


@dataclass(frozen=True)
class Fault:
    """One thing wrong: which check, what the text has, what the facts say (empty lists mean nothing)."""

    check: str
    found: str
    expected: str


@dataclass(frozen=True)
class Report:
    """The verdict on one text. ``language_votes`` counts the function words of each language."""

    faults: tuple[Fault, ...]
    characters: int
    language_votes: dict[str, int]
    left_out: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def to_mapping(self) -> dict[str, Any]:
        """The verdict as a JSON object."""
        faults = [{"check": fault.check, "found": fault.found, "expected": fault.expected} for fault in self.faults]
        votes = dict(self.language_votes)
        return {
            "passed": self.passed,
            "faults": faults,
            "characters": self.characters,
            "language_votes": votes,
            "left_out": list(self.left_out),
        }


def check(
    text: str,
    facts: FactSet,
    lang: str,
    *,
    length: tuple[int, int] = (12, 700),
    blocked: Sequence[str] = BLOCKED_WORDS,
    require_all: bool = True,
) -> Report:
    """The verdict on ``text`` about ``facts`` in ``lang``.

    Every given fact must be named exactly once and no other value of tempo, key, genre, mood or energy at all.
    ``length`` bounds the characters without names; ``require_all=False`` lets facts be missing, as a free text may.
    """
    named, masked_texts = _masked(text, facts, lang, require_all)
    best: list[Fault] | None = None
    masked = text
    for candidate in masked_texts:
        faults = _fact_faults(candidate, facts, lang, require_all)
        if best is None or len(faults) < len(best):
            best, masked = faults, candidate
        if not faults:
            break
    votes = language_votes(masked)
    faults = named + (best or [])
    faults += _style_faults(masked, lang, votes, length, blocked)
    if clean(text) != text:
        faults.append(Fault("characters", "control, bidirectional or uncomposed characters", "none"))
    return Report(tuple(faults), len(text), votes, facts.notes)


def language_votes(text: str) -> dict[str, int]:
    """How many function words of each language a text has."""
    words = Counter(re.findall(r"[^\W\d_]+", text.lower()))
    return {lang: sum(words[word] for word in _function_words(lang)) for lang in LANGUAGES}


def near_duplicates(texts: Sequence[str], *, threshold: float = 0.8, size: int = 5) -> list[tuple[int, int, float]]:
    """Pairs of texts whose sets of character n-grams have a Jaccard similarity above ``threshold``.

    Compare texts of one language. The pairs are found through shared n-grams, rarest first (prefix filtering,
    Chaudhuri et al. 2006): a text above the threshold must share one of its rarest with the other.
    """
    grams = [{text[at : at + size] for at in range(max(1, len(text) - size + 1))} for text in texts]
    frequency = Counter(itertools.chain.from_iterable(grams))
    holders: dict[str, list[int]] = {}
    pairs = []
    for index, own in enumerate(grams):
        ordered = sorted(own, key=lambda gram: (frequency[gram], gram))
        rarest = ordered[: len(ordered) - int(threshold * len(ordered)) + 1]
        for other in sorted({holder for gram in rarest for holder in holders.get(gram, ())}):
            shared = len(own & grams[other])
            similarity = shared / (len(own) + len(grams[other]) - shared)
            if similarity > threshold:
                pairs.append((other, index, round(similarity, 4)))
        for gram in rarest:
            holders.setdefault(gram, []).append(index)
    return pairs


def _masked(text: str, facts: FactSet, lang: str, require_all: bool) -> tuple[list[Fault], Iterator[str]]:
    """Faults about names, and the text with its names masked in each way that is possible."""
    words = lexicon(lang)
    faults = []
    title = words.render("title", facts)
    if text.count(title) != 1:
        faults.append(Fault("title", f"{text.count(title)} times", f"{title} once"))
    texts: list[str] = [text.replace(title, _MASK)]
    names = [("artist", words.render("artist", facts))] if facts.playlist is None else []
    if facts.genre is not None and facts.genre not in words.genres:
        names.append(("genre", words.genre(facts.genre, "n" if lang == "en" else "")))
    for fact, name in names:
        # A name may also be a word of the sentence, so every place of it is tried.
        tried = [other for masked in texts for other in _without(masked, name)]
        if not tried and (require_all or fact == "artist"):
            faults.append(Fault(fact, "not named", name))
        texts = tried or texts
    return faults, iter(texts[: _PLACES**2])


def _without(text: str, name: str) -> list[str]:
    before = r"(?<!\w)" if name[:1].isalnum() else ""
    after = r"(?!\w)" if name[-1:].isalnum() else ""
    places = list(re.finditer(before + re.escape(name) + after, text))
    # Far places first: names of one sentence seldom begin it, words of it often do.
    return [text[: place.start()] + _MASK + text[place.end() :] for place in places[-_PLACES:]]


def _fact_faults(masked: str, facts: FactSet, lang: str, require_all: bool) -> list[Fault]:
    given = given_facts(facts)
    words = lexicon(lang)
    plain = masked.replace("\u00a0", " ").replace("\u202f", " ")
    counts = [slot for slot in ("tracks", "minutes", "artists") if slot in given]
    amounts = [words.number(facts.tempo_bpm)] if facts.tempo_bpm is not None else []
    amounts += [words.number(getattr(facts.playlist, slot)) for slot in counts]
    genre = [facts.genre] if facts.genre in words.genres else []
    key = [words.key(facts.key).casefold()] if "key" in given and facts.key is not None else []
    pairs: list[tuple[str, Iterable[str], list[Any]]] = [
        ("number", _NUMBER.findall(masked), amounts),
        ("key", _keys(plain, lang), key),
        ("genre", _found(_genre_words(lang), plain), genre),
        ("mood", _found(_mood_words(lang), plain), [facts.mood] if facts.mood else []),
        ("energy", _found(_energy_words(lang), plain), [facts.energy_class] if facts.energy_class else []),
    ]
    faults = []
    for name, found, expected in pairs:
        seen, wanted = Counter(found), Counter(expected)
        if seen != wanted and (require_all or seen - wanted):
            faults.append(Fault(name, ", ".join(sorted(seen.elements())), ", ".join(sorted(wanted.elements()))))
    for slot in [*counts, *(["tempo"] if "tempo" in given else [])]:
        if require_all and not any(form in masked for form in _unit_forms(slot, facts, lang)):
            faults.append(Fault(slot, "not with its unit", words.render(slot, facts)))
    return faults


def _style_faults(
    masked: str, lang: str, votes: dict[str, int], length: tuple[int, int], blocked: Sequence[str]
) -> list[Fault]:
    faults = []
    if not votes[lang] or votes[lang] < max(votes.values()):
        faults.append(Fault("language", max(votes, key=lambda name: votes[name]), lang))
    size = len(masked)
    if not length[0] <= size <= length[1]:
        faults.append(Fault("length", f"{size} characters without names", f"{length[0]} to {length[1]}"))
    for name, pattern in _UNWANTED.items():
        if match := pattern.search(masked):
            faults.append(Fault(name, match.group(), "none"))
    words = re.findall(r"[\w♯♭]+", masked.lower())
    if bad := sorted(set(words) & set(blocked)):
        faults.append(Fault("word list", ", ".join(bad), "none"))
    runs = Counter(itertools.pairwise(itertools.pairwise(itertools.pairwise(words))))
    if any(count > 1 for count in runs.values()):
        faults.append(Fault("repetition", "the same four words twice", "none"))
    return faults


def _unit_forms(slot: str, facts: FactSet, lang: str) -> list[str]:
    words = lexicon(lang)
    forms = [name for name in words.slots() if name.partition(".")[0] == slot]
    return [words.render(form, facts) for form in forms]


def _found(pattern: re.Pattern[str], text: str) -> list[str]:
    return [(match.lastgroup or "").replace("_", "-") for match in pattern.finditer(text)]


def _keys(text: str, lang: str) -> list[str]:
    if lang == "en":
        text = re.sub(r"\b([A-G])[- ]?sharp\b|\b([A-G])#", lambda hit: f"{hit[1] or hit[2]}♯", text)
        text = re.sub(r"\b([A-G])[- ]?flat\b|\b([A-G])b(?= )", lambda hit: f"{hit[1] or hit[2]}♭", text)
    return [match.group().casefold() for match in _key_names(lang).finditer(text)]


@cache
def _function_words(lang: str) -> frozenset[str]:
    own = set(_LANGUAGE_WORDS[lang].split())
    others = itertools.chain.from_iterable(_LANGUAGE_WORDS[name].split() for name in LANGUAGES if name != lang)
    return frozenset(own - set(others))


@cache
def _key_names(lang: str) -> re.Pattern[str]:
    words = lexicon(lang)
    names = {words.key(f"{tonic} {mode}") for mode, tonics in words.tonics.items() for tonic in tonics}
    longest_first = sorted(names, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<![\w♯♭])(?:{'|'.join(map(re.escape, longest_first))})(?!\w)", re.IGNORECASE)


@cache
def _genre_words(lang: str) -> re.Pattern[str]:
    standing = "n" if lang == "en" else ""
    groups = []
    for genre, forms in lexicon(lang).genres.items():
        variants = {genre if lang == "en" else forms[standing], forms[standing]}
        spelled = "|".join(re.escape(word).replace(r"\-", "[- ]?") for word in sorted(variants, key=len, reverse=True))
        groups.append(f"(?P<{genre.replace('-', '_')}>{spelled})")
    return re.compile(rf"(?<!\w)(?:{'|'.join(groups)})(?!\w)", re.IGNORECASE)


@cache
def _mood_words(lang: str) -> re.Pattern[str]:
    # Endings that our own sentences do not use, but a free text may.
    ending = {"en": "(?:ly)?", "de": "(?:e[rsnm]?)?", "fr": "s?"}[lang]
    groups = []
    for mood, forms in lexicon(lang).moods.items():
        words = {form.removeprefix("an ").removeprefix("a ") if lang == "en" else form for form in forms.values()}
        groups.append(f"(?P<{mood}>(?:{'|'.join(sorted(words, key=lambda word: (-len(word), word)))}){ending})")
    return re.compile(rf"(?<!\w)(?:{'|'.join(groups)})(?!\w)", re.IGNORECASE)


@cache
def _energy_words(lang: str) -> re.Pattern[str]:
    return re.compile(_ENERGY[lang], re.IGNORECASE)
