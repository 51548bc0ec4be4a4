"""Which track an event, a person or a program means: by id, by path, by recording id, by "artist - title".

Abstains where two tracks fit. The tracks themselves are minted in `identities`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

_SPACE = re.compile(r"\s+")
_DASHES = str.maketrans("‐‑‒–—―", "------")


def normalised(text: str) -> str:
    """Text for comparison: compatibility form, case folded, dashes and spaces made alike."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold().translate(_DASHES)).strip()


def name_key(artist: str, title: str) -> str:
    """The key of "artist - title"."""
    return f"{normalised(artist)} - {normalised(title)}"


def event_track_id(reference: str) -> str:
    """The id of a track that is known from events alone (a home without audio)."""
    return "e" + sha256(normalised(reference).encode()).hexdigest()[:20]


@dataclass
class TrackMatcher:
    """Looks references up; a key that fits several tracks fits none."""

    keys: dict[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, identities: pd.DataFrame, home: Path | None = None) -> TrackMatcher:
        """From rows `track root path title artist mbid file_hash audio_hash` (one per file)."""
        matcher = cls()
        for row in identities.to_dict("records"):
            matcher.add(row, home)
        return matcher

    def add(self, row: Mapping[Any, Any], home: Path | None) -> None:
        track = str(row["track"])
        root, path = row.get("root"), row.get("path")
        names = [track, row.get("file_hash"), row.get("audio_hash"), row.get("mbid")]
        if isinstance(path, str) and isinstance(root, str):
            names += [path, f"{root}/{path}"]
            if home is not None and root.startswith("landing/"):
                names.append(str(home / root / path))
        for name in names:
            if isinstance(name, str) and name:
                self._enter(name, track)
        artist, title = row.get("artist"), row.get("title")
        if isinstance(artist, str) and isinstance(title, str) and artist and title:
            self._enter(name_key(artist, title), track)

    def _enter(self, key: str, track: str) -> None:
        self.keys[key] = track if self.keys.get(key, track) == track else None

    def find(self, reference: str, mbid: str | None = None) -> str | None:
        """The track's id, or None where none or more than one fits."""
        if mbid and (track := self.keys.get(mbid) or self.keys.get(mbid.lower())):
            return track
        if reference in self.keys:
            return self.keys[reference]
        return self.keys.get(normalised(reference))

    def resolve(self, references: pd.Series, mbids: pd.Series | None = None) -> pd.Series:
        """Track ids of many references (None where unknown)."""
        import pandas as pd

        if mbids is None or mbids.isna().all():
            table = {name: self.find(name) for name in references.unique()}
            found = [table[name] for name in references]
        else:
            pairs = zip(references, mbids, mbids.notna(), strict=True)
            found = [self.find(name, str(mbid) if given else None) for name, mbid, given in pairs]
        return pd.Series(found, index=references.index, dtype=object)
