"""Lets the invented listeners play the sample library: sessions, choices, skips, likes, and files of events.

Here belongs behaviour over time and the event files as players send them. Who the listeners are is drawn in
``tastes``. What a listener plays next depends on taste, the mood of the session and what was played just before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_assets.synthesis.audio_files import write_atomically
from ai_assets.synthesis.catalogue import Size
from ai_assets.synthesis.tastes import Listener, World, build_listeners, build_world

Floats = NDArray[np.float64]

#: size: (listeners, days, events at least)
_SIZES: dict[str, tuple[int, int, int]] = {"demo": (300, 60, 51_000), "tiny": (20, 14, 3_000)}
_WEEKDAY = (0.95, 0.9, 0.95, 1.0, 1.15, 1.25, 1.1)
#: mood of the hour: preferred energy (standardised) at night, in the morning, by day, in the evening
_HOUR_ENERGY = (-0.9,) * 6 + (0.2,) * 4 + (0.0,) * 7 + (0.6,) * 5 + (-0.3,) * 2


@dataclass(frozen=True)
class PlantedRow:
    """A bad row put in on purpose: file name, line counted from 1, kind, and what should become of it."""

    file: str
    line: int
    kind: str
    expected: str


@dataclass(frozen=True)
class SimulationReport:
    """What ``simulate_listening`` left behind; ``events`` counts good rows, without the planted ones. Synthetic."""

    size: str
    seed: int
    listeners: int
    events: int
    first_day: date
    last_day: date
    files: tuple[str, ...]
    written: int
    planted: tuple[PlantedRow, ...]
    truth_path: Path


@dataclass(frozen=True)
class _Session:
    listener: int
    day: int
    start: float
    length: int


def simulate_listening(
    truth_tracks: Sequence[Mapping[str, Any]], events_dir: Path, truth_dir: Path, *, size: Size = "demo",
    seed: int = 0, end_day: date | None = None,
) -> SimulationReport:  # fmt: skip
    """Simulate listening to the tracks of ``library.read_truth`` and write one JSON Lines file per UTC day.

    ``end_day`` is the last day with events; without it, the day of an earlier run of the same size and seed with this
    ``truth_dir`` is kept, else it is yesterday (UTC). Same arguments: same bytes, and files that are right already are
    not touched. The truth about the listeners goes to ``truth_dir/listeners.jsonl``.
    Raises ``ValueError`` for an unknown size or too few tracks.
    """
    if size not in _SIZES:
        raise ValueError(f"size is {size!r}; expected one of {', '.join(_SIZES)}")
    count, days, wanted = _SIZES[size]
    truth_path = truth_dir / "listeners.jsonl"
    last = end_day or _earlier_end(truth_path, size, seed) or datetime.now(UTC).date() - timedelta(days=1)
    first = last - timedelta(days=days - 1)
    world = build_world(truth_tracks, np.random.default_rng([seed, 4]))
    listeners = build_listeners(count, days, world, np.random.default_rng([seed, 5]))
    rng = np.random.default_rng([seed, 6])
    sessions = _sessions(listeners, days, wanted, first, rng)
    rows: list[list[dict[str, Any]]] = [[] for _ in range(days)]
    for day, event in _play_all(world, listeners, sessions, first, seed, rng):
        rows[day].append(event)
    files, planted = _with_planted_rows(rows, first)
    written = sum(write_atomically(events_dir / name, text.encode()) for name, text in files.items())
    truth = "".join(_truth_line(listener, size, seed, first, last) for listener in listeners)
    write_atomically(truth_path, truth.encode())
    return SimulationReport(
        size=size, seed=seed, listeners=count, events=sum(map(len, rows)), first_day=first, last_day=last,
        files=tuple(files), written=written, planted=planted, truth_path=truth_path,
    )  # fmt: skip


def _earlier_end(truth_path: Path, size: str, seed: int) -> date | None:
    """The last day of a simulation already there, so that a second run tomorrow changes nothing."""
    if not truth_path.is_file():
        return None
    with truth_path.open(encoding="utf-8") as file:
        head = json.loads(file.readline())
    return date.fromisoformat(head["last_day"]) if (head["size"], head["seed"]) == (size, seed) else None


def _sessions(
    listeners: list[Listener], days: int, wanted: int, first: date, rng: np.random.Generator
) -> list[_Session]:
    """Sessions in order of time per listener, with at least ``wanted`` plays together."""
    activity = np.array([listener.activity for listener in listeners])
    weekday = np.array([_WEEKDAY[(first + timedelta(days=d)).weekday()] for d in range(days)])
    lengths: list[int] = []
    total = 0
    while total < wanted:
        lengths.append(int(np.clip(rng.geometric(0.12) + 1, 2, 30)))
        total += lengths[-1]
    who = rng.choice(len(listeners), size=len(lengths), p=activity / activity.sum())
    # everyone is heard of: the first sessions go round
    who[: len(listeners)] = np.arange(len(listeners))
    when = rng.choice(days, size=len(lengths), p=weekday / weekday.sum())
    sessions = []
    for listener, day, length in zip(who.tolist(), when.tolist(), lengths, strict=True):
        hour = rng.choice(24, p=listeners[listener].hours)
        # a session lasts under 20 minutes: started before 23:20 it ends on its day
        start = min((hour + rng.random()) * 3600.0, 23.33 * 3600.0)
        sessions.append(_Session(listener, day, float(start), length))
    return sorted(sessions, key=lambda s: (s.listener, s.day, s.start))


def _play_all(
    world: World, listeners: list[Listener], sessions: list[_Session], first: date, seed: int, rng: np.random.Generator
) -> Iterator[tuple[int, dict[str, Any]]]:
    likeness = 7.0 * world.place @ world.place.T
    number = 0
    current, heard, judged, free_from = -1, np.zeros(0), set[int](), (0, 0.0)
    for session in sessions:
        if session.listener != current:
            current, heard, judged, free_from = session.listener, np.zeros(len(world.paths)), set(), (-1, 0.0)
        listener = listeners[session.listener]
        start = max(session.start, free_from[1] + 30.0) if free_from[0] == session.day else session.start
        clock = start
        for event, track, seconds in _session_plays(world, listener, session, likeness, heard, judged, rng):
            moment = datetime.combine(first + timedelta(days=session.day), time(), UTC) + timedelta(
                seconds=round(clock)
            )
            if clock >= 86_399:
                break
            digest = hashlib.blake2b(f"{seed}/{first}/{number}".encode(), digest_size=12).hexdigest()
            head = {
                "event_id": digest,
                "listener": listener.name,
                "track": track,
                "played_at": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
            }
            yield session.day, head | event
            number += 1
            clock += seconds + float(rng.exponential(4.0)) + 1.0
        free_from = (session.day, clock)


def _session_plays(
    world: World, listener: Listener, session: _Session, likeness: Floats, heard: Floats, judged: set[int],
    rng: np.random.Generator,
) -> Iterator[tuple[dict[str, Any], str, float]]:  # fmt: skip
    """The plays of one session; ``heard`` (counts) and ``judged`` (liked or disliked) of the listener are updated."""
    source = str(rng.choice(("search", "playlist", "recommendation"), p=(0.3, 0.35, 0.35)))
    by_name = rng.random() < 1 / 3
    device = listener.device if rng.random() < 0.8 else str(rng.choice(("phone", "web")))
    list_id = f"{source[:3]}-{rng.integers(1 << 40):010x}" if source != "search" else None
    hour = int(session.start // 3600)
    taste = listener.utility(session.day)
    fame = world.popularity * (1.3 if source == "recommendation" else 0.8)
    utility = taste + fame - 0.2 * (world.energy - _HOUR_ENERGY[hour]) ** 2
    position, previous = 0, -1
    played = np.zeros(len(world.paths), dtype=bool)
    seed_track = int(np.argmax(utility + rng.gumbel(size=utility.size)))
    mood = 0.5 * likeness[seed_track]
    spread = float(taste.std()) or 1.0
    for _ in range(session.length):
        wish = utility + mood + (0.5 * likeness[previous] if previous >= 0 else 0.0) - 1e6 * played
        # the more is known, the rarer a discovery
        again = rng.random() > (1.0 - listener.repeating) * float(np.mean(heard == 0)) ** 3
        open_tracks = ~played & ((heard > 0) == again)
        if open_tracks.any():
            wish = np.where(open_tracks, wish + (0.6 * np.log1p(heard) if again else 0.0), -1e9)
        track = int(np.argmax(wish + rng.gumbel(size=wish.size)))
        joy = float((taste[track] - taste.mean()) / spread)
        position += int(rng.geometric(0.65))
        event = _reaction(world, listener, track, joy, source, position, judged, rng)
        if device and rng.random() < 0.95:
            event["device"] = device
        if list_id is not None:
            event |= {"list_id": list_id, "position": position}
        heard[track] += 1
        played[track] = True
        # a skipped track does not lead the session on
        previous = previous if event["skipped"] else track
        yield event, world.names[track] if by_name else world.paths[track], float(event["seconds_played"])


def _reaction(
    world: World, listener: Listener, track: int, joy: float, source: str, position: int, judged: set[int],
    rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """How long a track is played, and whether it is liked; tracks far down a list are left sooner."""
    patience = 0.3 + 1.1 * joy - listener.impatience - (0.04 * min(position, 20) if source != "search" else -0.5)
    skipped = bool(rng.random() > 1.0 / (1.0 + np.exp(-patience)))
    length = float(world.seconds[track])
    seconds = min(rng.exponential(0.25 * length) + 0.5, 0.7 * length) if skipped else length
    event: dict[str, Any] = {"seconds_played": round(seconds, 1), "skipped": skipped, "source": source}
    if track not in judged:
        if not skipped and rng.random() < 0.05 + 0.08 * max(joy, 0.0):
            event["liked"] = True
        elif skipped and rng.random() < 0.04 + 0.05 * max(-joy, 0.0):
            event["liked"] = False
        if "liked" in event:
            judged.add(track)
    return event


def _with_planted_rows(rows: list[list[dict[str, Any]]], first: date) -> tuple[dict[str, str], tuple[PlantedRow, ...]]:
    """The text of each day's file, and the bad rows put at the ends of a few of them."""
    names = [f"{first + timedelta(days=day)}.jsonl" for day in range(len(rows))]
    lines = [[_json(row) for row in sorted(day, key=lambda r: (r["played_at"], r["event_id"]))] for day in rows]
    model = {
        k: v for k, v in next(row for day in rows for row in day).items() if k not in ("liked", "list_id", "position")
    }
    far = datetime.combine(first, time(12), UTC) + timedelta(days=3653)
    planted: list[PlantedRow] = []

    def plant(day: int, text: str, kind: str, expected: str) -> None:
        lines[day].append(text)
        planted.append(PlantedRow(names[day], len(lines[day]), kind, expected))

    noon = {day: f"{first + timedelta(days=day)}T12:00:00Z" for day in (2, 3, 4)}
    plant(
        2,
        _json(model | {"event_id": "planted-malformed", "played_at": noon[2]})[:-25],
        "malformed",
        "rejected: the line is no JSON",
    )
    plant(
        3, _json(model | {"event_id": "planted-unknown", "played_at": noon[3], "track": "Nobody - Never Recorded"}),
        "unknown track", "rejected, and tried again when audio arrives: no such track",
    )  # fmt: skip
    plant(
        4, _json(model | {"event_id": "planted-negative", "played_at": noon[4], "seconds_played": -12.5}),
        "negative seconds", "rejected: seconds_played is below 0",
    )  # fmt: skip
    plant(
        5, _json(model | {"event_id": "planted-future", "played_at": f"{far:%Y-%m-%dT%H:%M:%SZ}"}),
        "future", "rejected: played_at lies ten years ahead",
    )  # fmt: skip
    plant(7, lines[6][0], "duplicate event", f"counted once: line 1 of {names[6]} has the same event_id")
    return {name: "".join(f"{line}\n" for line in day) for name, day in zip(names, lines, strict=True)}, tuple(planted)


_FIELDS = (
    "event_id", "listener", "track", "played_at", "seconds_played", "position", "skipped", "liked", "source", "device",
    "list_id",
)  # fmt: skip


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps({field: row[field] for field in _FIELDS if field in row}, ensure_ascii=False)


def _truth_line(listener: Listener, size: str, seed: int, first: date, last: date) -> str:
    record = {
        "listener": listener.name, "size": size, "seed": seed, "first_day": str(first), "last_day": str(last),
        "styles": listener.early_styles, "styles_after_drift": listener.late_styles,
        "drift_day": None if listener.drift_day is None else str(first + timedelta(days=int(listener.drift_day))),
        "favourite_artists": listener.favourite_artists, "tempo_standardised": round(listener.preferred_tempo, 3),
        "energy_standardised": round(listener.preferred_energy, 3), "activity": round(listener.activity, 3),
        "repeating": round(listener.repeating, 3), "impatience": round(listener.impatience, 3),
        "device": listener.device,
    }  # fmt: skip
    return json.dumps(record, ensure_ascii=False) + "\n"
