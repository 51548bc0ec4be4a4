"""The promises of the tables made here: columns, types, ranges and meanings, shown on each asset's page."""

import pandas as pd
import pandera.pandas as pa
from pandera.typing import Series

UTC_TIME = {"unit": "us", "tz": "UTC"}
DAY = r"^\d{4}-\d{2}-\d{2}$"


class Strict(pa.DataFrameModel):
    """Base of all tables: exactly these columns, values coerced to their types."""

    class Config:
        strict = True
        coerce = True


class RawEvents(Strict):
    """Every accepted event row once, as it came, listeners as pseudonyms."""

    event_id: Series[str] = pa.Field(str_length={"min_value": 1, "max_value": 256})
    listener: Series[str] = pa.Field(str_matches=r"^l[0-9a-f]{24}$", description="Pseudonym of the listener.")
    track_reference: Series[str] = pa.Field(
        description='The track as the sender names it: id, path or "artist - title".'
    )
    recording_mbid: Series[str] = pa.Field(nullable=True, description="MusicBrainz recording id, where given.")
    played_at: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME, description="Start of the play, UTC.")
    seconds_played: Series[float] = pa.Field(nullable=True, ge=0, le=86400, description="Seconds.")
    position: Series[pd.Int64Dtype] = pa.Field(nullable=True, ge=1, description="1-based rank in the list shown.")
    skipped: Series[pd.BooleanDtype] = pa.Field(nullable=True)
    liked: Series[pd.BooleanDtype] = pa.Field(nullable=True, description="False = disliked, never again.")
    source: Series[str] = pa.Field(nullable=True, description="search, playlist, recommendation, …")
    device: Series[str] = pa.Field(nullable=True)
    list_id: Series[str] = pa.Field(nullable=True, description="The list in which the track was shown.")
    file: Series[str] = pa.Field(description="Event file or stream.")
    line: Series[pd.Int64Dtype] = pa.Field(ge=1, description="Line in the file, from 1.")
    day: Series[str] = pa.Field(str_matches=DAY, description="UTC day of the play.")


class ListeningEvents(Strict):
    """The events of a day, each once, with its track found."""

    event_id: Series[str] = pa.Field(unique=True)
    listener: Series[str] = pa.Field(str_matches=r"^l[0-9a-f]{24}$", description="Pseudonym of the listener.")
    track: Series[str] = pa.Field(description="Track id.")
    track_reference: Series[str] = pa.Field(description="The track as the sender named it.")
    played_at: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME, description="Start of the play, UTC.")
    seconds_played: Series[float] = pa.Field(nullable=True, ge=0, le=86400, description="Seconds.")
    position: Series[pd.Int64Dtype] = pa.Field(nullable=True, ge=1, description="1-based rank in the list shown.")
    skipped: Series[pd.BooleanDtype] = pa.Field(nullable=True)
    liked: Series[pd.BooleanDtype] = pa.Field(nullable=True)
    source: Series[str] = pa.Field(nullable=True)
    device: Series[str] = pa.Field(nullable=True)
    list_id: Series[str] = pa.Field(nullable=True)
    day: Series[str] = pa.Field(str_matches=DAY)


class Interactions(Strict):
    """One row per UTC day, listener and track."""

    day: Series[str] = pa.Field(str_matches=DAY)
    listener: Series[str] = pa.Field(description="Pseudonym of the listener.")
    track: Series[str] = pa.Field(description="Track id.")
    plays: Series[int] = pa.Field(ge=1, description="Events of the day.")
    skips: Series[int] = pa.Field(ge=0)
    seconds_played: Series[float] = pa.Field(ge=0, description="Sum, seconds.")
    strength: Series[float] = pa.Field(ge=0, description="Sum of play strengths: completion, skips and likes.")
    liked: Series[pd.BooleanDtype] = pa.Field(nullable=True, description="The last like or dislike of the day.")
    sessions: Series[int] = pa.Field(ge=1, description="Sessions (30-minute gaps) in which it was played.")
    first_played_at: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME)
    last_played_at: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME)


class Listeners(Strict):
    """One row per listener."""

    listener: Series[str] = pa.Field(unique=True, description="Pseudonym of the listener.")
    first_day: Series[str] = pa.Field(str_matches=DAY)
    last_day: Series[str] = pa.Field(str_matches=DAY)
    days_active: Series[int] = pa.Field(ge=1)
    plays: Series[int] = pa.Field(ge=1)
    tracks: Series[int] = pa.Field(ge=1, description="Different tracks played.")
    skip_rate: Series[float] = pa.Field(ge=0, le=1)
    likes: Series[int] = pa.Field(ge=0)
    activity_group: Series[str] = pa.Field(isin=["low", "medium", "high"], description="Third of listeners by plays.")


