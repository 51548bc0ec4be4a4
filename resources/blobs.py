"""Content-addressed files beside the lake: previews, images, log-mels, generated media.

A blob's name is the sha256 of its bytes, so writing twice is nothing and no reader sees half a file (written aside,
fsynced, renamed). Tables hold the names; what a blob means is their business.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_UMASK = os.umask(0o022)
os.umask(_UMASK)

SUFFIXES = frozenset({"", ".npy", ".npz", ".png", ".svg", ".mid", ".wav", ".flac", ".ogg", ".json", ".txt", ".html"})


@dataclass(frozen=True)
class Blobs:
    """A folder of blobs, fanned out by the first two digits."""

    root: Path

    FORGETS_NOTHING: ClassVar[str] = (
        "sounds, pictures and scores of tracks, named by their content; nothing of listeners"
    )

    def path(self, name: str) -> Path:
        """Where the blob `sha256[.suffix]` lies. Raises ValueError for anything that is no blob name."""
        stem, dot, suffix = name.partition(".")
        if len(stem) != 64 or not set(stem) <= set("0123456789abcdef") or dot + suffix not in SUFFIXES:
            raise ValueError(f"{name!r} is no blob name: expected 64 hexadecimal digits and one of {sorted(SUFFIXES)}")
        return self.root / stem[:2] / name

    def put(self, data: bytes, suffix: str = "") -> str:
        """Store `data` and return its name. Raises OSError (a full disk leaves nothing behind)."""
        name = hashlib.sha256(data).hexdigest() + suffix
        target = self.path(name)
        if not target.exists():
            write_atomically(target, data)
        return name

    def get(self, name: str) -> bytes:
        """Bytes of a blob. Raises FileNotFoundError, or ValueError when the bytes do not match the name."""
        data = self.path(name).read_bytes()
        if hashlib.sha256(data).hexdigest() != name.partition(".")[0]:
            raise ValueError(f"blob {name} is damaged: its bytes do not match its name")
        return data


def write_atomically(target: Path, data: bytes) -> None:
    """Write aside, fsync, rename; a crash or a full disk leaves the old file and no leftover."""
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(dir=target.parent, prefix=".aside-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), 0o666 & ~_UMASK)
            os.fsync(file.fileno())
        Path(aside).replace(target)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
