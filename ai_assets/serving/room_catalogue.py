"""What the room shows of the catalogue: searching it, and all that the tables know of one track.

Which tracks may be shown is decided by the snapshot's `allowed`, nowhere else. Tables are read with filters, so that a
page costs a few rows however large the catalogue is; nothing is decoded here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.query import QuerySnapshot
from resources.platform import Platform

PAGE = 24
SORTS = ("plays", "title", "artist")
SEARCHED = ("title", "artist", "album", "genre")
LISTED = ("track", "tempo_bpm", "key", "mood")
CATALOGUED = (
    "root", "path", "audio_hash", "album", "year", "genre", "genre_source", "mood", "duration_seconds",
)  # fmt: skip
DESCRIBED = (
    "tempo_bpm", "tempo_confidence", "tempo_alternative_bpm", "key", "key_confidence", "loudness_lufs",
    "loudness_range_lu", "true_peak_dbtp", "energy_index", "danceability_index",
)  # fmt: skip
FINDING = ("kind", "severity", "time", "value", "threshold", "suggested_action", "model")
QUALITY = ("batch", "status", "detected_format", "sample_rate", "channels", "waveform")
Codes = NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """One page of a search: item codes, how many there are in all, and on how many pages."""

    items: Codes
    total: int
    page: int
    pages: int


@dataclass(frozen=True)
class TrackFacts:
    """What the tables know of a track.

    Attributes:
        row: of `tracks`; sound: of `audio_descriptors`; quality: of `audio_quality`, for the file that is played.
            Values are None where nothing is known.
        tags: (label, probability, model) of every classifier; findings: of `audio_anomalies`, in the order of time.
        files: the files that hold the track; mels: name of the log-mel blob.
    """

    row: dict[str, Any]
    sound: dict[str, Any]
    quality: dict[str, Any]
    tags: list[tuple[str, float | None, str]]
    findings: list[dict[str, Any]]
    files: list[dict[str, Any]]
    mels: str | None


class Searcher:
    """Finds tracks by words; the folded texts of the newest catalogue are kept."""

    def __init__(self) -> None:
        self._kept: tuple[Any, int, list[str]] = (None, -1, [])

    def find(
        self, snapshot: QuerySnapshot, mask: NDArray[np.bool_], words: str, genre: str, sort: str, page: int
    ) -> Found:
        """Tracks of the mask that hold every word in title, artist, album or genre."""
        wanted = folded(words).split()
        items = np.flatnonzero(mask)
        if genre:
            items = items[snapshot.catalogue["genre"][items] == genre]
        if wanted:
            texts = self._folded(snapshot)
            items = items[[all(word in texts[item] for word in wanted) for item in items.tolist()]]
        if sort == "plays":
            order = np.lexsort((items, -snapshot.catalogue["plays"][items]))
        else:
            order = np.argsort([folded(str(text)) for text in snapshot.catalogue[sort][items]], kind="stable")
        pages = max(1, -(-len(items) // PAGE))
        page = min(max(page, 1), pages)
        return Found(items[order][(page - 1) * PAGE : page * PAGE], len(items), page, pages)

    def _folded(self, snapshot: QuerySnapshot) -> list[str]:
        catalogue, sequence, texts = self._kept
        if catalogue is not snapshot.catalogue or sequence != snapshot.sequence:
            columns = [snapshot.catalogue[name].tolist() for name in SEARCHED]
            texts = [folded(" ".join(str(part) for part in row if part)) for row in zip(*columns, strict=True)]
            self._kept = (snapshot.catalogue, snapshot.sequence, texts)
        return texts


def folded(text: str) -> str:
    """Text for comparing: without case and accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in parts if not unicodedata.combining(letter))


def genres(snapshot: QuerySnapshot, mask: NDArray[np.bool_]) -> list[str]:
    """The genres of the tracks of the mask, the most frequent first (at most 30)."""
    names, counts = np.unique([name for name in snapshot.catalogue["genre"][mask] if name], return_counts=True)
    return [str(name) for name in names[np.argsort(-counts, kind="stable")][:30]]


def other_versions(snapshot: QuerySnapshot, item: int, mask: NDArray[np.bool_]) -> Codes:
    """Other recordings of the same song that may be shown (at most 12)."""
    same = (snapshot.songs == snapshot.songs[item]) & mask
    same[item] = False
    return np.flatnonzero(same)[:12]


def listed_facts(platform: Platform, tracks: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Tempo, key and mood of these tracks, by track."""
    found = {row["track"]: row for row in _rows(platform, "tracks", LISTED, track=list(tracks))}
    return {track: found.get(track, dict.fromkeys(LISTED)) for track in tracks}


def track_facts(platform: Platform, track: str) -> TrackFacts:
    """All that the tables know of a track."""
    row = _newest(_rows(platform, "tracks", CATALOGUED, track=[track]), CATALOGUED)
    files = _rows(platform, "track_identities", ("root", "path", "batch", "audio_hash", "matched_by"), track=[track])
    batches = sorted({str(file["batch"]) for file in files})
    heard = [row["audio_hash"]] if row["audio_hash"] else []
    by_sound: dict[str, list[Any]] = {"batch": batches, "audio_hash": heard}
    by_place: dict[str, list[Any]] = {"batch": batches, "root": [row["root"]], "path": [row["path"]]}
    tagged = _rows(platform, "track_tags", None, **by_sound)
    findings = _rows(platform, "audio_anomalies", FINDING, **by_place)
    quality = sorted(_rows(platform, "audio_quality", QUALITY, **by_place), key=lambda found: str(found["batch"]))
    return TrackFacts(
        row,
        _newest(_rows(platform, "audio_descriptors", DESCRIBED, **by_sound), DESCRIBED),
        _newest(quality, QUALITY),
        _tags(tagged[-1] if tagged else {}),
        sorted(findings, key=lambda found: (found["time"] is None, found["time"] or 0.0, found["kind"])),
        sorted(files, key=lambda file: (file["path"] != row["path"], file["root"], file["path"])),
        _newest(_rows(platform, "log_mels", ("blob",), **by_sound), ("blob",))["blob"],
    )


def _tags(row: dict[str, Any]) -> list[tuple[str, float | None, str]]:
    """What each classifier says, the platform's own first; also a guess that was too unsure to be taken."""
    found = []
    if row.get("best_guess"):
        found.append((str(row["best_guess"]), row.get("probability"), str(row.get("model") or "")))
    for name in sorted(name for name in row if name.startswith("label_") and row[name]):
        other = name.removeprefix("label_")
        found.append((str(row[name]), row.get(f"probability_{other}"), str(row.get(f"model_{other}") or other)))
    return found


def _rows(platform: Platform, name: str, columns: Sequence[str] | None, **wanted: list[Any]) -> list[dict[str, Any]]:
    """Rows of a table whose columns hold one of the wanted values; none where the table is absent."""
    import pyarrow.dataset as ds

    table = platform.lake.table(name)
    if not table.exists or not all(wanted.values()) or any(None in values for values in wanted.values()):
        return []
    chosen = None
    for column, values in wanted.items():
        one = ds.field(column).isin(values)
        chosen = one if chosen is None else chosen & one
    data = table.dataset()
    kept = None if columns is None else [column for column in columns if column in data.schema.names]
    rows: list[dict[str, Any]] = data.to_table(columns=kept, filter=chosen).to_pylist()
    return rows


def _newest(rows: list[dict[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
    """The last row, of a file that was analysed again the newest; None in every column where there is none."""
    return {**dict.fromkeys(columns), **(rows[-1] if rows else {})}
