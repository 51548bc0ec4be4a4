"""The facts that a generator may use: validated, sanitised, and the same for text, covers and music.

Here belong the fact set, its validation and the cleaning of names. How a fact is worded, drawn or played does not.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GENRES: tuple[str, ...] = (
    "blues",
    "classical",
    "country",
    "disco",
    "electronic",
    "folk",
    "funk",
    "hip-hop",
    "jazz",
    "metal",
    "pop",
    "reggae",
    "rock",
    "techno",
)
MOODS: tuple[str, ...] = (
    "aggressive",
    "calm",
    "dark",
    "dreamy",
    "energetic",
    "happy",
    "melancholic",
    "relaxed",
    "romantic",
    "sad",
)
FIELDS: tuple[str, ...] = ("title", "artist", "genre", "tempo_bpm", "key", "mood", "energy", "playlist")
TEMPO_RANGE = (20.0, 400.0)
ENERGY_CLASSES: tuple[str, ...] = ("low", "medium", "high")
_ENERGY_BOUNDS = (0.35, 0.65)
_TITLE_LIMIT = 80
_KEY = re.compile(r"^([A-Ga-g])[\s-]*(#|♯|sharp|b|♭|flat)?[\s-]*(major|minor|maj|min|m)$", re.IGNORECASE)
_ACCIDENTALS = {"": "", "#": "#", "♯": "#", "sharp": "#", "b": "b", "♭": "b", "flat": "b"}
# Bidirectional controls, byte-order mark, interlinear annotation and the invisible tag letters: none of them is seen,
# each can reorder or hide text. Joiners (U+200C, U+200D) stay, because Persian words and emoji need them.
_HIDDEN = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]")
_SPACE_CONTROLS = str.maketrans(dict.fromkeys("\t\n\r\v\f\x85\u2028\u2029", " "))
# What draws nothing: spaces, format characters, variation selectors and the fillers that count as letters.
_INVISIBLE = re.compile("[\\s\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")


class FactError(ValueError):
    """A fact set that cannot be used; ``field`` names the fact, the message says what was expected."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True)
class PlaylistStatistics:
    """Counts of a playlist: ``tracks`` and ``artists`` (None = not known), ``minutes`` of playing time, all whole."""

    tracks: int
    minutes: int | None = None
    artists: int | None = None


