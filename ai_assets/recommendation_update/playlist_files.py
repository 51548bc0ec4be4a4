"""Playlists as files that players read: extended M3U in UTF-8, and JSPF. What stands on a playlist is `playlists`.

Sources: RFC 8216 section 4.1 (M3U8 is UTF-8 without BOM) with the EXTINF and PLAYLIST lines players use; XSPF version 1
and its JSON form JSPF, https://www.xspf.org/jspf.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One track of a playlist. `path` is the full path of its file, None for a track known from events alone."""

    track: str
    title: str
    artist: str
    album: str | None = None
    path: str | None = None
    seconds: float | None = None
    reason: str = ""


def m3u8(title: str, entries: Iterable[Entry]) -> str:
    """The text of an .m3u8 file; tracks without a file cannot be played and are left out."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_line(title)}"]
    for entry in entries:
        if entry.path is None or _line(entry.path) != entry.path:
            continue
        length = -1 if entry.seconds is None else round(entry.seconds)
        lines += [f"#EXTINF:{length},{_line(entry.artist)} - {_line(entry.title)}", entry.path]
    return "\n".join(lines) + "\n"


def jspf(title: str, entries: Sequence[Entry], *, name: str = "", text: str = "") -> dict[str, Any]:
    """The JSON value of a .jspf file; durations in milliseconds, files as `file:` URIs, reasons as annotations.

    Args:
        name: the list's stable name, which becomes its identifier; text: its description.
    """
    found: dict[str, Any] = {"title": title}
    if text:
        found["annotation"] = text
    if name:
        found["identifier"] = f"urn:playlist:{name}"
    return {"playlist": {**found, "track": [_jspf_track(entry) for entry in entries]}}


def _jspf_track(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = {"title": entry.title, "creator": entry.artist, "identifier": [f"urn:track:{entry.track}"]}
    if entry.path is not None:
        found["location"] = [Path(entry.path).as_uri()]
    if entry.album:
        found["album"] = entry.album
    if entry.seconds is not None:
        found["duration"] = round(entry.seconds * 1_000)
    if entry.reason:
        found["annotation"] = entry.reason
    return found


def _line(text: str) -> str:
    """Text that cannot start another line: control characters become spaces."""
    return "".join(" " if unicodedata.category(sign) in ("Cc", "Zl", "Zp") else sign for sign in text).strip()
