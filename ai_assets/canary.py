"""The canary: every hour a known piece and a known listener's play of it walk the whole way, and each part is timed.

landing (the file is in a batch) → analysis → catalogue → index, and beside it events (the play is in the tables); at
the end the answer. A part that no walk has reached for two periods is late and alerted, the first in the chain only.
The piece lies in a root of its own and stands in the catalogue as withdrawn: no answer, list, text or model knows it;
its play ends in `raw_events`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa

from ai_assets.data_processing.batches import AUDIO_FILES, CANARY, AudioInbox, root_folder
from ai_assets.data_processing.events import CANARY_SOURCE
from resources.alerts import Alert
from resources.database import METADATA, upsert
from resources.metrics import Reading
from resources.platform import Platform

PERIOD = timedelta(hours=1)
LATE = 2 * PERIOD
FILE = "canary.flac"
LISTENER = "canary"
RATE, SECONDS = 22_050, 15
PIECES = ("Canary in C major", "Canary in A minor")
CHORDS = (((261.6, 329.6, 392.0), (293.7, 349.2, 440.0)), ((220.0, 261.6, 329.6), (246.9, 293.7, 392.0)))

BEFORE: dict[str, tuple[str, ...]] = {
    "landing": (), "analysis": ("landing",), "catalogue": ("analysis",), "index": ("catalogue",), "events": (),
    "answer": ("index", "events"),
}  # fmt: skip
"""The parts of the way in their order, each with those that come right before it."""

CANARY_WALKS = sa.Table(
    "canary_walks",
    METADATA,
    sa.Column("started_at", sa.String(40), primary_key=True),
    sa.Column("part", sa.String(20), primary_key=True),
    sa.Column("piece", sa.Integer, nullable=False),
    sa.Column("mtime_ns", sa.BigInteger, nullable=False),
    sa.Column("reached_at", sa.String(40)),
)


class Canary:
    """The walks of one home."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._database = platform.database

    def start(self, now: datetime) -> None:
        """Drop the other piece than last time, send the play, and write down that a walk began."""
        walks = self._walks()
        piece = 1 - walks[0]["piece"] if walks else 0
        folder = root_folder(CANARY, self._platform.home.root)
        folder.mkdir(parents=True, exist_ok=True)
        AudioInbox(self._database, self._platform.home.root).register_canary()
        unfinished = folder / ".canary.part"
        unfinished.write_bytes(sound(piece))
        os.utime(unfinished, (now.timestamp(), now.timestamp()))
        unfinished.replace(folder / FILE)
        started = now.isoformat(timespec="microseconds")
        self._platform.event_stream.append([_play(now)])
        stamp = (folder / FILE).stat().st_mtime_ns
        rows = [{"started_at": started, "part": part, "piece": piece, "mtime_ns": stamp} for part in BEFORE]
        with self._database.begin() as connection:
            upsert(connection, CANARY_WALKS, rows, update={})
            old = (now - timedelta(days=7)).isoformat(timespec="microseconds")
            connection.execute(sa.delete(CANARY_WALKS).where(CANARY_WALKS.c.started_at < old))

    def follow(self, now: datetime) -> None:
        """Look which parts the newest walk has reached, and raise or resolve the alerts of the parts."""
        walks = self._walks()
        if not walks:
            return
        newest = [row for row in walks if row["started_at"] == walks[0]["started_at"]]
        there = {row["part"] for row in newest if row["reached_at"] is not None}
        for part, before in BEFORE.items():
            if part not in there and there.issuperset(before) and self._has_reached(part, newest[0]):
                there.add(part)
                self._note(walks[0]["started_at"], part, now)
        late = self.late(now)
        for part in BEFORE:
            if part in late:
                hours = late[part] / timedelta(hours=1)
                title = f"the canary has not come through {part} for {hours:.1f} hours"
                alert = Alert(f"canary:{part}", "canary_late", title, severity="critical")
                self._platform.alerts.raise_alert(alert, now=now)
            else:
                self._platform.alerts.resolve(f"canary:{part}", now=now)

    def late(self, now: datetime) -> dict[str, timedelta]:
        """Parts that stand still and how long, without those that only wait for a late one before them."""
        ages = {part: age for part, age in self.ages(now).items() if age > LATE}
        return {part: age for part, age in ages.items() if not _any_before(part, ages)}

    def ages(self, now: datetime) -> dict[str, timedelta]:
        """Per part the time since the start of the newest walk that reached it; none before the first walk."""
        walks = self._walks()
        if not walks:
            return {}
        ages = {}
        for part in BEFORE:
            reached = [row["started_at"] for row in walks if row["part"] == part and row["reached_at"] is not None]
            ages[part] = now - datetime.fromisoformat(max(reached) if reached else walks[-1]["started_at"])
        return ages

    def _walks(self) -> list[dict[str, Any]]:
        return self._database.query(sa.select(CANARY_WALKS).order_by(CANARY_WALKS.c.started_at.desc()))

    def _note(self, started: str, part: str, now: datetime) -> None:
        same = (CANARY_WALKS.c.started_at == started, CANARY_WALKS.c.part == part)
        reached = now.isoformat(timespec="microseconds")
        with self._database.begin() as connection:
            connection.execute(sa.update(CANARY_WALKS).where(*same).values(reached_at=reached))

    # -- what it means to have reached a part ------------------------------------------------------------------

    def _has_reached(self, part: str, walk: dict[str, Any]) -> bool:
        reached: dict[str, Callable[[dict[str, Any]], Any]] = {
            "landing": self._landing, "analysis": self._analysis, "catalogue": self._catalogue, "index": self._index,
            "events": self._events, "answer": self._answer,
        }  # fmt: skip
        return bool(reached[part](walk))

    def _landing(self, walk: dict[str, Any]) -> str | None:
        mine = (AUDIO_FILES.c.root == CANARY, AUDIO_FILES.c.mtime_ns == walk["mtime_ns"])
        rows = self._database.query(sa.select(AUDIO_FILES.c.batch).where(*mine))
        return next((str(row["batch"]) for row in rows if row["batch"] is not None), None)

    def _analysis(self, walk: dict[str, Any]) -> bool:
        batch = self._landing(walk) or ""
        ledger = self._platform.lake.ledger
        return ledger.entry("audio_quality", batch) is not None and ledger.entry("audio_features", batch) is not None

    def _catalogue(self, walk: dict[str, Any]) -> bool:
        analysed = self._written("audio_quality", self._landing(walk) or "")
        if not analysed <= self._written("track_identities") <= self._written("tracks"):
            return False
        return self._track(walk) is not None

    def _index(self, walk: dict[str, Any]) -> bool:
        return self._written("tracks") <= self._written("content_index")

    def _events(self, walk: dict[str, Any]) -> bool:
        day = walk["started_at"][:10]
        raw = self._platform.lake.table("raw_events", keys=[day], column="day")
        if not raw.exists or _event_id(walk["started_at"]) not in raw.arrow(["event_id"])["event_id"].to_pylist():
            return False
        return "" < self._written("raw_events", day) <= self._written("listening_events", day)

    def _answer(self, walk: dict[str, Any]) -> bool:
        """Lists for the listener and around the piece, made from a snapshot that knows it and never naming it."""
        from ai_assets.recommendation_update.answers import NothingToAnswer, snapshot_of
        from ai_assets.recommendation_update.histories import History
        from ai_assets.recommendation_update.query import recommend, similar

        try:
            snapshot = snapshot_of(self._platform)
        except NothingToAnswer:
            return False
        track = self._track(walk)
        places = np.flatnonzero(snapshot.catalogue["track"] == track)
        if not len(places):
            return False
        answers, _ = recommend(snapshot, History.of([]), 5)
        named = [answer.item for answer in answers]
        sources = snapshot.sources
        if sources.content is not None and sources.content[places[0]].any():
            near = [item for item, _ in similar(snapshot, int(places[0]), 5)]
            if not near:
                return False
            named += near
        return bool(answers) and all(snapshot.catalogue["root"][item] != CANARY for item in named)

    def _track(self, walk: dict[str, Any]) -> str | None:
        """The track of the walk's piece, when the catalogue says the right things about it."""
        table = self._platform.lake.table("tracks")
        if not table.exists:
            return None
        rows = table.arrow(["track", "root", "title", "duration_seconds", "deleted"]).to_pylist()
        for row in rows:
            right = row["root"] == CANARY and row["title"] == PIECES[walk["piece"]] and row["deleted"]
            if right and abs((row["duration_seconds"] or 0.0) - SECONDS) < 0.1:
                return str(row["track"])
        return None

    def _written(self, asset: str, partition: str = "") -> str:
        entry = self._platform.lake.ledger.entry(asset, partition)
        return entry.written_at if entry is not None else ""


