"""The bodies of the API, as its documentation shows them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Listened(BaseModel):
    """One play of an anonymous history."""

    model_config = ConfigDict(extra="forbid")

    track: str = Field(min_length=1, max_length=2048, description='Track id, caller\'s id, path or "artist - title".')
    liked: bool | None = Field(None, description="False = disliked: never shown in this answer.")


class Session(BaseModel):
    """An anonymous history: nothing of it is stored."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"tracks": ["Artist - Title"], "k": 10}})

    tracks: list[str | Listened] = Field(max_length=5_000, description="What was played, oldest first.")
    k: int = Field(10, ge=1, le=1000, description="How many tracks to answer with.")


class TrackBody(BaseModel):
    """A track to enter or change. What is not said stays as it was."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {"title": "Song", "artist": "Band", "vector": [0.1, 0.2], "embedding": "track_embedder/1"}
        },
    )

    title: str | None = Field(None, min_length=1, max_length=1000)
    artist: str | None = Field(None, min_length=1, max_length=1000)
    album: str | None = Field(None, max_length=1000)
    genre: str | None = Field(None, max_length=200)
    duration_seconds: float | None = Field(None, ge=0, le=86_400 * 7, allow_inf_nan=False)
    audio: str | None = Field(
        None,
        min_length=1,
        max_length=4_096,
        description="A file under a landing root, by its path in full, with its root, or below landing/audio. "
        "The file itself may be the body instead, as audio/… with the facts as parameters of the address.",
    )
    vector: list[float] | None = Field(None, max_length=4_096, description="Its embedding; will be normalised.")
    embedding: str | None = Field(
        None,
        max_length=200,
        description="Version of the embedding the vector belongs to; /ready names the current one.",
    )


class Recommended(BaseModel):
    """One recommended track."""

    track: str
    title: str
    artist: str
    path: str | None
    score: float
    reasons: list[str]


class Recommendations(BaseModel):
    """The answer of `recommend`."""

    listener: str | None = Field(None, description="As asked; the platform keeps a pseudonym only.")
    recommendations: list[Recommended]
    cold: bool = Field(description="Nothing is known of this listener: popular tracks.")
    generation: str
    model: dict[str, str]
    trace_id: str
    list_id: str = Field(description="Events of plays from this list name it, with the track's 1-based `position`.")


class Similar(BaseModel):
    """The answer of `similar`: tracks without reasons."""

    track: str
    similar: list[dict[str, Any]]
    generation: str
    model: dict[str, str]
    trace_id: str


class Accepted(BaseModel):
    """Events are durable."""

    accepted: int
    sequence: int
    trace_id: str


class Entered(BaseModel):
    """The track as the platform names it."""

    track: str
    embedding: str | None = Field(None, description="What it is found by in `similar` from now on, where it is heard.")
    trace_id: str


_AUDIO = {"schema": {"type": "string", "format": "binary"}}
TRACK_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": TrackBody.model_json_schema()},
            **dict.fromkeys(("audio/flac", "audio/mpeg", "audio/wav", "application/octet-stream"), _AUDIO),
        },
    }
}


EVENT_SCHEMA = {
    "type": "object",
    "required": ["listener", "track", "played_at"],
    "properties": {
        "event_id": {"type": "string"},
        "listener": {"type": "string"},
        "track": {"type": "string", "description": 'Track id, path or "artist - title".'},
        "played_at": {"type": "string", "format": "date-time"},
        "seconds_played": {"type": "number", "minimum": 0},
        "position": {"type": "integer", "minimum": 1, "description": "1-based rank in the list shown."},
        "skipped": {"type": "boolean"},
        "liked": {"type": "boolean", "description": "False = disliked: never again."},
        "source": {"type": "string"},
        "device": {"type": "string"},
        "list_id": {"type": "string"},
    },
}
EVENTS_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"oneOf": [EVENT_SCHEMA, {"type": "array", "items": EVENT_SCHEMA}]}}
        },
    }
}
