"""What changed since a generation was built: a sequenced table of upserts and deletes, searched exactly beside it.

Any process appends; the sequence orders all writes, and of one id the last write wins. A generation's `watermark` is
the sequence up to which its vectors hold everything, so rows at or below it say nothing any more and may be pruned.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from resources.database import METADATA, Database
from resources.vector_index.builder import build
from resources.vector_index.generation import Generation, current

INDEX_DELTA = sa.Table(
    "index_delta",
    METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("index_name", sa.String(64), nullable=False, index=True),
    sa.Column("track", sa.String(200), nullable=False),
    sa.Column("operation", sa.String(8), nullable=False),
    sa.Column("vector", sa.LargeBinary, nullable=True),
    sa.Column("model_version", sa.String(200), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
    # a number once given is never given again, also after the newest rows were pruned
    sqlite_autoincrement=True,
)

MOST_ROWS = 20_000
MOST_SHARE = 0.10
MOST_TOMBSTONES = 0.20


@dataclass(frozen=True)
class Delta:
    """The delta above one watermark, folded: every id once, with its last write.

    Attributes:
        ids: (n,) ids whose last write is an upsert; vectors: (n, dim) their unit vectors.
        gone: ids whose last write is a delete.
        sequence: of the newest row that is in here (the watermark itself, where there is none).
    """

    ids: NDArray[np.str_]
    vectors: NDArray[np.float32]
    gone: frozenset[str]
    sequence: int

    @cached_property
    def touched(self) -> frozenset[str]:
        """Ids for which the base says nothing any more."""
        return self.gone | set(self.ids.tolist())


class DeltaStore:
    """The delta of one index.

    Args:
        name: of the index; several share the table.
        model_version: of the vectors accepted; rows of other versions are left out when reading.
    """

    def __init__(self, database: Database, name: str, *, dim: int, model_version: str) -> None:
        self._database = database
        self.name, self.dim, self.model_version = name, dim, model_version

    def upsert(self, track: str, vector: NDArray[np.float32]) -> int:
        """Enter or replace a track's vector; returns the sequence. Durable when it returns.

        Raises:
            ValueError: a vector of another dimension, not finite, or zero.
        """
        with self.appending() as connection:
            return self.enter(connection, track, vector)

    def delete(self, track: str) -> int:
        """Take a track out; returns the sequence. A track that is not there may be deleted too."""
        with self.appending() as connection:
            return self.enter(connection, track, None)

    @contextmanager
    def appending(self) -> Iterator[sa.Connection]:
        """A transaction in which rows may be entered, for those who write elsewhere in the same one."""
        with self._numbering(), self._database.begin() as connection:
            yield connection

    def enter(self, connection: sa.Connection, track: str, vector: NDArray[np.float32] | None) -> int:
        """Enter a vector, or a delete (None), in a transaction of `appending`. Raises as `upsert` does."""
        blob = None if vector is None else unit_vector(vector, self.dim, track).astype("<f4").tobytes()
        row = {
            "index_name": self.name, "track": track, "operation": "delete" if blob is None else "upsert",
            "vector": blob, "model_version": self.model_version, "at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        key = connection.execute(sa.insert(INDEX_DELTA).values(row)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def after(self, watermark: int) -> Delta:
        """The folded delta above a watermark."""
        table = INDEX_DELTA.c
        # a delete holds whatever model embedded the track; an upsert only says something to its own model
        fits = sa.or_(table.operation == "delete", table.model_version == self.model_version)
        rows = self._database.query(
            sa.select(table.sequence, table.track, table.operation, table.vector)
            .where(table.index_name == self.name, table.sequence > watermark, fits)
            .order_by(table.sequence)
        )
        last: dict[str, Mapping[str, Any]] = {row["track"]: row for row in rows}
        kept = sorted(track for track, row in last.items() if row["operation"] == "upsert")
        vectors = [np.frombuffer(last[track]["vector"], "<f4") for track in kept]
        return Delta(
            ids=np.array(kept, dtype=str),
            vectors=np.array(vectors, np.float32).reshape(len(kept), self.dim),
            gone=frozenset(set(last) - set(kept)),
            sequence=int(rows[-1]["sequence"]) if rows else watermark,
        )

    def last(self) -> int:
        """The newest sequence of this index, of whatever model; 0 for none."""
        newest = sa.select(sa.func.coalesce(sa.func.max(INDEX_DELTA.c.sequence), 0).label("newest"))
        return int(self._database.query(newest.where(INDEX_DELTA.c.index_name == self.name))[0]["newest"])

    def prune(self, watermark: int) -> None:
        """Remove this model's rows at or below a watermark: of a generation that no reader goes behind any more."""
        with self._database.begin() as connection:
            table = INDEX_DELTA.c
            own = sa.and_(table.index_name == self.name, table.model_version == self.model_version)
            below = sa.and_(own, table.sequence <= watermark)
            connection.execute(sa.delete(INDEX_DELTA).where(below))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The one lock of those who make generations of this index."""
        with self._database.lock(f"index/{self.name}"):
            yield

    def _numbering(self) -> AbstractContextManager[None]:
        """Numbers become visible in their order: SQLite has one writer anyway, PostgreSQL needs a lock for it.

        Without it a reader could see number 6 before 5 is committed, and a watermark of 6 would lose 5 for ever.
        """
        return nullcontext() if self._database.is_sqlite else self._database.lock(f"index_delta/{self.name}")


@dataclass(frozen=True)
class LiveIndex:
    """One immutable view: a generation, what changed since, and the search over both.

    Attributes:
        base: None where no generation was ever built.
    """

    base: Generation | None
    delta: Delta

    @classmethod
    def open(cls, folder: Path, store: DeltaStore, *, held: Generation | None = None) -> LiveIndex:
        """The current generation and the delta above its watermark.

        A base of another model version than the store's answers nothing: vectors of two models are not comparable.

        Args:
            held: an open generation, which is used again where it is still the current one.
        """
        base = current(folder, held=held)
        if base is not None and base.manifest["model_version"] != store.model_version:
            base = None
        return cls(base, store.after(int(base.manifest["watermark"]) if base is not None else 0))

    @classmethod
    def alone(cls, base: Generation) -> LiveIndex:
        """A generation of an index that has no delta."""
        nothing = np.empty((0, int(base.manifest["dim"])), np.float32)
        return cls(base, Delta(np.empty(0, str), nothing, frozenset(), int(base.manifest["watermark"])))

    @cached_property
    def tombstones(self) -> int:
        """Vectors of the base that the delta has replaced or deleted."""
        return 0 if self.base is None else sum(name in self.base.codes for name in self.delta.touched)

    def search(
        self, query: NDArray[np.float32], k: int, *, excluded: Iterable[str] = (), engine: str | None = None
    ) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
        """Ids and cosines of the k nearest of base and delta, best first; deleted and `excluded` ids never.

        Raises:
            ValueError: a query of the wrong dimension, not finite, or zero.
        """
        away = set(excluded)
        names, cosines = self._from_base(query, k, away, engine)
        values = np.asarray(query, np.float32)
        norm = float(np.linalg.norm(values))
        if len(self.delta.ids):
            if values.shape != self.delta.vectors.shape[1:] or not np.isfinite(norm) or norm == 0.0:
                raise ValueError(f"a query needs {self.delta.vectors.shape[1]} finite numbers that are not all zero")
            near = self.delta.vectors @ (values / norm)
            count = min(len(near), k + len(away))
            best = np.argpartition(-near, count - 1)[:count] if count else np.empty(0, np.int64)
            best = best[np.array([name not in away for name in self.delta.ids[best].tolist()], bool)]
            names = np.concatenate([names, self.delta.ids[best]])
            cosines = np.concatenate([cosines, near[best]])
        order = np.lexsort((names, -cosines))[:k]
        return names[order], cosines[order]

    def needs_compaction(self, *, more: int = 0, dead: int = 0) -> bool:
        """Has the delta or the number of tombstones passed its bound, or would it with so many more of them?"""
        count = len(self.base.ids) if self.base is not None else 0
        rows = len(self.delta.ids) + len(self.delta.gone) + more
        return rows > min(MOST_ROWS, MOST_SHARE * count) or self.tombstones + dead > MOST_TOMBSTONES * count

    def merged(self) -> tuple[list[str], NDArray[np.float32]]:
        """(ids, vectors) of everything that lives: what a compaction builds from."""
        names, parts = list(self.delta.ids.tolist()), [self.delta.vectors]
        if self.base is not None:
            kept = [code for name, code in self.base.codes.items() if name not in self.delta.touched]
            names += [str(self.base.ids[code]) for code in kept]
            parts.append(np.asarray(self.base.vectors[np.array(kept, np.int64)]))
        if not names:
            return [], self.delta.vectors[:0]
        order = np.argsort(np.array(names))
        return [names[place] for place in order], np.concatenate([part for part in parts if len(part)])[order]

    def _from_base(
        self, query: NDArray[np.float32], k: int, away: set[str], engine: str | None
    ) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
        """The k nearest of the base that are not away: asks for more until k are left or the base is spent."""
        if self.base is None:
            return np.empty(0, str), np.empty(0, np.float32)
        count = len(self.base.ids)
        lost = self.tombstones + len(away)
        wanted = math.ceil(k / max(1.0 - lost / max(count, 1), 1e-3) * 1.5) + 5
        while True:
            names, cosines = self.base.search(query, wanted, engine=engine)
            touched = self.delta.touched
            kept = np.array([name not in away and name not in touched for name in names.tolist()], bool)
            if kept.sum() >= k or wanted >= count:
                return names[kept], cosines[kept]
            wanted *= 2


def unit_vector(vector: Any, dim: int, track: str) -> NDArray[np.float32]:
    """(dim,) unit vector. Raises ValueError: another dimension, not finite, or zero."""
    values = np.asarray(vector, np.float32)
    if values.shape != (dim,) or not np.isfinite(values).all() or not values.any():
        raise ValueError(f"track {track}: expected {dim} finite numbers that are not all zero")
    largest = np.abs(values).max()  # first, so that squares neither overflow nor vanish
    scaled = values / largest
    return np.asarray(scaled / np.linalg.norm(scaled), np.float32)


def rebuild(
    folder: Path, store: DeltaStore, names: Sequence[str], vectors: NDArray[np.float32], *, seen: int
) -> Generation:
    """Make a generation of everything there is and make it current; rows of the delta above `seen` stay above it.

    Args:
        seen: the newest sequence of the delta before `names` and `vectors` were read.
    """
    with store.writing():
        before = current(folder)
        generation = build(folder, names, vectors, model_version=store.model_version, watermark=seen)
        # the previous generation may still be read, and be gone back to: what it does not hold is kept
        if before is not None and before.manifest["model_version"] == store.model_version:
            store.prune(int(before.manifest["watermark"]))
    return generation


def compact(folder: Path, store: DeltaStore) -> Generation:
    """Fold the delta into a new generation and make it current; nothing is lost where it dies in between.

    The new watermark is the last sequence that was read: rows written meanwhile stay above it. Raises BuildRefused as
    `build` does; the old generation and the whole delta then still answer.
    """
    with store.writing():
        live = LiveIndex.open(folder, store)
        names, vectors = live.merged()
        generation = build(folder, names, vectors, model_version=store.model_version, watermark=live.delta.sequence)
        # the previous generation may still be read, and be gone back to: what it does not hold is kept
        if live.base is not None:
            store.prune(int(live.base.manifest["watermark"]))
    return generation
