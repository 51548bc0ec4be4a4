"""What the generators learn from, as rows of tables and back: texts, scenes and scores. Plain functions over frames.

Here belong the three training sets. How they are learned stands in ``training`` and in each modality.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ai_assets.content_generation.facts import fact_set
from ai_assets.content_generation.review_store import EditorText

HELD_OUT = 8
LEAST_COVERS = 100


def text_rows(preset: str, approved: Sequence[EditorText]) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Training texts, and (item, reason) of approved texts that the sentence patterns cannot write.

    A free rewording cannot be learned by a model that writes within the patterns; it is named, not dropped silently.
    """
    from ai_assets.content_generation.text.corpus import Edited, edited_examples
    from ai_assets.content_generation.text.grammar import grammar_for
    from ai_assets.content_generation.text.training import training_texts

    edited = [Edited(text.facts, text.lang, text.text, text.item) for text in approved]
    examples, refused = edited_examples(edited)
    rows = [
        {
            "place": place,
            "lang": example.lang,
            "origin": "editor" if example.item else "grammar",
            "item": example.item or None,
            "facts": json.dumps(example.facts.to_mapping(), ensure_ascii=False, sort_keys=True),
            "tokens": json.dumps(example.tokens, ensure_ascii=False),
            "text": grammar_for(example.facts, example.lang).render(example.tokens, example.facts).text,
        }
        for place, example in enumerate(training_texts(preset, approved=examples))
    ]
    return pd.DataFrame(rows), [(edited[index].item, reason) for index, reason in refused]


def text_examples(rows: pd.DataFrame) -> list[Any]:
    """The examples of ``text_rows``, in their order."""
    from ai_assets.content_generation.text.corpus import Example

    return [
        Example(fact_set(json.loads(row.facts)), row.lang, tuple(json.loads(row.tokens)), row.item or "")
        for row in rows.sort_values("place").itertuples()
    ]


def cover_rows(preset: str, folder: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Scenes with their conditions, and (file, reason) of SVG covers that cannot be used.

    The user's covers in ``folder`` are used alone when there are ``LEAST_COVERS``; fewer are too few to learn from, and
    the procedural artist draws the scenes.
    """
    from ai_assets.content_generation.covers.svg_files import read_covers
    from ai_assets.content_generation.covers.training import chosen, training_scenes

    own, refused = read_covers(folder)
    if len(own) >= LEAST_COVERS:
        leads, scenes = [cover.lead for cover in own], np.stack([cover.tokens for cover in own])
        origins = [cover.name for cover in own]
    else:
        refused = [*refused, *((cover.name, f"{len(own)} covers, at least {LEAST_COVERS} are needed") for cover in own)]
        leads, scenes = training_scenes(chosen(preset).scenes, seed=0)
        origins = ["artist"] * len(leads)
    rows = pd.DataFrame([asdict(lead) for lead in leads])
    rows.insert(0, "place", range(len(rows)))
    rows["origin"] = origins
    rows["scene"] = [tokens.reshape(-1).tolist() for tokens in scenes]
    return rows, refused


def cover_scenes(rows: pd.DataFrame) -> tuple[list[Any], np.ndarray]:
    """Conditions and scenes [n, 25, 16] of ``cover_rows``, in their order."""
    from ai_assets.content_generation.covers.scene import NUMBERS, SHAPES, Condition

    ordered = rows.sort_values("place")
    leads = [
        Condition(int(row.style), float(row.energy), float(row.valence), float(row.tempo), float(row.hue))
        for row in ordered.itertuples()
    ]
    scenes = np.round(np.stack(ordered["scene"].tolist()).astype(np.float64), 3) + 0.0
    return leads, scenes.reshape(-1, SHAPES + 1, NUMBERS)


def music_rows(folder: Path) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Scores with the part they belong to (every eighth is held out), and (file, reason) of those left out.

    Duplicates of an earlier score are left out too: a tune in both parts would flatter the model.
    """
    from ai_assets.content_generation.music import read_folder
    from ai_assets.content_generation.music.scores import without_duplicates

    found = read_folder(folder)
    kept = without_duplicates(found.scores)
    names = {score.name for score in kept}
    repeated = [(score.name, "the same tune as an earlier score") for score in found.scores if score.name not in names]
    rows = [
        {
            "place": place,
            "name": score.name,
            "style": score.style,
            "mode": score.mode,
            "meter": f"{score.meter[0]}/{score.meter[1]}",
            "bars": score.bars,
            "notes": len(score.notes),
            "part": "held_out" if place % HELD_OUT == HELD_OUT // 2 else "train",
            "score": json.dumps(score.to_mapping()),
        }
        for place, score in enumerate(kept)
    ]
    columns = ["place", "name", "style", "mode", "meter", "bars", "notes", "part", "score"]
    return pd.DataFrame(rows, columns=columns), found.rejected + repeated


def music_scores(rows: pd.DataFrame) -> tuple[list[Any], list[Any]]:
    """Training and held-out scores of ``music_rows``, in their order."""
    from ai_assets.content_generation.music.scores import Score

    parts: dict[str, list[Any]] = {"train": [], "held_out": []}
    for row in rows.sort_values("place").itertuples():
        parts[str(row.part)].append(Score.from_mapping(json.loads(str(row.score))))
    return parts["train"], parts["held_out"]
