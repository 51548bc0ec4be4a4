"""What the API answers from: one immutable view, swapped whole, and the listeners' newest events beside it.

A request takes the view once and never sees a mixture. One thread looks for what has changed - generation, indices,
entered and withdrawn tracks, rules, events, the table of events - and makes the next view aside. Where a part of that
fails, the last good view goes on answering, and `faults` says since when and why.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.data_processing.external_tracks import ExternalTracks
from ai_assets.recommendation_update import current
from ai_assets.recommendation_update.histories import EventBook, History, Play, StreamEvent, found_events, stream_events
from ai_assets.recommendation_update.overlay import with_room
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.rules import Rule
from resources.platform import Platform
from resources.vector_index.generation import CURRENT, Generation

log = logging.getLogger(__name__)

LOOK_SECONDS = 0.2
SLOW_LOOK_SECONDS = 2.0
PAGE = 5_000
MOST_REMEMBERED = 50_000


@dataclass(frozen=True)
class View:
    """A snapshot with the events of the table, and where its item codes lie in the table's vocabulary."""

    snapshot: QuerySnapshot
    book: EventBook
    places: NDArray[np.int64]
    remembered: dict[str, tuple[tuple[StreamEvent, ...], History]] = field(default_factory=dict, repr=False)

    def history(self, listener: str, recent: tuple[StreamEvent, ...]) -> History:
        """A listener's history (pseudonym): the table's events and those of the stream that are not in it."""
        known = self.remembered.get(listener)
        if known is not None and known[0] is recent:
            return known[1]
        past = self.book.of_listener(listener).placed(self.places)
        if recent:
            past = past.joined(found_events(recent, self.snapshot.find))
        history = past.history(listener)
        if len(self.remembered) >= MOST_REMEMBERED:
            self.remembered.clear()
        self.remembered[listener] = (recent, history)
        return history


@dataclass(frozen=True)
class Fault:
    """A part that could not be brought up to date: why, and since when (seconds since 1970)."""

    reason: str
    since: float


