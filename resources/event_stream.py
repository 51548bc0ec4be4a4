"""The event stream: listening events one by one, durable when `append` returns, in the order of their sequence.

One interface, two engines: a table of the platform database (the default) and a Redis Stream with a consumer group
(`AI_ASSETS_REDIS_URL`). Listener ids become pseudonyms before anything is stored. What an event must look like and how
it gets into the lake is `ai_assets.data_processing`'s business; here records are mappings with known field names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, Protocol
from urllib.parse import urlsplit

import sqlalchemy as sa

from resources.database import METADATA, Database

Record = dict[str, Any]

EVENT_FIELDS = (
    "event_id", "listener", "track", "played_at", "seconds_played", "position", "skipped", "liked", "source", "device",
    "list_id", "recording_mbid",
)  # fmt: skip

PSEUDONYM = re.compile(r"l[0-9a-f]{24}")
MAX_RECORD_BYTES = 64 * 1024
RETAINED_SECONDS = 3600.0
"""How long a record stays readable after it was taken into the lake, for readers that start meanwhile."""

EVENT_STREAM = sa.Table(
    "event_stream",
    METADATA,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("listener", sa.String(32), nullable=True, index=True),
    sa.Column("record", sa.Text, nullable=False),
    sa.Column("appended_at", sa.Float, nullable=False),
    sa.Column("taken", sa.Boolean, nullable=False, index=True),
    # a number once given is never given again, also after the newest rows were erased
    sqlite_autoincrement=True,
)


class StreamUnavailable(Exception):
    """The stream's engine does not answer; nothing was lost, and what was not confirmed was not appended."""