@dataclass(frozen=True)
class FactSet:
    """The validated facts of one track, or of one playlist when ``playlist`` is given.

    ``genre`` is in lower case when it is one of ``GENRES``, else as given; ``key`` is like ``C# minor``, ``Bb major``;
    ``tempo_bpm`` has at most one decimal; ``energy`` is between 0 and 1. ``notes`` says what was changed or left out.
    """

    title: str | None = None
    artist: str | None = None
    genre: str | None = None
    tempo_bpm: float | None = None
    key: str | None = None
    mood: str | None = None
    energy: float | None = None
    playlist: PlaylistStatistics | None = None
    notes: tuple[str, ...] = ()

    @property
    def energy_class(self) -> str | None:
        """``low`` below .35, ``high`` from .65, ``medium`` between, None without energy."""
        return None if self.energy is None else energy_class(self.energy)

    @property
    def mode(self) -> str | None:
        """``major`` or ``minor``, None without a key."""
        return None if self.key is None else self.key.split(" ")[1]

    def to_mapping(self) -> dict[str, Any]:
        """The given facts as a JSON object (notes left out); ``fact_set`` of it gives an equal fact set back."""
        values = {name: getattr(self, name) for name in FIELDS[:-1]}
        facts = {name: value for name, value in values.items() if value is not None}
        if self.playlist is not None:
            counts = {
                "tracks": self.playlist.tracks,
                "minutes": self.playlist.minutes,
                "artists": self.playlist.artists,
            }
            facts["playlist"] = {name: value for name, value in counts.items() if value is not None}
        return facts

    def digest(self) -> str:
        """SHA-256 (hex) of the facts as canonical JSON."""
        canonical = json.dumps(self.to_mapping(), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8")).hexdigest()


def energy_class(energy: float) -> str:
    """Class of an energy between 0 and 1: ``low``, ``medium`` or ``high``."""
    return ENERGY_CLASSES[sum(energy >= bound for bound in _ENERGY_BOUNDS)]


def clean(text: str) -> str:
    """``text`` in NFC without control, bidirectional and other hidden characters; line breaks and tabs become spaces.

    Lone surrogates are removed too: they cannot be written as UTF-8.
    """
    visible = _HIDDEN.sub("", text.replace("\r\n", "\n").translate(_SPACE_CONTROLS))
    kept = "".join(letter for letter in visible if unicodedata.category(letter) not in ("Cc", "Cs"))
    return unicodedata.normalize("NFC", kept).strip()


def shortened(name: str, limit: int = _TITLE_LIMIT) -> str:
    """``name`` itself up to ``limit`` letters, else cut to fewer and ended with an ellipsis.

    The cut never parts a letter from its accents, nor an emoji from what is joined to it.
    """
    if len(name) <= limit:
        return name
    end = limit - 1
    while end > limit - 16 and (_continues(name[end]) or name[end - 1] == "\u200d"):
        end -= 1
    return name[:end].rstrip() + "…"


def fact_set(facts: Mapping[str, Any], *, require: tuple[str, ...] = ()) -> FactSet:
    """Validated and sanitised ``FactSet`` of a mapping with the names in ``FIELDS``.

    ``require`` names the facts that must be there (``("title", "artist")`` for a track's text or cover). A required
    name that is empty, or empty once cleaned, stays empty and is noted: renderers then write their word for "untitled".
    Raises ``FactError`` for an unknown name, a wrong type, a value out of range or a missing required fact. A mood that
    is not in ``MOODS`` is left out and noted.
    """
    if not isinstance(facts, Mapping):
        raise FactError("facts", f"expected an object with {', '.join(FIELDS)}, got {type(facts).__name__}")
    for name in facts:
        if name not in FIELDS:
            raise FactError(str(name), f"unknown fact; known are {', '.join(FIELDS)}")
    for name in require:
        if facts.get(name) is None:
            raise FactError(name, "is required and missing")
    notes: list[str] = []
    playlist = _playlist(facts.get("playlist"))
    return FactSet(
        title=_name(facts.get("title"), "title", notes),
        artist=_name(facts.get("artist"), "artist", notes),
        genre=_genre(facts.get("genre")),
        tempo_bpm=_tempo(facts.get("tempo_bpm")),
        key=_key(facts.get("key")),
        mood=_mood(facts.get("mood"), notes),
        energy=_energy(facts.get("energy")),
        playlist=playlist,
        notes=tuple(notes),
    )


def _continues(letter: str) -> bool:
    modifier = "\U0001f3fb" <= letter <= "\U0001f3ff"
    return unicodedata.category(letter) in ("Mn", "Me", "Mc") or letter == "\u200d" or modifier


def _text(value: Any, field: str) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise FactError(field, f"expected text, got {type(value).__name__}")
    return clean(value)


def _name(value: Any, field: str, notes: list[str]) -> str | None:
    name = _text(value, field)
    if name is None:
        return None
    if not _can_be_seen(name):
        notes.append(f"{field} is empty")
        return ""
    if name != value:
        notes.append(f"{field} cleaned: control or bidirectional characters or outer spaces removed")
    return name


def _can_be_seen(name: str) -> bool:
    return any(unicodedata.category(letter) not in ("Cf", "Cn") for letter in _INVISIBLE.sub("", name))


def _genre(value: Any) -> str | None:
    genre = _text(value, "genre")
    if not genre or not _can_be_seen(genre):
        return None
    return genre.casefold() if genre.casefold() in GENRES else genre


def _mood(value: Any, notes: list[str]) -> str | None:
    mood = _text(value, "mood")
    if not mood:
        return None
    if mood.casefold() in MOODS:
        return mood.casefold()
    notes.append(f"mood left out: {shortened(mood)!r} is not one of {', '.join(MOODS)}")
    return None


def _number(value: Any, field: str, low: float, high: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise FactError(field, f"expected a number from {low:g} to {high:g}, got {value!r}")
    if not low <= value <= high:
        raise FactError(field, f"expected a number from {low:g} to {high:g}, got {value:g}")
    return float(value)


def _tempo(value: Any) -> float | None:
    tempo = _number(value, "tempo_bpm", *TEMPO_RANGE)
    return None if tempo is None else round(tempo, 1)


def _energy(value: Any) -> float | None:
    return _number(value, "energy", 0.0, 1.0)


def _key(value: Any) -> str | None:
    key = _text(value, "key")
    if not key:
        return None
    match = _KEY.match(key)
    if match is None:
        raise FactError("key", f"expected a key like 'C# minor' or 'Bb major', got {shortened(key)!r}")
    accidental = _ACCIDENTALS[(match[2] or "").lower()]
    minor = match[3] == "m" or match[3].lower().startswith("min")
    return f"{match[1].upper()}{accidental} {'minor' if minor else 'major'}"


def _playlist(value: Any) -> PlaylistStatistics | None:
    if value is None:
        return None
    names = ("tracks", "minutes", "artists")
    if not isinstance(value, Mapping) or not set(value) <= set(names) or value.get("tracks") is None:
        raise FactError("playlist", "expected an object with tracks and, if known, minutes and artists")
    counts: dict[str, int | None] = {}
    for name in names:
        number = _number(value.get(name), f"playlist.{name}", 1, 1_000_000)
        counts[name] = None if number is None else round(number)
    return PlaylistStatistics(tracks=counts["tracks"] or 1, minutes=counts["minutes"], artists=counts["artists"])
