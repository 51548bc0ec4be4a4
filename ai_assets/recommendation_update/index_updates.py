"""Bringing an index up to what the tables say: a few changes go into its delta, many are a new generation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.external_tracks import ExternalTracks
from ai_assets.recommendation_update.current import CONTENT, delta_store
from ai_assets.recommendation_update.serving_folder import current_folder
from resources.vector_index import Generation, current
from resources.vector_index.delta import DeltaStore, LiveIndex, rebuild

if TYPE_CHECKING:
    from resources.platform import Platform

SAME = 1e-6


@dataclass(frozen=True)
class Updated:
    """The generation that answers now, whether it is new, and the rows of the delta beside it."""

    generation: Generation
    rebuilt: bool
    delta_rows: int


def bring_up_to_date(
    folder: Path, store: DeltaStore, names: Sequence[str], vectors: NDArray[np.float32], *, seen: int
) -> Updated:
    """Make base and delta say what `names` and (n, dim) unit `vectors` say.

    Args:
        seen: the newest sequence of the delta before the names were read; what was written later is left alone.

    Raises:
        BuildRefused: as `build` does; the old generation and its delta then still answer.
    """
    live = LiveIndex.open(folder, store)
    if live.base is not None and int(live.base.manifest["dim"]) == store.dim:
        upserts, deletes = _difference(live, names, vectors)
        later = store.after(seen).touched
        upserts = {name: row for name, row in upserts.items() if name not in later}
        deletes = [name for name in deletes if name not in later]
        if not live.needs_compaction(more=len(upserts) + len(deletes), dead=len(deletes)):
            for name, row in upserts.items():
                store.upsert(name, vectors[row])
            for name in deletes:
                store.delete(name)
            delta = store.after(int(live.base.manifest["watermark"]))
            return Updated(live.base, False, len(delta.touched))
    generation = rebuild(folder, store, names, vectors, seen=seen)
    return Updated(generation, True, len(store.after(seen).touched))


def _difference(
    live: LiveIndex, names: Sequence[str], vectors: NDArray[np.float32]
) -> tuple[dict[str, int], list[str]]:
    """Rows that the index does not hold so, by name, and names that it holds too many."""
    held_names, held = live.merged()
    held_rows = {name: row for row, name in enumerate(held_names)}
    wanted = {name: row for row, name in enumerate(names)}
    both = [(row, held_rows[name]) for name, row in wanted.items() if name in held_rows]
    mine, theirs = np.array(both, np.int64).reshape(-1, 2).T
    changed = set(mine[np.abs(vectors[mine] - held[theirs]).max(axis=1, initial=0.0) > SAME].tolist())
    upserts = {name: row for name, row in wanted.items() if name not in held_rows or row in changed}
    return upserts, [name for name in held_names if name not in wanted]


def reason_to_compact(platform: Platform) -> str:
    """Why the content index ought to be brought up to date now, "" for no reason.

    The delta or its tombstones have passed their bounds, the embedding has changed, or tracks were entered or withdrawn
    that the tables do not know yet.
    """
    held = current_folder(platform.home.indices / "serving")
    facts = json.loads((held / "manifest.json").read_text()) if held is not None else {}
    entered = ExternalTracks(platform.database).last()
    if entered > max(int(facts.get("external_sequence", -1)), 0):
        return f"tracks were entered or withdrawn up to number {entered}"
    base = current(platform.home.indices / CONTENT)
    if base is None:
        return ""
    version = str(base.manifest["model_version"])
    if facts.get("embedding") not in (None, version):
        return f"the embedding is {facts['embedding']}, the index was built from {version}"
    live = LiveIndex.open(
        platform.home.indices / CONTENT, delta_store(platform, int(base.manifest["dim"]), version), held=base
    )
    if live.needs_compaction():
        rows = len(live.delta.touched)
        return f"{rows:,} tracks changed beside an index of {len(base.ids):,} (number {live.delta.sequence})"
    return ""
