"""What the files of a batch are: place, size, hash of the bytes, tags. Nothing is decoded here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ai_assets.data_processing.batches import root_folder
from ai_assets.data_processing.tags import read_tags
from resources.roots import PathRefused, open_confined

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "batch", "root", "path", "size_bytes", "mtime_ns", "file_hash", "title", "artist", "album", "genre", "year",
    "track_number", "mbid", "isrc",
)  # fmt: skip


@dataclass(frozen=True)
class RefusedFile:
    """A listed file that could not be opened."""

    root: str
    path: str
    reason: str
    code: str


def read_manifest(
    listed: Mapping[str, Sequence[Mapping[str, Any]]], home: Path
) -> tuple[pd.DataFrame, list[RefusedFile]]:
    """Rows of `audio_manifest` for the files of each batch, and the files that are not there or may not be opened.

    Raises resources.roots.StorageFault when the storage fails: that is no fault of a file, and the step is retried.
    """
    import pandas as pd

    rows, refused = [], []
    for batch, files in listed.items():
        for item in files:
            try:
                with open_confined(root_folder(item["root"], home), item["path"]) as file:
                    rows.append({"batch": batch, **_describe(item, file)})
            except PathRefused as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    refused.append(RefusedFile(item["root"], item["path"], "the file is no longer there", "vanished"))
                else:
                    refused.append(RefusedFile(item["root"], item["path"], error.reason, "path_refused"))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame, refused


def _describe(item: Mapping[str, Any], file: Any) -> dict[str, Any]:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    tags = read_tags(file)
    return {
        "root": item["root"],
        "path": item["path"],
        "size_bytes": item["size"],
        "mtime_ns": item["mtime_ns"],
        "file_hash": digest,
        "title": tags.title,
        "artist": tags.artist,
        "album": tags.album,
        "genre": tags.genre,
        "year": tags.year,
        "track_number": tags.track_number,
        "mbid": tags.mbid,
        "isrc": tags.isrc,
    }
