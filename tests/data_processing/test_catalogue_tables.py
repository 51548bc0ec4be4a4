"""Files to tracks to catalogue: batches, identities, names, history, and files that vanish."""

from __future__ import annotations

import os
import random
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from ai_assets.data_processing import batches
from ai_assets.data_processing.batches import LANDING, AudioInbox
from ai_assets.data_processing.catalogue import HISTORY_COLUMNS, build_catalogue, damaged, extend_history
from ai_assets.data_processing.events import rebuild_day
from ai_assets.data_processing.identities import assign_identities, mint
from ai_assets.data_processing.interactions import daily_interactions
from ai_assets.data_processing.manifest import read_manifest
from ai_assets.data_processing.presence import Presence
from ai_assets.data_processing.schemas import TracksHistory
from ai_assets.data_processing.track_matching import TrackMatcher
from resources.platform import Platform
from resources.roots import StorageFault


def drop(platform: Platform, name: str, text: str = "x", *, age: float = 60) -> Path:
    path = platform.home.landing_audio / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    stamp = time.time() - age
    os.utime(path, (stamp, stamp))
    return path


def taken(platform: Platform, settle: float = 3) -> list[str]:
    inbox = AudioInbox(platform.database, platform.home.root)
    return inbox.freeze(LANDING, inbox.look(LANDING, settle_seconds=settle).ready)


def test_a_file_is_taken_once_and_again_only_when_it_changed(platform: Platform) -> None:
    path = drop(platform, "a.wav")
    drop(platform, "notes.txt")
    (key,) = taken(platform)
    inbox = AudioInbox(platform.database, platform.home.root)
    assert [row["path"] for row in inbox.files(key)] == ["a.wav"] and taken(platform) == []
    path.write_text("longer")
    os.utime(path, (1, 1))
    assert len(taken(platform)) == 1 and len(inbox.batches()) == 2


def test_a_content_that_comes_back_as_it_was_is_taken_again(platform: Platform) -> None:
    path, now = drop(platform, "a.wav"), time.time()
    first = path.stat()
    taken(platform)
    path.write_text("damaged")
    os.utime(path, (now - 50, now - 50))
    taken(platform)
    path.write_text("x")
    os.utime(path, ns=(first.st_atime_ns, first.st_mtime_ns))
    (key,) = taken(platform)
    inbox = AudioInbox(platform.database, platform.home.root)
    assert [row["mtime_ns"] for row in inbox.files(key)] == [first.st_mtime_ns]
    assert taken(platform) == [] and inbox.look(LANDING, settle_seconds=3).known == 1


def test_a_file_is_damaged_as_long_as_its_newest_content_is() -> None:
    def rows(*states: tuple[str, str]) -> pd.DataFrame:
        return pd.DataFrame([{"batch": b, "root": "r", "path": "a.wav", "status": s} for b, s in states])

    assert damaged(rows(("20260102T000000-b", "partial"), ("20260101T000000-a", "ok"))) == {("r", "a.wav")}
    assert damaged(rows(("20260102T000000-b", "ok"), ("20260101T000000-a", "refused"))) == set()


def test_a_half_written_file_waits_until_it_stands_still(platform: Platform) -> None:
    drop(platform, "a.wav", age=0)
    inbox = AudioInbox(platform.database, platform.home.root)
    assert [len(part) for part in (inbox.look(LANDING, settle_seconds=3).ready, inbox.look(LANDING, settle_seconds=3).waiting)] == [0, 1]  # fmt: skip
    assert len(inbox.look(LANDING, settle_seconds=0).ready) == 1


