"""Plain checks of a tune: full bars, the key that is heard, range, length, repetition, and runs copied from training.

Here belong measures of a finished score. Choosing among candidates is in ``decode``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ai_assets.content_generation.music.corpus import Corpus
from ai_assets.content_generation.music.harmony import SCALES, key_index, key_name, key_scores
from ai_assets.content_generation.music.scores import Score
from ai_assets.content_generation.music.tokens import HIGHEST, LOWEST, expand

COPIED_RUN_LIMIT = 16
PEAK_LIMIT = -1.0
RANKING_PROFILE, REPORT_PROFILE = "krumhansl", "temperley"


def check(score: Score, tokens: Sequence[str], corpus: Corpus, *, bars: int) -> dict[str, Any]:
    """The verdict on a tune in its final key. ``passed`` is that of all checks together; ``failed`` names those missed.

    ``key_found`` uses Krumhansl's profiles (those that rank the candidates), ``key_found_other`` Temperley's.
    """
    pitches = [note.pitch for note in score.notes]
    nearest, run = corpus.nearest(score)
    asked = key_name(key_index(score.tonic, score.mode))
    found: dict[str, Any] = {
        "bars": len(expand(tokens)),
        "bars_complete": bars_complete(score, tokens),
        "key_asked": asked,
        "key_found": heard_key(score, RANKING_PROFILE),
        "key_found_other": heard_key(score, REPORT_PROFILE),
        "notes": len(pitches),
        "lowest": min(pitches, default=0),
        "highest": max(pitches, default=0),
        "notes_in_scale": round(notes_in_scale(score), 4),
        "repeated_bars": round(repeated_bars(tokens), 4),
        "longest_copied_run": run,
        "nearest_training_item": nearest,
    }
    verdicts = {
        "length": found["bars"] == bars and len(pitches) > 0,
        "bars": found["bars_complete"] == 1.0,
        "key": found["key_found"] == asked,
        "range": found["lowest"] >= LOWEST and found["highest"] <= HIGHEST,
        "copied_run": run < COPIED_RUN_LIMIT,
    }
    failed = [name for name, good in verdicts.items() if not good]
    return {"passed": not failed, "failed": failed, **found}


def sound_checks(checks: Mapping[str, Any], samples: np.ndarray, sample_rate: int) -> dict[str, Any]:
    """The checks of a tune with those of its sound [frames, channels]: -14 ±1 LUFS, true peak below -1 dBTP."""
    from ai_assets.content_generation.music.audio import LOUDNESS_LUFS, loudness, true_peak

    sound = samples.astype(np.float64)
    level, peak = loudness(sound, sample_rate), true_peak(sound)
    failed = [*checks["failed"]]
    if not abs(level - LOUDNESS_LUFS) <= 1.0:
        failed.append("loudness")
    if not peak < PEAK_LIMIT:
        failed.append("true_peak")
    measured = {"loudness_lufs": round(level, 2) if np.isfinite(level) else None, "true_peak_dbtp": round(peak, 2)}
    return {**checks, "passed": not failed, "failed": failed, **measured}


def heard_key(score: Score, profile: str) -> str:
    """The key that a key finder hears in the melody, lengths counted."""
    return key_name(int(key_scores(score.pitch_class_weights(), profile).argmax()))


def key_margin(score: Score) -> float:
    """By how much the score's own key correlates better than the best other key (below 0: another one is heard)."""
    scores = key_scores(score.pitch_class_weights(), RANKING_PROFILE)
    own = key_index(score.tonic, score.mode)
    return float(scores[own] - np.delete(scores, own).max())


def bars_complete(score: Score, tokens: Sequence[str]) -> float:
    """Share of the bars whose notes and rests add up to the meter."""
    filled = [sum(_ticks(token) for token in bar) == score.bar_ticks for bar in expand(tokens)]
    return float(np.mean(filled)) if filled else 0.0


def notes_in_scale(score: Score) -> float:
    """Share of the notes in the key's scale (minor with both sixths and sevenths)."""
    scale = SCALES[score.mode]
    inside = [(note.pitch - score.tonic) % 12 in scale for note in score.notes]
    return float(np.mean(inside)) if inside else 0.0


def repeated_bars(tokens: Sequence[str], *, bars: int | None = None) -> float:
    """Share of the (first ``bars``) bars that equal an earlier one in melody and chords."""
    lists = [tuple(bar) for bar in expand(tokens)][:bars]
    return 1 - len(set(lists)) / len(lists) if lists else 0.0


def _ticks(token: str) -> int:
    return 0 if token.startswith("C:") or ":" not in token else int(token.partition(":")[2])
