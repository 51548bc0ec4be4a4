"""The canary: what a walk reaches, which part is late, and that nobody ever sees it."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest

from ai_assets.canary import BEFORE, FILE, LISTENER, PIECES, Canary, readings, sound
from ai_assets.data_processing.batches import CANARY, AudioInbox, without_canary
from ai_assets.data_processing.events import CANARY_SOURCE
from ai_assets.definitions import family_assets
from ai_assets.home import open_instance, prepare_home
from ai_assets.launch import Taken, audio_counts
from ai_assets.partitions import AUDIO_BATCHES
from ai_assets.recommendation_update.answers import alike, recommended, snapshot_of
from ai_assets.recommendation_update.current import streamed
from ai_assets.recommendation_update.histories import History
from ai_assets.synthesis.audio_files import Tags, encode
from resources.platform import Platform
from resources.settings import load_settings
from sensors.inputs import take_new_audio

HOUR = timedelta(hours=1)
START = datetime(2026, 11, 23, 10, tzinfo=UTC)


class Way(Canary):
    """A canary whose way is broken where a test says so."""

    broken: str | None = None

    def _has_reached(self, part: str, walk: dict) -> bool:
        return part != self.broken


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return prepare_home(load_settings(home=tmp_path, canary=True, settle_seconds=0))


def firing(platform: Platform) -> list[str]:
    return sorted(row["dedup_key"] for row in platform.alerts.list_alerts(state="firing"))


def walk(way: Canary, hours: int, first: int = 0) -> datetime:
    """Hourly walks, each looked at after five minutes; returns the time of the last look."""
    for hour in range(first, first + hours):
        way.start(START + hour * HOUR)
        way.follow(START + hour * HOUR + timedelta(minutes=5))
    return START + (first + hours - 1) * HOUR + timedelta(minutes=5)


def test_walks_that_come_through_alert_nothing_and_the_pieces_take_turns(platform: Platform) -> None:
    way, files = Way(platform), []
    for hour in range(4):
        now = walk(way, 1, first=hour)
        files.append((platform.home.root / CANARY / FILE).read_bytes())
        assert firing(platform) == [] and way.ages(now) == dict.fromkeys(BEFORE, timedelta(minutes=5))
    assert files[0] == files[2] == sound(0) and files[1] == files[3] == sound(1) and files[0] != files[1]
    shown = {reading.name: reading.values for reading in readings(platform, now)}
    assert shown["canary_age_seconds"] == {(): 300.0} and set(shown["canary_part_age_seconds"]) == {
        (p,) for p in BEFORE
    }


@pytest.mark.parametrize("part", list(BEFORE))
def test_a_part_that_stands_still_is_named_within_two_periods_and_resolved(platform: Platform, part: str) -> None:
    way = Way(platform)
    walk(way, 2)
    way.broken = part
    walk(way, 1, first=2)
    assert firing(platform) == []
    walk(way, 1, first=3)
    assert firing(platform) == [f"canary:{part}"]
    (alert,) = platform.alerts.list_alerts(state="firing")
    assert alert["code"] == "canary_late" and part in alert["title"]
    way.broken = None
    walk(way, 1, first=4)
    assert firing(platform) == []


def test_walks_that_no_longer_begin_are_late_too(platform: Platform) -> None:
    way = Way(platform)
    walk(way, 1)
    way.follow(START + timedelta(minutes=115))
    assert firing(platform) == []
    way.follow(START + timedelta(minutes=125))
    assert firing(platform) == ["canary:events", "canary:landing"]


def test_a_home_without_a_canary_shows_no_age(tmp_path: Path) -> None:
    home = prepare_home(load_settings(home=tmp_path))
    Canary(home).follow(START)
    assert list(readings(home)) == [] and firing(home) == []


def drop_tracks(platform: Platform) -> None:
    for number, pitch in enumerate((200, 300, 450)):
        time_axis = np.arange(22_050 * 4) / 22_050
        audio = np.sin(2 * np.pi * pitch * time_axis * (1 + time_axis / 8)).astype(np.float32)[:, None] * 0.5
        tags = Tags(f"Song {number}", f"Band {number}", "", "rock", "", "")
        path = platform.home.landing_audio / f"{number}.flac"
        path.write_bytes(encode(audio, samplerate=22_050, extension="flac", tags=tags))
        os.utime(path, (time.time() - 60, time.time() - 60))


def make(platform: Platform, instance: dg.DagsterInstance, *names: str, partition: str | None = None) -> None:
    resources = {**platform.resources(), "memory": dg.mem_io_manager}
    assets = [asset for asset in family_assets() if {key.path[-1] for key in asset.keys} & set(names)]
    others = [asset for asset in family_assets() if not {key.path[-1] for key in asset.keys} & set(names)]
    specs = [spec for asset in others for spec in asset.specs]
    dg.materialize(
        [*assets, *(dg.AssetSpec(spec.key, partitions_def=spec.partitions_def) for spec in specs)],
        instance=instance, resources=resources, partition_key=partition,
        selection=dg.AssetSelection.assets(*names),
    )  # fmt: skip


def test_the_whole_way_on_a_small_home_and_nobody_sees_it(platform: Platform) -> None:
    drop_tracks(platform)
    canary, began = Canary(platform), datetime.now(UTC)
    canary.start(began)
    with open_instance(platform) as instance:
        taken = take_new_audio(instance, platform)
        batches = [request.partition_key or "" for request in taken.run_requests or []]
        assert len(batches) == 2
        instance.add_dynamic_partitions(AUDIO_BATCHES.definition.name or "", batches)
        canary.follow(datetime.now(UTC))
        assert reached(canary) == {"landing"}
        audio = (
            "audio_manifest",
            "audio_quality",
            "audio_features",
            "audio_descriptors",
            "audio_fingerprints",
            "log_mels",
        )
        for batch in batches:
            make(platform, instance, *audio, partition=batch)
        canary.follow(datetime.now(UTC))
        assert reached(canary) == {"landing", "analysis"}
        assert [event.listener for event in streamed(platform)] == []
        make(platform, instance, "track_identities", "tracks")
        make(platform, instance, "raw_events")
        make(platform, instance, "listening_events", partition=f"{began:%Y-%m-%d}")
        make(platform, instance, "tracks", "content_index")
        canary.follow(datetime.now(UTC))
        assert reached(canary) == set(BEFORE)
    hidden_everywhere(platform)


def reached(canary: Canary) -> set[str]:
    return {row["part"] for row in canary._walks() if row["reached_at"] is not None}


def hidden_everywhere(platform: Platform) -> None:
    tracks = platform.lake.table("tracks").frame()
    (mine,) = tracks[tracks["root"] == CANARY].to_dict("records")
    assert mine["title"] == PIECES[0] and mine["deleted"] and tracks["deleted"].sum() == 1
    raw, people = platform.lake.table("raw_events").frame(), platform.lake.table("listening_events").frame()
    assert list(raw["source"]) == [CANARY_SOURCE] and raw["listener"][0] == platform.pseudonyms.of(LISTENER)
    assert len(people) == 0
    snapshot = snapshot_of(platform)
    answers = recommended(snapshot, History.of([]), 50, home=platform.home.root)["recommendations"]
    assert sorted(row["title"] for row in answers) == ["Song 0", "Song 1", "Song 2"]
    for other in ("Song 0", "Song 1"):
        near = alike(snapshot, f"Band {other[-1]} - {other}", 50, home=platform.home.root)["similar"]
        assert mine["track"] not in {row["track"] for row in near}
    manifest = platform.lake.table("audio_manifest").frame()
    assert len(without_canary(manifest)) == len(manifest) - 1 == 3
    counted = audio_counts(platform, Taken(3, 0, (), ("landing/audio",)))
    assert counted == {"files": 3, "accepted": 3, "refused": 0, "waiting": 0}
    assert AudioInbox(platform.database, platform.home.root).roots() == ["landing/audio", CANARY]