class EventStream(Protocol):
    """What both engines do. Sequences are positive integers that only grow; they may have gaps."""

    def append(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Store records (all or none), raw listener ids replaced by pseudonyms and unknown fields left out.

        Returns the sequence of the last one (of the stream's last record when `records` is empty).

        Raises:
            ValueError: something is no mapping, no JSON or too large; names its place in the list.
            StreamUnavailable: the engine does not answer.
        """

    def read_after(self, sequence: int, limit: int = 1000) -> list[tuple[int, Record]]:
        """At most `limit` records behind `sequence`, oldest first; changes nothing."""

    def of_listener(self, pseudonym: str) -> list[Record]:
        """All records of one listener that are still held, oldest first."""

    def last(self) -> int:
        """Sequence of the newest record, 0 for none."""

    def waiting(self) -> int:
        """Records that are not in the lake yet (a bounded count: at least one where there is any)."""

    def pending(self, limit: int) -> list[tuple[int, Record | None]]:
        """The oldest records that were not acknowledged, those of a dead reader first; None = unreadable record.

        One reader at a time: the caller holds the lock of those who take records into the lake.
        """

    def acknowledge(self, sequences: Sequence[int]) -> None:
        """Say that records are committed. They stay readable for an hour."""

    def forget(self, pseudonym: str) -> int:
        """Erase a listener's records; returns how many there were."""


class DatabaseStream:
    """The engine in the platform database: every home has it."""

    def __init__(self, database: Database, pseudonym: Callable[[str], str]) -> None:
        self._database = database
        self._pseudonym = pseudonym

    def append(self, records: Sequence[Mapping[str, Any]]) -> int:
        now = time.time()
        rows = [
            {"listener": item.get("listener"), "record": text, "appended_at": now, "taken": False}
            for item, text in _prepared(records, self._pseudonym)
        ]
        if not rows:
            return self.last()
        # Numbers become visible in their order: SQLite has one writer anyway, PostgreSQL needs a lock for it.
        alone = nullcontext() if self._database.is_sqlite else self._database.lock("event-stream:append")
        with alone, self._database.begin() as connection:
            connection.execute(sa.insert(EVENT_STREAM), rows)
            return int(connection.execute(sa.select(sa.func.max(EVENT_STREAM.c.sequence))).scalar_one())

    def read_after(self, sequence: int, limit: int = 1000) -> list[tuple[int, Record]]:
        table = EVENT_STREAM.c
        found = self._read(table.sequence > sequence, limit)
        return [(number, record) for number, record in found if record is not None]

    def of_listener(self, pseudonym: str) -> list[Record]:
        found = self._read(EVENT_STREAM.c.listener == pseudonym, None)
        return [record for _, record in found if record is not None]

    def last(self) -> int:
        newest = sa.select(sa.func.coalesce(sa.func.max(EVENT_STREAM.c.sequence), 0).label("newest"))
        return int(self._database.query(newest)[0]["newest"])

    def waiting(self) -> int:
        (row,) = self._database.query(
            sa.select(sa.func.count().label("n")).select_from(EVENT_STREAM).where(~EVENT_STREAM.c.taken)
        )
        return int(row["n"])

    def pending(self, limit: int) -> list[tuple[int, Record | None]]:
        return self._read(~EVENT_STREAM.c.taken, limit)

    def _read(self, which: sa.ColumnElement[bool], limit: int | None) -> list[tuple[int, Record | None]]:
        table = EVENT_STREAM.c
        statement = sa.select(table.sequence, table.record).where(which).order_by(table.sequence).limit(limit)
        return [(int(row["sequence"]), _parsed(row["record"])) for row in self._database.query(statement)]

    def acknowledge(self, sequences: Sequence[int]) -> None:
        table = EVENT_STREAM.c
        with self._database.begin() as connection:
            for part in _parts(sequences, 500):
                connection.execute(sa.update(EVENT_STREAM).where(table.sequence.in_(part)).values(taken=True))
            old = sa.and_(table.taken, table.appended_at < time.time() - RETAINED_SECONDS)
            connection.execute(sa.delete(EVENT_STREAM).where(old))

    def forget(self, pseudonym: str) -> int:
        with self._database.begin() as connection:
            return connection.execute(sa.delete(EVENT_STREAM).where(EVENT_STREAM.c.listener == pseudonym)).rowcount


class RedisStream:
    """The engine in Redis Streams: for many writers, and for senders that write to Redis themselves.

    A sender's own entries may hold one field `record` (a JSON object) or the event's fields one by one. A sequence is
    Redis' own id: its milliseconds, then 20 bits of its counter.

    Args:
        name: of the platform; keys begin with it, so that platforms sharing a Redis never meet.
    """

    GROUP, READER, PAGE = "raw_events", "raw_events", 5_000

    def __init__(self, url: str, name: str, pseudonym: Callable[[str], str]) -> None:
        self._url = url
        self._pseudonym = pseudonym
        self.key = f"ai_assets:{name}:events"

    @cached_property
    def _redis(self) -> Any:
        import redis

        return redis.Redis.from_url(self._url, socket_timeout=10, socket_connect_timeout=3)

    @contextlib.contextmanager
    def _answering(self) -> Iterator[Any]:
        import redis

        try:
            yield self._redis
        except (redis.ConnectionError, redis.TimeoutError) as error:
            place = urlsplit(self._url)
            raise StreamUnavailable(
                f"Redis at {place.hostname}:{place.port or 6379} does not answer ({type(error).__name__}): "
                "start it, or set AI_ASSETS_REDIS_URL"
            ) from None

    def append(self, records: Sequence[Mapping[str, Any]]) -> int:
        prepared = _prepared(records, self._pseudonym)
        if not prepared:
            return self.last()
        with self._answering() as client, client.pipeline(transaction=True) as pipe:
            for _, text in prepared:
                pipe.xadd(self.key, {"record": text})
            return _sequence(pipe.execute()[-1])

    def read_after(self, sequence: int, limit: int = 1000) -> list[tuple[int, Record]]:
        with self._answering() as client:
            found = client.xrange(self.key, min=f"({_entry_id(sequence)}", count=limit)
        parsed = [(_sequence(entry), self._parsed(fields)) for entry, fields in found]
        return [(number, record) for number, record in parsed if record is not None]

    def of_listener(self, pseudonym: str) -> list[Record]:
        found: list[Record] = []
        start = 0
        while page := self.read_after(start, self.PAGE):
            start = page[-1][0]
            found += [record for _, record in page if record.get("listener") == pseudonym]
        return found

    def last(self) -> int:
        import redis

        with self._answering() as client:
            try:
                return _sequence(client.xinfo_stream(self.key)["last-generated-id"])
            except redis.ResponseError:  # nothing was ever appended
                return 0

    def waiting(self) -> int:
        self._make_group()
        with self._answering() as client:
            (group,) = (item for item in client.xinfo_groups(self.key) if item["name"] == self.GROUP.encode())
            lag = group.get("lag")
            if lag is None:  # Redis cannot tell after an erasure
                start = group["last-delivered-id"].decode()
                lag = len(client.xrange(self.key, min=f"({start}", count=self.PAGE))
            return int(group["pending"]) + int(lag)

    def pending(self, limit: int) -> list[tuple[int, Record | None]]:
        self._make_group()
        with self._answering() as client:
            found = self._delivered(client, "0", limit)
            if len(found) < limit:
                found += self._delivered(client, ">", limit - len(found))
            erased = [entry for entry, fields in found if not fields]
            if erased:
                client.xack(self.key, self.GROUP, *erased)
        return [(_sequence(entry), self._parsed(fields)) for entry, fields in found if fields]

    def _delivered(self, client: Any, start: str, limit: int) -> list[tuple[bytes, Any]]:
        answer = client.xreadgroup(self.GROUP, self.READER, {self.key: start}, count=limit)
        if isinstance(answer, dict):  # the newer protocol's form
            return [item for batch in answer.get(self.key.encode(), []) for item in batch]
        return list(answer[0][1]) if answer else []

    def acknowledge(self, sequences: Sequence[int]) -> None:
        with self._answering() as client:
            for part in _parts(sequences, 1000):
                client.xack(self.key, self.GROUP, *(_entry_id(number) for number in part))
            self._trim(client)

    def _trim(self, client: Any) -> None:
        """Drop what was taken more than an hour ago, never what was not."""
        (group,) = (item for item in client.xinfo_groups(self.key) if item["name"] == self.GROUP.encode())
        oldest = client.xpending(self.key, self.GROUP)["min"]
        bounds = [int((time.time() - RETAINED_SECONDS) * 1000) << 20, _sequence(group["last-delivered-id"])]
        bounds += [_sequence(oldest)] if oldest else []
        client.xtrim(self.key, minid=_entry_id(min(bounds)), approximate=True)

    def forget(self, pseudonym: str) -> int:
        found, start = 0, 0
        with self._answering() as client:
            while page := client.xrange(self.key, min=f"({_entry_id(start)}", count=self.PAGE):
                start = _sequence(page[-1][0])
                theirs = [entry for entry, fields in page if (self._parsed(fields) or {}).get("listener") == pseudonym]
                if theirs:
                    found += client.xdel(self.key, *theirs)
                    client.xack(self.key, self.GROUP, *theirs)
        return found

    def _make_group(self) -> None:
        import redis

        with self._answering() as client, contextlib.suppress(redis.ResponseError):  # it exists
            client.xgroup_create(self.key, self.GROUP, id="0", mkstream=True)

    def _parsed(self, fields: Mapping[bytes, bytes]) -> Record | None:
        try:
            if b"record" in fields:
                record = _parsed(fields[b"record"].decode())
            else:
                record = {name.decode(): value.decode() for name, value in fields.items()}
            return None if record is None else _known(record, self._pseudonym)
        except (UnicodeDecodeError, ValueError):
            return None


def make_stream(redis_url: str | None, database: Database, pseudonym: Callable[[str], str]) -> EventStream:
    """The configured engine of a platform."""
    if redis_url is None:
        return DatabaseStream(database, pseudonym)
    return RedisStream(redis_url, platform_name(database), pseudonym)


def platform_name(database: Database) -> str:
    """A name that all processes of one platform share and no other platform has."""
    if database.is_sqlite:
        text = database.url
    else:  # machines may know one server by several addresses
        query = sa.text("SELECT system_identifier || '/' || current_database() AS name FROM pg_control_system()")
        with database.engine.connect() as connection:
            text = str(connection.execute(query).scalar_one())
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _prepared(records: Sequence[Mapping[str, Any]], pseudonym: Callable[[str], str]) -> list[tuple[Record, str]]:
    """Records as they are stored, each with its JSON."""
    prepared = []
    for place, given in enumerate(records):
        if not isinstance(given, Mapping):
            raise ValueError(f"record {place}: expected an object, found a {type(given).__name__}")
        # a given id is raw whatever it looks like: here is the rim
        raw = given.get("listener")
        record = _known({**given, "listener": None}, pseudonym)
        if isinstance(raw, str | int) and not isinstance(raw, bool) and str(raw).strip():
            record["listener"] = pseudonym(str(raw).strip())
        try:
            text = json.dumps(record)
        except (TypeError, ValueError, RecursionError):
            raise ValueError(f"record {place}: holds values that are no JSON") from None
        if len(text) > MAX_RECORD_BYTES:
            raise ValueError(f"record {place}: {len(text):,} bytes; at most {MAX_RECORD_BYTES:,} are taken")
        prepared.append((record, text))
    return prepared


def _known(record: Mapping[str, Any], pseudonym: Callable[[str], str]) -> Record:
    """The known fields of a record, its listener as a pseudonym; a listener that is no text is left out."""
    kept = {name: record[name] for name in EVENT_FIELDS if record.get(name) is not None}
    listener = kept.pop("listener", None)
    if isinstance(listener, str | int) and not isinstance(listener, bool) and str(listener).strip():
        text = str(listener).strip()
        kept["listener"] = text if PSEUDONYM.fullmatch(text) else pseudonym(text)
    return kept


def _parsed(text: str) -> Record | None:
    if len(text) > MAX_RECORD_BYTES:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _sequence(entry: bytes | str) -> int:
    """`milliseconds-counter` as one number that orders the same."""
    text = entry.decode() if isinstance(entry, bytes) else entry
    milliseconds, counter = text.split("-")
    return int(milliseconds) << 20 | min(int(counter), 2**20 - 1)


def _entry_id(sequence: int) -> str:
    return f"{sequence >> 20}-{sequence & (2**20 - 1)}"


def _parts(sequences: Iterable[int], size: int) -> Iterator[list[int]]:
    ordered = list(sequences)
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]
