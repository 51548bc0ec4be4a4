"""One generation of an index, and which one is current.

Layout: `gen-<n>/{base.ann,ids.npy,vectors.npy,manifest.json}` beside a file `CURRENT` that holds the folder's name.
A generation is written aside, fsynced and renamed; `CURRENT` is swapped by one rename, so a reader sees the old or the
new one. Readers hold one immutable `Generation`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resources.blobs import write_atomically

CURRENT = "CURRENT"
EXACT_BELOW = 10_000
REMEMBERED = 8_192
"""Answers of annoy that an open generation keeps: of 150 neighbours about 16 MB."""
LOOKED_AT = 20
"""Nodes that annoy inspects per neighbour asked for, at least: a search for many needs more than the tuned one."""


@dataclass(frozen=True)
class Generation:
    """An open generation.

    Attributes:
        folder: where it lies.
        manifest: metric, dimension, count, seed, trees, search_k, model version, recall, digests, watermark.
        ids: (n,) track ids; vectors: (n, dim) unit vectors, in the order of annoy's dense codes.
    """

    folder: Path
    manifest: Mapping[str, Any]
    ids: NDArray[np.str_]
    vectors: NDArray[np.float32]
    codes: Mapping[str, int] = field(repr=False, default_factory=dict)

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def _annoy(self) -> Any:
        from annoy import AnnoyIndex

        index = AnnoyIndex(int(self.manifest["dim"]), "angular")
        index.load(str(self.folder / "base.ann"))
        return index

    def vector(self, identifier: str) -> NDArray[np.float32] | None:
        """The unit vector of an id, or None."""
        code = self.codes.get(identifier)
        return None if code is None else self.vectors[code]

    def search(
        self, query: NDArray[np.float32], k: int, *, engine: str | None = None
    ) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
        """Ids and cosines of the k nearest, best first. Arguments and errors as in `nearest`."""
        found, cosines = self.nearest(query, k, engine=engine)
        return self.ids[found], cosines

    def nearest(
        self, query: NDArray[np.float32], k: int, *, engine: str | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows and cosines of the k nearest, best first.

        Args:
            engine: `exact` or `annoy`; by default exact below 10,000 vectors, where it is faster and right.

        Raises:
            ValueError: wrong dimension, or a query that is not finite or zero.
        """
        query = np.asarray(query, np.float32)
        norm = float(np.linalg.norm(query))
        if query.shape != (int(self.manifest["dim"]),) or not np.isfinite(norm) or norm == 0.0:
            raise ValueError(f"a query needs {self.manifest['dim']} finite numbers that are not all zero")
        k = min(k, len(self.ids))
        if k == 0:
            return np.empty(0, np.int64), np.empty(0, np.float32)
        engine = engine or ("exact" if len(self.ids) < EXACT_BELOW else "annoy")
        if engine == "exact":
            every = self.vectors @ (query / norm)
            found = np.argpartition(-every, k - 1)[:k]
            cosines = every[found]
        else:
            return self._annoys_nearest(query, norm, k)
        order = np.lexsort((found, -cosines))
        return found[order], cosines[order]

    def _annoys_nearest(
        self, query: NDArray[np.float32], norm: float, k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What annoy finds; the last questions are remembered, for a generation never changes its answer."""
        key = (k, query.tobytes())
        known = self._found.get(key)
        if known is None:
            looked_at = max(int(self.manifest["search_k"]), LOOKED_AT * k)
            found = np.array(self._annoy.get_nns_by_vector(query, k, search_k=looked_at), np.int64)
            cosines = self.vectors[found] @ (query / norm)
            order = np.lexsort((found, -cosines))
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            known = self._found[key] = found[order].astype(np.int32), cosines[order]
        return known[0].astype(np.int64), known[1].copy()

    @cached_property
    def _found(self) -> dict[tuple[int, bytes], tuple[NDArray[np.int32], NDArray[np.float32]]]:
        return {}


def current(folder: Path, *, held: Generation | None = None) -> Generation | None:
    """The current generation of an index, or None where none was ever swapped in; `held` itself, if that is it."""
    pointer = folder / CURRENT
    if not pointer.is_file():
        return None
    path = folder / pointer.read_text().strip()
    return held if held is not None and held.folder == path else open_generation(path)


def open_generation(folder: Path, *, verify: bool = False) -> Generation:
    """Open one generation.

    Raises:
        ValueError: with `verify`, when a file does not match its digest.
    """
    manifest = json.loads((folder / "manifest.json").read_text())
    if verify:
        for name, digest in manifest["files"].items():
            if file_digest(folder / name) != digest:
                raise ValueError(f"{folder / name} is damaged: its sha256 is not the one of the manifest")
    ids = np.load(folder / "ids.npy", allow_pickle=False)
    # a plain view of the mapped file: rows of numpy's own memmap class cost five times as much to take
    vectors = np.asarray(np.load(folder / "vectors.npy", allow_pickle=False, mmap_mode="r"))
    return Generation(folder, manifest, ids, vectors, {str(name): code for code, name in enumerate(ids)})


def swap(folder: Path, generation: str) -> None:
    """Make a generation the current one by a single rename."""
    write_atomically(folder / CURRENT, generation.encode())
    sync_folder(folder)


def next_number(folder: Path) -> int:
    """The number of the next generation."""
    numbers = [int(path.name[4:]) for path in folder.glob("gen-*") if path.name[4:].isdigit()]
    return max(numbers, default=0) + 1


def prune(folder: Path, keep: int = 3) -> None:
    """Remove all but the newest generations; the current one always stays."""
    import shutil

    pointer = folder / CURRENT
    held = pointer.read_text().strip() if pointer.is_file() else ""
    paths = sorted((path for path in folder.glob("gen-*") if path.name[4:].isdigit()), key=lambda p: int(p.name[4:]))
    for path in paths[:-keep]:
        if path.name != held:
            shutil.rmtree(path, ignore_errors=True)


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
