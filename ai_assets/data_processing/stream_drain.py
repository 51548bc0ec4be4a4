"""The event stream into `raw_events`: each record exactly once, acknowledged only after the lake has committed it.

A record's place is `stream:SEQUENCE`. A drain that is killed between commit and acknowledgement is given the same
records again and finds them in the lake.
"""

from __future__ import annotations

import logging

from ai_assets.data_processing.event_files import Line
from ai_assets.data_processing.raw_store import RawStore, Reading
from resources.event_stream import StreamUnavailable
from resources.platform import Platform

log = logging.getLogger(__name__)

STREAM = "stream"
BLOCK_RECORDS = 10_000


class StreamDrain:
    """Takes what waits in a platform's event stream."""

    def __init__(self, platform: Platform, store: RawStore) -> None:
        self._platform = platform
        self._store = store

    def waiting(self) -> list[str]:
        """The newest sequence where something waits; nothing also where the stream does not answer."""
        try:
            stream = self._platform.event_stream
            return [f"{STREAM}:{stream.last()}"] if stream.waiting() else []
        except StreamUnavailable as error:
            log.warning("event stream left out: %s", error)
            return []

    def drain(self, run_id: str) -> list[Reading]:
        """Take what waits now; returns one report, or none where nothing waited. Raises StreamUnavailable."""
        stream = self._platform.event_stream
        if not stream.waiting():
            return []
        total, until = Reading(STREAM), stream.last()
        with self._platform.database.lock("event-stream:drain"):
            while taken := stream.pending(BLOCK_RECORDS):
                lines = [
                    Line(number, number, "", record, "" if record is not None else "no readable record")
                    for number, record in taken
                ]
                # the stream holds pseudonyms already, so they are taken as they are
                block, _ = self._store.store(STREAM, STREAM, lines, run_id, end=lines[-1].end, seen=0, pseudonym=str)
                stream.acknowledge([line.number for line in lines])
                total += block
                if lines[-1].number >= until:
                    break  # what has come meanwhile is for the next run: this one ends also under constant load
        if total.read:
            self._store.report(run_id, total)
        return [total] if total.read else []
