"""From records to events: rules of form, identity of events, and the pure rebuild of one day.

Plain functions over records and frames. Reading files is `event_files`, finding tracks is `track_matching`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from ai_assets.data_processing.event_files import parse_time

if TYPE_CHECKING:
    import pandas as pd

FUTURE = timedelta(minutes=5)
FIRST_YEAR = 2000
LONGEST_PLAY = 24 * 3600.0
LAST_POSITION = 10**9
UNSTORABLE = re.compile("[\0\ud800-\udfff]")

RAW_COLUMNS = (
    "event_id", "listener", "track_reference", "recording_mbid", "played_at", "seconds_played", "position", "skipped",
    "liked", "source", "device", "list_id", "file", "line", "day",
)  # fmt: skip


class Refused(Exception):
    """An event that breaks a rule; `code` is stable, the text names the field and what was expected."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True)
class Place:
    """Where an event stands: the source's name and the line in it."""

    file: str
    line: int


def check_event(
    record: Mapping[str, Any], place: Place, *, now: datetime, pseudonym: Callable[[str], str]
) -> dict[str, Any]:
    """One raw event, ready for `raw_events`.

    Raises:
        Refused: a field is missing or impossible.
    """
    listener, track = _text(record, "listener", 256), _text(record, "track", 2048)
    try:
        played_at = parse_time(record.get("played_at"))
    except ValueError:
        raise Refused("bad_time", "played_at is missing or no time: expected ISO 8601 or seconds since 1970") from None
    if played_at > now + FUTURE:
        raise Refused("future", f"played_at {played_at.isoformat()} lies in the future")
    if played_at.year < FIRST_YEAR:
        raise Refused("too_old", f"played_at {played_at.isoformat()} lies before {FIRST_YEAR}")
    seconds = _number(record, "seconds_played")
    if seconds is not None and not 0 <= seconds <= LONGEST_PLAY:
        raise Refused("bad_duration", f"seconds_played {seconds} is impossible: expected 0 to {LONGEST_PLAY:.0f}")
    position = _number(record, "position")
    if position is not None and (position != int(position) or not 1 <= position <= LAST_POSITION):
        raise Refused("bad_position", f"position must be a whole number from 1 to {LAST_POSITION:,}")
    who = pseudonym(listener)
    given = record.get("event_id")
    identity = _text(record, "event_id", 256) if given is not None else _derived_id(who, track, played_at)
    return {
        "event_id": identity,
        "listener": who,
        "track_reference": track,
        "recording_mbid": _optional(record, "recording_mbid"),
        "played_at": played_at,
        "seconds_played": seconds,
        "position": None if position is None else int(position),
        "skipped": _flag(record, "skipped"),
        "liked": _flag(record, "liked"),
        "source": _optional(record, "source"),
        "device": _optional(record, "device"),
        "list_id": _optional(record, "list_id"),
        "file": place.file,
        "line": place.line,
        "day": f"{played_at:%Y-%m-%d}",
    }


def _derived_id(listener: str, track: str, played_at: datetime) -> str:
    text = f"{listener}\n{track}\n{played_at.isoformat()}"
    return "e" + hashlib.sha256(text.encode()).hexdigest()[:24]


def _text(record: Mapping[str, Any], name: str, longest: int) -> str:
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise Refused("missing_field", f"{name} is missing: expected a text")
    if len(value) > longest:
        raise Refused("too_long", f"{name} has {len(value):,} characters: expected at most {longest:,}")
    return _storable(value.strip(), name)


def _optional(record: Mapping[str, Any], name: str) -> str | None:
    value = record.get(name)
    return None if value is None else _storable(str(value)[:256], name)


def _storable(text: str, name: str) -> str:
    """Refuse what no UTF-8 text holds: JSON may escape half of a surrogate pair, and databases take no NUL."""
    if UNSTORABLE.search(text):
        raise Refused("bad_text", f"{name} holds characters that are no text")
    return text


def _number(record: Mapping[str, Any], name: str) -> float | None:
    value = record.get(name)
    if value is None:
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Refused("bad_number", f"{name} is no number")
    return number


FLAGS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _flag(record: Mapping[str, Any], name: str) -> bool | None:
    value = record.get(name)
    if value is None or isinstance(value, bool):
        return value
    flag = FLAGS.get(str(value).strip().lower())
    if flag is None:
        raise Refused("bad_flag", f"{name} must be true or false")
    return flag


def raw_frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Rows of `check_event` as a frame with fixed types."""
    import pandas as pd

    frame = pd.DataFrame({name: [row[name] for row in rows] for name in RAW_COLUMNS}, columns=list(RAW_COLUMNS))
    frame["played_at"] = pd.to_datetime(frame["played_at"], utc=True).astype("datetime64[us, UTC]")
    frame["seconds_played"] = frame["seconds_played"].astype("float64")
    for name in ("position", "line"):
        frame[name] = frame[name].astype("Int64")
    for name in ("skipped", "liked"):
        frame[name] = frame[name].astype("boolean")
    return frame


CANARY_SOURCE = "ai-assets:canary"
"""`source` of the play that tests the whole way every hour: it ends in `raw_events`, nothing learns from it."""


def people_only(raw: pd.DataFrame) -> pd.DataFrame:
    """Raw rows less the canary's plays."""
    return raw[raw["source"].fillna("") != CANARY_SOURCE]


def rebuild_day(raw: pd.DataFrame, resolve: Callable[[pd.DataFrame], pd.Series]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One day's events from its raw rows: each event once, its track found.

    Args:
        raw: rows of `raw_events` of the day(s), in any order.
        resolve: track ids of raw rows, None where no track is known.

    Returns:
        The events (ordered by time, listener, id) and the raw rows whose track is unknown.
    """
    ordered = raw.sort_values(["file", "line"], kind="stable").drop_duplicates("event_id")
    ordered = ordered.assign(track=resolve(ordered))
    known = ordered["track"].notna()
    events = ordered[known].sort_values(["played_at", "listener", "event_id"], kind="stable", ignore_index=True)
    return events, ordered[~known].reset_index(drop=True)
