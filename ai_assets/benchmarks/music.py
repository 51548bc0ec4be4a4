"""`benchmark music`: nats per note and the quality of sampled tunes on anybody's collection of scores.

Belongs here: the protocol and its figures. Does not belong here: models and measures of a single tune.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.facts import FactSet, fact_set
from ai_assets.content_generation.music import MusicGenerator, MusicItem, NGramGenerator, Score, fit_preset, read_folder
from ai_assets.content_generation.music.scores import without_duplicates

UNIT = "nats per note"
TUNES, BARS = 64, 16
_TONICS = ("C", "G", "D", "A", "E", "F", "Bb", "Eb")


class NoScores(ValueError):
    """A folder without a usable score."""


def music(
    train: Path,
    test: Path,
    *,
    preset: str = "full",
    seed: int = 0,
    count: int = TUNES,
    progress: Callable[[int, float], None] | None = None,
) -> dict[str, Any]:
    """Fit both models to the scores of `train`, score them on `test`, and sample tunes from the transformer.

    Parameters
    ----------
    train, test : folders of MIDI or MusicXML, or the JSON form of `score_files`. preset : `full` or `demo`.
    count : tunes that are sampled.
    progress : called with step and loss of the transformer.

    Returns
    -------
    {"models": {"ngram": {"nll_per_note"}, "transformer": {"nll_per_note", "bars_complete", "key_agreement",
    "repeated_bars", "longest_copied_run", ...}}, "pieces", "unit", "left_out"}. Duplicates of an earlier score, and
    scores of `train` that open like one of `test`, do not count. Tunes: `count` of 16 bars, half in major and half in
    minor, best of four ranked with Krumhansl's profiles; `key_agreement` is told with Temperley's.

    Raises
    ------
    NoScores : no usable score in a folder. TooFewScores : fewer than five in `train`.
    """
    known, wanted = read_folder(train), read_folder(test)
    for folder, found in ((train, known), (test, wanted)):
        if not found.scores:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in found.rejected[:3]) or "no such files"
            raise NoScores(f"{folder} has no usable MIDI, MusicXML or JSON score ({reasons})")
    left_out = [{"file": name, "reason": reason} for name, reason in known.rejected + wanted.rejected]
    fitted, judged = apart(known.scores, wanted.scores)
    generator = fit_preset(fitted, preset, seed=seed, progress=progress, few_scores=0)
    ngram = NGramGenerator.fit(fitted)
    sampled = tune_figures(tunes(generator, count=count))
    models = {
        "ngram": {"nll_per_note": round(ngram.nll_per_note(judged), 4)},
        "transformer": {
            "nll_per_note": round(generator.nll_per_note(judged), 4),
            **sampled,
        },
    }
    return {
        "models": models,
        "pieces": {"train": len(fitted), "test": len(judged)},
        "unit": UNIT,
        "preset": preset,
        "left_out": left_out,
    }


def apart(train: Sequence[Score], test: Sequence[Score]) -> tuple[list[Score], list[Score]]:
    """Both parts without duplicates, and `train` without what is in `test`."""
    judged = without_duplicates(test)
    fitted = without_duplicates([*judged, *train])[len(judged) :]
    return fitted, judged


def asked(count: int = TUNES) -> list[FactSet]:
    """Fact sets that ask for keys: major and minor in turn, eight tonics, energies from 0 to 1."""
    facts = []
    for number in range(count):
        tonic, mode = _TONICS[number // 2 % len(_TONICS)], ("major", "minor")[number % 2]
        facts.append(fact_set({"key": f"{tonic} {mode}", "energy": round((number % 7) / 6, 3)}))
    return facts


def tunes(
    generator: MusicGenerator, *, count: int = TUNES, bars: int = BARS, first_seed: int = 1000
) -> list[MusicItem]:
    """`count` tunes, each the best of four candidates (one round)."""
    return generator.sample(asked(count), seeds=range(first_seed, first_seed + count), bars=bars, rounds=1)


def tune_figures(items: Sequence[MusicItem]) -> dict[str, float]:
    """Means over tunes, the longest copied run as the largest; keys as told by the profiles that did not rank.

    A mode that training does not know is not asked for, and has no figure.
    """
    checks = [item.checks for item in items]
    agreement = {}
    for name, mode in (("key_agreement", ""), ("key_agreement_major", "major"), ("key_agreement_minor", "minor")):
        if heard := [c["key_found_other"] == c["key_asked"] for c in checks if c["key_asked"].endswith(mode)]:
            agreement[name] = round(float(np.mean(heard)), 4)
    return {
        "bars_complete": float(np.mean([c["bars_complete"] for c in checks])),
        **agreement,
        "repeated_bars": round(float(np.mean([c["repeated_bars"] for c in checks])), 4),
        "notes_in_scale": round(float(np.mean([c["notes_in_scale"] for c in checks])), 4),
        "longest_copied_run": max(c["longest_copied_run"] for c in checks),
        "passed": round(float(np.mean([c["passed"] for c in checks])), 4),
    }
