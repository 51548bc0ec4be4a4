"""Items on demand: one per fact set and count, in order, with their papers; and making any item again.

For the command line and the task. Items of whole catalogues are made in ``make``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ai_assets.content_generation import items as stored_items
from ai_assets.content_generation.facts import FactSet, fact_set
from ai_assets.content_generation.papers import Source, files, master, record_of, remade, sample
from ai_assets.content_generation.provenance import Provenance, ProvenanceError, content_sha256, item_seed
from ai_assets.content_generation.review_store import ReviewStore, Submitted
from resources.blobs import write_atomically
from resources.platform import Platform
from resources.settings import Settings

MODALITIES = ("text", "cover", "music")
REQUIRED = {"text": ("title", "artist"), "cover": ("title", "artist"), "music": ()}
GIVEN = {"given": "by the caller"}


class NoGenerator(LookupError):
    """No model of this modality is registered yet; the message names the command that trains one."""


def read_facts(text: str) -> list[Mapping[str, Any]]:
    """Fact sets from a file's name or from JSON itself: an object or a list of objects.

    Raises ValueError.
    """
    try:
        # Literal JSON may be longer than any file name, so it is never asked of the file system.
        value = json.loads(text if text.lstrip()[:1] in ("{", "[") else Path(text).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
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
    sources: Mapping[str, Any] | None = None,
    pretrained: bool = False,
    prompt: str | None = None,
) -> list[dict[str, Any]]:
    """Generate, check and document items; they wait for review, and can be made again by their ids.

    Args:
        count: items per fact set. seed: of the first item; without it seeds follow from the facts.
        out: folder of the files (the current folder when None).
        sources: the materializations that the facts came from, when they are not the caller's own.
        pretrained: use the configured pretrained model instead of the one trained here.
        prompt: the caller's own words for a pretrained picture or music model; facts are then not required.

    Raises:
        NoGenerator: the model was never trained here, or none is configured. FactError: a fact is wrong or missing.
    """
    required = () if prompt is not None else REQUIRED[modality]
    sets = [fact_set(item, require=required) for item in facts for _ in range(count)]
    source = load_source(platform, modality, sources or GIVEN, pretrained=pretrained)
    version = source.generator.version
    if seed is not None:
        seeds = [seed + place for place in range(len(sets))]
    else:
        seeds = [item_seed(f"{facts.digest()}:{place}", modality, version) for place, facts in enumerate(sets)]
    own_lang = lang if modality == "text" else None
    ids = [_item_id(modality, own_lang or prompt, facts, own, source) for facts, own in zip(sets, seeds, strict=True)]
    options = {"prompt": prompt} if prompt else {} if pretrained else own_options(platform.settings, modality)
    items = sample(modality, source.generator, sets, seeds, lang, **options)
    records = [record_of(modality, item, name, source) for name, item in zip(ids, items, strict=True)]
    answers, kept = [], []
    states = _reviews(platform).submit(
        [_submitted(record) for record in dict(zip(ids, records, strict=True)).values()],
        policy=platform.settings.review, who="cli:generate",
    )  # fmt: skip
    for place, (item, record) in enumerate(zip(items, records, strict=True), start=1):
        record = _in_state(record, states[record.item].value)
        written = _write(modality, item, (out or Path.cwd()) / f"{modality}-{place:03d}-{record.content_sha256[:8]}")
        text = item.text if modality == "text" else None
        kept.append((record, text, written))
        answers.append(_answer(record, item, text, written))
    stored_items.keep(platform, list({record.item: (record, text, written) for record, text, written in kept}.values()))
    return answers


def own_options(settings: Settings, modality: str) -> dict[str, Any]:
    """What the home's settings say about items of a modality."""
    font = settings.cover_font if modality == "cover" else None
    return {} if font is None else {"font": str(font.expanduser().resolve())}


