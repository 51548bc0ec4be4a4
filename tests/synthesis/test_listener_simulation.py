"""Invented listening: the event files as a reader meets them, and that there is something in them to learn."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_home import END_DAY, Library, Listening

from ai_assets.synthesis.catalogue import plan_library
from ai_assets.synthesis.library import _compose, _truth
from ai_assets.synthesis.listeners import simulate_listening

FIELDS = {
    "event_id", "listener", "track", "played_at", "seconds_played", "position", "skipped", "liked", "source", "device",
    "list_id",
}  # fmt: skip
REQUIRED = {"event_id", "listener", "track", "played_at", "seconds_played", "skipped", "source"}


def _good_rows(folder: Path, planted: set[tuple[str, int]]) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(folder.glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if (path.name, number) not in planted:
                rows.append(json.loads(line) | {"file": path.name})
    return rows


@pytest.fixture(scope="module")
def rows(listening: Listening) -> list[dict[str, Any]]:
    return _good_rows(listening.events_dir, {(p.file, p.line) for p in listening.report.planted})


@pytest.fixture(scope="module")
def demo_tracks() -> list[dict[str, Any]]:
    """The truth of the demo library without its sound: composing is enough to know it."""
    plans = [p for p in plan_library("demo", 0) if p.odd is None]
    return [
        {"path": p.path, "title": p.tags.title, "artist": p.tags.artist, "seconds": p.seconds, "odd": None}
        | _truth(_compose(p))
        for p in plans
    ]


@pytest.fixture(scope="module")
def demo(demo_tracks: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    home = tmp_path_factory.mktemp("demo")
    report = simulate_listening(demo_tracks, home / "events", home / "truth", size="demo", seed=0, end_day=END_DAY)
    rows = _good_rows(home / "events", {(p.file, p.line) for p in report.planted})
    assert len(rows) == report.events
    number = {t["path"]: i for i, t in enumerate(demo_tracks)}
    number |= {f"{t['artist']} - {t['title']}": i for i, t in enumerate(demo_tracks)}
    return [row | {"number": number[row["track"]]} for row in rows]


def test_rows_have_the_documented_fields_and_types(rows: list[dict[str, Any]], library: Library) -> None:
    paths = {r["path"]: r for r in library.truth}
    names = {f"{r['artist']} - {r['title']}" for r in library.whole}
    for row in rows:
        assert set(row) - {"file"} >= REQUIRED and set(row) - {"file"} <= FIELDS
        assert row["track"] in names or paths[row["track"]]["odd"] is None
        assert row["source"] in ("search", "playlist", "recommendation")
        assert ("position" in row) == ("list_id" in row) == (row["source"] != "search")
        assert row.get("position", 1) >= 1 and row["seconds_played"] > 0
        assert isinstance(row["skipped"], bool) and isinstance(row.get("liked", True), bool)
        played = datetime.fromisoformat(row["played_at"])
        assert played.tzinfo == UTC and row["file"] == f"{played.date()}.jsonl"
    assert len({row["event_id"] for row in rows}) == len(rows)


def test_the_tiny_simulation_has_twenty_listeners_and_three_thousand_events(
    rows: list[dict[str, Any]], listening: Listening
) -> None:
    report = listening.report
    assert len({row["listener"] for row in rows}) == report.listeners == 20
    assert len(rows) == report.events and 2_900 <= len(rows) <= 3_200
    assert (report.first_day, report.last_day) == (END_DAY - timedelta(days=13), END_DAY)
    assert len(report.files) == 14
    named = sum(" - " in row["track"] for row in rows) / len(rows)
    assert 0.23 < named < 0.43


def test_nobody_hears_two_tracks_at_once(rows: list[dict[str, Any]]) -> None:
    until: dict[str, datetime] = {}
    for row in sorted(rows, key=lambda r: r["played_at"]):
        played = datetime.fromisoformat(row["played_at"])
        earlier = until.get(row["listener"])
        assert earlier is None or played >= earlier - timedelta(seconds=1), row
        until[row["listener"]] = played + timedelta(seconds=row["seconds_played"])


def test_the_same_arguments_give_the_same_bytes_and_touch_nothing(
    listening: Listening, library: Library, tmp_path: Path
) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in listening.events_dir.iterdir()}
    # without an end day the one of the first run is kept, so that tomorrow's second run changes nothing
    again = simulate_listening(library.truth, listening.events_dir, listening.truth_dir, size="tiny", seed=0)
    assert again.written == 0 and again.last_day == END_DAY
    assert {path.name: path.stat().st_mtime_ns for path in listening.events_dir.iterdir()} == before
    simulate_listening(library.truth, tmp_path / "e", tmp_path / "t", size="tiny", seed=0, end_day=END_DAY)
    for path in listening.events_dir.iterdir():
        assert (tmp_path / "e" / path.name).read_bytes() == path.read_bytes()
    other = simulate_listening(library.truth, tmp_path / "f", tmp_path / "u", size="tiny", seed=1, end_day=END_DAY)
    assert (tmp_path / "f" / other.files[0]).read_bytes() != (tmp_path / "e" / other.files[0]).read_bytes()


def test_the_last_day_is_yesterday_unless_told(library: Library, tmp_path: Path) -> None:
    days = {datetime.now(UTC).date() - timedelta(days=1)}
    report = simulate_listening(library.truth, tmp_path / "e", tmp_path / "t", size="tiny", seed=0)
    days.add(datetime.now(UTC).date() - timedelta(days=1))
    assert report.last_day in days


def test_the_planted_rows_are_where_the_report_says_and_as_bad_as_it_says(listening: Listening) -> None:
    lines = {p.kind: (listening.events_dir / p.file).read_text().splitlines() for p in listening.report.planted}
    row = {p.kind: lines[p.kind][p.line - 1] for p in listening.report.planted}
    assert set(row) == {"malformed", "unknown track", "negative seconds", "future", "duplicate event"}
    with pytest.raises(json.JSONDecodeError):
        json.loads(row["malformed"])
    assert json.loads(row["unknown track"])["track"] == "Nobody - Never Recorded"
    assert json.loads(row["negative seconds"])["seconds_played"] < 0
    assert datetime.fromisoformat(json.loads(row["future"])["played_at"]).date() > END_DAY + timedelta(days=3000)
    twins = [path.name for path in listening.events_dir.iterdir() if row["duplicate event"] in path.read_text()]
    assert len(twins) == 2


def test_the_truth_about_listeners_lies_apart_and_names_tastes_and_drift(listening: Listening) -> None:
    truth = [json.loads(line) for line in listening.report.truth_path.read_text().splitlines()]
    assert len(truth) == 20 and all(sum(t["styles"].values()) == pytest.approx(1, abs=0.01) for t in truth)
    drifting = [t for t in truth if t["drift_day"] is not None]
    assert 0 < len(drifting) < 20
    assert all(date.fromisoformat(t["first_day"]) <= date.fromisoformat(t["drift_day"]) <= END_DAY for t in drifting)
    assert not list(listening.events_dir.glob("*listeners*"))


def test_too_few_tracks_are_refused(library: Library, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="3 whole tracks"):
        simulate_listening(library.whole[:3], tmp_path, tmp_path, size="tiny")


def test_the_demo_has_fifty_thousand_events_of_three_hundred_listeners_over_sixty_days(
    demo: list[dict[str, Any]],
) -> None:
    assert len(demo) >= 50_000 and len({row["listener"] for row in demo}) == 300
    assert len({row["file"] for row in demo}) == 60
    assert 0.1 < np.mean([row["skipped"] for row in demo]) < 0.4
    assert 0.02 < np.mean([row.get("liked") is True for row in demo]) < 0.2
    assert any(row.get("liked") is False for row in demo)


def test_popularity_is_skewed_and_evenings_are_busier_than_nights(demo: list[dict[str, Any]]) -> None:
    plays = np.sort(np.bincount([row["number"] for row in demo]))[::-1]
    assert plays[: len(plays) // 10].sum() > 0.2 * plays.sum() and plays[0] > 3 * np.median(plays)
    hours = Counter(int(row["played_at"][11:13]) for row in demo)
    assert sum(hours[h] for h in range(18, 22)) > 3 * sum(hours[h] for h in range(1, 5))


def _split(demo: list[dict[str, Any]], tracks: int) -> tuple[np.ndarray, np.ndarray, dict[int, set[int]]]:
    """Counts before the last week, the same weighted by recency without skips, and new tracks of the last week."""
    listeners = {name: i for i, name in enumerate(sorted({row["listener"] for row in demo}))}
    cut = f"{END_DAY - timedelta(days=6)}"
    counts, recent = np.zeros((2, len(listeners), tracks))
    later: dict[int, set[int]] = defaultdict(set)
    for row in sorted(demo, key=lambda r: r["played_at"]):
        who, what = listeners[row["listener"]], row["number"]
        if row["played_at"] < cut:
            counts[who, what] += 1
            recent[who] *= 0.95
            recent[who, what] += not row["skipped"]
        elif counts[who, what] == 0:
            later[who].add(what)
    return counts, recent, later


def _recall(scores: np.ndarray, counts: np.ndarray, later: dict[int, set[int]]) -> float:
    masked = np.where(counts > 0, -np.inf, scores)
    hits = [len(set(np.argsort(-masked[who])[:10]) & new) / min(10, len(new)) for who, new in later.items()]
    return float(np.mean(hits))


def test_similar_tracks_of_the_recent_past_predict_later_discoveries_better_than_popularity(
    demo: list[dict[str, Any]], demo_tracks: list[dict[str, Any]]
) -> None:
    counts, recent, later = _split(demo, len(demo_tracks))
    seen = (counts > 0).astype(float)
    overlap = seen.T @ seen
    norm = np.sqrt(np.diag(overlap)) + 1e-9
    cosine = overlap / np.outer(norm, norm) - np.eye(len(norm))
    popularity = _recall(np.tile(seen.sum(0), (len(seen), 1)), counts, later)
    neighbours = _recall(seen @ cosine, counts, later)
    assert len(later) > 150
    assert neighbours > 1.4 * popularity
    # tastes drift: the recent past knows more than the whole past
    assert _recall(recent @ cosine, counts, later) > 1.1 * neighbours


def test_the_track_before_predicts_the_next_one(demo: list[dict[str, Any]], demo_tracks: list[dict[str, Any]]) -> None:
    count = len(demo_tracks)
    cut = f"{END_DAY - timedelta(days=6)}"
    follows, pairs, plays = np.zeros((count, count)), [], np.zeros(count)
    before: dict[str, tuple[datetime, int]] = {}
    for row in sorted(demo, key=lambda r: r["played_at"]):
        now, what = datetime.fromisoformat(row["played_at"]), row["number"]
        when, previous = before.get(row["listener"], (datetime.min.replace(tzinfo=UTC), -1))
        if now - when < timedelta(minutes=20):
            if row["played_at"] < cut:
                follows[previous, what] += 1
                plays[what] += 1
            else:
                pairs.append((previous, what))
        before[row["listener"]] = (now, what)
    popular = set(np.argsort(-plays)[:10])
    by_popularity = np.mean([what in popular for _, what in pairs])
    by_previous = np.mean([what in np.argsort(-follows[previous])[:10] for previous, what in pairs])
    assert by_previous > 2 * by_popularity
