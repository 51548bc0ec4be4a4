"""Backup and restore of a home: every database as one consistent snapshot, every file with its digest.

What is copied first may be older than what follows, never newer: databases, then tables (their log before their data),
then what tables name. So a restored database stands over an equal or newer lake, and `after_restore` makes that safe.
What the restored data mean, and whose must be erased again, is the callers' business.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from resources.lake.fence import LAKE_EPOCHS
from resources.platform import Platform
from resources.scrub import SQLITE_MAGIC, SQLITE_SIDES, files_below
from resources.vector_index.delta import INDEX_DELTA

MANIFEST = "backup.json"
FORMAT = 1
MADE_ANEW = ("locks", "cache")
KEY_MARK = "secrets/listener_key.check"
BLOCK = 2**20


class BackupRefused(RuntimeError):
    """The backup cannot be made or restored as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Backup:
    """A finished backup: where, how much, and what it does not hold."""

    folder: Path
    files: int
    bytes: int
    elsewhere: tuple[str, ...]


def back_up(platform: Platform, folder: Path, *, secrets: bool = True) -> Backup:
    """Copy a home into a new folder, while it is in use.

    Args:
        secrets: whether the keys go along (pseudonyms, audit signature, tokens).

    Raises BackupRefused where the folder is in the way, inside the home or too small.
    """
    home, folder = platform.home.root, folder.expanduser().resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BackupRefused(f"{folder} is not empty; name a folder that does not exist yet")
    if folder.is_relative_to(home.resolve()):
        raise BackupRefused(f"{folder} lies inside the home; a backup belongs on another disk")
    aside = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    aside.mkdir(parents=True, mode=0o700)
    try:
        with platform.database.lock("upkeep"):
            listed = {name: _copy(home / name, aside / name) for name in _in_order(home, secrets=secrets)}
        files = {name: entry for name, entry in listed.items() if entry is not None}
        manifest = {
            "format": FORMAT,
            "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "secrets": secrets,
            "elsewhere": list(_elsewhere(platform)),
            "files": files,
        }
        (aside / MANIFEST).write_text(json.dumps(manifest, sort_keys=True, indent=1))
        if folder.exists():
            folder.rmdir()
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Backup(folder, len(files), sum(entry["bytes"] for entry in files.values()), tuple(_elsewhere(platform)))


def _elsewhere(platform: Platform) -> Iterator[str]:
    if not platform.database.is_sqlite:
        yield "the platform database and Dagster's storage in PostgreSQL: take them with pg_dump, before this backup"
    if not Path(platform.lake.root).resolve().is_relative_to(platform.home.root.resolve()):
        yield f"the tables at {platform.lake.root}: keep versions of that bucket or folder"
    if platform.settings.redis_url is not None:
        yield "events in Redis that no run has taken yet"


def _in_order(home: Path, *, secrets: bool) -> list[str]:
    """Names of the files to copy, in an order in which nothing is older than what refers to it."""
    skip = [home / name for name in MADE_ANEW]
    names = [path.relative_to(home).as_posix() for path in files_below(home, skip)]
    names = [name for name in names if not name.endswith(SQLITE_SIDES) and (secrets or _public(name))]

    def rank(name: str) -> tuple[int, str]:
        if name == "platform.db":
            return 0, name
        if _is_sqlite(home / name):
            return 1, name
        if name.startswith("lake/"):
            return (2 if "/_delta_log/" in name else 3), name
        return (4 if name.startswith("audit/checkpoints") else 5), name

    return sorted(names, key=rank)


def _public(name: str) -> bool:
    return not name.startswith("secrets/") or name == KEY_MARK


def _is_sqlite(path: Path) -> bool:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
    return False


