"""Training the three generators with a preset of fixed steps, and what is reported of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.content_generation import training_sets
from ai_assets.content_generation.text.lexicon import LANGUAGES
from ai_assets.model_training.training_run import Trained

if TYPE_CHECKING:
    import pandas as pd

JUDGED_TEXTS = 60
JUDGED_COVERS = {"full": 24, "demo": 24, "tiny": 6}  # a finished cover costs a fifth of a second


def fit_text(rows: pd.DataFrame, preset: str, folder: Path) -> Trained:
    """Fit, and judge on fact sets it has not seen: the share of texts without any fault, beside the grammar alone."""
    from ai_assets.content_generation.text.corpus import random_facts
    from ai_assets.content_generation.text.decode import GrammarGenerator, TextGenerator
    from ai_assets.content_generation.text.training import fit_texts

    losses: list[float] = []
    examples = training_sets.text_examples(rows)
    generator = fit_texts(examples, preset, progress=lambda _step, loss: losses.append(float(loss)))
    generator.save(folder)
    approved = generator.card["approved_texts"]
    facts = random_facts(JUDGED_TEXTS, seed=977)
    langs = [LANGUAGES[place % len(LANGUAGES)] for place in range(JUDGED_TEXTS)]
    seeds = list(range(JUDGED_TEXTS))

    def judge(writer: TextGenerator | GrammarGenerator) -> np.ndarray:
        return np.array([float(item.checks["passed"]) for item in writer.sample(facts, seeds=seeds, lang=langs)])

    scores = judge(generator)
    return Trained(
        main_metric="faultless",
        scores=scores,
        champion_scores=lambda other: _standing(other, TextGenerator.load, judge),
        metrics={"faultless": float(scores.mean())},
        baselines={"faultless_grammar": float(judge(GrammarGenerator()).mean())},
        params={"preset": preset, "steps": len(losses), "texts": len(examples), "approved_texts": approved},
        curve={"loss": losses},
        groups=_by_group(langs, {"faultless": scores}, "texts"),
        card=(
            f"# text_generator\n\nPreset `{preset}`, {len(losses)} steps on {len(examples)} texts, {approved} of them "
            f"approved by editors. Texts of {JUDGED_TEXTS} unseen fact sets in "
            f"three languages without a fault: {scores.mean():.0%}. At first a reader sees no difference; "
            "the model learns the habits of texts that editors approve.\n\n"
            "Limits: it orders and joins sentences of a fixed set of patterns and says nothing beyond its facts; the "
            "check is the product's own, no person has rated these texts.\n"
        ),
    )


def fit_covers(rows: pd.DataFrame, preset: str, folder: Path) -> Trained:
    """Fit, and judge by whether covers of unseen facts pass their checks, beside the procedural artist."""
    from ai_assets.content_generation.covers import CoverGenerator, ProceduralArtist
    from ai_assets.content_generation.covers.training import fit_scenes
    from ai_assets.content_generation.text.corpus import random_facts

    losses: list[float] = []
    leads, scenes = training_sets.cover_scenes(rows)
    generator = fit_scenes(leads, scenes, preset, progress=lambda _step, loss: losses.append(float(loss)))
    generator.save(folder)
    judged = JUDGED_COVERS[preset]
    facts, seeds = random_facts(judged, seed=978), list(range(judged))

    def judge(artist: CoverGenerator | ProceduralArtist) -> np.ndarray:
        return np.array([float(item.checks["passed"]) for item in artist.sample(facts, seeds=seeds)])

    drawn = generator.sample(facts, seeds=seeds)
    scores = np.array([float(item.checks["passed"]) for item in drawn])
    contrasts = np.array([item.checks.get("contrast", np.nan) for item in drawn])
    return Trained(
        main_metric="passed",
        scores=scores,
        champion_scores=lambda other: _standing(other, CoverGenerator.load, judge),
        metrics={"passed": float(scores.mean()), "final_loss": losses[-1] if losses else 0.0},
        baselines={"passed_procedural_artist": float(judge(ProceduralArtist()).mean())},
        params={"preset": preset, "steps": len(losses)},
        curve={"loss": losses},
        groups=_by_group([item.style for item in drawn], {"passed": scores, "mean_contrast": contrasts}, "covers"),
        card=(
            f"# cover_generator\n\nPreset `{preset}`, {len(losses)} steps of a rectified flow over the shapes of "
            f"vector scenes, trained on {len(scenes)} scenes of {_whose(rows)}: it re-learns those.\n\n"
            "Limits: `passed` speaks of the drawing (not empty, lettering fitted and readable at the worst pixel), not "
            "of taste; how often a style is recognised is measured apart (docs/quality/covers.md). Major and minor "
            "look alike. A title in letters that the font lacks, or written from right to left, is left out.\n"
        ),
    )


def _by_group(names: Sequence[str], values: dict[str, np.ndarray], counted: str) -> dict[str, dict[str, float]]:
    """Means of each group's values that are numbers, and how many items it has."""
    groups: dict[str, dict[str, float]] = {}
    for name in sorted(set(names)):
        chosen = np.array([other == name for other in names])
        means = {key: float(np.nanmean(own[chosen])) for key, own in values.items() if np.isfinite(own[chosen]).any()}
        groups[name] = {counted: float(chosen.sum()), **means}
    return groups


