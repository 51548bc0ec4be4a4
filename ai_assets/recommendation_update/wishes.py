"""Lists that somebody asked for, by theme or by seed tracks: rows in the platform database. What they find is `wished`.

A wish belongs to one listener, whose taste orders it and whose rules and dislikes hold, or to everybody.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert

WISHES = sa.Table(
    "playlist_wishes",
    METADATA,
    sa.Column("playlist", sa.String(60), primary_key=True),
    sa.Column("listener", sa.String(64), nullable=False),
    sa.Column("wish", sa.Text, nullable=False),
    sa.Column("added_at", sa.String(40), nullable=False),
)
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
TAKEN = ("familiar-", "discovery-", "genre-")
LONGEST = 200
Range = tuple[float, float]


@dataclass(frozen=True)
class Wish:
    """One list that was asked for.

    Attributes:
        name: stable name of the list: lower-case letters, digits and hyphens.
        listener: pseudonym; None = for everybody.
        seeds: ids of tracks it begins with and that the others are like.
        genre, mood: compared case-folded; "" = any. tempo: beats per minute; energy: 0 to 1; years: of publication.
        length: number of tracks.
    """

    name: str
    listener: str | None = None
    seeds: tuple[str, ...] = ()
    genre: str = ""
    mood: str = ""
    tempo: Range | None = None
    energy: Range | None = None
    years: Range | None = None
    length: int = 15

    @property
    def kind(self) -> Literal["theme", "seeds"]:
        return "seeds" if self.seeds else "theme"

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges that were asked for, by name."""
        named = {"tempo": self.tempo, "energy": self.energy, "years": self.years}
        return {name: found for name, found in named.items() if found is not None}

    def checked(self) -> Wish:
        """The wish itself. Raises ValueError that names what is wrong and what was expected."""
        if not NAME.fullmatch(self.name) or self.name.startswith(TAKEN):
            raise ValueError(
                f"playlist name {self.name!r}: expected lower-case letters, digits and hyphens, at most 60, "
                f"not beginning with {', '.join(TAKEN)}"
            )
        if not (self.seeds or self.genre.strip() or self.mood.strip() or self.ranges):
            raise ValueError("a playlist needs a theme (genre, mood, tempo, energy, years) or at least one seed track")
        for name, (low, high) in self.ranges.items():
            if not low <= high:
                raise ValueError(f"{name} {low:g}..{high:g}: the first number must not be above the second")
        if not 3 <= self.length <= LONGEST:
            raise ValueError(f"length {self.length}: expected 3 to {LONGEST} tracks")
        return self


class WishStore:
    """The wishes of one home."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, wish: Wish) -> None:
        """Enter a wish; one of the same name is replaced. Raises ValueError for a wish that is none."""
        values = asdict(wish.checked())
        row = {
            "playlist": values.pop("name"), "listener": values.pop("listener") or "",
            "wish": json.dumps(values, sort_keys=True), "added_at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        with self._database.begin() as connection:
            upsert(connection, WISHES, [row], update=dict.fromkeys(("listener", "wish", "added_at"), "new"))

    def remove(self, name: str) -> None:
        """Take a wish out. Raises LookupError for a name that is not there."""
        with self._database.begin() as connection:
            if connection.execute(sa.delete(WISHES).where(WISHES.c.playlist == name)).rowcount == 0:
                raise LookupError(f"there is no playlist {name!r} that was asked for")

    def rows(self) -> list[dict[str, Any]]:
        """All wishes as rows `playlist listener wish added_at`, by name."""
        return self._database.query(sa.select(WISHES).order_by(WISHES.c.playlist))

    def current(self) -> tuple[Wish, ...]:
        """All wishes, by name."""
        return tuple(
            Wish(row["playlist"], row["listener"] or None, **_tuples(json.loads(row["wish"]))) for row in self.rows()
        )


def range_of(text: str) -> Range:
    """`LOW..HIGH` as numbers, either may be left out. Raises ValueError."""
    low, dots, high = text.partition("..")
    try:
        if not dots or not (low or high):
            raise ValueError
        return (float(low) if low else -1e9, float(high) if high else 1e9)
    except ValueError:
        raise ValueError(f"{text!r}: expected LOW..HIGH, for example 90..120 or ..0.4") from None


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
