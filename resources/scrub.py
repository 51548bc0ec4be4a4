"""Making a word disappear from a folder, and proving that it has: text and binary files, SQLite, archives, Parquet.

A word is overwritten in place by as many bytes, so that files keep their lengths, appenders their places and other
lines their text. What words stand for, and which folders are looked at, is the callers' business.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import mmap
import re
import sqlite3
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

SQLITE_MAGIC = b"SQLite format 3\0"
SQLITE_SIDES = ("-wal", "-shm", "-journal")
DISTINCTIVE = 6
BUSY_SECONDS = 60.0


@dataclass(frozen=True)
class Word:
    """A word to be found.

    Attributes:
        text: the word.
        anywhere: found also inside other words (pseudonyms). Else it must stand alone, and one that could be a common
            word or number (without both a letter and a digit or @) must stand in quotation marks: `7` is everybody's.
    """

    text: str
    anywhere: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        forms = {self.text, json.dumps(self.text)[1:-1]}
        codes = ("utf-8", "utf-16-le", "utf-32-le")  # the last is how numpy stores text
        return re.compile(b"|".join(self._form(form, code) for code in codes for form in sorted(forms)))

    def _form(self, form: str, code: str) -> bytes:
        core = b"(" + re.escape(form.encode(code)) + b")"
        if self.anywhere:
            return core
        if not self.distinctive:
            quote = '"'.encode(code)
            return b"(?<=" + re.escape(quote) + b")" + core + b"(?=" + re.escape(quote) + b")"
        if code == "utf-8":
            return rb"(?<![0-9A-Za-z])" + core + rb"(?![0-9A-Za-z])"
        return core

    @property
    def distinctive(self) -> bool:
        """Whether the word is hardly ever another one."""
        letter, other = re.search(r"[^\W\d_]", self.text), re.search(r"[\d@]", self.text)
        return self.anywhere or bool(len(self.text) >= DISTINCTIVE and letter and other)

    @cached_property
    def cell_pattern(self) -> str:
        """The same for a table's cell, as RE2 takes it."""
        core = re.escape(self.text)
        if self.anywhere:
            return core
        return f"(^|[^0-9A-Za-z]){core}([^0-9A-Za-z]|$)" if self.distinctive else f'"{core}"'

    def found_in(self, data: Any) -> bool:
        return self.pattern.search(data) is not None

    def masked(self, data: bytes) -> bytes:
        """`data` with the word overwritten, as long as before."""
        return self.pattern.sub(lambda hit: _mask(hit.group()), data)


def _mask(word: bytes) -> bytes:
    return bytes(48 if byte else 0 for byte in word)  # noughts, with the zero bytes of wide encodings left alone


@dataclass(frozen=True)
class Found:
    """A file in which a word still stands."""

    path: Path
    word: Word


def files_below(root: Path, skip: Collection[Path] = ()) -> Iterator[Path]:
    """Regular files below `root`, in order, not below a folder of `skip`; links are not followed."""
    for path in sorted(root.iterdir()) if root.is_dir() else []:
        if path in skip or path.is_symlink():
            continue
        if path.is_dir():
            yield from files_below(path, skip)
        elif path.is_file():
            yield path


def mask_tree(root: Path, words: Sequence[Word], *, skip: Collection[Path] = ()) -> list[Path]:
    """Overwrite words in all files below `root`; returns the files that held one.

    SQLite databases are changed by SQL and then rebuilt without free pages. Archives (`.npz`, `.zip`) are written anew.
    A compressed file that cannot be changed so (gzip, Parquet outside the lake) is removed.

    Raises sqlite3.OperationalError when a database stays locked.
    """
    changed = []
    for path in list(files_below(root, skip)):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile by its owner
            if _mask_file(path, words):
                changed.append(path)
    return changed


def _mask_file(path: Path, words: Sequence[Word]) -> bool:
    head = _head(path)
    if head.startswith(SQLITE_MAGIC):
        return mask_sqlite(path, words)
    if path.name.endswith(SQLITE_SIDES):
        return False
    if _is_packed(head):
        held = [word for word in words if _packed_holds(path, word)]
        if held and head.startswith(b"PK"):
            _rewrite_zip(path, held)
        elif held:
            path.unlink()
        return bool(held)
    return _mask_bytes(path, words)


