"""What a file's tags say about it, made safe: the only reader of tags. Bad tags are no error, only absent."""

from __future__ import annotations

import logging
import re
import unicodedata
from dataclasses import dataclass
from typing import BinaryIO

log = logging.getLogger(__name__)

LONGEST = 400
_UNSAFE = re.compile(r"[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


@dataclass(frozen=True)
class Tags:
    """Tags of one file; None where absent. `duration_seconds` is what the container declares."""

    title: str | None = None
    artist: str | None = None
    album: str | None = None
    genre: str | None = None
    year: int | None = None
    track_number: int | None = None
    mbid: str | None = None
    isrc: str | None = None
    bpm: float | None = None


def read_tags(file: BinaryIO, *, name: str) -> Tags:
    """Read the tags of an open audio file. Never raises for what is in the file.

    Args:
        file: seekable, at its beginning.
        name: its path, for the suffix.
    """
    from tinytag import TinyTag

    try:
        tag = TinyTag.get(name, file_obj=file, tags=True, duration=False)
    except Exception as error:
        log.debug("%s: tags are unreadable: %s", name, type(error).__name__)
        return Tags()
    other = {key.lower().replace(" ", "").replace("_", ""): value for key, value in (tag.other or {}).items()}
    return Tags(
        title=clean(tag.title),
        artist=clean(tag.artist),
        album=clean(tag.album),
        genre=clean(tag.genre),
        year=_year(tag.year),
        track_number=_whole(tag.track),
        mbid=_matching(other.get("musicbrainztrackid") or other.get("musicbrainzrecordingid"), r"[0-9a-f-]{36}"),
        isrc=_matching(other.get("isrc"), r"[a-z]{2}[a-z0-9]{3}\d{7}"),
        bpm=_number(other.get("bpm")),
    )


def clean(text: object) -> str | None:
    """NFC, without control and bidirectional characters, at most 400 characters; None where nothing is left."""
    if text is None:
        return None
    plain = _UNSAFE.sub("", unicodedata.normalize("NFC", str(text))).strip()
    return plain[:LONGEST] or None


def _first(value: object) -> object:
    return value[0] if isinstance(value, list) and value else value


def _matching(value: object, pattern: str) -> str | None:
    text = str(_first(value) or "").strip().replace(" ", "").lower()
    return text if re.fullmatch(pattern, text) else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return int(number) if number is not None and 0 < number < 10_000 else None


def _number(value: object) -> float | None:
    try:
        return float(str(_first(value)))
    except ValueError:
        return None


def _year(value: object) -> int | None:
    found = re.search(r"\d{4}", str(value or ""))
    return int(found.group()) if found and 1000 <= int(found.group()) <= 2999 else None