def test_a_file_from_the_future_is_not_kept_waiting_for_ever(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(platform, "a.wav", age=-86400)
    inbox = AudioInbox(platform.database, platform.home.root)
    assert len(inbox.look(LANDING, settle_seconds=3).waiting) == 1
    later = time.time() + 5
    monkeypatch.setattr(batches.time, "time", lambda: later)
    assert len(inbox.look(LANDING, settle_seconds=3).ready) == 1


def test_batches_are_bounded_and_a_second_taker_of_the_same_files_gets_none(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "BATCH_FILES", 2)
    for number in range(5):
        drop(platform, f"{number}.wav")
    inbox = AudioInbox(platform.database, platform.home.root)
    ready = inbox.look(LANDING, settle_seconds=0).ready
    keys = inbox.freeze(LANDING, ready)
    assert [len(inbox.files(key)) for key in keys] == [2, 2, 1]
    assert inbox.freeze(LANDING, ready) == []


def test_a_listed_file_that_is_gone_or_a_link_is_refused_and_the_others_described(platform: Platform) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        drop(platform, name, name)
    (key,) = taken(platform)
    (platform.home.landing_audio / "a.wav").unlink()
    (platform.home.landing_audio / "b.wav").unlink()
    (platform.home.landing_audio / "b.wav").symlink_to("/etc/passwd")
    files = AudioInbox(platform.database, platform.home.root).files(key)
    frame, refused = read_manifest({key: files}, platform.home.root)
    assert frame["path"].tolist() == ["c.wav"]
    assert {(item.path, item.code) for item in refused} == {("a.wav", "vanished"), ("b.wav", "path_refused")}
    platform.home.landing_audio.rename(platform.home.root / "away")
    with pytest.raises(StorageFault):
        read_manifest({key: files}, platform.home.root)


def look(platform: Platform, **options: Any) -> Any:
    return Presence(platform.database, platform.lake, platform.home.root).look(LANDING, **options)


def test_single_files_that_vanish_are_marked_and_come_back(platform: Platform) -> None:
    paths = [drop(platform, f"{n}.wav", "x" * (n + 1)) for n in range(10)]
    taken(platform)
    inbox = AudioInbox(platform.database, platform.home.root)
    before = paths[0].stat()
    paths[0].unlink()
    assert look(platform).gone == 1 and inbox.gone() == {(LANDING, "0.wav")}
    first = platform.lake.ledger.entry("landing_files").content_hash
    drop(platform, "0.wav", "x")
    os.utime(paths[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert look(platform).back == 1 and inbox.gone() == set()
    assert platform.lake.ledger.entry("landing_files").content_hash != first


def test_a_folder_that_lost_a_fifth_deletes_nothing_until_it_is_confirmed(platform: Platform) -> None:
    paths = [drop(platform, f"{n}.wav", "x" * (n + 1), age=100 + n) for n in range(20)]
    taken(platform)
    for path in paths[:5]:
        path.unlink()
    inbox = AudioInbox(platform.database, platform.home.root)
    found = look(platform)
    assert found.suspended and "5 of 20 files are gone from" in found.message and inbox.gone() == set()
    assert not look(platform, confirmed=True).suspended and len(inbox.gone()) == 5


def test_a_folder_that_is_away_deletes_nothing(platform: Platform) -> None:
    drop(platform, "a.wav")
    taken(platform)
    platform.home.landing_audio.rename(platform.home.root / "away")
    assert look(platform).suspended and AudioInbox(platform.database, platform.home.root).gone() == set()


def test_a_renamed_folder_is_no_vanished_folder(platform: Platform) -> None:
    for n in range(10):
        drop(platform, f"old/{n}.wav", "x" * (n + 1), age=100 + n)
    taken(platform)
    (platform.home.landing_audio / "old").rename(platform.home.landing_audio / "new")
    assert not look(platform).suspended
    assert len(AudioInbox(platform.database, platform.home.root).gone()) == 10 and len(taken(platform)) == 1


def files(*rows: dict[str, Any]) -> pd.DataFrame:
    base = {
        "batch": "b1",
        "root": LANDING,
        "mbid": None,
        "isrc": None,
        "title": None,
        "artist": None,
        "duration_seconds": 100.0,
    }
    return pd.DataFrame([{**base, "file_hash": row["path"], **row} for row in rows])


A, B, C = "a" * 64, "b" * 64, "c" * 64


def tracks_of(frame: pd.DataFrame) -> dict[str, tuple[str, str]]:
    return {row.path: (row.track, row.matched_by) for row in frame.itertuples()}


def test_files_join_a_track_by_audio_by_recording_id_and_by_fingerprint() -> None:
    frame = assign_identities(
        files({"path": "1", "audio_hash": A, "mbid": "m"}, {"path": "2", "audio_hash": A},
              {"path": "3", "audio_hash": B, "mbid": "m"}, {"path": "4", "audio_hash": C},
              {"path": "5", "audio_hash": "d" * 64, "duration_seconds": 50.0}),
        lambda _: [(B, C), (A, "d" * 64)],
    )  # fmt: skip
    assert tracks_of(frame) == {
        "1": (mint(A), "first"), "2": (mint(A), "audio_hash"), "3": (mint(A), "recording_id"),
        "4": (mint(A), "fingerprint"), "5": (mint("d" * 64), "first"),
    }  # fmt: skip


def test_a_file_that_fits_two_tracks_becomes_its_own() -> None:
    frame = assign_identities(
        files({"path": "1", "audio_hash": A, "mbid": "m"}, {"path": "2", "audio_hash": B, "isrc": "i"},
              {"path": "3", "audio_hash": C, "mbid": "m", "isrc": "i"}),
        lambda _: [(A, C), (B, C)],
    )  # fmt: skip
    assert tracks_of(frame)["3"] == (mint(C), "first")


def test_ids_are_the_same_in_any_order_and_stay_when_files_are_added() -> None:
    some = [{"path": str(n), "audio_hash": f"{n % 5:064x}", "batch": f"b{n // 10}"} for n in range(30)]
    first = assign_identities(files(*some), lambda _: [])
    shuffled = random.Random(1).sample(some, len(some))
    pd.testing.assert_frame_equal(assign_identities(files(*shuffled), lambda _: []), first)
    more = assign_identities(files(*some, {"path": "new", "audio_hash": A, "batch": "b9"}), lambda _: [])
    assert {k: v for k, v in tracks_of(more).items() if k != "new"} == tracks_of(first)


def test_a_track_is_found_by_every_name_and_not_by_an_ambiguous_one() -> None:
    rows = pd.DataFrame([
        {"track": "t1", "root": LANDING, "path": "x/a.wav", "title": "Sunflower", "artist": "Low", "mbid": "m-1",
         "file_hash": "f1", "audio_hash": A},
        {"track": "t2", "root": "/music", "path": "b.wav", "title": "Same", "artist": "Can", "mbid": None,
         "file_hash": "f2", "audio_hash": B},
        {"track": "t3", "root": "/music", "path": "c.wav", "title": "SAME", "artist": "can", "mbid": None,
         "file_hash": "f3", "audio_hash": C},
    ])  # fmt: skip
    matcher = TrackMatcher.of(rows, Path("/home"))
    for name in ("t1", "x/a.wav", "/home/landing/audio/x/a.wav", "f1", A, "Low - Sunflower", "ＬＯＷ –  sunflower "):
        assert matcher.find(name) == "t1", name
    assert matcher.find("/music/b.wav") == "t2" and matcher.find("Can - Same") is None and matcher.find("zzz") is None
    assert matcher.find("Can - Same", "M-1") == "t1" and matcher.find("f2", "unknown") == "t2"
    found = matcher.resolve(pd.Series(["t1", "zzz", "Can - Same"]), pd.Series([None, None, "m-1"]))
    assert found.tolist() == ["t1", None, "t1"]


EMPTY = {
    "identities": ["track", "root", "path", "batch", "audio_hash", "title", "artist"],
    "manifest": ["batch", "root", "path", "album", "genre", "year", "track_number"],
    "analysis": ["audio_hash", "duration_seconds", "tempo_bpm", "key", "loudness_lufs", "energy_index"],
    "classes": ["audio_hash", "genre"], "heard": ["track", "track_reference"],
}  # fmt: skip


def catalogue(gone: set[tuple[str, str]] | None = None, **tables: list[dict[str, Any]]) -> pd.DataFrame:
    frames = {name: pd.DataFrame(tables.get(name, []), columns=columns) for name, columns in EMPTY.items()}
    return build_catalogue(**frames, gone=gone or set())


def test_the_catalogue_prefers_tags_and_files_that_are_there() -> None:
    ids = [
        {"track": "t1", "root": "r", "path": p, "batch": b, "audio_hash": A}
        for p, b in (("1.wav", "b1"), ("2.wav", "b2"))
    ]
    manifest = [{"root": "r", "path": "2.wav", "genre": None}, {"root": "r", "path": "1.wav", "genre": "jazz"}]
    classes = [{"audio_hash": A, "genre": "rock"}]
    (row,) = catalogue(identities=ids, manifest=manifest, classes=classes).to_dict("records")
    assert (row["path"], row["genre"], row["genre_source"], row["files"]) == ("1.wav", "jazz", "tag", 2)
    assert (row["title"], row["artist"], row["deleted"]) == ("1", "Unknown artist", False)
    (row,) = catalogue({("r", "1.wav")}, identities=ids, manifest=manifest, classes=classes).to_dict("records")
    assert (row["path"], row["genre"], row["genre_source"], row["deleted"]) == ("2.wav", "rock", "classifier", False)
    both = {("r", "1.wav"), ("r", "2.wav")}
    assert catalogue(both, identities=ids, manifest=manifest)["deleted"].tolist() == [True]


def test_a_home_without_audio_has_a_catalogue_from_its_events() -> None:
    heard = [{"track": "e1", "track_reference": "Low - Sun - Flower"}, {"track": "e2", "track_reference": "x.mp3"}]
    frame = catalogue(heard=heard)
    assert frame[["artist", "title", "has_audio"]].values.tolist() == [
        ["Low", "Sun - Flower", False], ["Unknown artist", "x.mp3", False]]  # fmt: skip
    assert len(catalogue()) == 0


def test_history_opens_and_closes_rows_and_a_quiet_day_changes_nothing() -> None:
    def current(**changes: Any) -> pd.DataFrame:
        row = dict.fromkeys(HISTORY_COLUMNS) | {"track": "t", "title": "A", "artist": "x", "deleted": False}
        return pd.DataFrame([{**row, **changes}])

    history = pd.DataFrame(columns=list(TracksHistory.to_schema().columns))
    for day, title in enumerate(["A", "A", "B", "A"], 1):
        history = TracksHistory.validate(
            extend_history(history, current(title=title), datetime(2026, 1, day, tzinfo=UTC))
        )
    assert history["title"].tolist() == ["A", "B", "A"] and history["valid_to"].isna().tolist() == [False, False, True]
    assert [stamp.day for stamp in history["valid_from"]] == [1, 3, 4]
    closed = extend_history(history, current().iloc[:0], datetime(2026, 1, 9, tzinfo=UTC))
    assert closed["valid_to"].notna().all() and len(closed) == 3


def plays(*rows: tuple[str, str, float, float | None, bool | None, bool | None]) -> pd.DataFrame:
    columns = ["listener", "track", "minute", "seconds_played", "skipped", "liked"]
    frame = pd.DataFrame(rows, columns=columns)
    start = pd.Timestamp("2026-05-01", tz="UTC")
    frame["played_at"] = (start + pd.to_timedelta(frame["minute"], unit="min")).astype("datetime64[us, UTC]")
    frame["event_id"] = [str(n) for n in range(len(frame))]
    for name in ("skipped", "liked"):
        frame[name] = frame[name].astype("boolean")
    return frame.assign(day="2026-05-01")


def test_interactions_add_up_plays_skips_sessions_and_strength() -> None:
    frame = daily_interactions(plays(
        ("a", "t", 0, 30, None, None), ("a", "t", 20, 15, True, None), ("a", "t", 60, None, False, True),
        ("b", "t", 61, 30, False, False),
    ))  # fmt: skip
    one, two = frame.to_dict("records")
    assert (one["plays"], one["skips"], one["sessions"], one["liked"]) == (3, 1, 2, True)
    assert one["strength"] == pytest.approx(1 + 0.5 * 0.2 + 1.5) and one["seconds_played"] == 45
    assert two["strength"] == 0 and not two["liked"]


def test_a_day_is_a_pure_rebuild_in_any_order_of_its_rows() -> None:
    raw = pd.DataFrame({"file": "f", "line": np.arange(50), "event_id": [str(n % 40) for n in range(50)],
                        "listener": "l", "played_at": pd.Timestamp("2026-05-01", tz="UTC"), "track_reference": "x"})  # fmt: skip

    def resolve(rows: pd.DataFrame) -> pd.Series:
        return pd.Series(["t" if line % 2 else None for line in rows["line"]], index=rows.index, dtype=object)

    events, unknown = rebuild_day(raw, resolve)
    again, _ = rebuild_day(raw.sample(frac=1, random_state=1), resolve)
    pd.testing.assert_frame_equal(events, again)
    assert len(events) + len(unknown) == 40 and events["event_id"].is_unique


def test_a_fifth_of_a_folder_in_another_format_is_no_lost_fifth(platform: Platform) -> None:
    for n in range(10):
        drop(platform, f"{n}.mp3", "x" * (n + 1), age=100 + n)
    taken(platform)
    tracks = [{"root": LANDING, "path": f"{n}.{form}", "track": f"t{n}"} for n in range(10) for form in ("mp3", "flac")]
    for n in range(10):
        (platform.home.landing_audio / f"{n}.mp3").unlink()
    assert look(platform).suspended
    for n in range(10):
        drop(platform, f"{n}.flac", "y" * (n + 20), age=0)
    AudioInbox(platform.database, platform.home.root).look(LANDING, settle_seconds=0)
    presence = Presence(platform.database, platform.lake, platform.home.root)
    assert presence.unanalysed(LANDING), "new files may be the lost ones: nobody is alarmed yet"
    taken(platform, settle=0)
    for key in AudioInbox(platform.database, platform.home.root).batches():
        data = pa.table({"batch": [key], "status": ["ok"]})
        platform.lake.replace("audio_quality", data, platform.lake.attempt("r"), column="batch", key=key)
    assert not presence.unanalysed(LANDING) and look(platform).suspended
    platform.lake.replace("track_identities", pa.Table.from_pylist(tracks), platform.lake.attempt("r"))
    found = look(platform)
    assert not found.suspended and found.gone == 10, "each has another file that is there"


def test_at_every_moment_the_history_says_what_the_catalogue_said_then() -> None:
    rng = random.Random(7)
    history = pd.DataFrame(columns=list(TracksHistory.to_schema().columns))
    said: list[tuple[datetime, set[tuple[Any, ...]]]] = []
    for day in range(1, 29):
        rows = [
            dict.fromkeys(HISTORY_COLUMNS)
            | {"track": f"t{n}", "title": rng.choice("AB"), "artist": "x", "genre": rng.choice(["rock", None]),
               "deleted": rng.random() < 0.2}
            for n in range(6) if rng.random() < 0.9
        ]  # fmt: skip
        current = pd.DataFrame(rows, columns=HISTORY_COLUMNS)
        now = datetime(2026, 1, day, tzinfo=UTC)
        history = TracksHistory.validate(extend_history(history, current, now))
        pd.testing.assert_frame_equal(TracksHistory.validate(extend_history(history, current, now)), history)
        said.append((now, {tuple(row[name] for name in HISTORY_COLUMNS) for row in rows}))
    for now, expected in said:
        held = history[(history["valid_from"] <= now) & (history["valid_to"].isna() | (history["valid_to"] > now))]
        rows = held[HISTORY_COLUMNS].astype(object)
        assert {tuple(row) for row in rows.where(rows.notna(), None).itertuples(index=False)} == expected
        assert held["track"].is_unique
