"""The sentence automaton: which word may come next so that the text can still be finished with the facts left.

Here belong the states, the look-ahead, the plain weighted grammar that samples without a model, and reading a rendered
text back. A state knows the facts not yet named, how many sentences are left and where in which patterns it is; it is
built when first reached and kept. The automaton accepts texts in which an opening carries the title, each given fact
is named exactly once, at most ``MAX_SENTENCES`` are used, and no sentence begins with the word of the one before.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ai_assets.content_generation.facts import FactError, FactSet
from ai_assets.content_generation.text.lexicon import Lexicon, lexicon
from ai_assets.content_generation.text.patterns import Pattern, is_slot, patterns, slot_fact

MAX_SENTENCES = 4
END = "<end>"
_END_MARKS = (".", "…", "!", "?")
Span = tuple[int, int]


@dataclass(frozen=True)
class Rendered:
    """A text and, for each fact in it, where it stands (``facts``: name to start and end) and in which sentence."""

    text: str
    facts: dict[str, Span]
    sentences: dict[str, int]


@dataclass(eq=False)
class State:
    """A state of the automaton: ``after`` maps each allowed token to its next state, once asked for."""

    remaining: frozenset[str]
    sentences_left: int
    last_first: str
    opening: bool
    first: str = ""
    positions: frozenset[tuple[int, int]] = frozenset()
    edges: dict[str, State] | None = None

    @property
    def finished(self) -> bool:
        """Whether only the end may follow."""
        return not self.first and not self.remaining


class _Network:
    """The words of one pattern as a graph: from each place, the words that may follow and where each leads."""

    def __init__(self, pattern: Pattern) -> None:
        self.edges: list[dict[str, set[int]]] = [{}]
        frontier = {0}
        for part in pattern.parts:
            ends = {self._path(frontier, option) for option in part if option}
            frontier = ends | (frontier if () in part else set())
        self.ends = frozenset(frontier)
        self.firsts = frozenset(self.edges[0])

    def _path(self, sources: set[int], words: tuple[str, ...]) -> int:
        place = -1
        for word in words:
            self.edges.append({})
            place = len(self.edges) - 1
            for source in sources:
                self.edges[source].setdefault(word, set()).add(place)
            sources = {place}
        return place


class Grammar:
    """The automaton of one language and kind (``track`` or ``playlist``)."""

    def __init__(self, lang: str, kind: str) -> None:
        self.lang, self.kind = lang, kind
        self.lexicon: Lexicon = lexicon(lang)
        self.patterns = patterns(lang, kind)
        self._networks = [_Network(pattern) for pattern in self.patterns]
        self._known: dict[tuple[object, ...], State] = {}
        self._can: dict[tuple[frozenset[str], int, str, bool], bool] = {}

    def start(self, facts: FactSet) -> State:
        """The first state for these facts. Raises ``FactError`` when a text cannot be written from them."""
        return self._state(given_facts(facts), MAX_SENTENCES, "", True, "", frozenset())

    def after(self, state: State) -> dict[str, State]:
        """The tokens that may follow and the states they lead to; ``END`` leads back to the state itself."""
        if state.edges is None:
            state.edges = {END: state} if state.finished else self._expand(state)
        return state.edges

    def accepts(self, tokens: Sequence[str], facts: FactSet) -> bool:
        """Whether the tokens (without ``END``) are a complete text about these facts."""
        state = self.start(facts)
        for token in tokens:
            following = self.after(state).get(token)
            if following is None or token == END:
                return False
            state = following
        return state.finished

    def sample(self, facts: FactSet, rng: np.random.Generator) -> list[str]:
        """Tokens of one text by the weighted grammar alone: a pattern at random, then each alternative at random."""
        state, tokens = self.start(facts), []
        while not state.finished:
            usable = [number for number in range(len(self.patterns)) if self._firsts(number, state)]
            number = usable[rng.integers(len(usable))]
            sentence = self._sentence(number, self._firsts(number, state), rng)
            tokens += sentence
            for token in sentence:
                state = self.after(state)[token]
        return tokens

    def parse(self, text: str, facts: FactSet) -> list[str] | None:
        """The tokens of a rendered text, or None when the text is not in the grammar for these facts."""
        shown = {slot: self._shown(slot, facts) for slot in self._slots() if _given(slot, facts)}
        trail: list[tuple[State, str, list[str]]] = [(self.start(facts), text, [])]
        while trail:
            state, rest, tokens = trail.pop()
            if state.finished:
                if not rest:
                    return tokens
                continue
            for token, following in self.after(state).items():
                before = tokens[-1] if tokens else ""
                piece = self._gap(before, token) + _stopped(shown.get(before, ""), shown.get(token, token))
                if rest.startswith(piece):
                    trail.append((following, rest[len(piece) :], [*tokens, token]))
        return None

    def render(self, tokens: Sequence[str], facts: FactSet) -> Rendered:
        """The text of these tokens with the facts filled in."""
        pieces: list[str] = []
        spans: dict[str, Span] = {}
        sentences: dict[str, int] = {}
        length = sentence = 0
        for before, token in zip(["", *tokens], tokens, strict=False):
            gap = self._gap(before, token)
            shown = self._shown(token, facts) if is_slot(token) else token
            shown = _stopped(self._shown(before, facts) if is_slot(before) else "", shown)
            if is_slot(token):
                spans[slot_fact(token)] = (length + len(gap), length + len(gap) + len(shown))
                sentences[slot_fact(token)] = sentence
            sentence += token == "."
            length += len(gap) + len(shown)
            pieces += [gap, shown]
        return Rendered("".join(pieces), spans, sentences)

    def words(self) -> set[str]:
        """Every token of this grammar."""
        return {token for network in self._networks for edges in network.edges for token in edges}

    def _slots(self) -> list[str]:
        return [word for word in self.words() if is_slot(word)]

    def _shown(self, slot: str, facts: FactSet) -> str:
        return self.lexicon.render(slot.strip("{}"), facts)

    def _gap(self, before: str, token: str) -> str:
        if token in self.lexicon.spaced_punctuation:
            return "\u00a0"
        return "" if not before or token in (".", ",", ":", ";") else " "

    def _firsts(self, number: int, state: State) -> frozenset[str]:
        """First words with which this pattern may follow in a state between sentences."""
        pattern = self.patterns[number]
        if pattern.opening != state.opening or not pattern.needs <= state.remaining or not state.sentences_left:
            return frozenset()
        left = state.remaining - pattern.needs
        words = self._networks[number].firsts - {state.last_first}
        return frozenset(word for word in words if self._finishable(left, state.sentences_left - 1, word, False))

    def _finishable(self, remaining: frozenset[str], sentences: int, last: str, opening: bool) -> bool:
        if not remaining:
            return True
        key = (remaining, sentences, last, opening)
        if key not in self._can:
            state = State(remaining, sentences, last, opening)
            self._can[key] = any(self._firsts(number, state) for number in range(len(self.patterns)))
        return self._can[key]

    def _expand(self, state: State) -> dict[str, State]:
        targets: dict[str, set[tuple[int, int]]] = {}
        if not state.first:
            for number in range(len(self.patterns)):
                for word in self._firsts(number, state):
                    places = self._networks[number].edges[0][word]
                    targets.setdefault(word, set()).update((number, place) for place in places)
        for number, place in state.positions:
            for word, places in self._networks[number].edges[place].items():
                targets.setdefault(word, set()).update((number, following) for following in places)
        return {word: self._advance(state, word, frozenset(targets[word])) for word in sorted(targets)}

    def _advance(self, state: State, word: str, positions: frozenset[tuple[int, int]]) -> State:
        first = state.first or word
        ended = [number for number, place in positions if place in self._networks[number].ends]
        if not ended:
            return self._state(state.remaining, state.sentences_left, state.last_first, state.opening, first, positions)
        left = state.remaining - self.patterns[ended[0]].needs
        return self._state(left, state.sentences_left - 1, first, False, "", frozenset())

    def _state(
        self,
        remaining: frozenset[str],
        sentences: int,
        last: str,
        opening: bool,
        first: str,
        positions: frozenset[tuple[int, int]],
    ) -> State:
        key = (remaining, sentences, last, opening, first, positions)
        if key not in self._known:
            if not first and not self._finishable(remaining, sentences, last, opening):
                raise FactError(
                    "facts", f"no {self.lang} {self.kind} text names exactly {', '.join(sorted(remaining))}"
                )
            self._known[key] = State(remaining, sentences, last, opening, first, positions)
        return self._known[key]

    def _sentence(self, number: int, firsts: frozenset[str], rng: np.random.Generator) -> list[str]:
        while True:
            picks = [part[rng.integers(len(part))] for part in self.patterns[number].parts]
            sentence = list(itertools.chain.from_iterable(picks))
            if sentence[0] in firsts:
                return sentence


@cache
def grammar(lang: str, kind: str) -> Grammar:
    """The grammar of a language and kind; built once for a process."""
    return Grammar(lang, kind)


def kind_of(facts: FactSet) -> str:
    """``playlist`` when there are playlist statistics, else ``track``."""
    return "track" if facts.playlist is None else "playlist"


def grammar_for(facts: FactSet, lang: str) -> Grammar:
    """The grammar that writes about these facts."""
    return grammar(lang, kind_of(facts))


def given_facts(facts: FactSet) -> frozenset[str]:
    """The facts a text must name. Raises ``FactError`` when the title, or a track's artist, is missing."""
    kind = kind_of(facts)
    for name in ("title", "artist") if kind == "track" else ("title",):
        if getattr(facts, name) is None:
            raise FactError(name, f"is required for the text of a {kind} and missing")
    names = {"title": facts.title, "genre": facts.genre, "tempo": facts.tempo_bpm, "mood": facts.mood}
    given = {name for name, value in {**names, "energy": facts.energy}.items() if value is not None}
    if facts.playlist is None:
        return frozenset(given | {"artist"} | ({"key"} if facts.key is not None else set()))
    return frozenset(given | {name for name in ("tracks", "minutes", "artists") if getattr(facts.playlist, name)})


def left_out(facts: FactSet) -> tuple[str, ...]:
    """Given facts that a text about this kind does not name, each with the reason."""
    if facts.playlist is None:
        return ()
    given = [name for name in ("artist", "key") if getattr(facts, name) is not None]
    return tuple(f"{name} left out: a playlist's text does not name it" for name in given)


def _stopped(fact: str, shown: str) -> str:
    """What follows a fact: its own full stop ("B.I.G.") or other end mark closes the sentence too."""
    return "" if shown == "." and fact.endswith(_END_MARKS) else shown


def _given(slot: str, facts: FactSet) -> bool:
    return slot_fact(slot) in given_facts(facts)
