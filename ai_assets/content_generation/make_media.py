"""Covers and tunes for subjects, as rows of a content table; the files lie as blobs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ai_assets.content_generation.facts import FactSet
from ai_assets.content_generation.provenance import Provenance, content_sha256, item_seed, library_versions
from ai_assets.content_generation.subjects import Subject
from ai_assets.content_generation.training import Papers

if TYPE_CHECKING:
    from ai_assets.content_generation.covers import CoverGenerator
    from ai_assets.content_generation.music import MusicGenerator

COVER_PIXELS = 1024
AUDIO_RATE = 44_100


def cover_rows(
    subjects: Sequence[Subject], generator: CoverGenerator, papers: Papers
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """One cover per subject, and the drawn pictures for a contact sheet."""
    ids = [f"cover:{subject.name}" for subject in subjects]
    seeds = [item_seed(item, "cover", generator.version) for item in ids]
    items = generator.sample([subject.facts for subject in subjects], seeds=seeds)
    made, pictures = [], []
    for subject, name, seed, item in zip(subjects, ids, seeds, items, strict=True):
        master, contents = media_files("cover", item)
        pictures.append(contents["png"][0])
        files = {kind: papers.blobs.put(data, suffix) for kind, (data, suffix) in contents.items()}
        made.append((subject, name, seed, master, item.checks, files))
    return _rows("cover", made, generator.version, papers, ("numpy", "torch", "skia-python")), pictures


def music_rows(
    subjects: Sequence[Subject], generator: MusicGenerator, papers: Papers
) -> tuple[list[dict[str, Any]], bytes | None]:
    """One tune per subject, and the first one's piano roll."""
    ids = [f"music:{subject.name}" for subject in subjects]
    seeds = [item_seed(item, "music", generator.version) for item in ids]
    items = generator.sample([subject.facts for subject in subjects], seeds=seeds)
    made = []
    for subject, name, seed, item in zip(subjects, ids, seeds, items, strict=True):
        master, contents = media_files("music", item)
        files = {kind: papers.blobs.put(data, suffix) for kind, (data, suffix) in contents.items()}
        made.append((subject, name, seed, master, item.checks, files))
    picture = items[0].picture() if items else None
    return _rows("music", made, generator.version, papers, ("numpy", "torch", "mido")), picture


def media_files(modality: str, item: Any) -> tuple[str | bytes, dict[str, tuple[bytes, str]]]:
    """The master of an item and its files: kind -> (bytes, suffix)."""
    if modality == "cover":
        return item.svg, {"svg": (item.svg.encode(), ".svg"), "png": (item.draw(COVER_PIXELS), ".png")}
    audio = flac(item.audio(AUDIO_RATE))
    return item.midi, {"midi": (item.midi, ".mid"), "audio": (audio, ".flac"), "picture": (item.picture(), ".png")}


def flac(samples: np.ndarray) -> bytes:
    """Samples (n,) or (n, channels) as FLAC, marked as made by a model."""
    import soundfile

    buffer = io.BytesIO()
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(buffer, "w", AUDIO_RATE, channels, "PCM_16", format="FLAC") as file:
        file.comment = "digitalSourceType=trainedAlgorithmicMedia"
        file.write(samples)
    return buffer.getvalue()


def _rows(
    modality: str,
    made: Sequence[tuple[Subject, str, int, str | bytes, Mapping[str, Any], Mapping[str, str]]],
    version: str,
    papers: Papers,
    libraries: Sequence[str],
) -> list[dict[str, Any]]:
    hashes = [content_sha256(master) for _, _, _, master, _, _ in made]
    passed = [bool(checks["passed"]) for _, _, _, _, checks, _ in made]
    names = [name for _, name, *_ in made]
    states = papers.reviews.submit(
        zip(names, hashes, passed, strict=True), policy=papers.policy, who=f"asset:{modality}"
    )
    rows = []
    for (subject, name, seed, _, checks, files), digest, ok in zip(made, hashes, passed, strict=True):
        record = Provenance(
            item=name,
            modality=modality,
            model=f"{modality}_generator",
            model_version=papers.model,
            model_digests=papers.digests,
            seed=seed,
            facts=_facts(subject.facts),
            decoding={"generator_version": version},
            checks=checks,
            content_sha256=digest,
            review_state=states[name].value,
            licence="Apache-2.0",
            fact_sources=papers.sources,
            libraries=library_versions(libraries),
        )
        rows.append(
            {
                "item": name,
                "subject": subject.name,
                "modality": modality,
                "lang": None,
                "text": None,
                "files": json.dumps(files, sort_keys=True),
                "sha256": digest,
                "seed": str(seed),
                "passed": ok,
                "state": states[name].value,
                "model": papers.model,
                "provenance": json.dumps(record.to_mapping(), ensure_ascii=False, sort_keys=True, default=str),
            }
        )
    return rows


def _facts(facts: FactSet) -> dict[str, Any]:
    return facts.to_mapping()
