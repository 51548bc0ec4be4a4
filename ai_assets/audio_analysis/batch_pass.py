"""One pass over the files of a batch: cached results first, limited workers for the rest, one record per file.

A record is plain JSON: the decode report and, per family of columns, its version and values. It is kept by file hash,
so unchanged content with the same versions is never computed again, across runs and batches; a new version of one
family computes that family alone.
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from ai_assets.audio_analysis.decode import failure_report
from ai_assets.audio_analysis.one_pass import FAMILIES, TrackAnalysis
from resources.blobs import Blobs, write_atomically
from resources.isolation import LimitedPool
from resources.processors import usable_processors

log = logging.getLogger(__name__)

MEMORY_BYTES = 3 * 2**30
CPU_SECONDS = 600.0
WALL_SECONDS = 900.0
WORKER = "ai_assets.audio_analysis.one_pass:analyse_for_pool"

READER = "decode/2"
FINDINGS = frozenset({"loudness", "defects"})

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """One file to analyse: where it lies and the hash of its bytes."""

    root: str
    path: str
    file_hash: str


class RecordCache:
    """Records by file hash below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get(self, file_hash: str) -> Record | None:
        path = self._path(file_hash)
        if not path.exists():
            return None
        try:
            return dict(json.loads(path.read_text()))
        except ValueError:
            return None

    def put(self, file_hash: str, record: Record) -> None:
        write_atomically(self._path(file_hash), json.dumps(record, allow_nan=False).encode())

    def _path(self, file_hash: str) -> Path:
        return self._folder / file_hash[:2] / f"{file_hash}.json"


def analyse_files(
    jobs: Sequence[Job],
    *,
    cache: Path,
    blobs: Blobs,
    workers: int | None = None,
    limits: Mapping[str, float] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Record]:
    """A record per job, in order. A file that harms its worker becomes a record like any other.

    Raises resources.roots.StorageFault when the storage fails.
    """
    records = RecordCache(cache / "analysis")
    found: dict[int, Record] = {}
    waiting: list[tuple[int, list[str]]] = []
    for place, job in enumerate(jobs):
        held = records.get(job.file_hash)
        missing = stale_families(held)
        if held is not None and not missing:
            found[place] = held
        else:
            waiting.append((place, missing))
    done = len(found)
    for place, analysis in _computed(jobs, waiting, cache, workers, limits or {}):
        record = merged(records.get(jobs[place].file_hash), analysis, blobs)
        if record["report"]["status"] not in ("timeout", "killed", "limit"):
            records.put(jobs[place].file_hash, record)
        found[place] = record
        done += 1
        if progress is not None:
            progress(done, len(jobs), jobs[place].path)
    return [found[place] for place in range(len(jobs))]


def stale_families(record: Record | None) -> list[str]:
    """Families whose version in the record is not today's (all of them without a record of today's reader).

    Findings speak of levels and samples at once, so those two are computed together; disagreements with the tags are
    found anew from what is held (`batch_tables`).
    """
    if record is None or record.get("reader") != READER:
        return sorted(FAMILIES)
    if record["report"]["status"] == "refused":
        return []
    stale = {name for name, version in FAMILIES.items() if record["families"].get(name, {}).get("version") != version}
    return sorted(stale | FINDINGS if stale & FINDINGS else stale)


@dataclass(frozen=True)
class Forecast:
    """What an analysis of files would compute.

    Attributes:
        files: files with something to compute; unchanged: files that are answered from the cache.
        families: family to number of files that want it.
        seconds: wall time at most, from what files cost before; None when nothing was measured yet.
    """

    files: int
    unchanged: int
    families: Mapping[str, int]
    seconds: float | None