def load_source(
    platform: Platform,
    modality: str,
    facts: Mapping[str, Any],
    *,
    version: str | None = None,
    pretrained: bool = False,
) -> Source:
    """The generator of a modality: the champion, a registered version (a number), or the configured pretrained model.

    Raises NoGenerator.
    """
    if pretrained:
        from ai_assets.content_generation.pretrained_models import load_pretrained

        return load_pretrained(platform.settings, modality, facts)
    name = f"{modality}_generator"
    if version is None and (champion := platform.registry.champion(name)) is None:
        raise NoGenerator(f"there is no {name} yet; train one with: ai-assets run (or make demo)")
    chosen = version or str(champion.version if champion else "")
    folder = platform.registry.fetch(name, chosen)
    from ai_assets.content_generation.training import load_generator

    return Source.of_folder(load_generator(modality, folder), f"{name}/{chosen}", folder, facts)


def regenerate(platform: Platform, item: str, *, who: str, out: Path | None = None) -> dict[str, Any]:
    """Make an item again from its record with the registered version that made it, and compare.

    Returns {"item", "sha256", "same", "files"}; nothing that is stored is changed. The attempt goes into the audit.

    Args:
        who: for the audit. out: folder of the files (`generated` in the home when None).

    Raises:
        LookupError: no such item, or its model is gone. ProvenanceError: the model's files are not those of the record.
    """
    known = stored_items.find(platform, item)
    record = known.record
    source = load_source(
        platform, record.modality, record.fact_sources, version=record.model_version.rpartition("/")[2],
        pretrained=record.decoding.get("decoder") == "pretrained" or record.model.endswith("_pretrained"),
    )  # fmt: skip
    if source.digests != dict(record.model_digests):
        raise ProvenanceError(f"item {item}: the files of {record.model_version} are not those that made it")
    made = remade(record, source.generator)
    digest = content_sha256(master(record.modality, made))
    same = digest == record.content_sha256
    folder = (out or platform.home.root / "generated") / f"{record.modality}-{digest[:16]}"
    written = _write(record.modality, made, folder)
    platform.audit.append("content_regenerate", who, {"item": item, "sha256": digest}, same=same)
    return {"item": item, "sha256": digest, "same": same, "files": written}


def _reviews(platform: Platform) -> ReviewStore:
    return ReviewStore(platform.database, platform.audit)


def _item_id(modality: str, lang: str | None, facts: FactSet, seed: int, source: Source) -> str:
    """The same facts, language, seed and model always have the same id."""
    named = "\x1f".join((modality, lang or "", facts.digest(), str(seed), source.model, source.generator.version))
    return f"{modality}-{hashlib.sha256(named.encode()).hexdigest()[:12]}"


def _submitted(record: Provenance) -> Submitted:
    unknown = "" if record.licence else "the licence of the model's weights is not stated"
    doubt = record.checks.get("needs_review") or unknown
    return Submitted(record.item, record.content_sha256, bool(record.checks["passed"]), doubt)


def _in_state(record: Provenance, state: str) -> Provenance:
    from dataclasses import replace

    return replace(record, review_state=state)


def _write(modality: str, item: Any, stem: Path) -> dict[str, str]:
    written = {}
    for kind, (data, suffix) in files(modality, item).items():
        target = stem.expanduser().resolve().with_name(stem.name + suffix)
        write_atomically(target, data)
        written[kind] = str(target)
    return written


def _answer(record: Provenance, item: Any, text: str | None, written: Mapping[str, str]) -> dict[str, Any]:
    answer: dict[str, Any] = {"item": record.item, "modality": record.modality, "lang": record.lang}
    answer |= {"text": text} if text is not None else {"files": dict(written)}
    answer |= {
        "seed": record.seed,
        "facts": dict(record.facts),
        "checks": dict(record.checks),
        "state": record.review_state,
        "provenance": record.to_mapping(),
    }
    if record.modality == "text":
        from ai_assets.content_generation.text.record import explanation

        answer["explainability"] = explanation(item)
    return answer
