"""What a file's tags say: title, artist, identifiers. Claims of whoever tagged it, cleaned but not trusted.

Belongs here: reading tags (tinytag) and cleaning their text. Does not belong here: comparing a claim with the audio
(`defects`) and choosing a track's name (`ai_assets.data_processing`).
"""

from __future__ import annotations

import io
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from resources.roots import PathRefused, StorageFault, open_any, storage_fault

MAX_TEXT = 500
_MAX_TAG_BYTES = 16 << 20
_MAX_READS = 500  # of a buffer, 8 KiB, or of one large tag
_MBID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}\d{7}")
_YEAR = re.compile(r"(?<!\d)(1[89]\d\d|20\d\d)(?!\d)")


@dataclass(frozen=True)
class Tags:
    """Tags of one file; None where absent or unusable.

    `mbid`: MusicBrainz recording id; `isrc`: without dashes; `bpm` and `key`: what the tags claim of the sound.
    """

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None
    year: int | None = None
    track_number: int | None = None
    mbid: str | None = None
    isrc: str | None = None
    bpm: float | None = None
    key: str | None = None


def clean_text(value: object, *, max_length: int = MAX_TEXT) -> str | None:
    """One line of text from outside: NFC, no control, bidirectional, private or unassigned characters, capped.

    None when nothing is left. Zero-width joiners stay, because scripts and emoji need them inside a word.
    """
    if not isinstance(value, str):
        return None
    # Normalisation can grow a text at most a few times, so the first cut bounds the work.
    text = unicodedata.normalize("NFC", value[: max_length * 8])
    kept = (" " if char in "\t\n\r\v\f\u2028\u2029" else char for char in text)
    text = "".join(char for char in kept if char in "\u200c\u200d" or unicodedata.category(char)[0] != "C")
    text = " ".join(text.split())[:max_length].strip(" \u200c\u200d")
    return text or None


def _first(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return value[0] if value else None
    return value


def _number(value: object, most: int) -> int | None:
    try:
        number = int(str(_first(value)).split("/")[0])
    except (TypeError, ValueError):
        return None
    return number if 0 < number <= most else None


def _tempo(value: object) -> float | None:
    try:
        tempo = float(str(_first(value)))
    except ValueError:
        return None
    return tempo if 20.0 <= tempo <= 400.0 else None


def _matched(pattern: re.Pattern[str], value: object) -> str | None:
    found = pattern.search(str(value)) if value is not None else None
    return found.group(0) if found else None


class _Capped(io.RawIOBase):
    """A reader that ends early: tags may claim a picture of 4 GB, and gigabytes of zeros are a walk of empty chunks."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._reads_left = _MAX_READS

    def read(self, size: int = -1) -> bytes:
        self._reads_left -= 1
        if self._reads_left < 0:
            return b""
        return self._file.read(min(size, _MAX_TAG_BYTES) if size >= 0 else _MAX_TAG_BYTES)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def read_tags(path_or_file: Path | str | BinaryIO) -> Tags:
    """The tags of one file; empty Tags for a file without readable ones. Raises StorageFault only."""
    if not isinstance(path_or_file, (str, Path)):
        return _read(path_or_file)
    try:
        with open_any(path_or_file) as file:
            return _read(file)
    except PathRefused:
        return Tags()


def _read(file: BinaryIO) -> Tags:
    import tinytag

    try:
        file.seek(0)
        # By content and not by name: tinytag sniffs when it gets no file name.
        found = tinytag.TinyTag.get(file_obj=io.BufferedReader(_Capped(file)), duration=False)
    except StorageFault:
        raise
    except OSError as error:
        fault = storage_fault(error, str(getattr(file, "name", "")))
        if fault is not None:
            raise fault from error
        return Tags()
    except Exception:
        # A parser of hostile bytes may fail in any way; tags are optional, the audio is not.
        return Tags()
    other = {str(name).lower(): values for name, values in (found.other or {}).items()}
    # In Vorbis comments, in ID3 and in MP4; the recording id carries the name of a track for historical reasons.
    names = ("musicbrainz_trackid", "musicbrainz track id", "musicbrainz_recordingid")
    mbid = next((_first(other[name]) for name in names if other.get(name)), None)
    isrc = str(_first(other.get("isrc")) or "").upper().replace("-", "").replace(" ", "")
    year = _matched(_YEAR, found.year)
    return Tags(
        title=clean_text(found.title),
        artist=clean_text(found.artist),
        album=clean_text(found.album),
        genre=clean_text(found.genre, max_length=100),
        year=int(year) if year else None,
        track_number=_number(found.track, 9999),
        mbid=_matched(_MBID, str(mbid).lower() if mbid else None),
        isrc=_matched(_ISRC, isrc),
        bpm=_tempo(other.get("bpm")),
        key=clean_text(_first(other.get("initial_key")), max_length=20),
    )
