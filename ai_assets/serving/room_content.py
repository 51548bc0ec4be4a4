"""Generated items as the room shows them: published ones alone, each with its mark and what made it.

A cover, text or tune of a track that may not be shown is not shown either. What was published or withdrawn is known
within two seconds.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any

from ai_assets.content_generation import items
from ai_assets.content_generation.reviewing import review_rows
from resources.platform import Platform

FRESH_SECONDS = 2.0
MODALITIES = ("cover", "music", "text")


@dataclass(frozen=True)
class Made:
    """One published item: what it is about, its text or blobs by kind, and the record of how it was made."""

    item: str
    subject: str
    modality: str
    lang: str | None
    text: str | None
    files: Mapping[str, str]
    edited: bool
    record: Mapping[str, Any]


class Gallery:
    """The published items of a home."""

    def __init__(self, platform: Platform, clock: Callable[[], float] = time.monotonic) -> None:
        self._platform, self._clock = platform, clock
        self._until = float("-inf")
        self._items: dict[str, Made] = {}
        self._lock = Lock()

    def all(self) -> Mapping[str, Made]:
        """Every published item by its id."""
        with self._lock:
            if self._clock() >= self._until:
                self._items = {made.item: made for made in published(self._platform)}
                self._until = self._clock() + FRESH_SECONDS
            return self._items

    def of_track(self, track: str, modality: str, lang: str | None = None) -> Made | None:
        """The published item of a track, None where there is none."""
        ids = {"cover": f"cover:{track}", "music": f"music:{track}", "text": f"track-text:{track}:{lang}"}
        return self.all().get(ids[modality])


def published(platform: Platform) -> list[Made]:
    """The published items of the content tables, in the order of their tables."""
    states = {row["item"]: row for row in review_rows(platform).to_dict("records") if row["published"]}
    found = []
    for _, row in items.rows(platform):
        state = states.get(row["item"])
        if state is not None:
            found.append(
                Made(
                    row["item"], row["subject"], row["modality"], row["lang"] or None,
                    state["text"] if isinstance(state["text"], str) else None,
                    json.loads(row["files"]), bool(state["edited"]), json.loads(row["provenance"]),
                )
            )  # fmt: skip
    return found
