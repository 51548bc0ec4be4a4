"""Near-duplicates among finished items: texts by their letters, covers by their looks, tunes by their melody.

Here belongs finding them within a batch. A near-duplicate is not wrong, so it waits for a person instead of failing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def doubts(modality: str, ids: Sequence[str], items: Sequence[Any]) -> list[str]:
    """For each item a sentence when it is nearly equal to an earlier one of the batch, else an empty string."""
    found = {"text": _texts, "cover": _covers, "music": _tunes}[modality](items)
    return ["" if pair is None else f"near-duplicate of {ids[pair[0]]}: {pair[1]}" for pair in found]


def _texts(items: Sequence[Any]) -> list[tuple[int, str] | None]:
    """Jaccard similarity of the character 5-grams above .8, within one language."""
    from ai_assets.content_generation.text.checker import near_duplicates

    answer: list[tuple[int, str] | None] = [None] * len(items)
    for lang in sorted({item.lang for item in items}):
        places = [place for place, item in enumerate(items) if item.lang == lang]
        for first, second, similarity in near_duplicates([items[place].text for place in places]):
            answer[places[second]] = answer[places[second]] or (places[first], f"similarity {similarity:.2f}")
    return answer


def _covers(items: Sequence[Any]) -> list[tuple[int, str] | None]:
    """Difference hashes of the pictures that differ in six bits or fewer."""
    from ai_assets.content_generation.covers.checks import DUPLICATE_BITS

    answer: list[tuple[int, str] | None] = [None] * len(items)
    hashes = np.array([int(item.checks["perceptual_hash"], 16) for item in items], dtype=np.uint64)
    for place in range(1, len(items)):
        bits = np.bitwise_count(hashes[:place] ^ hashes[place])
        nearest = int(bits.argmin())
        if bits[nearest] <= DUPLICATE_BITS:
            answer[place] = nearest, f"{int(bits[nearest])} of 64 bits of the picture's hash differ"
    return answer


def _tunes(items: Sequence[Any]) -> list[tuple[int, str] | None]:
    """Melodies that share a run of sixteen notes (intervals and lengths), whatever their keys."""
    from ai_assets.content_generation.music.checks import COPIED_RUN_LIMIT
    from ai_assets.content_generation.music.corpus import run_codes

    answer: list[tuple[int, str] | None] = [None] * len(items)
    holders: dict[bytes, int] = {}
    for place, item in enumerate(items):
        score = getattr(item, "score", None)
        codes = run_codes(score) if score is not None else np.zeros(0, dtype=np.int64)
        runs = [codes[at : at + COPIED_RUN_LIMIT].tobytes() for at in range(len(codes) - COPIED_RUN_LIMIT + 1)]
        known = next((holders[run] for run in runs if run in holders), None)
        if known is not None:
            answer[place] = known, f"a run of {COPIED_RUN_LIMIT} notes is the same"
        for run in runs:
            holders.setdefault(run, place)
    return answer
