"""A snapshot with what other systems have entered and withdrawn since its generation was written.

New tracks get the item codes behind the generation's; arrays grow in room that was left below them, so that a change
costs a millisecond and snapshots that are still being read see what they saw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.external_tracks import FACTS, ExternalTrack
from ai_assets.data_processing.track_matching import TrackMatcher
from ai_assets.model_training.ials import Ials
from ai_assets.model_training.two_tower import TwoTower
from ai_assets.recommendation_update.candidates import Sources
from ai_assets.recommendation_update.fold_in import FoldIn
from ai_assets.recommendation_update.retrieval import NormSearch

if TYPE_CHECKING:
    from ai_assets.recommendation_update.query import QuerySnapshot

SPARE = 1_024


class Room:
    """A matrix with free rows below it: rows are added without copying, and earlier views keep what they show."""

    def __init__(self, rows: NDArray[Any]) -> None:
        self._rows = rows
        self._used = len(rows)
        self._lock = Lock()

    def extended(self, length: int, more: NDArray[Any]) -> tuple[NDArray[Any], Room]:
        """The first `length` rows with `more` below them, and the room in which they lie now."""
        with self._lock:
            if length != self._used or length + len(more) > len(self._rows):
                return self._moved(length, more)
            self._rows[length : length + len(more)] = more
            self._used = length + len(more)
            return self._rows[: self._used], self

    @classmethod
    def below(cls, rows: NDArray[Any]) -> tuple[NDArray[Any], Room]:
        """A copy of the rows, and the room in which it lies."""
        return cls(rows)._moved(len(rows), rows[:0])

    def _moved(self, length: int, more: NDArray[Any]) -> tuple[NDArray[Any], Room]:
        grown = np.zeros((length + len(more) + SPARE, *self._rows.shape[1:]), self._rows.dtype)
        grown[:length] = self._rows[:length]
        grown[length : length + len(more)] = more
        room = Room(grown)
        room._used = length + len(more)
        return grown[: room._used], room


def overlaid(snapshot: QuerySnapshot, rows: Sequence[ExternalTrack]) -> QuerySnapshot:
    """The snapshot with these rows entered, changed or withdrawn.

    A vector of another embedding version than the snapshot's is left out: vectors of two models are not comparable.
    """
    if not rows:
        return snapshot
    last = {row.track: row for row in sorted(rows, key=lambda row: row.sequence)}
    known = [row for row in last.values() if row.track in snapshot.codes]
    new = [row for row in last.values() if row.own and row.track not in snapshot.codes]
    rooms = dict(snapshot.rooms)
    catalogue = _catalogue(snapshot, known, new, rooms)
    codes = {**snapshot.codes, **{row.track: len(snapshot.codes) + place for place, row in enumerate(new)}}
    sources = _sources(snapshot, known, new, catalogue["artist"], rooms)
    changed = np.array([codes[row.track] for row in (*known, *new)], np.int64)
    facts = dict(snapshot.facts)
    if snapshot.embedding is None and sources.content is not None:
        facts["embedding"] = next((row.embedding for row in (*known, *new) if row.vector is not None), None)
    other = replace(
        snapshot, catalogue=catalogue, sources=sources, codes=codes, rooms=rooms, base=snapshot.base or snapshot,
        touched=np.union1d(snapshot.touched, changed), more=_matcher(snapshot.more, [*known, *new]), facts=facts,
        sequence=max(snapshot.sequence, *(row.sequence for row in last.values())),
    )  # fmt: skip
    vars(other)["artist_codes"] = snapshot.artist_codes
    return other


def with_room(snapshot: QuerySnapshot) -> QuerySnapshot:
    """The snapshot with room below its arrays already: the first track to be entered then costs what the next do."""
    rooms = dict(snapshot.rooms)

    def roomy(name: str, rows: NDArray[Any] | None) -> Any:
        if rows is None:
            return None
        whole, rooms[name] = Room.below(rows)
        return whole

    old = snapshot.sources
    tower = old.tower and TwoTower(roomy("inputs", old.tower.inputs), roomy("outputs", old.tower.outputs),
                                   old.tower.config)  # fmt: skip
    ials = old.ials and Ials(roomy("ials", old.ials.items), old.ials.config)
    sources = replace(old, tower=tower, ials=ials, content=roomy("content", old.content),
                      plays=roomy("plays", old.plays), artists=roomy("artists", old.artists))  # fmt: skip
    columns = {name: roomy(f"column {name}", column) for name, column in snapshot.catalogue.items()}
    return replace(snapshot, sources=sources, catalogue=columns, rooms=rooms)


def _catalogue(
    snapshot: QuerySnapshot, known: Sequence[ExternalTrack], new: Sequence[ExternalTrack], rooms: dict[str, Room]
) -> dict[str, NDArray[Any]]:
    columns = dict(snapshot.catalogue)
    empty: Mapping[str, Any] = {"deleted": False, "has_audio": False, "synthetic": False, "plays": 0}
    facts = {
        row.track: {**empty, "track": row.track, "artist": "Unknown artist"}
        | {name: value for name in FACTS if (value := getattr(row, name)) is not None}
        | {"deleted": row.withdrawn}
        for row in new
    }
    for name, column in columns.items():
        missing = np.nan if column.dtype.kind == "f" else None
        values = [facts[row.track].get(name, missing) for row in new]
        changed = column
        for row in known:
            value = row.withdrawn if name == "deleted" else getattr(row, name) if name in FACTS else None
            if value is not None and value != column[snapshot.codes[row.track]]:
                if changed is column:
                    changed = column.copy()
                    rooms.pop(f"column {name}", None)
                changed[snapshot.codes[row.track]] = value
        columns[name] = _grown(rooms, f"column {name}", changed, np.array(values, column.dtype)) if new else changed
    return columns


def _grown(rooms: dict[str, Room], name: str, rows: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
    """The rows with `more` below them, in the room of that name, which is made where there is none."""
    whole, rooms[name] = (rooms.get(name) or Room(rows)).extended(len(rows), more)
    return whole


def _sources(
    snapshot: QuerySnapshot, known: Sequence[ExternalTrack], new: Sequence[ExternalTrack], artists: NDArray[Any],
    rooms: dict[str, Room],
) -> Sources:  # fmt: skip
    old, count = snapshot.sources, len(new)

    def grown(name: str, rows: NDArray[Any], more: NDArray[Any] | None = None) -> NDArray[Any]:
        if not count:
            return rows
        added = np.zeros((count, *rows.shape[1:]), rows.dtype) if more is None else more
        return _grown(rooms, name, rows, added)

    content = _content(snapshot, known, new)
    tower, ials = old.tower, old.ials
    if tower is not None:
        tower = TwoTower(grown("inputs", tower.inputs), grown("outputs", tower.outputs), tower.config)
    if ials is not None:
        ials = Ials(grown("ials", ials.items), ials.config)
    sound = old.content
    if content is not None:
        dim = len(next(iter(content.values()))) if content else 0
        sound = old.content if old.content is not None else np.zeros((len(old.plays), dim), np.float32)
        changed = {snapshot.codes[row.track]: content[row.track] for row in known if row.track in content}
        if changed:
            sound = sound.copy()
            rooms.pop("content", None)
            for code, vector in changed.items():
                sound[code] = vector
        width = sound.shape[1]
        more = [content.get(row.track, np.zeros(width, np.float32)) for row in new]
        sound = grown("content", sound, np.array(more, np.float32).reshape(count, width))
    elif sound is not None:
        sound = grown("content", sound)
    known_artists = grown("artists", old.artists, _artists(snapshot, artists[len(old.plays) :]))
    plays = grown("plays", old.plays)
    sources = Sources(plays=plays, artists=known_artists, tower=tower, ials=ials, content=sound)
    # what a catalogue shares once computed; tracks that nobody has played come last and have no factors
    carried = vars(old)
    if "by_plays" in carried:
        last = np.arange(len(old.plays), len(old.plays) + count)
        vars(sources)["by_plays"] = np.concatenate([old.by_plays, last])
    if carried.get("fold_in") is not None and ials is not None:
        vars(sources)["fold_in"] = FoldIn(ials, carried["fold_in"].gram)
    if isinstance(carried.get("ials_search"), NormSearch):
        vars(sources)["ials_search"] = carried["ials_search"]
    return sources


def _content(
    snapshot: QuerySnapshot, known: Sequence[ExternalTrack], new: Sequence[ExternalTrack]
) -> dict[str, NDArray[np.float32]] | None:
    """Vectors by track that belong to the snapshot's embedding; None where it has no vectors and gets none."""
    version = snapshot.embedding or next((row.embedding for row in (*known, *new) if row.vector is not None), None)
    found = {row.track: row.vector for row in (*known, *new) if row.vector is not None and row.embedding == version}
    return found if found else None


def _artists(snapshot: QuerySnapshot, added: NDArray[Any]) -> NDArray[np.int64]:
    """Artist codes of new tracks; an artist who is known keeps the code."""
    held = snapshot.artist_codes  # shared by the snapshots of a generation; names are only ever added
    return np.array([held.setdefault(name, len(held)) for name in added.tolist()], np.int64)


def _matcher(before: TrackMatcher, rows: Sequence[ExternalTrack]) -> TrackMatcher:
    keys = dict(before.keys)
    matcher = TrackMatcher(keys)
    for row in rows:
        matcher.add({"track": row.track, "artist": row.artist or "Unknown artist", "title": row.title}, None)
        if row.external_id:
            matcher.keys[row.external_id] = row.track
    return matcher
