"""Audio files become batches: which files are known, which are new and have settled, which batch holds them.

A batch's list is written before its partition is added and never changes. A file is taken once per content (root, path,
size, modification time), and once more when that content comes back after another, as from a backup. The memory lies in
the platform database, so neither pruned runs nor a lost sensor cursor make a file new again. Reading the files belongs
to audio analysis.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert
from resources.roots import FileStat, scan

if TYPE_CHECKING:
    import pandas as pd

LANDING = "landing/audio"
CANARY = "landing/canary"
"""Root of the known piece that tests the whole way every hour (`ai_assets.canary`); no answer ever shows it."""
BATCH_FILES = 250
BATCH_BYTES = 2 * 10**9
AUDIO_SUFFIXES = frozenset(
    {
        ".wav",
        ".wave",
        ".flac",
        ".mp3",
        ".ogg",
        ".oga",
        ".opus",
        ".aif",
        ".aiff",
        ".aifc",
        ".m4a",
        ".mp4",
        ".rf64",
        ".w64",
    }
)

AUDIO_ROOTS = sa.Table(
    "audio_roots",
    METADATA,
    sa.Column("root", sa.String(1024), primary_key=True),
    sa.Column("added_at", sa.String(32), nullable=False),
)

AUDIO_FILES = sa.Table(
    "audio_files",
    METADATA,
    sa.Column("root", sa.String(1024), primary_key=True),
    sa.Column("path", sa.String(2048), primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("mtime_ns", sa.BigInteger, primary_key=True),
    sa.Column("visit", sa.Integer, primary_key=True),  # 0; one more each time this content comes back
    sa.Column("batch", sa.String(64), index=True),
    sa.Column("seen_at", sa.Float, nullable=False),
    sa.Column("gone_at", sa.String(32)),
)


def newest_of_files(frame: pd.DataFrame) -> pd.DataFrame:
    """Of rows with `batch root path` each file's newest: the keys of batches sort by time, rows of a table do not."""
    return frame.sort_values("batch", kind="stable").drop_duplicates(["root", "path"], keep="last")


@dataclass(frozen=True)
class Scan:
    """What a look at one root found: files that may be taken now, files still growing, files known already."""

    ready: tuple[FileStat, ...]
    waiting: tuple[FileStat, ...]
    known: int