def _standing(folder: Path, load: Callable[[Path], Any], judge: Callable[[Any], np.ndarray]) -> np.ndarray | None:
    """Scores of the present champion; None when it was made for other patterns, styles or files than today's."""
    from ai_assets.content_generation.covers.generator import ModelFolderError as UnfittingCovers
    from ai_assets.content_generation.text.decode import ModelFolderError

    try:
        return judge(load(folder))
    except (ModelFolderError, UnfittingCovers):
        return None


def _whose(rows: pd.DataFrame) -> str:
    return "the procedural artist" if set(rows["origin"]) == {"artist"} else "the user's own covers"


def fit_music(rows: pd.DataFrame, preset: str, folder: Path) -> Trained | str:
    """Fit on the training part, judged by nats per note on pieces it has not seen, beside the n-gram."""
    from ai_assets.content_generation.music import MusicGenerator, NGramGenerator, TooFewScores, fit_preset

    known, held = training_sets.music_scores(rows)
    losses: list[float] = []
    try:
        generator = fit_preset(known, preset, progress=lambda _step, loss: losses.append(float(loss)))
    except TooFewScores as error:
        return f"{error} (put MIDI files into landing/scores)"
    generator.save(folder)

    def judge(model: MusicGenerator) -> np.ndarray:
        return np.array([-model.nll_per_note([piece]) for piece in held])

    scores = judge(generator)
    ngram = NGramGenerator.fit(known)
    return Trained(
        main_metric="negative_nll_per_note",
        scores=scores,
        champion_scores=lambda other: _standing(other, MusicGenerator.load, judge),
        metrics={"negative_nll_per_note": float(np.mean(scores)), "nll_per_note": -float(np.mean(scores))},
        baselines={"nll_per_note_ngram": float(ngram.nll_per_note(held))},
        params={"preset": preset, "steps": len(losses), "pieces": len(known)},
        curve={"loss": losses},
        groups=_by_group([piece.mode for piece in held], {"nll_per_note": -scores}, "pieces"),
        card=(
            f"# music_generator\n\nPreset `{preset}`, {len(losses)} steps on {len(known)} scores. Nats "
            f"per note on {len(held)} pieces it has not seen: {-np.mean(scores):.2f}; n-gram on the same tokens "
            f"{ngram.nll_per_note(held):.2f}.\n\n"
            "Limits: one melody over chords, in one key and one meter; what it writes sounds like the scores it "
            "learned from. Accompaniment comes from fixed patterns by genre; key and tempo are applied at rendering.\n"
        ),
    )


def load_generator(modality: str, folder: Path) -> Any:
    """The generator of a modality in a model folder."""
    if modality == "text":
        from ai_assets.content_generation.text.decode import TextGenerator

        return TextGenerator.load(folder)
    if modality == "cover":
        from ai_assets.content_generation.covers import CoverGenerator

        return CoverGenerator.load(folder)
    from ai_assets.content_generation.music import MusicGenerator

    return MusicGenerator.load(folder)
