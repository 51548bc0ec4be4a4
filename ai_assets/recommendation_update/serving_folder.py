"""What answering needs, as plain arrays in one folder: written by the assets, read by `query`. No torch, no MLflow.

Layout below `indices/serving`: `gen-<n>/{catalogue.parquet,model.npz,ranker.txt,manifest.json}` beside `CURRENT`.
A generation is written aside, fsynced and swapped in by one rename.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.recommendation_update.recordings import song_keys
from resources.vector_index.generation import CURRENT, file_digest, next_number, prune, swap, sync_folder

if TYPE_CHECKING:
    import pandas as pd

CATALOGUE_COLUMNS = (
    "track", "title", "artist", "album", "genre", "root", "path", "duration_seconds", "deleted", "has_audio",
    "synthetic", "plays",
)  # fmt: skip


def write_generation(
    folder: Path,
    catalogue: pd.DataFrame,
    arrays: Mapping[str, NDArray[Any]],
    *,
    ranker: str | None,
    facts: Mapping[str, Any],
) -> str:
    """Write a serving generation and make it current; returns its name.

    Args:
        catalogue: rows with `CATALOGUE_COLUMNS` in the order of the item codes of `arrays`; without a column
            `synthetic` no track is.
        arrays: `tower_inputs`, `tower_outputs`, `ials_items`, `content` (zeros where a track has none), as they exist.
        ranker: LightGBM text of the ranking model, or None.
        facts: model versions and the like, for the manifest.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    name = f"gen-{next_number(folder)}"
    aside = folder / f".aside-{name}-{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        whole = catalogue if "synthetic" in catalogue else catalogue.assign(synthetic=False)
        # which tracks are versions of one song is found once, here: answering would wait seconds for it
        whole = whole.assign(song=song_keys(whole["title"], whole["artist"]))
        table = pa.Table.from_pandas(whole[[*CATALOGUE_COLUMNS, "song"]], preserve_index=False)
        pq.write_table(table.replace_schema_metadata(None), aside / "catalogue.parquet")
        stored: dict[str, Any] = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
        np.savez(aside / "model.npz", **stored)
        if ranker is not None:
            (aside / "ranker.txt").write_text(ranker)
        files = {path.name: file_digest(path) for path in sorted(aside.iterdir())}
        (aside / "manifest.json").write_text(json.dumps({**facts, "files": files}, sort_keys=True, indent=1))
        for path in aside.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        aside.replace(folder / name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    sync_folder(folder)
    swap(folder, name)
    prune(folder)
    return name


def current_folder(folder: Path) -> Path | None:
    """The current serving generation, or None."""
    pointer = folder / CURRENT
    return folder / pointer.read_text().strip() if pointer.is_file() else None


def usable_folders(folder: Path) -> list[Path]:
    """The current generation, then the others from the newest on; empty where none was ever made current."""
    current = current_folder(folder)
    if current is None:
        return []
    others = [path for path in folder.glob("gen-*") if path.name[4:].isdigit() and path != current]
    return [current, *sorted(others, key=lambda path: -int(path.name[4:]))]


def check_digests(generation: Path) -> None:
    """Raises ValueError where a file does not match its digest in the manifest."""
    manifest = json.loads((generation / "manifest.json").read_text())
    for name, digest in manifest["files"].items():
        if file_digest(generation / name) != digest:
            raise ValueError(f"{generation / name} is damaged: its sha256 is not the one of the manifest")