class LiveState:
    """The state of one serving process."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.external = ExternalTracks(platform.database)
        self.view: View | None = None
        self.faults: dict[str, Fault] = {}
        self.swaps = 0
        self._recent: dict[str, tuple[StreamEvent, ...]] = {}
        self._sequence = 0
        self._stream_lock = threading.Lock()
        self._view_lock = threading.RLock()
        self._marks: dict[str, Any] = {}
        self._damage = ""
        self._open: dict[str, Generation] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="live-state", daemon=True)

    # -- reading ---------------------------------------------------------------------------------------------------

    def history(self, view: View, listener: str) -> History:
        """A listener's history (pseudonym) as this view knows it, with every event of the stream so far."""
        return view.history(listener, self._recent.get(listener, ()))

    def age_seconds(self, view: View) -> float | None:
        """How long ago the generation was made."""
        made = view.snapshot.facts.get("made_at")
        return None if made is None else (datetime.now(UTC) - datetime.fromisoformat(made)).total_seconds()

    @property
    def sequences(self) -> tuple[int, int]:
        """The newest event and the newest change of a track that answers know of; -1 for tracks without a view."""
        view = self.view
        return self._sequence, view.snapshot.sequence if view is not None else -1

    def caught_up(self, events: int, tracks: int) -> bool:
        """Whether answers know of everything up to these sequences, after looking for it where they did not."""
        for place, (wanted, follow) in enumerate(((events, self.follow_events), (tracks, self.follow_tracks))):
            if self.sequences[place] < wanted:
                self._kept(follow)()
        known_events, known_tracks = self.sequences
        return known_events >= events and known_tracks >= tracks

    # -- keeping up ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Load what there is, then keep up with it."""
        for part in self._parts(slow=True):
            part()
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def follow_events(self) -> None:
        """Take in what the stream has got since the last look. Raises StreamUnavailable."""
        with self._stream_lock:
            while page := self.platform.event_stream.read_after(self._sequence, PAGE):
                self._add(self._recent, stream_events(record for _, record in page))
                self._sequence = page[-1][0]

    def follow_tracks(self) -> None:
        """Lay what was entered or withdrawn since the last look over the view."""
        with self._view_lock:
            if self.view is None or self.external.last() <= max(self.view.snapshot.sequence, 0):
                return
            snapshot = current.with_entered(self.platform, self.view.snapshot)
            self._swap(self._indexed(snapshot))

    def refresh_book(self) -> None:
        """Read the table of events anew where a day of it was written; the stream is read again from its beginning."""
        entries = self.platform.lake.ledger.entries(current.EVENTS)
        mark = hash(tuple(sorted((key, entry.token, entry.content_hash) for key, entry in entries.items())))
        if self._marks.get("book") == mark or self.view is None:
            return
        book = EventBook.load(self.platform.lake.table(current.EVENTS))
        with self._stream_lock:
            recent: dict[str, tuple[StreamEvent, ...]] = {}
            sequence = 0
            while page := self.platform.event_stream.read_after(sequence, PAGE):
                self._add(recent, stream_events(record for _, record in page))
                sequence = page[-1][0]
            with self._view_lock:
                self.view = View(self.view.snapshot, book, book.codes(self.view.snapshot.codes))
                self._recent, self._sequence = recent, max(sequence, self._sequence)
        self._marks["book"] = mark

    def follow_rules(self) -> None:
        """Take over the rules of this moment."""
        rules = RuleStore(self.platform.database).current()
        with self._view_lock:
            if self.view is not None and rules != self.view.snapshot.rules:
                self.view = replace(self.view, snapshot=self.view.snapshot.with_rules(rules))

    def follow_generation(self) -> None:
        """Load the generation that is current now, if it is another one, and make it ready before it answers."""
        pointer = self.platform.home.indices / "serving" / CURRENT
        mark = pointer.read_text().strip() if pointer.is_file() else ""
        if not mark:
            return
        if self._marks.get("generation") == mark:
            if self._damage:
                raise ValueError(self._damage)
            return
        self._marks["generation"], self._damage = (
            mark,
            f"serving generation {mark} cannot be read; the last one answers",
        )
        snapshot = QuerySnapshot.load(pointer.parent, self._rules(), verify=True)
        assert snapshot is not None
        if self.view is None or snapshot.name == mark:
            snapshot = self._indexed(current.with_entered(self.platform, with_room(snapshot)))
            _warm(snapshot)
            with self._view_lock:
                if self.external.last() > max(snapshot.sequence, 0):
                    snapshot = self._indexed(current.with_entered(self.platform, snapshot))
                self._swap(snapshot)
        self._damage = "" if snapshot.name == mark else self._damage

    def follow_indices(self) -> None:
        """Ask the newest generations of the indices, and what the delta has got."""
        with self._view_lock:
            if self.view is None:
                return
            mark = self._index_mark(self.view.snapshot)
            if self._marks.get("indices") != mark:
                self._swap(self._indexed(self.view.snapshot))

    # -- inside ----------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        slow_at, seen = 0.0, None
        while not self._stop.wait(LOOK_SECONDS):
            slow = time.monotonic() >= slow_at
            mark = self._change_mark()
            if slow:
                slow_at = time.monotonic() + SLOW_LOOK_SECONDS
            elif mark is not None and mark == seen:
                self._kept(self.follow_generation)()  # a file; the database has not changed
                continue
            seen = mark
            for part in self._parts(slow=slow):
                part()

    def _change_mark(self) -> int | None:
        """Whether the platform database says anything new; None where only asking it for everything can tell."""
        if self.platform.settings.redis_url is not None:
            return None
        try:
            return self.platform.database.change_mark()
        except Exception as error:  # the parts meet the same fault, and note it
            log.debug("no change mark: %s", error)
            return None

    def _parts(self, *, slow: bool) -> list[Callable[[], None]]:
        fast = [self.follow_generation, self.follow_tracks, self.follow_events, self.follow_rules]
        return [self._kept(part) for part in ([*fast, self.refresh_book, self.follow_indices] if slow else fast)]

    def _kept(self, part: Callable[[], None]) -> Callable[[], None]:
        """The part, whose failure is noted and leaves everything as it was."""
        name = part.__name__

        def run() -> None:
            try:
                part()
            except Exception as error:
                if name not in self.faults:
                    log.warning("answers stay as they are, %s failed: %s", name, error)
                since = self.faults[name].since if name in self.faults else time.time()
                self.faults = {**self.faults, name: Fault(f"{type(error).__name__}: {error}"[:500], since)}
            else:
                if name in self.faults:
                    self.faults = {key: value for key, value in self.faults.items() if key != name}

        return run

    def _rules(self) -> tuple[Rule, ...]:
        return RuleStore(self.platform.database).current()

    def _indexed(self, snapshot: QuerySnapshot) -> QuerySnapshot:
        """The snapshot with the indices of this moment."""
        mark = self._index_mark(snapshot)
        content = current.content_index(self.platform, snapshot, self._open.get(current.CONTENT))
        tower = current.listening_index(self.platform, snapshot, self._open.get(current.LISTENING))
        found = ((current.CONTENT, content), (current.LISTENING, tower))
        self._open = {name: live.base for name, live in found if live is not None and live.base is not None}
        self._marks["indices"] = mark
        return snapshot.with_indices(content, tower)

    def _index_mark(self, snapshot: QuerySnapshot) -> tuple[Any, ...]:
        folders = (self.platform.home.indices / name / CURRENT for name in (current.CONTENT, current.LISTENING))
        store = current.content_store(self.platform, snapshot)
        newest = store.last() if store is not None and snapshot.large else 0
        return (*(path.read_text() if path.is_file() else "" for path in folders), newest)

    def _swap(self, snapshot: QuerySnapshot) -> None:
        with self._view_lock:
            book = self.view.book if self.view is not None else EventBook.of(None)
            if self.view is None or self.view.snapshot.name != snapshot.name:
                self.swaps += 1
                self.view = View(snapshot, book, book.codes(snapshot.codes))
            else:
                self.view = View(snapshot, book, book.codes(snapshot.codes, self.view.places))

    @staticmethod
    def _add(recent: dict[str, tuple[StreamEvent, ...]], events: list[StreamEvent]) -> None:
        for event in events:
            recent[event.listener] = (*recent.get(event.listener, ()), event)


def _warm(snapshot: QuerySnapshot) -> None:
    """Compute what the first requests would otherwise wait for."""
    played = np.flatnonzero(snapshot.catalogue["plays"] > 0)[:25]
    history = History.of([Play(int(item)) for item in played])
    recommend(snapshot, history, 10)
    if len(played):
        similar(snapshot, int(played[0]), 10)
    _ = snapshot.matcher
    _ = snapshot.artist_codes, snapshot.songs
