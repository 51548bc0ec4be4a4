"""A listener's lines out of event files: rewritten aside and renamed in the home, only counted outside it.

A line of text becomes an empty one, so that every other line keeps its number; items of a JSON array and rows of a
Parquet file are left out. What else a listener has left is `erasure`'s business.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import sqlalchemy as sa

from ai_assets.data_processing.event_files import EVENT_SUFFIXES, Line, read_blocks
from ai_assets.data_processing.event_inbox import EVENT_FILES, LANDING, EventInbox
from resources.platform import Platform
from resources.roots import PathRefused, StorageFault, scan
from resources.scrub import Word

PARQUET = b"PAR1"


@dataclass(frozen=True)
class FileErasure:
    """One event file that held lines of a listener; `places` are numbers as in quarantine, counted from 1."""

    source: str
    path: Path
    places: tuple[int, ...]
    rewritten: bool


class EventFileErasure:
    """Finds and removes the lines of one listener (raw id, pseudonym) in the event files of a home."""

    def __init__(self, platform: Platform, listener: str) -> None:
        self._platform = platform
        self._inbox = EventInbox(platform)
        self._home = platform.home.root
        self._word = Word(listener)
        self._pseudonym = platform.pseudonyms.of(listener)

    def erase(self) -> list[FileErasure]:
        """Every file with lines of the listener; those below the home are rewritten, others only named."""
        return [found for source, path in self.sources() if (found := self._erase_from(source, path))]

    def remaining(self) -> list[FileErasure]:
        """Files below the home in which a line of the listener stands."""
        found = [(source, path, self._places(source, path)) for source, path in self.sources() if self._inside(path)]
        return [FileErasure(source, path, tuple(sorted(places)), False) for source, path, places in found if places]

    def sources(self) -> Iterator[tuple[str, Path]]:
        """All event files that are there: of the landing folder, and those once given by name."""
        seen = set()
        for item in scan(self._home / LANDING, suffixes=EVENT_SUFFIXES):
            source = f"{LANDING}/{item.path}"
            seen.add(source)
            yield source, self._home / source
        for row in self._platform.database.query(sa.select(EVENT_FILES.c.source).order_by(EVENT_FILES.c.source)):
            path = Path(row["source"])
            if row["source"] not in seen and path.is_absolute() and path.is_file():
                yield row["source"], path

    def _inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self._home.resolve())

    def _erase_from(self, source: str, path: Path) -> FileErasure | None:
        with self._platform.database.lock(f"event-file:{source}"):
            try:
                places = self._places(source, path)
            except (PathRefused, StorageFault, FileNotFoundError):
                return None
            inside = self._inside(path)
            if places and inside:
                self._rewrite(source, path, places)
        return FileErasure(source, path, tuple(sorted(places)), inside) if places else None

    def _places(self, source: str, path: Path) -> set[int]:
        places: set[int] = set()
        with self._inbox.open_source(source) as file:
            for lines, _, data in read_blocks(file, source, mapping=self._inbox.mapping(source)):
                places |= {line.number for line in lines if self._theirs(line, data)}
        return places

    def _theirs(self, line: Line, data: bytes) -> bool:
        """Whether a line is the listener's; one that cannot be read is, when his id stands in it."""
        if line.record is None:
            start = data.rfind(b"\n", 0, max(line.end - 1, 0)) + 1
            return self._word.found_in(data[start : line.end])
        given = line.record.get("listener")
        if not isinstance(given, str | int) or isinstance(given, bool):
            return False
        return self._platform.pseudonyms.of(str(given).strip()) == self._pseudonym

    def _rewrite(self, source: str, path: Path, places: set[int]) -> None:
        aside = path.with_name(f".{path.name}.erasing")
        moved = None
        with self._inbox.open_source(source) as old:
            head = old.read(64)
            old.seek(0)
            with aside.open("wb") as new:
                if head.startswith(PARQUET):
                    new.write(_parquet_without(old.read(), places))
                elif path.suffix.lower() == ".json" and head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
                    new.write(_array_without(old.read(), places))
                else:
                    moved = _copy_lines(old, new, places, self._inbox.consumed(source))
                new.flush()
                os.fsync(new.fileno())
            size = old.tell()
            with aside.open("rb") as file:
                others = any(lines for lines, _, _ in read_blocks(file, path.name))
            if others:
                shutil.copystat(path, aside)
                aside.replace(path)
                _append(path, old, size)
            else:
                aside.unlink()
                path.unlink()
            _sync(path.parent)
        if not others:
            self._inbox.drop(source)
        elif moved is not None:
            self._inbox.move(source, *moved, path.stat())


def _copy_lines(old: BinaryIO, new: BinaryIO, places: set[int], end: int) -> tuple[int, str]:
    """Copy a text with the lines `places` emptied; returns where the byte `end` now stands, and the digest up to it."""
    position = moved = 0
    digest = hashlib.sha256()
    for number, line in enumerate(io.BufferedReader(_Borrowed(old)), start=1):
        kept = line[len(line.rstrip(b"\r\n")) :] if number in places else line
        new.write(kept)
        if position < end:
            moved += len(kept)
            digest.update(kept)
        position += len(line)
    return moved, digest.hexdigest()


class _Borrowed(io.RawIOBase):
    """A reader that leaves the file open for its owner."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _append(path: Path, old: BinaryIO, size: int) -> None:
    """What was appended to the old file after its first `size` bytes goes into the new one."""
    old.seek(size)
    late = old.read()
    if late:
        with path.open("ab") as file:
            file.write(late)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _array_without(data: bytes, places: set[int]) -> bytes:
    items: list[Any] = json.loads(data.decode("utf-8-sig"))
    kept = [item for number, item in enumerate(items, start=1) if number not in places]
    return json.dumps(kept, ensure_ascii=False).encode() if kept else b""


def _parquet_without(data: bytes, places: set[int]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(data))
    kept = table.filter(pa.array([number not in places for number in range(1, table.num_rows + 1)]))
    if not kept.num_rows:
        return b""
    sink = pa.BufferOutputStream()
    pq.write_table(kept, sink)
    return bytes(sink.getvalue().to_pybytes())
