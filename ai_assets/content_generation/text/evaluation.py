"""How good a set of generated texts is: faithfulness, language, grammar, variety.

Everything is measured on the rendered texts. The verdict on one text belongs to ``checker``.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ai_assets.content_generation.text.decode import TextItem
from ai_assets.content_generation.text.grammar import grammar_for

_MASKED = ("title", "artist", "tempo", "key", "tracks", "minutes", "artists")
_FACT_CHECKS = frozenset(
    {"title", "artist", "number", "key", "genre", "mood", "energy", "tempo", "tracks", "minutes", "artists"}
)


@dataclass(frozen=True)
class Evaluation:
    """Counts over ``texts``: how many have a fact missing, repeated or invented, speak another language, break another
    check, or are outside the grammar; and shares: unique texts with names and numbers masked, distinct n-grams, and
    self-BLEU-4 (1 = every text is made of the others' phrases)."""

    texts: int
    slot_errors: int
    wrong_language: int
    other_faults: int
    outside_grammar: int
    unique: float
    distinct_2: float
    distinct_4: float
    self_bleu_4: float


def evaluate(items: Sequence[TextItem]) -> Evaluation:
    """The evaluation of texts of one language. Raises ``ValueError`` without texts."""
    if not items:
        raise ValueError("there are no texts to evaluate")
    faults = [{fault["check"] for fault in item.checks["faults"]} for item in items]
    words = [masked_words(item) for item in items]
    return Evaluation(
        texts=len(items),
        slot_errors=sum(bool(found & _FACT_CHECKS) for found in faults),
        wrong_language=sum("language" in found for found in faults),
        other_faults=sum(bool(found - _FACT_CHECKS - {"language"}) for found in faults),
        outside_grammar=sum(grammar_for(item.facts, item.lang).parse(item.text, item.facts) is None for item in items),
        unique=len({tuple(text) for text in words}) / len(items),
        distinct_2=_distinct(words, 2),
        distinct_4=_distinct(words, 4),
        self_bleu_4=self_bleu(words),
    )


def masked_words(item: TextItem) -> list[str]:
    """Words and punctuation of a text in lower case, each name and number replaced by the name of its fact."""
    text = item.text
    for fact, (start, end) in sorted(item.fact_spans.items(), key=lambda entry: -entry[1][0]):
        if fact in _MASKED:
            unit = re.sub(r"^[\d.,\u00a0]+", "", text[start:end]) if text[start].isdigit() else ""
            text = f"{text[:start]} {fact.upper()} {unit}{text[end:]}"
    return [word.lower() for word in re.findall(r"\w+’?|[^\w\s]", text)]


def self_bleu(texts: Sequence[Sequence[str]], longest: int = 4) -> float:
    """Mean BLEU of each text against all others (Zhu et al. 2018, Texygen), n-grams up to ``longest``, no smoothing."""
    counts = [[_grams(text, size) for text in texts] for size in range(1, longest + 1)]
    best = [_two_highest(of_size) for of_size in counts]
    lengths = [len(text) for text in texts]
    scores = []
    for index in range(len(texts)):
        logs = [_log_precision(counts[size][index], best[size], index) for size in range(longest)]
        others = lengths[:index] + lengths[index + 1 :]
        nearest = min(others, key=lambda length: (abs(length - lengths[index]), length), default=lengths[index])
        penalty = min(0.0, 1 - nearest / max(1, lengths[index]))
        scores.append(math.exp(sum(logs) / longest + penalty))
    return sum(scores) / len(scores)


def _grams(words: Sequence[str], size: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[at : at + size]) for at in range(len(words) - size + 1))


def _two_highest(counts: Sequence[Counter[tuple[str, ...]]]) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """For each n-gram: its highest count in a text, that text, and the highest count in any other text."""
    best: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for index, of_text in enumerate(counts):
        for gram, count in of_text.items():
            first, holder, second = best.get(gram, (0, -1, 0))
            best[gram] = (count, index, first) if count > first else (first, holder, max(second, count))
    return best


def _log_precision(
    own: Counter[tuple[str, ...]], best: dict[tuple[str, ...], tuple[int, int, int]], index: int
) -> float:
    hits = 0
    for gram, count in own.items():
        first, holder, second = best[gram]
        hits += min(count, second if holder == index else first)
    total = sum(own.values())
    return math.log(hits / total) if hits and total else -math.inf


def _distinct(texts: Sequence[Sequence[str]], size: int) -> float:
    grams = [tuple(text[at : at + size]) for text in texts for at in range(len(text) - size + 1)]
    return len(set(grams)) / max(1, len(grams))