class AudioManifest(Strict):
    """The frozen list of a batch's files, with what their bytes and tags say."""

    batch: Series[str]
    root: Series[str] = pa.Field(description="Registered root the path is relative to.")
    path: Series[str] = pa.Field(description="Path below the root.")
    size_bytes: Series[int] = pa.Field(ge=0)
    mtime_ns: Series[int]
    file_hash: Series[str] = pa.Field(str_length=64, description="sha256 of the file's bytes.")
    title: Series[str] = pa.Field(nullable=True)
    artist: Series[str] = pa.Field(nullable=True)
    album: Series[str] = pa.Field(nullable=True)
    genre: Series[str] = pa.Field(nullable=True, description="As the file's tags say.")
    year: Series[pd.Int64Dtype] = pa.Field(nullable=True)
    track_number: Series[pd.Int64Dtype] = pa.Field(nullable=True)
    mbid: Series[str] = pa.Field(nullable=True, description="MusicBrainz recording id.")
    isrc: Series[str] = pa.Field(nullable=True)


class TrackIdentities(Strict):
    """One row per readable file: the track it holds, and how that was found."""

    track: Series[str] = pa.Field(
        str_matches=r"^t[0-9a-f]{20}$", description="Track id, minted from the decoded audio."
    )
    root: Series[str]
    path: Series[str]
    batch: Series[str] = pa.Field(description="Batch in which this file was first seen.")
    file_hash: Series[str]
    audio_hash: Series[str] = pa.Field(description="sha256 of the decoded samples.")
    mbid: Series[str] = pa.Field(nullable=True)
    isrc: Series[str] = pa.Field(nullable=True)
    title: Series[str] = pa.Field(nullable=True)
    artist: Series[str] = pa.Field(nullable=True)
    matched_by: Series[str] = pa.Field(isin=["first", "audio_hash", "entered", "recording_id", "fingerprint"])


class Tracks(Strict):
    """The catalogue: one current row per track."""

    track: Series[str] = pa.Field(unique=True, description="Track id.")
    title: Series[str] = pa.Field(description="From the tags, else the file's name.")
    artist: Series[str] = pa.Field(description="From the tags, else Unknown artist.")
    album: Series[str] = pa.Field(nullable=True, description="From the tags.")
    genre: Series[str] = pa.Field(nullable=True, description="From the file's tags, else from the classifier.")
    genre_source: Series[str] = pa.Field(nullable=True, isin=["tag", "classifier"], description="Who said the genre.")
    year: Series[pd.Int64Dtype] = pa.Field(nullable=True, description="From the tags.")
    root: Series[str] = pa.Field(nullable=True, description="Registered root the path is relative to.")
    path: Series[str] = pa.Field(nullable=True, description="Path of one of its files below the root.")
    files: Series[int] = pa.Field(ge=0, description="Files that hold this track.")
    has_audio: Series[bool] = pa.Field(description="False: known from events alone.")
    deleted: Series[bool] = pa.Field(description="Every file of it is gone, or it was withdrawn.")
    audio_hash: Series[str] = pa.Field(nullable=True, description="sha256 of the decoded samples.")
    duration_seconds: Series[float] = pa.Field(nullable=True, ge=0, description="Seconds.")
    tempo_bpm: Series[float] = pa.Field(nullable=True, ge=0, description="Beats per minute.")
    key: Series[str] = pa.Field(nullable=True, description='As "C# minor".')
    loudness_lufs: Series[float] = pa.Field(nullable=True, description="EBU R128 integrated loudness, LUFS.")
    energy_index: Series[float] = pa.Field(nullable=True, ge=0, le=1, description="Our index, 0 to 1.")
    mood: Series[str] = pa.Field(nullable=True, description="Derived from tempo, mode and energy by a documented rule.")


class TracksHistory(Strict):
    """What the catalogue said, and from when to when (slowly changing, type 2)."""

    track: Series[str]
    title: Series[str]
    artist: Series[str]
    album: Series[str] = pa.Field(nullable=True)
    genre: Series[str] = pa.Field(nullable=True)
    path: Series[str] = pa.Field(nullable=True)
    deleted: Series[bool]
    valid_from: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME)
    valid_to: Series[pd.DatetimeTZDtype] = pa.Field(dtype_kwargs=UTC_TIME, nullable=True, description="Null = current.")


