"""Versions of one song: which tracks of a catalogue are live, remastered, deluxe … takes of the same title and artist.

A list holds one of them; rows are never merged. Files with the same sound are one track already (`track_identities`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

UNKNOWN_ARTISTS = ("", "unknown artist", "various artists")

# The kind of a version by the words that name it in titles (English, German, French); the first match counts.
KINDS: tuple[tuple[str, str], ...] = (
    ("live", r"live|en concert|en public|unplugged"),
    ("remix", r"remix(?:ed)?|rework|\w+ mix|mix"),
    ("acoustic", r"acoustic|akustisch|akustik|acoustique"),
    ("instrumental", r"instrumental|karaoke"),
    ("demo", r"demo|d[ée]mo|rough|outtake|alternate|take \d+"),
    ("edit", r"radio edit|edit|single version|short version|extended"),
    ("remaster", r"remaster(?:ed|is[ée]e?)?|re-master(?:ed)?|remastert"),
    ("deluxe", r"deluxe|bonus(?: track)?|anniversary|expanded|special edition|edition|explicit|clean|mono|stereo"),
    ("version", r"album version|original version|version|fassung"),
)
_WORDS = "|".join(pattern for _, pattern in KINDS)
_BRACKETED = re.compile(rf"\s*[(\[{{][^)\]}}]*\b(?:{_WORDS})\b[^)\]}}]*[)\]}}]", re.IGNORECASE)
_SUFFIXED = re.compile(rf"\s+[-–—/|]\s+[^-–—/|]*\b(?:{_WORDS})\b[^-–—/|]*$", re.IGNORECASE)
_GUEST = re.compile(r"\s*[(\[]?\b(?:feat|ft|featuring|avec)\b\.?[^)\]]*[)\]]?", re.IGNORECASE)


def kind_of(title: str) -> str:
    """`live remix acoustic instrumental demo edit remaster deluxe version`, or `studio` where the title names none."""
    marked = " ".join([*_BRACKETED.findall(title), *_SUFFIXED.findall(title)])
    for name, pattern in KINDS:
        if re.search(rf"\b(?:{pattern})\b", marked, re.IGNORECASE):
            return name
    return "studio"


def song_of(title: str) -> str:
    """The title without the words that name a version or a guest, folded for comparison."""
    bare = title
    while (shorter := _SUFFIXED.sub("", _BRACKETED.sub("", bare))) != bare:
        bare = shorter
    return _folded(_GUEST.sub("", bare)) or _folded(title)


def song_keys(titles: Iterable[object], artists: Iterable[object]) -> list[str]:
    """What versions of one song by one artist share; "" where the artist is unknown: such tracks are never grouped."""
    keys = []
    for title, artist in zip(titles, artists, strict=True):
        who, song = _folded(str(artist or "")), song_of(str(title or ""))
        keys.append(f"{who}\0{song}" if song and who not in UNKNOWN_ARTISTS else "")
    return keys


def group_codes(keys: Iterable[str], known: dict[str, int]) -> NDArray[np.int64]:
    """(tracks,) group codes of song keys; `known` holds the codes given so far and takes up the new ones."""
    codes = []
    for key in keys:
        # a track that is never grouped takes a number of its own under a key that no song has
        name = key or f"\0{len(known)}"
        codes.append(known.setdefault(name, len(known)))
    return np.array(codes, np.int64)


def recording_groups(titles: Iterable[object], artists: Iterable[object]) -> NDArray[np.int64]:
    """(tracks,) group codes: versions of one song by one artist share theirs; unknown artists are never grouped."""
    return group_codes(song_keys(titles, artists), {})


def _folded(text: str) -> str:
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", text) if not unicodedata.combining(sign))
    return re.sub(r"[\W_]+", " ", plain.casefold()).strip() or text.casefold().strip()