def forecast(file_hashes: Sequence[str], *, cache: Path, workers: int | None = None) -> Forecast:
    """Look into the cache, compute nothing."""
    records = RecordCache(cache / "analysis")
    families: Counter[str] = Counter()
    costs, files, known = [], 0, 0.0
    for file_hash in dict.fromkeys(file_hashes):
        record = records.get(file_hash)
        cost = float(record.get("cpu_seconds", 0.0)) if record is not None else 0.0
        if cost:
            costs.append(cost)
        stale = stale_families(record)
        if record is None or stale:
            files += 1
            families.update(stale)
            known += cost
    mean = sum(costs) / len(costs) if costs else 0.0
    count = max(1, min(workers or usable_processors(), files))
    unmeasured = known or files * mean
    return Forecast(files, len(set(file_hashes)) - files, dict(families), unmeasured / count if mean else None)


def _computed(
    jobs: Sequence[Job],
    waiting: Sequence[tuple[int, list[str]]],
    cache: Path,
    workers: int | None,
    limits: Mapping[str, float],
) -> Iterator[tuple[int, TrackAnalysis]]:
    if not waiting:
        return
    items = [
        {
            "root": jobs[place].root,
            "path": jobs[place].path,
            "families": families,
            "cache_dir": str(cache / "tables"),
            "limits": limits,
        }
        for place, families in waiting
    ]
    count = min(workers or usable_processors(), len(items))
    with LimitedPool(
        count,
        memory_bytes=MEMORY_BYTES,
        cpu_seconds=CPU_SECONDS,
        wall_seconds=WALL_SECONDS,
        preload=("ai_assets.audio_analysis.one_pass",),
    ) as pool:
        for outcome in pool.map(WORKER, items, ordered=False):
            place = waiting[outcome.item_index][0]
            if outcome.status == "ok":
                yield place, outcome.value
            else:
                if outcome.status == "error":
                    log.warning("%s: %s", jobs[place].path, outcome.error[-500:])
                yield place, TrackAnalysis(report=failure_report(outcome))


def merged(before: Record | None, analysis: TrackAnalysis, blobs: Blobs) -> Record:
    """A record from an analysis, keeping families that were not computed now."""
    kept = before if before is not None and before.get("reader") == READER else None
    record: Record = {
        "report": plain(analysis.report),
        "reader": READER,
        "families": dict(kept["families"]) if kept is not None else {},
        "anomalies": (kept or {}).get("anomalies", []),
        "claims": {"bpm": analysis.claims.bpm, "key": analysis.claims.key},
        "waveform": (kept or {}).get("waveform"),
        "cpu_seconds": round(max(analysis.cpu_seconds, (kept or {}).get("cpu_seconds", 0.0)), 3),
    }
    audio_hash = record["report"]["audio_hash"]
    record["report"]["audio_hash"] = None if audio_hash is None else audio_hash.removeprefix("sha256:")
    if "defects" in analysis.families:
        sound = [item for item in analysis.anomalies if not item.kind.startswith("tag_")]
        record["anomalies"] = plain(sound)
    if analysis.waveform is not None:
        record["waveform"] = plain(analysis.waveform.lowest) + plain(analysis.waveform.highest)
    for name in analysis.families:
        value = {
            "version": FAMILIES[name],
            "value": _value(name, analysis, blobs),
            "reason": analysis.reasons.get(name),
        }
        record["families"][name] = value
    return record


def _value(family: str, analysis: TrackAnalysis, blobs: Blobs) -> Any:
    if family == "log_mel":
        mel = analysis.log_mel
        if mel is None or not len(mel):
            return None
        return {"blob": blobs.put(npy_bytes(mel), ".npy"), "frames": len(mel)}
    if family == "fingerprint":
        return analysis.fingerprint.hex() if analysis.fingerprint is not None else None
    if family == "rhythm":
        index = analysis.danceability.index if analysis.danceability is not None else None
        return {**plain(analysis.rhythm or {}), "danceability_index": plain(index)}
    return plain(getattr(analysis, family))


def plain(value: Any) -> Any:
    """Dataclasses, arrays and numbers as JSON takes them; what is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain(item) for name, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def npy_bytes(array: Any) -> bytes:
    """An array as the bytes of an .npy file."""
    import io

    import numpy as np

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
