"""What a listener has played: the window the models read, and apart from it all that was ever heard or disliked.

The window forgets, the masks never do. A window row is what `interactions` holds too - one per day and track with a
positive strength, in the order of the day's last play - so that the models see the same when answering as in training.
Events that are still in the stream count like those of the table; which of them the table holds already is known by
their event ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.events import CANARY_SOURCE, Place, Refused, check_event
from ai_assets.data_processing.interactions import play_strength

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from resources.lake.tables import LakeTable

WINDOW = 500
COLUMNS = ["event_id", "listener", "track", "played_at", "seconds_played", "skipped", "liked"]
DAY_US = 86_400_000_000
Codes = NDArray[np.int64]
Finder = Callable[[str, str | None], int | None]
"""Item code of a track reference and a recording id, or None."""


@dataclass(frozen=True)
class Play:
    """One event of a history given in a request: item code, and whether it was liked (None = not said)."""

    item: int
    liked: bool | None = None


@dataclass(frozen=True)
class History:
    """One listener's past.

    Attributes:
        recent: item codes for the models, oldest first, at most the last 500.
        heard: all distinct item codes ever played, ascending; plays: (len(heard),) how often.
        disliked: distinct item codes that were ever disliked: never again.
        listener: pseudonym, whose own rules hold; None for an anonymous history.
    """

    recent: Codes
    heard: Codes
    plays: Codes
    disliked: Codes
    listener: str | None = field(default=None)

    def __len__(self) -> int:
        """Number of plays."""
        return int(self.plays.sum())

    @classmethod
    def of(cls, plays: Sequence[Play], listener: str | None = None) -> History:
        """From plays in order, oldest first."""
        codes = np.array([play.item for play in plays], np.int64)
        refused = np.array([play.liked is False for play in plays], bool)
        heard, counts = np.unique(codes, return_counts=True)
        return cls(codes[~refused][-WINDOW:], heard, counts, np.unique(codes[refused]), listener)


@dataclass(frozen=True)
class Events:
    """Events as columns, (n,) each.

    Attributes:
        event: hash of the event id; item: item code, or place in a vocabulary, negative where unknown.
        at: start of the play, microseconds since 1970; strength: as `play_strength` gives it; disliked: said so.
    """

    event: NDArray[np.uint64]
    item: Codes
    at: NDArray[np.int64]
    strength: NDArray[np.float64]
    disliked: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.event)

    def take(self, rows: Any) -> Events:
        return Events(self.event[rows], self.item[rows], self.at[rows], self.strength[rows], self.disliked[rows])

    def placed(self, codes: Codes) -> Events:
        """The same events with item codes: `codes` by place in the vocabulary."""
        return Events(self.event, codes[self.item], self.at, self.strength, self.disliked)

    def joined(self, later: Events) -> Events:
        """These events and those of `later` that are not among them."""
        _, first = np.unique(later.event, return_index=True)
        new = later.take(np.sort(first[~np.isin(later.event[first], self.event)]))
        columns = ("event", "item", "at", "strength", "disliked")
        return Events(*(np.concatenate([getattr(self, name), getattr(new, name)]) for name in columns))

    def history(self, listener: str) -> History:
        """One listener's events, in any order, as a history."""
        known = self.take(self.item >= 0)
        heard, counts = np.unique(known.item, return_counts=True)
        return History(known._window(), heard, counts.astype(np.int64), np.unique(known.item[known.disliked]), listener)

    def _window(self) -> Codes:
        """The last rows as the models were trained on them: day and track once."""
        day = self.at // DAY_US
        order = np.lexsort((self.at, self.item, day))
        item, day, at, strength = self.item[order], day[order], self.at[order], self.strength[order]
        starts = np.flatnonzero(np.r_[True, (np.diff(item) != 0) | (np.diff(day) != 0)]) if len(item) else order
        if not len(starts):
            return np.empty(0, np.int64)
        last = np.r_[starts[1:], len(item)] - 1
        kept = np.add.reduceat(strength, starts) > 0
        rows = last[kept]
        return np.asarray(item[rows[np.argsort(at[rows], kind="stable")]][-WINDOW:], np.int64)


