"""From records to the tables of a batch. Plain: records in, frames out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ai_assets.audio_analysis.batch_pass import READER, Record, plain
from ai_assets.audio_analysis.defects import TagClaims, tag_disagreements
from ai_assets.audio_analysis.loudness import energy_index
from ai_assets.audio_analysis.one_pass import FAMILIES
from ai_assets.audio_status import ACCEPTED

if TYPE_CHECKING:
    import pandas as pd

TABLES_VERSION = "2"


def family_versions(*names: str) -> str:
    """Code version of a table whose columns these families fill: only their change makes it stale."""
    return "/".join([TABLES_VERSION, READER, *(FAMILIES[name] for name in names)])


def value(record: Record, family: str) -> Any:
    """What a family found, or None."""
    return record["families"].get(family, {}).get("value")


def build_tables(files: pd.DataFrame, records: Sequence[Record]) -> dict[str, pd.DataFrame]:
    """The five tables of the pass.

    Args:
        files: rows `batch root path file_hash`, in the order of `records`.
    """
    import pandas as pd

    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("audio_quality", "audio_features", "audio_descriptors", "audio_fingerprints", "log_mels")
    }
    seen: set[tuple[str, str]] = set()
    for file, record in zip(files.to_dict("records"), records, strict=True):
        report = record["report"]
        rows["audio_quality"].append(_quality(file, record))
        audio_hash, batch = report["audio_hash"], str(file["batch"])
        if report["status"] not in ACCEPTED or audio_hash is None or (batch, audio_hash) in seen:
            continue
        seen.add((batch, audio_hash))
        own = {"batch": batch, "audio_hash": audio_hash}
        rows["audio_descriptors"].append(own | _descriptors(record))
        if value(record, "features") is not None:
            features = {"feature_version": FAMILIES["features"], "features": value(record, "features")}
            rows["audio_features"].append(own | features)
        if value(record, "fingerprint"):
            prints = {"fingerprint": value(record, "fingerprint"), "fingerprint_version": FAMILIES["fingerprint"]}
            rows["audio_fingerprints"].append(own | prints)
        mel = value(record, "log_mel")
        if mel is not None:
            rows["log_mels"].append(own | mel | {"log_mel_version": FAMILIES["log_mel"]})
    return {name: pd.DataFrame(items, columns=COLUMNS[name]) for name, items in rows.items()}


def _quality(file: Mapping[Any, Any], record: Record) -> dict[str, Any]:
    report = record["report"]
    return {
        **{name: file[name] for name in ("batch", "root", "path", "file_hash")},
        **{name: report[name] for name in _REPORT},
        "waveform": record.get("waveform"),
        "findings": json.dumps([*(record.get("anomalies") or []), *_disagreements(record)]),
    }


def _disagreements(record: Record) -> list[dict[str, Any]]:
    """Where the file's tags and what was heard disagree."""
    rhythm, tonality = value(record, "rhythm") or {}, value(record, "tonality") or {}
    found = tag_disagreements(
        TagClaims(**record.get("claims") or {}),
        seconds=record["report"]["duration_seconds"],
        tempo=(rhythm.get("tempo_bpm"), rhythm.get("tempo_confidence")),
        key=(tonality.get("key"), tonality.get("key_confidence")),
    )
    return [dict(plain(item)) for item in found]


def _descriptors(record: Record) -> dict[str, Any]:
    rhythm, tonality, loudness = (value(record, name) or {} for name in ("rhythm", "tonality", "loudness"))
    reasons = [str(part["reason"]) for part in (rhythm, tonality, loudness) if part.get("reason")]
    return {
        **{
            name: rhythm.get(name)
            for name in ("tempo_bpm", "tempo_confidence", "tempo_alternative_bpm", "onset_rate_hz")
        },
        "key": tonality.get("key"),
        "key_confidence": tonality.get("key_confidence"),
        "loudness_lufs": loudness.get("integrated_lufs"),
        "loudness_range_lu": loudness.get("range_lu"),
        "true_peak_dbtp": loudness.get("true_peak_dbtp"),
        "dynamic_range_db": loudness.get("dynamic_range_db"),
        "energy_index": energy_index(
            loudness_lufs=loudness.get("integrated_lufs"),
            onset_rate_hz=rhythm.get("onset_rate_hz"),
            dynamic_range_db=loudness.get("dynamic_range_db"),
        ),
        "danceability_index": rhythm.get("danceability_index"),
        "descriptor_version": "/".join(FAMILIES[name] for name in ("rhythm", "tonality", "loudness")),
        "null_reason": "; ".join(dict.fromkeys(reasons)),
    }


_REPORT = (
    "status", "reason", "detected_format", "sample_rate", "channels", "declared_seconds", "duration_seconds",
    "nonfinite_samples", "audio_hash",
)  # fmt: skip

COLUMNS = {
    "audio_quality": ["batch", "root", "path", "file_hash", *_REPORT, "waveform", "findings"],
    "audio_features": ["batch", "audio_hash", "feature_version", "features"],
    "audio_descriptors": [
        "batch", "audio_hash", "tempo_bpm", "tempo_confidence", "tempo_alternative_bpm", "onset_rate_hz", "key",
        "key_confidence", "loudness_lufs", "loudness_range_lu", "true_peak_dbtp", "dynamic_range_db", "energy_index",
        "danceability_index", "descriptor_version", "null_reason",
    ],
    "audio_fingerprints": ["batch", "audio_hash", "fingerprint", "fingerprint_version"],
    "log_mels": ["batch", "audio_hash", "blob", "frames", "log_mel_version"],
}  # fmt: skip
