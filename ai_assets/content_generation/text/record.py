"""A text with its papers: the provenance record, the marked JSON and HTML forms, and making a text again.

Here belongs what is said about a finished text. Plain text itself cannot carry a durable mark; every form that the
product hands out around it does.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ai_assets.content_generation.facts import fact_set
from ai_assets.content_generation.provenance import (
    DIGITAL_SOURCE_TYPE,
    Provenance,
    ProvenanceError,
    content_sha256,
    library_versions,
)
from ai_assets.content_generation.text.decode import TextItem

_LIBRARIES = {"model": ("torch", "numpy"), "grammar": ("numpy",), "pretrained": ("torch", "transformers", "numpy")}


class Generator(Protocol):
    """What a record needs of a generator."""

    @property
    def name(self) -> str:
        """Name of the registered model."""

    @property
    def license(self) -> str | None:
        """Licence of the weights, None when unknown."""

    @property
    def version(self) -> str:
        """Version of the weights and patterns."""

    @property
    def sample(self) -> Callable[..., list[TextItem]]:
        """Writes one text for each fact set."""


def provenance(
    item: TextItem,
    item_id: str,
    generator: Generator,
    *,
    model_digests: Mapping[str, str],
    model_version: str | None = None,
    fact_sources: Mapping[str, str] | None = None,
    review_state: str = "generated",
) -> Provenance:
    """The record of a text. ``model_version`` is the registry's, if it has one; else the generator's own."""
    return Provenance(
        item=item_id,
        modality="text",
        model=generator.name,
        model_version=model_version or generator.version,
        model_digests=model_digests,
        seed=item.seed,
        facts=item.facts.to_mapping(),
        decoding={"decoder": item.decoder, "generator_version": generator.version, **item.decoding},
        checks=item.checks,
        content_sha256=content_sha256(item.text),
        review_state=review_state,
        licence=generator.license,
        lang=item.lang,
        fact_sources=fact_sources or {},
        candidates=item.candidates,
        rejections=item.rejections,
        notes=item.notes,
        libraries=library_versions(_LIBRARIES[item.decoder]),
    )


def regenerate(record: Provenance, generator: Generator) -> TextItem:
    """The text of a record, made again by the same generator.

    Raises ``ProvenanceError`` when the generator is another one or the text comes out different.
    """
    version = record.decoding.get("generator_version")
    if (record.model, version) != (generator.name, generator.version):
        raise ProvenanceError(
            f"item {record.item} was made by {record.model} {version}, not by {generator.name} {generator.version}"
        )
    settings = {"temperature": record.decoding["temperature"]} if record.decoding["decoder"] == "model" else {}
    item = generator.sample([fact_set(record.facts)], seeds=[record.seed], lang=record.lang or "en", **settings)[0]
    if content_sha256(item.text) != record.content_sha256:
        raise ProvenanceError(f"item {record.item}: the text made again is another one; was a library changed?")
    return item


def to_mapping(item: TextItem, record: Provenance) -> dict[str, Any]:
    """The JSON object of a text as the command line gives it; ``provenance`` carries the mark."""
    return {
        "item": record.item,
        "modality": "text",
        "lang": item.lang,
        "text": item.text,
        "seed": item.seed,
        "facts": item.facts.to_mapping(),
        "checks": item.checks,
        "state": record.review_state,
        "provenance": record.to_mapping(),
    }


def to_html(item: TextItem, record: Provenance) -> str:
    """A paragraph with the text escaped and marked as synthetic."""
    marks = f'data-ai-generated="true" data-digital-source-type="{DIGITAL_SOURCE_TYPE}"'
    return f'<p lang="{item.lang}" {marks} data-item="{html.escape(record.item)}">{html.escape(item.text)}</p>'


def explanation(item: TextItem) -> dict[str, Any]:
    """Where each fact stands in the text, and which candidates were refused and why."""
    facts = {
        name: {"start": start, "end": end, "text": item.text[start:end], "sentence": item.fact_sentences.get(name)}
        for name, (start, end) in sorted(item.fact_spans.items(), key=lambda entry: entry[1])
    }
    refused = [{"candidate": r.candidate, "check": r.check, "reason": r.reason} for r in item.rejections]
    return {"facts": facts, "rejected_candidates": refused}