@dataclass(frozen=True)
class EventBook:
    """The table `listening_events` in memory: the events of each listener (pseudonym), items as `tracks`' places."""

    events: Events
    tracks: NDArray[np.str_]
    spans: Mapping[str, slice] = field(repr=False)

    @classmethod
    def load(cls, events: LakeTable, listener: str | None = None) -> EventBook:
        """All events of all listeners, or of one."""
        import pyarrow.dataset as ds

        if not events.exists:
            return cls.of(None)
        if listener is None:
            return cls.of(events.arrow(COLUMNS))
        return cls.of(events.dataset().to_table(columns=COLUMNS, filter=ds.field("listener") == listener))

    @classmethod
    def of(cls, data: pa.Table | None) -> EventBook:
        """From rows with `COLUMNS`."""
        import pandas as pd

        if data is None or data.num_rows == 0:
            nothing = Events(*(np.empty(0, kind) for kind in (np.uint64, np.int64, np.int64, float, bool)))
            return cls(nothing, np.empty(0, str), {})
        frame = data.to_pandas()
        listeners, names = pd.factorize(frame["listener"], sort=True)
        items, tracks = pd.factorize(frame["track"])
        events = Events(_hashes(frame["event_id"]), items.astype(np.int64), *_played(frame))
        order = np.argsort(listeners, kind="stable")
        bounds = np.searchsorted(listeners[order], np.arange(len(names) + 1)).tolist()
        spans = {str(name): slice(bounds[row], bounds[row + 1]) for row, name in enumerate(names)}
        return cls(events.take(order), np.asarray(tracks, dtype=str), spans)

    def codes(self, codes: Mapping[str, int], before: Codes | None = None) -> Codes:
        """(tracks,) item codes of the vocabulary, -1 where a track is not in the catalogue.

        Args:
            before: what this gave for the same generation, to whose codes others were added since.
        """
        if before is None:
            return np.array([codes.get(track, -1) for track in self.tracks.tolist()], np.int64)
        found, unknown = before.copy(), np.flatnonzero(before < 0)
        found[unknown] = [codes.get(track, -1) for track in self.tracks[unknown].tolist()]
        return found

    def of_listener(self, listener: str) -> Events:
        return self.events.take(self.spans.get(listener, slice(0, 0)))


@dataclass(frozen=True)
class StreamEvent:
    """One event of the stream that keeps the rules of form; its track is still as the sender named it."""

    listener: str
    event: np.uint64
    track: str
    mbid: str | None
    at: int
    strength: float
    disliked: bool


def stream_events(records: Iterable[Mapping[str, Any]]) -> list[StreamEvent]:
    """Records of the event stream, in order; those that ingestion would refuse, and the canary's, are left out."""
    import pandas as pd

    now, rows = datetime.now(UTC), []
    for record in records:
        if record.get("source") == CANARY_SOURCE:
            continue
        try:
            # the stream holds pseudonyms already, so they are taken as they are
            rows.append(check_event(record, Place("stream", 1), now=now, pseudonym=str))
        except Refused:
            continue
    if not rows:
        return []
    frame = pd.DataFrame(rows)
    frame = frame.astype({"seconds_played": float, "skipped": "boolean", "liked": "boolean"})
    hashes = _hashes(frame["event_id"])
    at, strength, disliked = _played(frame)
    return [
        StreamEvent(row["listener"], hashes[place], row["track_reference"], row["recording_mbid"], int(at[place]),
                    float(strength[place]), bool(disliked[place]))
        for place, row in enumerate(rows)
    ]  # fmt: skip


def found_events(events: Sequence[StreamEvent], find: Finder) -> Events:
    """Stream events as columns, tracks looked up."""
    items = [find(event.track, event.mbid) for event in events]
    return Events(
        np.array([event.event for event in events], np.uint64),
        np.array([-1 if item is None else item for item in items], np.int64),
        np.array([event.at for event in events], np.int64),
        np.array([event.strength for event in events], float),
        np.array([event.disliked for event in events], bool),
    )


def all_histories(
    events: LakeTable, codes: Mapping[str, int], recent: Sequence[StreamEvent] = (), find: Finder | None = None
) -> dict[str, History]:
    """Histories of all listeners by pseudonym; tracks that are not in the catalogue are left out.

    Args:
        recent: events of the stream, whose tracks `find` looks up.
    """
    book = EventBook.load(events)
    places = book.codes(codes)
    streamed: dict[str, list[StreamEvent]] = {}
    for event in recent:
        streamed.setdefault(event.listener, []).append(event)
    found = {}
    for listener in sorted(set(book.spans) | set(streamed)):
        past = book.of_listener(listener).placed(places)
        if find is not None and listener in streamed:
            past = past.joined(found_events(streamed[listener], find))
        history = past.history(listener)
        if len(history):
            found[listener] = history
    return found


def history_of(
    events: LakeTable,
    listener: str,
    codes: Mapping[str, int],
    recent: Sequence[StreamEvent] = (),
    find: Finder | None = None,
) -> History:
    """One listener's history (pseudonym); empty for a listener never seen. `recent` as in `all_histories`."""
    book = EventBook.load(events, listener)
    past = book.of_listener(listener).placed(book.codes(codes))
    return (past.joined(found_events(recent, find)) if find is not None else past).history(listener)


def _played(frame: pd.DataFrame) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    at = frame["played_at"].to_numpy("datetime64[us]").astype(np.int64)
    strength = play_strength(frame["seconds_played"], frame["skipped"], frame["liked"])
    disliked = ~frame["liked"].astype("boolean").fillna(True).to_numpy(bool)
    return at, strength.astype(float), disliked


def _hashes(ids: pd.Series) -> NDArray[np.uint64]:
    import pandas as pd

    return np.asarray(pd.util.hash_array(ids.astype(str).to_numpy(object), categorize=False), np.uint64)