def without_canary(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows with a column `root`, less those of the canary: what models are trained on."""
    return frame[frame["root"] != CANARY]


def root_folder(root: str, home: Path) -> Path:
    """The folder of a root: `landing/…` lies in the home, any other root is an absolute path."""
    return home / root if root.startswith("landing/") else Path(root)


def source_name(root: str, path: str) -> str:
    """How a file is named in quarantine and tables."""
    return f"{root}/{path}"


def full_path(source: str, home: Path) -> str:
    """The full path of a source name, for people."""
    return f"{home}/{source}" if source.startswith("landing/") else source


class AudioInbox:
    """The memory of audio files and batches in the platform database."""

    def __init__(self, database: Database, home: Path) -> None:
        self._database = database
        self._home = home

    def roots(self) -> list[str]:
        """The landing folder and every folder that was ever given with `--audio`."""
        rows = self._database.query(sa.select(AUDIO_ROOTS.c.root).order_by(AUDIO_ROOTS.c.added_at))
        return [LANDING, *(row["root"] for row in rows if row["root"] != LANDING)]

    def register_root(self, folder: Path) -> str:
        """Remember a folder as a read-only root. Raises NotADirectoryError."""
        folder = folder.expanduser().resolve()
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder: expected a folder of audio files")
        if folder == (self._home / LANDING).resolve():
            return LANDING
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._database.begin() as connection:
            upsert(connection, AUDIO_ROOTS, [{"root": str(folder), "added_at": now}], update={})
        return str(folder)

    def register_canary(self) -> None:
        """Watch the canary's folder as a root of its own."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._database.begin() as connection:
            upsert(connection, AUDIO_ROOTS, [{"root": CANARY, "added_at": now}], update={})

    def look(self, root: str, *, settle_seconds: float) -> Scan:
        """Compare a root with what is known.

        A new file is ready once its size and modification time have stood still for `settle_seconds`.
        Raises resources.roots.StorageFault when the root itself cannot be read.
        """
        rows = self._database.query(
            sa.select(AUDIO_FILES)
            .where(AUDIO_FILES.c.root == root)
            .order_by(AUDIO_FILES.c.seen_at, AUDIO_FILES.c.visit)
        )
        known = {(row["path"], row["size"], row["mtime_ns"]): row for row in rows}
        newest = {row["path"]: row for row in rows}
        now = time.time()
        seen = 0
        ready: list[FileStat] = []
        waiting: list[FileStat] = []
        unseen: list[tuple[FileStat, int]] = []
        for found in scan(root_folder(root, self._home), suffixes=AUDIO_SUFFIXES):
            row = known.get((found.path, found.size, found.mtime_ns))
            if row is not None and row["batch"] is not None:
                if newest[found.path] is row:
                    seen += 1
                    continue
                unseen.append((found, row["visit"] + 1))
                row = None
            elif row is None:
                unseen.append((found, 0))
            # A modification time in the future says nothing: such a file stands still since it was first seen so.
            changed = found.mtime_ns / 1e9 if found.mtime_ns / 1e9 <= now else now
            still = now - (row["seen_at"] if row is not None else changed)
            (ready if still >= settle_seconds else waiting).append(found)
        self._enter(root, unseen, now)
        return Scan(tuple(ready), tuple(waiting), seen)

    def _enter(self, root: str, files: Iterable[tuple[FileStat, int]], now: float) -> None:
        rows = [
            {
                "root": root, "path": f.path, "size": f.size, "mtime_ns": f.mtime_ns, "visit": visit,
                "batch": None, "seen_at": now,
            }
            for f, visit in files
        ]  # fmt: skip
        if rows:
            with self._database.begin() as connection:
                upsert(connection, AUDIO_FILES, rows, update={})

    def freeze(self, root: str, files: Sequence[FileStat]) -> list[str]:
        """Put files into new batches of bounded size; returns the batch keys, in order.

        A crash before a batch's partition is added loses nothing: `batches()` lists it, and the next tick adds it.
        """
        keys = []
        for part in _split(sorted(files, key=lambda item: item.path)):
            now = datetime.now(UTC)
            listed = [now.isoformat(), *(f"{root}/{item.path}:{item.size}:{item.mtime_ns}" for item in part)]
            digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
            key = f"{now:%Y%m%dT%H%M%S}-{digest[:8]}"
            taken = 0
            with self._database.begin() as connection:
                for item in part:
                    taken += connection.execute(
                        sa.update(AUDIO_FILES)
                        .where(
                            AUDIO_FILES.c.root == root,
                            AUDIO_FILES.c.path == item.path,
                            AUDIO_FILES.c.size == item.size,
                            AUDIO_FILES.c.mtime_ns == item.mtime_ns,
                            AUDIO_FILES.c.batch.is_(None),
                        )
                        .values(batch=key)
                    ).rowcount
            if taken:  # else another process was quicker
                keys.append(key)
        return keys

    def batches(self) -> list[str]:
        """Keys of all batches, oldest first."""
        rows = self._database.query(sa.select(AUDIO_FILES.c.batch).where(AUDIO_FILES.c.batch.is_not(None)).distinct())
        return sorted(row["batch"] for row in rows)

    def files(self, batch: str) -> list[dict]:
        """The immutable list of a batch: root, path, size, mtime_ns."""
        columns = (AUDIO_FILES.c.root, AUDIO_FILES.c.path, AUDIO_FILES.c.size, AUDIO_FILES.c.mtime_ns)
        return self._database.query(
            sa.select(*columns).where(AUDIO_FILES.c.batch == batch).order_by(AUDIO_FILES.c.root, AUDIO_FILES.c.path)
        )

    def gone(self) -> set[tuple[str, str]]:
        """(root, path) of files that are no longer there."""
        rows = self._database.query(
            sa.select(AUDIO_FILES.c.root, AUDIO_FILES.c.path, sa.func.count(), sa.func.count(AUDIO_FILES.c.gone_at))
            .where(AUDIO_FILES.c.batch.is_not(None))
            .group_by(AUDIO_FILES.c.root, AUDIO_FILES.c.path)
            .having(sa.func.count() == sa.func.count(AUDIO_FILES.c.gone_at))
        )
        return {(row["root"], row["path"]) for row in rows}

    def has_audio(self) -> bool:
        """Whether this home ever took an audio file (a home without makes its catalogue from events)."""
        return bool(
            self._database.query(sa.select(AUDIO_FILES.c.batch).where(AUDIO_FILES.c.batch.is_not(None)).limit(1))
        )


def _split(files: Sequence[FileStat]) -> list[list[FileStat]]:
    parts: list[list[FileStat]] = []
    size = 0
    for item in files:
        if not parts or len(parts[-1]) >= BATCH_FILES or size + item.size > BATCH_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(item)
        size += item.size
    return parts