def _mask_bytes(path: Path, words: Sequence[Word]) -> bool:
    if path.stat().st_size == 0:
        return False
    held = False
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        for word in words:
            hits = [(hit.start(), hit.group()) for hit in word.pattern.finditer(data)]
            for start, text in hits:
                data[start : start + len(text)] = _mask(text)
            held = held or bool(hits)
        if held:
            data.flush()
    return held


def mask_sqlite(path: Path, words: Sequence[Word]) -> bool:
    """Overwrite words in every column of every table, then drop what deleted rows left in free pages and the log."""
    changed = 0
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.create_function("masked", 1, lambda value: _masked_value(value, words), deterministic=True)
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        for (table,) in tables.fetchall():
            for column in connection.execute(f'PRAGMA table_info("{table}")').fetchall():
                name = f'"{column[1]}"'
                held = f"typeof({name}) IN ('text', 'blob') AND masked({name}) IS NOT {name}"
                statement = f'UPDATE OR REPLACE "{table}" SET {name} = masked({name}) WHERE {held}'
                changed += connection.execute(statement).rowcount
    compact_sqlite(path)
    return changed > 0


def _masked_value(value: Any, words: Sequence[Word]) -> Any:
    data = value.encode(errors="surrogateescape") if isinstance(value, str) else value
    for word in words:
        data = word.masked(data)
    return data.decode(errors="surrogateescape") if isinstance(value, str) else data


def compact_sqlite(path: Path) -> None:
    """Rewrite a database without its free pages and empty its write-ahead log; waits for other users."""
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        connection.execute("VACUUM")
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise sqlite3.OperationalError(f"{path.name} is in use: its write-ahead log could not be emptied")


def search_tree(root: Path, words: Sequence[Word], *, skip: Collection[Path] = ()) -> list[Found]:
    """Every file below `root` in which a word stands, compressed ones (Parquet, `.npz`, `.zip`, gzip) unpacked."""
    found = []
    for path in files_below(root, skip):
        with contextlib.suppress(FileNotFoundError):
            found += [Found(path, word) for word in words if _holds(path, word)]
    return found


def _holds(path: Path, word: Word) -> bool:
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if word.found_in(data):
            return True
    return _is_packed(_head(path)) and _packed_holds(path, word)


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(16)


def _is_packed(head: bytes) -> bool:
    return head.startswith((b"PAR1", b"PK\3\4", b"\x1f\x8b"))


def _packed_holds(path: Path, word: Word) -> bool:
    head = _head(path)
    try:
        if head.startswith(b"PAR1"):
            return _parquet_holds(path, word)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                return any(word.found_in(archive.read(name)) for name in archive.namelist())
        with gzip.open(path) as file:
            return word.found_in(file.read())
    except (OSError, EOFError, zipfile.BadZipFile, ValueError):  # torn: nothing can be unpacked from it
        return False


def _parquet_holds(path: Path, word: Word) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    texts = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)

    def in_array(array: pa.Array) -> bool:
        if pa.types.is_dictionary(array.type):
            array = array.dictionary
        if any(test(array.type) for test in texts):
            held = pc.match_substring_regex(array.cast(pa.large_string()), word.cell_pattern)
            return bool(pc.any(held).as_py())
        if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
            return any(word.found_in(value) for value in array.to_pylist() if value)
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            return in_array(array.flatten())
        if pa.types.is_struct(array.type):
            return any(in_array(part) for part in array.flatten())
        return False

    batches = pq.ParquetFile(path).iter_batches(batch_size=50_000)
    return any(in_array(column) for batch in batches for column in batch.columns)


def _rewrite_zip(path: Path, words: Sequence[Word]) -> None:
    aside = path.with_name(f".{path.name}.masked")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(aside, "w") as target:
        for item in source.infolist():
            data = source.read(item)
            for word in words:
                data = word.masked(data)
            target.writestr(item, data)
    aside.replace(path)
