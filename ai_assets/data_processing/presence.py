"""Files that vanish: soft deletion, and the caution that an unmounted folder deserves.

A file that is gone is only marked; it comes back with its history when it returns. A root that has lost at least five
files and a fifth of all at once deletes nothing: it alerts, and waits for `ai-assets run --confirm-removed`.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy as sa

from ai_assets.data_processing.batches import AUDIO_FILES, AUDIO_SUFFIXES, AudioInbox, root_folder
from resources.database import Database
from resources.lake.ledger import Entry
from resources.lake.tables import Lake
from resources.roots import StorageFault, scan

log = logging.getLogger(__name__)

LANDING_FILES = "landing_files"
LEAST_LOSS, LEAST_SHARE = 5, 0.2
PATIENCE_SECONDS = 600.0


@dataclass(frozen=True)
class Look:
    """What a look at one root found. `suspended`: so much is gone that nothing was marked."""

    root: str
    known: int
    gone: int
    back: int
    suspended: bool
    message: str = ""

    def warn(self) -> None:
        """Say on the log that nothing was deleted, and what to do."""
        log.warning("%s; nothing was deleted; if that is right, run: ai-assets run --confirm-removed", self.message)


class Presence:
    """Which files of the batches are still there."""

    def __init__(self, database: Database, lake: Lake, home: Path) -> None:
        self._database = database
        self._lake = lake
        self._home = home

    def look(self, root: str, *, confirmed: bool = False) -> Look:
        """Mark what is gone or back in one root."""
        try:
            found = scan(root_folder(root, self._home), suffixes=AUDIO_SUFFIXES)
            here = {item.path: (item.size, item.mtime_ns) for item in found}
        except StorageFault as error:
            here, fault = {}, str(error)
        else:
            fault = ""
        rows = self._database.query(
            sa.select(
                AUDIO_FILES.c.path, sa.func.count(AUDIO_FILES.c.gone_at).label("gone"), sa.func.count().label("all")
            )
            .where(AUDIO_FILES.c.root == root, AUDIO_FILES.c.batch.is_not(None))
            .group_by(AUDIO_FILES.c.path)
        )
        present = {row["path"] for row in rows if row["gone"] < row["all"]}
        marked = {row["path"] for row in rows} - present
        lost, back = present - here.keys(), marked & here.keys()
        vanished = lost - self._moved(root, lost, here)
        vanished -= self._held_elsewhere(root, vanished, here) if vanished else set()
        heavy = len(vanished) >= LEAST_LOSS and len(vanished) >= LEAST_SHARE * len(present)
        if fault and not confirmed:
            heavy = heavy or bool(present)
        if heavy and not confirmed:
            folder = root_folder(root, self._home)
            message = f"{len(vanished)} of {len(present)} files are gone from {folder}{': ' + fault if fault else ''}"
            return Look(root, len(present), len(vanished), 0, suspended=True, message=message)
        self._mark(root, lost, datetime.now(UTC).isoformat(timespec="seconds"))
        self._mark(root, back, None)
        if lost or back or not self._lake.ledger.entry(LANDING_FILES):
            self._enter()
        return Look(root, len(present), len(lost), len(back), suspended=False)

    def unanalysed(self, root: str) -> bool:
        """Whether files seen in the last minutes are not analysed yet: they may be the lost ones under other names."""
        made = self._lake.ledger.entries("audio_quality")
        lately = AUDIO_FILES.c.seen_at > time.time() - PATIENCE_SECONDS
        rows = self._database.query(sa.select(AUDIO_FILES.c.batch).where(AUDIO_FILES.c.root == root, lately).distinct())
        return any(row["batch"] is None or row["batch"] not in made for row in rows)

    def _moved(self, root: str, lost: set[str], here: Mapping[str, tuple[int, int]]) -> set[str]:
        """Lost paths whose file lies elsewhere in the root: same size, same time to the nanosecond.

        A renamed folder is no vanished folder. Its tracks find their new files by their audio.
        """
        if not lost:
            return set()
        rows = self._database.query(
            sa.select(AUDIO_FILES.c.path, AUDIO_FILES.c.size, AUDIO_FILES.c.mtime_ns).where(AUDIO_FILES.c.root == root)
        )
        elsewhere = set(here.values())
        return {row["path"] for row in rows if row["path"] in lost and (row["size"], row["mtime_ns"]) in elsewhere}

    def _held_elsewhere(self, root: str, lost: set[str], here: Mapping[str, tuple[int, int]]) -> set[str]:
        """Lost paths whose track has another file that is there: re-encoded, retagged under a new name, in a new root.

        Known only once the new file was analysed.
        """
        identities = self._lake.table("track_identities")
        if not identities.exists:
            return set()
        rows = identities.arrow(["root", "path", "track"]).to_pylist()
        gone = AudioInbox(self._database, self._home).gone()
        there = {
            row["track"]
            for row in rows
            if (row["path"] in here if row["root"] == root else (row["root"], row["path"]) not in gone)
        }
        return {row["path"] for row in rows if row["root"] == root and row["path"] in lost and row["track"] in there}

    def _mark(self, root: str, paths: set[str], when: str | None) -> None:
        names = sorted(paths)
        with self._database.begin() as connection:
            for start in range(0, len(names), 500):
                connection.execute(
                    sa.update(AUDIO_FILES)
                    .where(AUDIO_FILES.c.root == root, AUDIO_FILES.c.path.in_(names[start : start + 500]))
                    .values(gone_at=when)
                )

    def _enter(self) -> None:
        """Note the set of absent files in the ledger, so that the catalogue knows that it is stale."""
        rows = self._database.query(
            sa.select(AUDIO_FILES.c.root, AUDIO_FILES.c.path)
            .where(AUDIO_FILES.c.gone_at.is_not(None))
            .distinct()
            .order_by(AUDIO_FILES.c.root, AUDIO_FILES.c.path)
        )
        digest = hashlib.sha256(repr([(row["root"], row["path"]) for row in rows]).encode()).hexdigest()
        token = self._lake.attempt("presence").token
        self._lake.ledger.record([Entry(LANDING_FILES, "", digest, "", "1", token, "presence", "")])
