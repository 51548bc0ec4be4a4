"""Texts for subjects, as rows of a content table: batches through the generator, provenance, review states."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ai_assets.content_generation.provenance import content_sha256, item_seed
from ai_assets.content_generation.review_store import ReviewStore
from ai_assets.content_generation.subjects import LANGUAGES, Subject
from ai_assets.content_generation.text.decode import TextGenerator
from ai_assets.content_generation.text.record import provenance


def text_rows(
    subjects: Sequence[Subject],
    generator: TextGenerator,
    *,
    kind: str,
    model: str,
    digests: Mapping[str, str],
    sources: Mapping[str, str],
    reviews: ReviewStore,
    policy: str,
) -> list[dict[str, Any]]:
    """One text per subject and language.

    Args:
        kind: `track` or `playlist`, the beginning of the item ids.
        model: label of the registered version; digests: of its files.
        sources: asset -> content hash that the facts came from.
    """
    ids = [f"{kind}-text:{subject.name}:{lang}" for subject in subjects for lang in LANGUAGES]
    seeds = [item_seed(item, "text", generator.version) for item in ids]
    facts = [subject.facts for subject in subjects for _ in LANGUAGES]
    langs = [lang for _ in subjects for lang in LANGUAGES]
    items = generator.sample(facts, seeds=seeds, lang=langs) if ids else []
    passed = [bool(item.checks["passed"]) for item in items]
    hashes = [content_sha256(item.text) for item in items]
    states = reviews.submit(zip(ids, hashes, passed, strict=True), policy=policy, who=f"asset:{kind}_descriptions")
    rows = []
    for name, item, ok, digest in zip(ids, items, passed, hashes, strict=True):
        record = provenance(
            item, name, generator, model_digests=digests, model_version=model, fact_sources=sources,
            review_state=states[name].value,
        )  # fmt: skip
        rows.append(
            {
                "item": name,
                "subject": name.split(":")[1],
                "modality": "text",
                "lang": item.lang,
                "text": item.text,
                "files": json.dumps({}),
                "sha256": digest,
                "seed": str(item.seed),
                "passed": ok,
                "state": states[name].value,
                "model": model,
                "provenance": json.dumps(record.to_mapping(), ensure_ascii=False, sort_keys=True),
            }
        )
    return rows
