"""PUT and DELETE of tracks: from a caller's id and facts to a durable row that the next answer knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ai_assets.data_processing.external_tracks import ExternalTrack, external_track_id
from ai_assets.data_processing.identities import mint
from ai_assets.recommendation_update.answers import NothingToAnswer
from ai_assets.recommendation_update.current import content_store, delta_store
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.serving.api_models import TrackBody
from ai_assets.serving.live_state import LiveState
from resources.vector_index.delta import DeltaStore


class Conflict(ValueError):
    """A field that contradicts what the platform holds; `field` names it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Heard:
    """What a limited process heard in a file (`audio_analysis.entered`); no vector and embedding without a model."""

    file_hash: str
    audio_hash: str
    format: str
    duration_seconds: float
    tags: Mapping[str, Any]
    vector: list[float] | None
    embedding: str | None


class TrackEntry:
    """Enters and withdraws tracks of one home."""

    def __init__(self, state: LiveState) -> None:
        self._state = state

    def put(self, identifier: str, body: TrackBody) -> tuple[str, bool]:
        """Enter or change a track; returns the platform's id and whether it is new. Raises Conflict."""
        snapshot = self._snapshot()
        known = self._known(identifier, snapshot)
        track = known or external_track_id(identifier)
        store, heard = self._store(snapshot, body), None
        code = snapshot.codes.get(track) if snapshot is not None else None
        if snapshot is not None and code is not None and snapshot.sources.content is not None:
            row = snapshot.sources.content[code]
            heard = row if row.any() else None
        entry = ExternalTrack(
            track=track,
            external_id=identifier if identifier != track else None,
            title=body.title or (None if known else identifier[:1000]),
            artist=body.artist,
            album=body.album,
            genre=body.genre,
            duration_seconds=body.duration_seconds,
            vector=None if body.vector is None else np.array(body.vector, np.float32),
            embedding=body.embedding,
        )
        self._state.external.put(entry, store, heard=heard)
        self._state.follow_tracks()
        return track, known is None

    def check(self, identifier: str) -> None:
        """Raises Conflict for what can be no id, before anything is done."""
        self._known(identifier, self._snapshot())

    def judge(self, identifier: str, heard: Heard) -> None:
        """Raises Conflict where the catalogue holds this very audio as another track than the id names."""
        known, held = self._known(identifier, self._snapshot()), self._held_as(heard)
        if known is not None and held is not None and known != held:
            raise Conflict("id", f"this audio is the track {held}, and the id names {known}: withdraw one of them")

    def put_heard(self, identifier: str, body: TrackBody, heard: Heard) -> tuple[str, bool, str | None]:
        """Enter or change a track by its audio; returns track, whether it is new, and the embedding it is found by.

        A new track takes the id that the catalogue will mint from the same audio. What the request does not say of a
        new track is taken from the file's tags.
        """
        snapshot = self._snapshot()
        known = self._known(identifier, snapshot) or self._held_as(heard)
        track = known or mint(heard.audio_hash)
        tags: Mapping[str, Any] = heard.tags if known is None else {}
        embedding = heard.embedding if snapshot is not None and heard.embedding == snapshot.embedding else None
        vector = np.array(heard.vector, np.float32) if embedding is not None else None
        store = content_store(self._state.platform, snapshot) if snapshot is not None else None
        entry = ExternalTrack(
            track=track, external_id=identifier if identifier != track else None,
            title=body.title or tags.get("title") or (None if known else identifier[:1000]),
            artist=body.artist or tags.get("artist"), album=body.album or tags.get("album"),
            genre=body.genre or tags.get("genre"), duration_seconds=body.duration_seconds or heard.duration_seconds,
            file_hash=heard.file_hash, vector=vector, embedding=embedding,
        )  # fmt: skip
        self._state.external.put(entry, store)
        self._state.follow_tracks()
        return track, known is None, embedding

    def _held_as(self, heard: Heard) -> str | None:
        """The track as which the catalogue holds this audio, None where it is new."""
        import pyarrow.dataset as ds

        minted = mint(heard.audio_hash)
        snapshot, table = self._snapshot(), self._state.platform.lake.table("track_identities")
        if snapshot is not None and minted in snapshot.codes:
            return minted
        if not table.exists:
            return None
        same = ds.field("audio_hash") == heard.audio_hash
        found = table.dataset().to_table(columns=["track"], filter=same)["track"].to_pylist()
        return str(found[0]) if found else None

    def withdraw(self, identifier: str) -> None:
        """Withdraw a track. Raises NothingToAnswer for a track that is not there; withdrawn ones may be again."""
        snapshot = self._snapshot()
        track = self._known(identifier, snapshot)
        if track is None:
            raise NothingToAnswer(f"there is no track {identifier!r}: expected your id of it or the platform's")
        store = content_store(self._state.platform, snapshot) if snapshot is not None else None
        self._state.external.withdraw(track, store)
        self._state.follow_tracks()

    def _snapshot(self) -> QuerySnapshot | None:
        return self._state.view.snapshot if self._state.view is not None else None

    def _known(self, identifier: str, snapshot: QuerySnapshot | None) -> str | None:
        """The platform's id of a track named by either id; names and paths are no ids here."""
        if not identifier or len(identifier) > 256 or not identifier.isprintable():
            raise Conflict("id", "an id has 1 to 256 printable characters")
        if snapshot is not None and identifier in snapshot.codes:
            return identifier
        row = self._state.external.by_id(identifier)
        return None if row is None else row.track

    def _store(self, snapshot: QuerySnapshot | None, body: TrackBody) -> DeltaStore | None:
        """The delta that takes the vector, after the vector was judged."""
        held = snapshot.embedding if snapshot is not None else None
        store = content_store(self._state.platform, snapshot) if snapshot is not None else None
        if body.vector is None:
            if body.embedding is not None:
                raise Conflict("vector", "an embedding was named without a vector")
            return store
        if not body.embedding:
            raise Conflict("embedding", f"a vector must name its embedding: {held or 'a name of your choice'}")
        if held is not None and body.embedding != held:
            raise Conflict("embedding", f"the vectors in use are of {held!r}, this one is of {body.embedding!r}")
        values = np.array(body.vector, np.float64)
        largest = float(np.finfo(np.float32).max)
        if not len(values) or not np.isfinite(values).all() or not values.any() or np.abs(values).max() > largest:
            raise Conflict("vector", "expected finite numbers that are not all zero")
        if store is not None and len(values) != store.dim:
            raise Conflict("vector", f"expected {store.dim} numbers, got {len(values)}")
        return store or delta_store(self._state.platform, len(values), body.embedding)