def _copy(source: Path, target: Path) -> dict[str, Any] | None:
    """Copy one file; its size and digest, or None where it is gone meanwhile."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        if _is_sqlite(source):
            with (
                contextlib.closing(sqlite3.connect(source, timeout=60)) as old,
                contextlib.closing(sqlite3.connect(target)) as new,
            ):
                old.backup(new)
            shutil.copymode(source, target)
        else:
            shutil.copy2(source, target)
    except FileNotFoundError:
        return None
    return {"bytes": target.stat().st_size, "sha256": _digest(target)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def examine(folder: Path) -> dict[str, Any]:
    """The manifest of a whole backup. Raises BackupRefused for one that is unfinished or damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        raise BackupRefused(f"{folder} is no finished backup: it has no {MANIFEST}")
    manifest: dict[str, Any] = json.loads(path.read_text())
    if manifest.get("format") != FORMAT:
        raise BackupRefused(f"{folder} has format {manifest.get('format')}; this version reads format {FORMAT}")
    for name, entry in manifest["files"].items():
        copy = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise BackupRefused(f"{folder}: {name!r} leads outside the backup")
        if not copy.is_file() or copy.stat().st_size != entry["bytes"] or _digest(copy) != entry["sha256"]:
            raise BackupRefused(f"{folder} is damaged: {name} is missing or was changed")
    return manifest


def restore_home(folder: Path, home: Path, *, replace: bool, keys: Path | None = None) -> Path | None:
    """Make a home from a backup; returns where the home that stood there was put, if there was one.

    A backup without keys takes those in the folder `keys`, or of the replaced home. Raises BackupRefused; nothing was
    changed then.
    """
    manifest = examine(folder)
    stands = home.is_dir() and any(home.iterdir())
    if stands and not replace:
        raise BackupRefused(f"there is a home at {home}; --replace puts it aside and takes its place")
    keys = keys or (home / "secrets" if stands else None)
    if not manifest["secrets"] and keys is None:
        raise BackupRefused(f"{folder} was made without keys; name the folder that has them with --secrets DIR")
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    aside, old = home.with_name(f".{home.name}.restoring-{stamp}"), home.with_name(f"{home.name}.replaced-{stamp}")
    aside.mkdir(parents=True)
    try:
        for name in manifest["files"]:
            target = aside / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / name, target)
        if keys is not None and not manifest["secrets"]:
            for path in files_below(keys):
                if path.name != Path(KEY_MARK).name:
                    (aside / "secrets").mkdir(exist_ok=True)
                    shutil.copy2(path, aside / "secrets" / path.name)
        if stands:
            home.rename(old)
        elif home.is_dir():
            home.rmdir()
        aside.rename(home)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return old if stands else None


def restore_database(folder: Path, platform: Platform) -> None:
    """Put the backup's platform database under the home as it is now (SQLite only)."""
    examine(folder)
    if not platform.database.is_sqlite:
        raise BackupRefused("the platform database is PostgreSQL: restore it with pg_restore, then use --fences-only")
    source, target = folder / "platform.db", Path(platform.database.url.removeprefix("sqlite:///"))
    aside = target.with_name(f".{target.name}.restoring")
    shutil.copy2(source, aside)
    for side in SQLITE_SIDES:
        target.with_name(target.name + side).unlink(missing_ok=True)
    aside.replace(target)


def after_restore(platform: Platform) -> None:
    """Let a restored database go on over tables and indices that may be newer than it.

    The fences go up (the next token begins a new epoch, above every one in the lake), and numbers of the index delta
    begin above every generation's watermark.
    """
    with platform.database.begin() as connection:
        connection.execute(sa.delete(LAKE_EPOCHS))
        newest = connection.execute(sa.select(sa.func.coalesce(sa.func.max(INDEX_DELTA.c.sequence), 0))).scalar_one()
        floor = max([int(newest), *_watermarks(platform.home.indices)])
        if floor and platform.database.is_sqlite:
            connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = 'index_delta'"))
            row = {"name": "index_delta", "seq": floor}
            connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :seq)"), row)
        elif floor:
            statement = "SELECT setval(pg_get_serial_sequence('index_delta', 'sequence'), :floor)"
            connection.execute(sa.text(statement), {"floor": floor})


def _watermarks(indices: Path) -> Iterator[int]:
    for path in indices.glob("*/gen-*/manifest.json"):
        with contextlib.suppress(OSError, ValueError):
            yield int(json.loads(path.read_text()).get("watermark") or 0)
