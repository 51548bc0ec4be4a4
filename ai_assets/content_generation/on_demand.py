"""Items on demand: one per fact set and count, in order, with their papers. For the command line and the task."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_assets.content_generation.facts import FactSet, fact_set
from ai_assets.content_generation.provenance import Provenance, content_sha256, folder_digests, item_seed
from resources.blobs import write_atomically
from resources.platform import Platform

MODALITIES = ("text", "cover", "music")
REQUIRED = {"text": ("title", "artist"), "cover": ("title", "artist"), "music": ()}


class NoGenerator(LookupError):
    """No model of this modality is registered yet; the message names the command that trains one."""


def read_facts(text: str) -> list[Mapping[str, Any]]:
    """Fact sets from a file's name or from JSON itself: an object or a list of objects.

    Raises ValueError.
    """
    path = Path(text)
    try:
        source = path.read_text(encoding="utf-8") if len(text) < 4096 and path.is_file() else text
        value = json.loads(source)
    except (OSError, ValueError) as error:
        raise ValueError(f"facts: neither a readable file nor JSON ({type(error).__name__})") from None
    items = value if isinstance(value, list) else [value]
    if not items or not all(isinstance(item, dict) for item in items):
        raise ValueError("facts: expected an object or a list of objects")
    return items


def generate_items(
    platform: Platform,
    modality: str,
    facts: Sequence[Mapping[str, Any]],
    *,
    lang: str = "en",
    count: int = 1,
    seed: int | None = None,
    out: Path | None = None,
) -> list[dict[str, Any]]:
    """Generate, check and document items; files go to `out` (the current folder when None).

    Raises:
        NoGenerator: the model was never trained here. FactError: a fact is wrong or missing, named.
    """
    sets = [fact_set(item, require=REQUIRED[modality]) for item in facts for _ in range(count)]
    name = f"{modality}_generator"
    champion = platform.registry.champion(name)
    if champion is None:
        raise NoGenerator(f"there is no {name} yet; train one with: ai-assets run (or make demo)")
    folder = platform.registry.fetch(name)
    if modality == "text":
        return _texts(sets, lang, seed, champion.label, folder)
    return _media(modality, sets, seed, champion.label, folder, out or Path.cwd())


def _seeds(modality: str, sets: Sequence[FactSet], version: str, seed: int | None) -> tuple[list[str], list[int]]:
    """Ids and seeds: counted from the given seed, else from the facts and their place."""
    ids = [f"{modality}:{facts.digest()[:16]}:{place}" for place, facts in enumerate(sets)]
    if seed is not None:
        return ids, [seed + place for place in range(len(sets))]
    return ids, [item_seed(item, modality, version) for item in ids]


def _texts(sets: list[FactSet], lang: str, seed: int | None, model: str, folder: Path) -> list[dict[str, Any]]:
    from ai_assets.content_generation.text.decode import TextGenerator
    from ai_assets.content_generation.text.record import explanation, provenance, to_mapping

    generator = TextGenerator.load(folder)
    ids, seeds = _seeds("text", sets, generator.version, seed)
    items = generator.sample(sets, seeds=seeds, lang=lang)
    digests = folder_digests(folder)
    return [
        to_mapping(item, provenance(item, name, generator, model_digests=digests, model_version=model))
        | {"explainability": explanation(item)}
        for name, item in zip(ids, items, strict=True)
    ]


def _media(
    modality: str, sets: list[FactSet], seed: int | None, model: str, folder: Path, out: Path
) -> list[dict[str, Any]]:
    from ai_assets.content_generation.make_media import media_files
    from ai_assets.content_generation.training import load_generator

    generator = load_generator(modality, folder)
    ids, seeds = _seeds(modality, sets, generator.version, seed)
    items = generator.sample(sets, seeds=seeds)
    digests = folder_digests(folder)
    answers = []
    for place, (name, own, facts, item) in enumerate(zip(ids, seeds, sets, items, strict=True), start=1):
        master, contents = media_files(modality, item)
        files = {}
        for kind, (data, suffix) in contents.items():
            target = out.expanduser().resolve() / f"{modality}-{place:03d}-{content_sha256(master)[:8]}{suffix}"
            write_atomically(target, data)
            files[kind] = str(target)
        record = Provenance(
            item=name, modality=modality, model=f"{modality}_generator", model_version=model, model_digests=digests,
            seed=own, facts=facts.to_mapping(), decoding={"generator_version": generator.version}, checks=item.checks,
            content_sha256=content_sha256(master), licence="Apache-2.0",
        )  # fmt: skip
        answers.append(
            {
                "item": name,
                "modality": modality,
                "lang": None,
                "files": files,
                "seed": own,
                "facts": facts.to_mapping(),
                "checks": item.checks,
                "state": record.review_state,
                "provenance": record.to_mapping(),
            }
        )
    return answers
