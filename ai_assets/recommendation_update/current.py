"""What holds at this moment in a home: the serving generation under today's rules, with every later change.

All surfaces begin here: the command line, batch assets and playlists with `open_snapshot`, the API with the same parts
one by one as they change.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ai_assets.data_processing.external_tracks import ExternalTracks
from ai_assets.data_processing.track_matching import TrackMatcher
from ai_assets.recommendation_update.histories import History, StreamEvent, all_histories, history_of, stream_events
from ai_assets.recommendation_update.overlay import overlaid
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.rule_store import RuleStore
from resources.event_stream import StreamUnavailable
from resources.vector_index.delta import DeltaStore, LiveIndex
from resources.vector_index.generation import Generation, current

if TYPE_CHECKING:
    from resources.platform import Platform

log = logging.getLogger(__name__)

CONTENT, LISTENING = "content", "collaborative"
EVENTS = "listening_events"
PAGE = 10_000


def open_snapshot(platform: Platform) -> QuerySnapshot | None:
    """The current snapshot, None where no generation was ever written."""
    rules = RuleStore(platform.database).current()
    snapshot = QuerySnapshot.load(platform.home.indices / "serving", rules)
    if snapshot is None:
        return None
    snapshot = with_entered(platform, snapshot)
    return snapshot.with_indices(content_index(platform, snapshot), listening_index(platform, snapshot))


def with_entered(platform: Platform, snapshot: QuerySnapshot) -> QuerySnapshot:
    """The snapshot with the tracks that were entered and withdrawn since, and with the callers' names of all."""
    from dataclasses import replace

    external = ExternalTracks(platform.database)
    rows = external.after(snapshot.sequence)
    if snapshot.base is None:
        snapshot = replace(snapshot, more=TrackMatcher(dict(external.ids())))
    return overlaid(snapshot, rows)


def content_store(platform: Platform, snapshot: QuerySnapshot) -> DeltaStore | None:
    """The delta of the content index; None where the home has no vectors."""
    if snapshot.sources.content is None or snapshot.embedding is None:
        return None
    return delta_store(platform, snapshot.sources.content.shape[1], snapshot.embedding)


def delta_store(platform: Platform, dim: int, embedding: str) -> DeltaStore:
    """The delta of the content index for vectors of this version."""
    return DeltaStore(platform.database, CONTENT, dim=dim, model_version=embedding)


def content_index(platform: Platform, snapshot: QuerySnapshot, held: Generation | None = None) -> LiveIndex | None:
    """The content index with its delta, where the catalogue is large enough to ask it and it is of the same model.

    Args:
        held: an open generation, which is used again where it is still the current one.
    """
    store = content_store(platform, snapshot)
    if store is None or not snapshot.large:
        return None
    live = LiveIndex.open(platform.home.indices / CONTENT, store, held=held)
    return live if live.base is not None else None


def listening_index(platform: Platform, snapshot: QuerySnapshot, held: Generation | None = None) -> LiveIndex | None:
    """The index over the listening model's item vectors, under the same conditions."""
    if snapshot.sources.tower is None or not snapshot.large:
        return None
    base = current(platform.home.indices / LISTENING, held=held)
    if base is None or base.manifest["model_version"] != snapshot.facts.get("models", {}).get("collaborative_model"):
        return None
    return LiveIndex.alone(base)


def streamed(platform: Platform) -> list[StreamEvent]:
    """The events that the stream holds; none, and a warning, where it does not answer: the table then answers alone."""
    found, last = [], 0
    try:
        while page := platform.event_stream.read_after(last, PAGE):
            last = page[-1][0]
            found += stream_events(record for _, record in page)
    except StreamUnavailable as error:
        log.warning("recent events are missing from the answer: %s", error)
    return found


def listener_history(platform: Platform, snapshot: QuerySnapshot, listener: str) -> History:
    """One listener's history (pseudonym) from the table and the stream."""
    recent: Sequence[StreamEvent] = ()
    try:
        recent = stream_events(platform.event_stream.of_listener(listener))
    except StreamUnavailable as error:
        log.warning("recent events are missing from the answer: %s", error)
    return history_of(platform.lake.table(EVENTS), listener, snapshot.codes, recent, snapshot.find)


def histories(platform: Platform, snapshot: QuerySnapshot) -> dict[str, History]:
    """The histories of all listeners from the table and the stream."""
    return all_histories(platform.lake.table(EVENTS), snapshot.codes, streamed(platform), snapshot.find)