class _KnownBefore(Strict):
    """What was known of a listener or track before a day began."""

    day: Series[str] = pa.Field(str_matches=DAY, description="UTC day; the row knows nothing of it, nor of later days.")
    plays_7d: Series[int] = pa.Field(ge=0, description="Plays in the 7 days before.")
    plays_28d: Series[int] = pa.Field(ge=0, description="Plays in the 28 days before.")
    plays_before: Series[int] = pa.Field(ge=0, description="Plays ever before.")
    days_active_28d: Series[int] = pa.Field(ge=0, le=28, description="Days with a play among the 28 days before.")
    skip_rate_28d: Series[float] = pa.Field(
        nullable=True, ge=0, le=1, description="Share of skipped plays in the 28 days before; null without plays."
    )
    mean_strength_28d: Series[float] = pa.Field(
        nullable=True, ge=0, description="Mean play strength in the 28 days before; null without plays."
    )
    likes_before: Series[int] = pa.Field(ge=0, description="Likes ever before.")
    days_since_last: Series[float] = pa.Field(
        nullable=True, ge=1, description="Days since the last day with a play; null for the first."
    )


class ListenerFeatures(_KnownBefore):
    """One row per day and listener with plays on that day."""

    listener: Series[str]
    track_days_28d: Series[int] = pa.Field(ge=0, description="Sum over the 28 days before of different tracks played.")


class TrackFeatures(_KnownBefore):
    """One row per day and track with plays on that day."""

    track: Series[str]
    listener_days_28d: Series[int] = pa.Field(
        ge=0, description="Sum over the 28 days before of different listeners who played it."
    )


class ListeningSplits(Strict):
    """Which days train, validate and test: whole days, one after the other in time."""

    day: Series[str] = pa.Field(unique=True, str_matches=DAY)
    rows: Series[int] = pa.Field(ge=1, description="Rows of interactions of the day.")
    listeners: Series[int] = pa.Field(ge=1, description="Listeners with plays on the day.")
    tracks: Series[int] = pa.Field(ge=1, description="Tracks with plays on the day.")
    first_plays: Series[int] = pa.Field(ge=0, description="Rows in which a listener plays a track for the first time.")
    split: Series[str] = pa.Field(isin=["train", "validation", "test"], description="The part the day belongs to.")


class ListeningDrift(Strict):
    """Shares of events by bin, in the days the models were made from and in the days since."""

    quantity: Series[str] = pa.Field(description="What is compared: event_mix, hour, popularity, or a feature's name.")
    bin: Series[str] = pa.Field(description="Value or range.")
    reference: Series[float] = pa.Field(ge=0, le=1, description="Share in the reference days.")
    current: Series[float] = pa.Field(ge=0, le=1, description="Share in the current days.")
    psi: Series[float] = pa.Field(ge=0, description="Population stability index of the quantity, over all its bins.")
    since: Series[str] = pa.Field(description="First of the current days, YYYY-MM-DD (UTC).")


class Inventory(Strict):
    """One row per root of files, source of events and asset: is everything accounted for?"""

    kind: Series[str] = pa.Field(isin=["files", "events", "partitions"], description="files, events or partitions.")
    subject: Series[str] = pa.Field(description="Which root, source or asset.")
    found: Series[int] = pa.Field(ge=0, description="Files that lie there, rows read, partitions tried or made.")
    accepted: Series[int] = pa.Field(description="Files analysed, rows in the table, partitions made.")
    refused: Series[int] = pa.Field(description="Files and rows in quarantine.")
    waiting: Series[int] = pa.Field(ge=0, description="Files not analysed yet.")
    duplicates: Series[int] = pa.Field(ge=0, description="Rows that were there already.")
    missing: Series[int] = pa.Field(ge=0, description="What is lost, or failed.")
    examples: Series[str] = pa.Field(nullable=True, description="Names of what is missing.")
    passed: Series[bool] = pa.Field(description="Whether nothing is missing.")


class DataQuality(Strict):
    """One row per rule between tables, and whether it holds now."""

    kind: Series[str] = pa.Field(isin=["reference", "volume"], description="reference or volume.")
    subject: Series[str] = pa.Field(description="What is judged: TABLE.COLUMN, or a table.")
    related: Series[str] = pa.Field(description="What it must agree with.")
    value: Series[float] = pa.Field(description="Rows without a counterpart, or the ratio of volumes.")
    bound: Series[str] = pa.Field(description="What the value must be.")
    passed: Series[bool] = pa.Field(description="Whether it holds.")
    example: Series[str] = pa.Field(nullable=True, description="One key that breaks the rule.")
