"""The papers of a finished item, alike for texts, covers and tunes: its record, its table row, and making it again.

Here belongs what is said about an item. What a record must hold is in ``provenance``, where items lie in ``items``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ai_assets.content_generation.facts import FactSet, fact_set
from ai_assets.content_generation.provenance import (
    Provenance,
    ProvenanceError,
    content_sha256,
    folder_digests,
    library_versions,
)

PIXELS = 1024
AUDIO_RATE = 44_100
_LIBRARIES = {
    "text": ("numpy",),
    "cover": ("numpy", "pillow", "skia-python", "fonttools"),
    "music": ("numpy", "scipy", "mido", "soundfile"),
}
_DECODER_LIBRARIES = {
    "model": ("torch", "safetensors"),
    "transformer": ("torch", "safetensors"),
    "pretrained": ("torch", "safetensors", "transformers", "diffusers"),
}
# Settings of `decoding` that are arguments of `sample`; the others say what the code did.
_ARGUMENTS = {"text": ("temperature",), "cover": ("steps", "font"), "music": ("bars", "rounds")}


@dataclass(frozen=True)
class Source:
    """What made a batch of items: the generator, its registry label, its files' digests, and where the facts come from.

    ``facts`` maps an asset to the materialization that was read (content hash, run id, time).
    """

    generator: Any
    model: str
    digests: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_folder(cls, generator: Any, model: str, folder: Path, facts: Mapping[str, Any] | None = None) -> Source:
        """The source of a generator that was loaded from ``folder``."""
        return cls(generator, model, folder_digests(folder), facts or {})


def master(modality: str, item: Any) -> str | bytes:
    """What an item's hash is taken of: the text, the SVG (or a pretrained model's PNG), the MIDI (or its FLAC)."""
    if modality == "text":
        return str(item.text)
    content: str | bytes = item.svg if modality == "cover" else item.midi
    return content if content else bytes(item.data)


def files(modality: str, item: Any) -> dict[str, tuple[bytes, str]]:
    """An item's files: kind -> (bytes, suffix); a text has none. All of them carry the mark."""
    if modality == "text":
        return {}
    if modality == "cover":
        drawn = {"png": (item.draw(PIXELS), ".png")}
        return {"svg": (item.svg.encode(), ".svg"), **drawn} if item.svg else drawn
    from ai_assets.content_generation.music.audio import flac

    sound = {"audio": (item.data or flac(item.audio(AUDIO_RATE), AUDIO_RATE), ".flac")}
    if not item.midi:
        return sound
    return {"midi": (item.midi, ".mid"), **sound, "picture": (item.picture(), ".png")}


def checks_of(modality: str, item: Any) -> dict[str, Any]:
    """All checks of an item; a tune's sound is measured too."""
    if modality != "music" or not item.midi:
        return dict(item.checks)
    from ai_assets.content_generation.music.checks import sound_checks

    return sound_checks(item.checks, item.audio(AUDIO_RATE), AUDIO_RATE)


def record_of(modality: str, item: Any, item_id: str, source: Source, *, review_state: str = "generated") -> Provenance:
    """The complete record of a finished item."""
    generator, decoder = source.generator, item.decoding.get("decoder") or getattr(item, "decoder", "model")
    return Provenance(
        item=item_id,
        modality=modality,
        model=generator.name,
        model_version=source.model or generator.version,
        model_digests=source.digests,
        seed=item.seed,
        facts=item.facts.to_mapping(),
        fact_sources=source.facts,
        decoding={**item.decoding, "decoder": decoder, "generator_version": generator.version},
        candidates=item.candidates,
        rejections=item.rejections,
        checks=checks_of(modality, item),
        content_sha256=content_sha256(master(modality, item)),
        nearest_training_item=generator.nearest(item),
        licence=generator.license,
        review_state=review_state,
        lang=getattr(item, "lang", None),
        notes=item.notes,
        libraries=library_versions((*_LIBRARIES[modality], *_DECODER_LIBRARIES.get(str(decoder), ()))),
    )


def remade(record: Provenance, generator: Any) -> Any:
    """The item of a record, made again by the same generator; whether it is the same is the caller's to compare.

    Raises ``ProvenanceError`` when the generator is another one than the record names.
    """
    version = record.decoding.get("generator_version")
    if (record.model, version) != (generator.name, generator.version):
        raise ProvenanceError(
            f"item {record.item} was made by {record.model} {version}, not by {generator.name} {generator.version}"
        )
    names: tuple[str, ...] = _ARGUMENTS[record.modality]
    if record.model.endswith("_pretrained"):
        names = ("prompt",) if record.decoding.get("prompt_given") else ()
    settings = {name: record.decoding[name] for name in names if name in record.decoding}
    return sample(record.modality, generator, [fact_set(record.facts)], [record.seed], record.lang, **settings)[0]


def sample(
    modality: str, generator: Any, facts: Sequence[FactSet], seeds: Sequence[int], lang: Any = None, **settings: Any
) -> list[Any]:
    """Items of a batch; ``lang`` is for texts, one or one for each."""
    if modality == "text":
        return list(generator.sample(facts, seeds=seeds, lang=lang or "en", **settings))
    return list(generator.sample(facts, seeds=seeds, **settings))


def row_of(record: Provenance, subject: str, stored: Mapping[str, str], *, text: str | None) -> dict[str, Any]:
    """The row of a content table; ``stored`` maps a kind of file to its blob."""
    return {
        "item": record.item,
        "subject": subject,
        "modality": record.modality,
        "lang": record.lang,
        "text": text,
        "files": json.dumps(dict(stored), sort_keys=True),
        "sha256": record.content_sha256,
        "seed": str(record.seed),
        "passed": bool(record.checks["passed"]),
        "state": record.review_state,
        "model": record.model_version,
        "provenance": json.dumps(record.to_mapping(), ensure_ascii=False, sort_keys=True, default=str),
    }
