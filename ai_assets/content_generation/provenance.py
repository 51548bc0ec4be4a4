"""The record beside every generated item: what made it, from what, how it was checked, and that it is synthetic.

Here belong the record, its schema check and the seeds and digests it is built on. Embedding a mark in PNG, SVG, audio
or MIDI belongs to each modality, storing the record to the assets.

The machine-readable mark follows the duty of article 50(2) of the EU AI Act and uses IPTC's digital source type
(http://cv.iptc.org/newscodes/digitalsourcetype/).
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
MODALITIES: tuple[str, ...] = ("text", "cover", "music")
SCHEMA_VERSION = 1


class ProvenanceError(ValueError):
    """A record that lacks something or contradicts the content it stands beside."""


@dataclass(frozen=True)
class Rejection:
    """One candidate that was not taken: its number (from 0), the check that refused it, and what was found."""

    candidate: int
    check: str
    reason: str


@dataclass(frozen=True)
class Provenance:
    """How one item came to be.

    ``model_digests`` maps file name to SHA-256 of every weight and configuration file. ``facts`` is the fact set as
    JSON, ``fact_sources`` the materializations it came from (asset to content hash, run and time; ``given`` for facts
    that a caller gave). ``checks`` maps a check's name to its value. ``content_sha256`` is the hash of the master
    (text, SVG or MIDI). ``nearest_training_item`` is an id and a similarity, distance or copied run; None where there
    is no training set, or it is not known. ``licence`` is the weights' licence, None when it is not known.
    """

    item: str
    modality: str
    model: str
    model_version: str
    model_digests: Mapping[str, str]
    seed: int
    facts: Mapping[str, Any]
    decoding: Mapping[str, Any]
    checks: Mapping[str, Any]
    content_sha256: str
    review_state: str = "generated"
    licence: str | None = None
    lang: str | None = None
    fact_sources: Mapping[str, Any] = field(default_factory=dict)
    candidates: int = 1
    rejections: Sequence[Rejection] = ()
    notes: Sequence[str] = ()
    nearest_training_item: Mapping[str, Any] | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    digital_source_type: str = DIGITAL_SOURCE_TYPE
    schema_version: int = SCHEMA_VERSION

    def to_mapping(self) -> dict[str, Any]:
        """The record as a JSON object; IPTC's name ``digitalSourceType`` is used for the mark."""
        record = asdict(self)
        record["digitalSourceType"] = record.pop("digital_source_type")
        record["rejections"] = [asdict(rejection) for rejection in self.rejections]
        record["notes"] = list(self.notes)
        return record

    def to_json(self) -> str:
        """The record as JSON with sorted names: the same record always gives the same bytes."""
        return json.dumps(self.to_mapping(), sort_keys=True, ensure_ascii=False, indent=1)


def item_seed(item: str, modality: str, model_version: str) -> int:
    """Seed of one item, from 0 to 2**63 - 1: the head of SHA-256 over item id, modality and model version."""
    text = "\x1f".join((item, modality, model_version))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big") >> 1


def content_sha256(content: str | bytes) -> str:
    """SHA-256 (hex) of a master; text is hashed as UTF-8."""
    return hashlib.sha256(content.encode("utf-8") if isinstance(content, str) else content).hexdigest()


def folder_digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file in a model's folder, by name relative to it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def library_versions(names: Iterable[str]) -> dict[str, str]:
    """Installed versions of the named distributions and of Python; one that is missing is left out."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def from_mapping(record: Mapping[str, Any]) -> Provenance:
    """The ``Provenance`` of a JSON object made by ``to_mapping``.

    Raises ``ProvenanceError`` that names what is missing, unknown or not marked as synthetic.
    """
    values = dict(record)
    values["digital_source_type"] = values.pop("digitalSourceType", None)
    known = {entry.name for entry in fields(Provenance)}
    if unknown := sorted(set(values) - known):
        raise ProvenanceError(f"unknown entries in the provenance record: {', '.join(unknown)}")
    required = ("item", "modality", "model", "model_version", "model_digests", "seed", "facts", "decoding", "checks")
    if missing := [name for name in (*required, "content_sha256") if values.get(name) is None]:
        raise ProvenanceError(f"the provenance record lacks {', '.join(missing)}")
    values["rejections"] = tuple(Rejection(**entry) for entry in values.get("rejections", ()))
    values["notes"] = tuple(values.get("notes", ()))
    provenance = Provenance(**values)
    _check(provenance)
    return provenance


def verify(provenance: Provenance, content: str | bytes) -> None:
    """Raise ``ProvenanceError`` unless the record belongs to this content and marks it as synthetic."""
    _check(provenance)
    found = content_sha256(content)
    if found != provenance.content_sha256:
        raise ProvenanceError(
            f"item {provenance.item}: the content's SHA-256 is {found}, the record says {provenance.content_sha256}"
        )


def _check(provenance: Provenance) -> None:
    if provenance.modality not in MODALITIES:
        raise ProvenanceError(f"modality is {provenance.modality!r}, expected one of {', '.join(MODALITIES)}")
    if provenance.digital_source_type != DIGITAL_SOURCE_TYPE:
        raise ProvenanceError(f"item {provenance.item}: digitalSourceType must be {DIGITAL_SOURCE_TYPE}")
    if provenance.schema_version != SCHEMA_VERSION:
        raise ProvenanceError(f"schema version {provenance.schema_version}, this program reads {SCHEMA_VERSION}")
    if len(provenance.content_sha256) != 64:
        raise ProvenanceError(f"item {provenance.item}: content_sha256 is not a SHA-256 in hexadecimal")
