"""What listening records look like elsewhere, and how they become ours: known exports, and mappings given in words.

A format is recognised by its column names alone, so the same file is read the same way whenever it is read. Cutting
files into records is `event_files`; whether an event is possible is decided by `events`, not here.

A mapping is `FIELD=SOURCE` pairs with commas between, for instance
`listener=uid, track={artist} - {song}, played_at=ts, seconds_played=ms/1000`. SOURCE is a column, a text with columns
in braces, a constant in single quotes, or a column divided by a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from resources.event_stream import EVENT_FIELDS

Row = Mapping[str, Any]
Record = dict[str, Any]
Convert = Callable[[Row], Record]

REQUIRED = ("listener", "track", "played_at")
ONE_PERSON = "me"
"""The listener of exports that say nothing about whose they are; `--mapping "listener='NAME'"` says it."""


@dataclass(frozen=True)
class Format:
    """One known form: its name, the columns it is known by, and in words from what each of our fields comes."""

    name: str
    columns: frozenset[str]
    mapping: Mapping[str, str]
    convert: Convert


# -- points in time ------------------------------------------------------------------------------------------------


def moment(value: Any) -> Any:
    """Times as other services write them, as ISO 8601 or seconds; what is no time is given back as it is.

    Milliseconds since 1970 (13 digits), `05 Jan 2021 10:22`, and dates without leading zeros are understood.
    """
    text = str(value).strip()
    if re.fullmatch(r"\d{13}", text):
        return int(text) / 1000
    if found := re.fullmatch(r"(\d{4})-(\d{1,2})-(\d{1,2})", text):
        return "{}-{:0>2}-{:0>2}".format(*found.groups())
    if re.fullmatch(r"\d{1,2} [A-Z][a-z]{2} \d{4},? \d{2}:\d{2}", text):
        try:
            return datetime.strptime(text.replace(",", ""), "%d %b %Y %H:%M").replace(tzinfo=UTC).isoformat()
        except ValueError:
            return value
    return value


def _start(ended: Any, milliseconds: Any) -> Any:
    """When a play began that ended at `ended`."""
    try:
        end = datetime.fromisoformat(str(ended).strip())
        end = end.replace(tzinfo=UTC) if end.tzinfo is None else end
        return (end - timedelta(milliseconds=float(milliseconds or 0))).isoformat()
    except (ValueError, OverflowError, TypeError):
        return ended


def _seconds(milliseconds: Any) -> Any:
    try:
        return float(milliseconds) / 1000
    except (TypeError, ValueError):
        return milliseconds


def _named(artist: Any, title: Any) -> str | None:
    return f"{artist} - {title}" if artist and title else None


# -- known exports -------------------------------------------------------------------------------------------------


def own(row: Row) -> Record:
    """Our own schema."""
    return {name: row[name] for name in EVENT_FIELDS if row.get(name) is not None}


def from_listenbrainz(value: Row) -> Record:
    """One listen of a ListenBrainz export (https://listenbrainz.readthedocs.io, "JSON documentation")."""
    metadata = value.get("track_metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    info, mapping = (metadata.get(name) for name in ("additional_info", "mbid_mapping"))
    info = info if isinstance(info, dict) else {}
    mapping = mapping if isinstance(mapping, dict) else {}
    record: Record = {
        "listener": value.get("user_name"),
        "track": _named(metadata.get("artist_name"), metadata.get("track_name")),
        "played_at": value.get("listened_at"),
        "recording_mbid": info.get("recording_mbid") or mapping.get("recording_mbid"),
        "device": info.get("media_player") or info.get("listening_from"),
        "source": "listenbrainz",
    }
    duration = info.get("duration_ms")
    if isinstance(duration, int | float) and duration > 0:
        record["seconds_played"] = duration / 1000  # a listen is submitted for a track that was played
    return record


def _spotify_extended(row: Row) -> Record:
    """Spotify's "Extended streaming history" (Streaming_History_Audio_*.json); podcasts name no track."""
    return {
        "listener": row.get("username") or ONE_PERSON,
        "track": _named(row.get("master_metadata_album_artist_name"), row.get("master_metadata_track_name")),
        "played_at": _start(row.get("ts"), row.get("ms_played")),
        "seconds_played": _seconds(row.get("ms_played")),
        "skipped": row.get("skipped"),
        "device": row.get("platform"),
        "source": "spotify",
    }


def _spotify(row: Row) -> Record:
    """Spotify's "Account data" (StreamingHistory*.json); `endTime` is UTC."""
    return {
        "listener": ONE_PERSON,
        "track": _named(row.get("artistName"), row.get("trackName")),
        "played_at": _start(row.get("endTime"), row.get("msPlayed")),
        "seconds_played": _seconds(row.get("msPlayed")),
        "source": "spotify",
    }


def _movielens(row: Row) -> Record:
    """MovieLens ratings: 4 and above is a like, 2 and below a dislike."""
    try:
        rating = float(row.get("rating", ""))
    except (TypeError, ValueError):
        rating = 3.0
    return {
        "listener": row.get("userId"),
        "track": row.get("movieId"),
        "played_at": row.get("timestamp"),
        "liked": True if rating >= 4 else False if rating <= 2 else None,
        "source": "movielens",
    }


def _lastfm(artist: str, track: str, when: str, *, listener: str | None = None, mbid: str | None = None) -> Convert:
    def convert(row: Row) -> Record:
        return {
            "listener": row.get(listener) if listener else ONE_PERSON,
            "track": _named(row.get(artist), row.get(track)),
            "played_at": moment(row.get(when)),
            "recording_mbid": row.get(mbid) if mbid else None,
            "source": "lastfm",
        }

    return convert


def _format(name: str, columns: str, mapping: Mapping[str, str], convert: Convert) -> Format:
    return Format(name, frozenset(columns.split()), mapping, convert)


_ONE = f"'{ONE_PERSON}'"
FORMATS = (
    _format("listenbrainz", "track_metadata listened_at", {
        "listener": "user_name", "track": "{artist_name} - {track_name}", "played_at": "listened_at",
        "seconds_played": "duration_ms/1000", "recording_mbid": "recording_mbid",
    }, from_listenbrainz),
    _format("events", " ".join(REQUIRED), {name: name for name in REQUIRED}, own),
    _format("spotify-extended", "ts ms_played master_metadata_track_name", {
        "listener": f"username, else {_ONE}", "played_at": "ts minus ms_played", "seconds_played": "ms_played/1000",
        "track": "{master_metadata_album_artist_name} - {master_metadata_track_name}", "skipped": "skipped",
        "device": "platform",
    }, _spotify_extended),
    _format("spotify", "endTime artistName trackName msPlayed", {
        "listener": _ONE, "track": "{artistName} - {trackName}", "played_at": "endTime minus msPlayed",
        "seconds_played": "msPlayed/1000",
    }, _spotify),
    _format("movielens", "userId movieId rating timestamp", {
        "listener": "userId", "track": "movieId", "played_at": "timestamp", "liked": "rating >= 4 yes, <= 2 no",
    }, _movielens),
    _format("lastfm", "uts artist track", {
        "listener": _ONE, "track": "{artist} - {track}", "played_at": "uts", "recording_mbid": "track_mbid",
    }, _lastfm("artist", "track", "uts", mbid="track_mbid")),
    _format("lastfm-1k", "userid timestamp artname traname", {
        "listener": "userid", "track": "{artname} - {traname}", "played_at": "timestamp", "recording_mbid": "traid",
    }, _lastfm("artname", "traname", "timestamp", listener="userid", mbid="traid")),
    _format("lastfm-plain", "lastfm_artist lastfm_album lastfm_track lastfm_date", {
        "listener": _ONE, "track": "{1st column} - {3rd column}", "played_at": "4th column",
    }, _lastfm("lastfm_artist", "lastfm_track", "lastfm_date")),
)  # fmt: skip


_HEADERLESS = (
    (re.compile(r"\d+::\d+::[\d.]+::\d+"), "::", ("userId", "movieId", "rating", "timestamp")),
    (re.compile(r"\d+\t\d+\t[\d.]+\t\d{9,10}"), "\t", ("userId", "movieId", "rating", "timestamp")),
    (re.compile(r"user_\d+\t\d{4}-\d\d-\d\dT[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*\t[^\t]*"), "\t",
     ("userid", "timestamp", "artid", "artname", "traid", "traname")),
    (re.compile(r'.+,.*,.+,"?\d{1,2} [A-Z][a-z]{2} \d{4},? \d{2}:\d{2}"?'), ",",
     ("lastfm_artist", "lastfm_album", "lastfm_track", "lastfm_date")),
)  # fmt: skip


def first_line(text: str) -> tuple[str, list[str] | None]:
    """The delimiter of a table by its first line, and the columns where that line is data already."""
    for pattern, delimiter, columns in _HEADERLESS:
        if pattern.fullmatch(text.strip()):
            return delimiter, list(columns)
    return max((",", ";", "\t", "|", "::"), key=lambda item: (text.count(item) * len(item), item == ",")), None


def format_of(columns: Sequence[str]) -> Format | None:
    """The known format that has all its columns here."""
    given = set(columns)
    if any(name.startswith("Date#") for name in given) and {"Artist", "Track"} <= given:
        return _lastfmstats(next(name for name in columns if name.startswith("Date#")))
    return next((item for item in FORMATS if item.columns <= given), None)


def _lastfmstats(date: str) -> Format:
    """lastfmstats.com: the heading of the date names the user."""
    plain = _lastfm("Artist", "Track", date)
    who = date.partition("#")[2] or ONE_PERSON
    words = {"listener": f"'{who}'", "track": "{Artist} - {Track}", "played_at": date}
    return Format("lastfmstats", frozenset({date}), words, lambda row: {**plain(row), "listener": who})


# -- mappings in words ---------------------------------------------------------------------------------------------

_PAIR = re.compile(r"\s*([a-z_]+)\s*=\s*('[^']*'|[^,]*?)\s*(?:,|$)")


def parse_mapping(text: str) -> dict[str, str]:
    """`FIELD=SOURCE, …` as a dictionary. Raises ValueError that says what was expected."""
    pairs, position = {}, 0
    while position < len(text):
        found = _PAIR.match(text, position)
        if found is None or not found[2]:
            raise ValueError(f"mapping {text[position:][:40]!r}: expected FIELD=SOURCE pairs with commas between")
        if found[1] not in EVENT_FIELDS:
            raise ValueError(f"mapping: there is no field {found[1]!r}; there are {', '.join(EVENT_FIELDS)}")
        pairs[found[1]] = found[2]
        position = found.end()
    return pairs


def mapping_columns(mapping: Mapping[str, str]) -> set[str]:
    """The columns a mapping reads."""
    columns: set[str] = set()
    for source in mapping.values():
        if source.startswith("'"):
            continue
        inner = re.findall(r"\{([^{}]*)\}", source)
        columns |= set(inner) if inner else {_divided(source)[0]}
    return columns


def _divided(source: str) -> tuple[str, float]:
    found = re.fullmatch(r"(.+?)\s*/\s*(\d+(?:\.\d+)?)", source)
    return (found[1], float(found[2])) if found and float(found[2]) else (source, 1.0)


def with_mapping(mapping: Mapping[str, str], known: Format | None = None) -> Convert:
    """A conversion by a mapping; fields it does not name come from the known format, where there is one."""

    def value(row: Row, source: str) -> Any:
        if source.startswith("'"):
            return source.strip("'")
        inner = re.findall(r"\{([^{}]*)\}", source)
        if inner:
            parts = {name: row.get(name) for name in inner}
            if any(part is None or str(part).strip() == "" for part in parts.values()):
                return None
            return re.sub(r"\{([^{}]*)\}", lambda found: str(parts[found[1]]).strip(), source)
        column, divisor = _divided(source)
        if divisor == 1.0:
            return row.get(column)
        try:
            return float(row.get(column)) / divisor  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return row.get(column)

    def convert(row: Row) -> Record:
        record = dict(known.convert(row)) if known is not None else {}
        for field, source in mapping.items():
            found = value(row, source)
            record[field] = moment(found) if field == "played_at" else found
        return record

    return convert


# -- proposals -----------------------------------------------------------------------------------------------------

_SYNONYMS = {
    "event_id": "eventid playid",
    "listener": "listener listenerid user userid username useridx uid account accountid member customerid personid",
    "track": "track trackid song songid item itemid recording recordingid artistid movieid contentid",
    "played_at": "playedat timestamp ts time datetime date playtime listenedat utstime uts utctime createdat startedat",
    "seconds_played": "secondsplayed seconds playedseconds listenseconds durationplayed",
    "skipped": "skipped skip isskip",
    "liked": "liked like loved isliked favorite favourite",
    "source": "context",
    "device": "device platform client",
    "recording_mbid": "trackmbid recordingmbid mbid",
}
_ARTIST = "artist artistname trackartist artname performer"
_TITLE = "title tracktitle trackname song songname songtitle track traname name"
_MILLISECONDS = "msplayed playedms playms durationplayedms"


def propose_mapping(columns: Sequence[str]) -> dict[str, str]:
    """A mapping guessed from column names; fields for which nothing fits are left out."""
    plain = {re.sub(r"[^a-z0-9]", "", name.lower()): name for name in reversed(columns)}

    def first(names: str) -> str | None:
        return next((plain[name] for name in names.split() if name in plain), None)

    mapping = {field: found for field, names in _SYNONYMS.items() if (found := first(names)) is not None}
    artist, title = first(_ARTIST), first(_TITLE)
    if artist and title and artist != title:
        mapping["track"] = f"{{{artist}}} - {{{title}}}"
    parts = [first(name) for name in ("year", "month", "day")]
    if "played_at" not in mapping and all(parts):
        mapping["played_at"] = "-".join(f"{{{part}}}" for part in parts)
    if milliseconds := first(_MILLISECONDS):
        mapping["seconds_played"] = f"{milliseconds}/1000"
    return mapping


def mapping_text(mapping: Mapping[str, str]) -> str:
    """A mapping as `--mapping` takes it."""
    return ", ".join(f"{field}={source}" for field, source in mapping.items())
