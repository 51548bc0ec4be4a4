"""Backup and restore: consistent, checked, safe over a newer lake, and nobody erased comes back."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from event_lines import event, raw_ids, write

from ai_assets.data_processing.erasure import forget_listener
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.home import prepare_home
from ai_assets.restoring import Restored, restore
from resources.backup import BackupRefused, back_up
from resources.lake.fence import Fenced
from resources.platform import Platform
from resources.pseudonyms import KeyChanged
from resources.settings import load_settings
from resources.vector_index.delta import DeltaStore


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = prepare_home(load_settings(home=tmp_path / "home"))
    write(platform, "a.jsonl", [event("1"), event("2", listener="bert")])
    EventInbox(platform).ingest("r1")
    platform.lake.replace("t", pa.table({"n": [1]}), platform.lake.attempt("r1"))
    platform.audit.append("test", "tester", {"n": 1})
    return platform


def brought_back(home: Path, folder: Path | None, **options: Any) -> Restored:
    return restore(load_settings(home=home), folder, actor="tester", **options)


def test_a_restored_home_holds_what_the_first_one_held_and_goes_on(platform: Platform, tmp_path: Path) -> None:
    made = back_up(platform, tmp_path / "backup")
    assert made.elsewhere == () and made.folder.stat().st_mode & 0o077 == 0
    brought_back(tmp_path / "other", made.folder)
    other = prepare_home(load_settings(home=tmp_path / "other"))
    assert raw_ids(other) == ["1", "2"] and other.lake.read("t")["n"].to_pylist() == [1]
    assert other.pseudonyms.of("anna") == platform.pseudonyms.of("anna")
    assert other.audit.verify().ok and EventInbox(other).pending() == []
    write(other, "b.jsonl", [event("3"), event("1")])
    EventInbox(other).ingest("r2")
    assert raw_ids(other) == ["1", "2", "3"]
    assert other.lake.replace("t", pa.table({"n": [2]}), other.lake.attempt("new run")).changed


def test_a_backup_made_while_events_are_written_is_whole(platform: Platform, tmp_path: Path) -> None:
    stop = threading.Event()

    def work() -> None:
        number = 10
        own = EventInbox(platform)
        while not stop.is_set():
            write(platform, f"{number}.jsonl", [event(str(number))])
            own.ingest(f"r{number}")
            platform.audit.append("test", "tester", {"n": number})
            number += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        back_up(platform, tmp_path / "backup")
    finally:
        stop.set()
        worker.join()
    brought_back(tmp_path / "other", tmp_path / "backup")
    other = prepare_home(load_settings(home=tmp_path / "other"))
    EventInbox(other).ingest("after")
    landed = {json.loads(path.read_text().splitlines()[0])["event_id"] for path in other.home.landing_events.iterdir()}
    assert set(raw_ids(other)) == landed | {"2"} and len(raw_ids(other)) == len(set(raw_ids(other)))
    assert other.audit.verify().ok


def test_an_older_database_over_a_newer_lake_fences_the_past_and_writes_on(platform: Platform, tmp_path: Path) -> None:
    back_up(platform, tmp_path / "backup")
    stranger = platform.lake.attempt("a run of the lost time")
    platform.lake.replace("t", pa.table({"n": [2]}), stranger)
    write(platform, "b.jsonl", [event("3")])
    EventInbox(platform).ingest("lost run")
    brought_back(platform.home.root, tmp_path / "backup", database_only=True)
    after = prepare_home(load_settings(home=platform.home.root))
    attempt = after.lake.attempt("another run with the same number")
    assert attempt.token > stranger.token and (attempt.token >> 48) > (stranger.token >> 48)
    assert after.lake.replace("t", pa.table({"n": [3]}), attempt).changed
    with pytest.raises(Fenced):
        after.lake.replace("t", pa.table({"n": [2]}), stranger)
    EventInbox(after).ingest("again")
    assert raw_ids(after) == ["1", "2", "3"], "events that the lake has already are not doubled"
    epoch = after.lake.attempt("x").token >> 48
    brought_back(platform.home.root, None, fences_only=True)
    assert (prepare_home(load_settings(home=platform.home.root)).lake.attempt("y").token >> 48) > epoch


def test_numbers_of_the_index_delta_begin_above_every_watermark(platform: Platform, tmp_path: Path) -> None:
    back_up(platform, tmp_path / "backup")
    generation = platform.home.indices / "content" / "gen-7"
    generation.mkdir(parents=True)
    (generation / "manifest.json").write_text(json.dumps({"watermark": 41}))
    brought_back(platform.home.root, tmp_path / "backup", database_only=True)
    store = DeltaStore(Platform(load_settings(home=platform.home.root)).database, "content", dim=2, model_version="m")
    assert store.upsert("t", np.array([1, 0], np.float32)) == 42


def test_who_was_erased_after_the_backup_is_erased_from_it_too(platform: Platform, tmp_path: Path) -> None:
    back_up(platform, tmp_path / "backup")
    pseudonym = platform.pseudonyms.of("anna")
    assert forget_listener(platform, "anna", actor="tester").clean
    done = brought_back(platform.home.root, tmp_path / "backup", replace=True)
    assert done.erased_again == 1 and done.replaced is not None and done.replaced.is_dir()
    after = prepare_home(load_settings(home=platform.home.root))
    assert raw_ids(after) == ["2"]
    assert pseudonym not in str(after.lake.read("raw_events").to_pylist())
    assert any(record["action"] == "forget" for record in after.audit.records())


def test_what_must_not_be_done_is_refused_and_changes_nothing(platform: Platform, tmp_path: Path) -> None:
    made = back_up(platform, tmp_path / "backup")
    with pytest.raises(BackupRefused, match="not empty"):
        back_up(platform, made.folder)
    with pytest.raises(BackupRefused, match="inside the home"):
        back_up(platform, platform.home.root / "backup")
    with pytest.raises(BackupRefused, match="--replace"):
        brought_back(platform.home.root, made.folder)
    with pytest.raises(BackupRefused, match="no finished backup"):
        brought_back(tmp_path / "other", tmp_path)
    file = next((made.folder / "lake" / "t").glob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BackupRefused, match="damaged"):
        brought_back(tmp_path / "other", made.folder)
    assert not (tmp_path / "other").exists() and raw_ids(platform) == ["1", "2"]


def test_a_backup_without_keys_needs_the_right_ones_from_elsewhere(platform: Platform, tmp_path: Path) -> None:
    made = back_up(platform, tmp_path / "backup", secrets=False)
    assert [path.name for path in (made.folder / "secrets").iterdir()] == ["listener_key.check"]
    with pytest.raises(BackupRefused, match="--secrets"):
        brought_back(tmp_path / "other", made.folder)
    assert not (tmp_path / "other").exists()
    brought_back(tmp_path / "other", made.folder, keys=platform.home.secrets)
    other = prepare_home(load_settings(home=tmp_path / "other"))
    assert other.pseudonyms.of("anna") == platform.pseudonyms.of("anna") and other.audit.verify().ok
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "listener_key").write_text("another key")
    with pytest.raises(KeyChanged):
        brought_back(tmp_path / "third", made.folder, keys=tmp_path / "wrong")
