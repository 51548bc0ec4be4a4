"""The texts a model was trained on, and which of them a new text is nearest to.

Here belongs the comparison for the record of an item (was it copied?). Near-duplicates among finished texts are found
by ``checker``. Slots stay open in tokens: two texts about other tracks are equal when their wording is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.text.lexicon import LANGUAGES

TRAINING_FILE = "training.safetensors"
_GRAM = 4


@dataclass(frozen=True)
class KnownTexts:
    """Token numbers of the training texts, one after another; ``langs`` are places in ``LANGUAGES``."""

    numbers: np.ndarray
    lengths: np.ndarray
    langs: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[tuple[str, Sequence[int]]]) -> KnownTexts:
        """From (language, token numbers) of each text."""
        flat = [number for _, numbers in texts for number in numbers]
        lengths = [len(numbers) for _, numbers in texts]
        langs = [LANGUAGES.index(lang) for lang, _ in texts]
        return cls(np.array(flat, dtype=np.int32), np.array(lengths, dtype=np.int32), np.array(langs, dtype=np.int32))

    def nearest(self, numbers: Sequence[int], lang: str) -> dict[str, Any] | None:
        """Id and similarity of the nearest text in that language; None where there is none.

        The similarity is the Jaccard index of the sets of runs of four tokens.
        """
        holders, sizes = self._index
        code = LANGUAGES.index(lang)
        own = _grams(numbers, code)
        found = [holders[gram] for gram in own if gram in holders]
        if not found:
            return None
        shared = np.bincount(np.concatenate(found), minlength=len(self.lengths))
        similarity = shared / (sizes + len(own) - shared)
        best = int(similarity.argmax())
        return {"id": f"text_training_set:{best}", "similarity": round(float(similarity[best]), 4)}

    @cached_property
    def _index(self) -> tuple[dict[tuple[int, ...], np.ndarray], np.ndarray]:
        holders: dict[tuple[int, ...], list[int]] = {}
        sizes = np.zeros(len(self.lengths))
        parts = np.split(self.numbers, np.cumsum(self.lengths)[:-1])
        for place, (part, code) in enumerate(zip(parts, self.langs.tolist(), strict=True)):
            grams = _grams(part.tolist(), code)
            sizes[place] = len(grams)
            for gram in grams:
                holders.setdefault(gram, []).append(place)
        return {gram: np.array(places) for gram, places in holders.items()}, sizes

    def save(self, folder: Path) -> None:
        """Write ``training.safetensors``."""
        from safetensors.numpy import save_file

        arrays = {"numbers": self.numbers, "lengths": self.lengths, "langs": self.langs}
        save_file(arrays, folder / TRAINING_FILE)

    @classmethod
    def load(cls, folder: Path) -> KnownTexts:
        """Raises ``SafetensorError``, ``OSError`` or ``KeyError`` for a missing or damaged file."""
        from safetensors.numpy import load_file

        arrays = load_file(folder / TRAINING_FILE)
        return cls(arrays["numbers"], arrays["lengths"], arrays["langs"])


def _grams(numbers: Sequence[int], code: int) -> set[tuple[int, ...]]:
    size = min(_GRAM, len(numbers))
    return {(code, *numbers[at : at + size]) for at in range(len(numbers) - size + 1)}