def readings(platform: Platform, now: datetime | None = None) -> Iterable[Reading]:
    """Age of the newest walk that came through, for the exporter; nothing in a home without a canary."""
    if not platform.settings.canary:
        return
    ages = Canary(platform).ages(now or datetime.now(UTC))
    if ages:
        oldest = max(ages.values()).total_seconds()
        yield Reading(
            "canary_age_seconds", "Seconds since the start of the newest walk that came through.", {(): oldest}
        )
        parts = {(part,): age.total_seconds() for part, age in ages.items()}
        yield Reading("canary_part_age_seconds", "The same for each part of the way.", parts, ("part",))


def sound(piece: int) -> bytes:
    """The piece as a tagged FLAC file, the same bytes each time: an arpeggio of two chords over 15 s at 120 bpm."""
    from ai_assets.synthesis.audio_files import Tags, encode

    time = np.arange(RATE // 2) / RATE
    bars = []
    for beat in range(2 * SECONDS):
        chord = CHORDS[piece][(beat // 4) % 2]
        tone = chord[beat % 3] * (1 + (beat % 2))
        bars.append(np.sin(2 * np.pi * tone * time) * np.exp(-5 * time) + 0.4 * np.sin(np.pi * chord[0] * time))
    audio = (0.5 * np.concatenate(bars)).astype(np.float32)[:, None]
    return encode(audio, samplerate=RATE, extension="flac", tags=Tags(PIECES[piece], "Canary", "", "", "", ""))


def _play(now: datetime) -> dict[str, Any]:
    started = now.isoformat(timespec="microseconds")
    return {
        "event_id": _event_id(started), "listener": LISTENER, "track": f"{CANARY}/{FILE}", "played_at": started,
        "seconds_played": float(SECONDS), "source": CANARY_SOURCE,
    }  # fmt: skip


def _event_id(started: str) -> str:
    return f"{CANARY_SOURCE}:{started}"


def _any_before(part: str, late: Iterable[str]) -> bool:
    return any(one in late or _any_before(one, late) for one in BEFORE[part])
