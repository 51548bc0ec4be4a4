"""Training the three generators with a preset of fixed steps, and what is reported of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ai_assets.content_generation.review_store import ReviewStore
from ai_assets.model_training.training_run import Trained
from resources.blobs import Blobs

JUDGED_TEXTS = 60
LEAST_SCORES = 5


@dataclass(frozen=True)
class Papers:
    """What every item of a batch shares: model label and digests, sources of the facts, reviews, policy, blobs."""

    model: str
    digests: Mapping[str, str]
    sources: Mapping[str, str]
    reviews: ReviewStore
    policy: str
    blobs: Blobs


def fit_text(preset: str, folder: Path) -> Trained:
    """Fit, and judge on fact sets it has not seen: the share of texts without any fault, beside the grammar alone."""
    from ai_assets.content_generation.text.corpus import random_facts
    from ai_assets.content_generation.text.decode import GrammarGenerator, TextGenerator
    from ai_assets.content_generation.text.training import fit_preset

    losses: list[float] = []
    generator = fit_preset(preset, progress=lambda _step, loss: losses.append(float(loss)))
    generator.save(folder)
    facts = random_facts(JUDGED_TEXTS, seed=977)
    langs = [("en", "de", "fr")[place % 3] for place in range(JUDGED_TEXTS)]
    seeds = list(range(JUDGED_TEXTS))

    def judge(writer: TextGenerator | GrammarGenerator) -> np.ndarray:
        return np.array([float(item.checks["passed"]) for item in writer.sample(facts, seeds=seeds, lang=langs)])

    scores = judge(generator)
    return Trained(
        main_metric="faultless",
        scores=scores,
        champion_scores=lambda other: judge(TextGenerator.load(other)),
        metrics={"faultless": float(scores.mean())},
        baselines={"faultless_grammar": float(judge(GrammarGenerator()).mean())},
        params={"preset": preset, "steps": len(losses)},
        curve={"loss": losses},
        card=(
            f"# text_generator\n\nPreset `{preset}`, {len(losses)} steps. Texts of {JUDGED_TEXTS} unseen fact sets in "
            f"three languages without a fault: {scores.mean():.0%}. At first a reader sees no difference; "
            "the model learns the habits of texts that editors approve.\n"
        ),
    )


def fit_covers(preset: str, folder: Path) -> Trained:
    """Fit, and judge by whether covers of unseen facts pass their checks, beside the procedural artist."""
    from ai_assets.content_generation.covers import CoverGenerator, ProceduralArtist, fit_preset
    from ai_assets.content_generation.text.corpus import random_facts

    losses: list[float] = []
    generator = fit_preset(preset, progress=lambda _step, loss: losses.append(float(loss)))
    generator.save(folder)
    facts, seeds = random_facts(24, seed=978), list(range(24))

    def judge(artist: CoverGenerator | ProceduralArtist) -> np.ndarray:
        return np.array([float(item.checks["passed"]) for item in artist.sample(facts, seeds=seeds)])

    scores = judge(generator)
    return Trained(
        main_metric="passed",
        scores=scores,
        champion_scores=lambda other: judge(CoverGenerator.load(other)),
        metrics={"passed": float(scores.mean()), "final_loss": losses[-1] if losses else 0.0},
        baselines={"passed_procedural_artist": float(judge(ProceduralArtist()).mean())},
        params={"preset": preset, "steps": len(losses)},
        curve={"loss": losses},
        card=(
            f"# cover_generator\n\nPreset `{preset}`, {len(losses)} steps of a rectified flow over the shapes of "
            "vector scenes, trained on a procedural artist's scenes: it re-learns that artist, and can learn others.\n"
        ),
    )


def fit_music(scores_folder: Path, preset: str, folder: Path) -> Trained | str:
    """Fit on the landing folder's scores, judged by nats per note on pieces it has not seen, beside the n-gram."""
    from ai_assets.content_generation.music import MusicGenerator, NGramGenerator, TooFewScores, fit_preset, read_scores

    pieces = read_scores(scores_folder)
    held = [piece for place, piece in enumerate(pieces) if place % 8 == 7]
    known = [piece for place, piece in enumerate(pieces) if place % 8 != 7]
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
        champion_scores=lambda other: judge(MusicGenerator.load(other)),
        metrics={"negative_nll_per_note": float(np.mean(scores)), "nll_per_note": -float(np.mean(scores))},
        baselines={"nll_per_note_ngram": float(ngram.nll_per_note(held))},
        params={"preset": preset, "steps": len(losses), "pieces": len(known)},
        curve={"loss": losses},
        card=(
            f"# music_generator\n\nPreset `{preset}`, {len(losses)} steps on {len(known)} scores. Nats "
            f"per note on {len(held)} pieces it has not seen: {-np.mean(scores):.2f}; n-gram on the same tokens "
            f"{ngram.nll_per_note(held):.2f}.\n"
        ),
    )


def load_generator(modality: str, folder: Path) -> Any:
    """The generator of covers or music in a model folder."""
    if modality == "cover":
        from ai_assets.content_generation.covers import CoverGenerator

        return CoverGenerator.load(folder)
    from ai_assets.content_generation.music import MusicGenerator

    return MusicGenerator.load(folder)
