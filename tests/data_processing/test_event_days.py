"""Events through the real assets: late events, unknown tracks, homes with and without audio."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pandas as pd
import pytest
from event_lines import event, write

from ai_assets.contract.validation import arrow_table
from ai_assets.data_processing import assets
from ai_assets.data_processing.batches import AudioInbox
from ai_assets.data_processing.schemas import TrackIdentities
from ai_assets.planning import Planner
from resources.platform import Platform

UPSTREAM = [dg.AssetSpec(name) for name in ("track_identities",)]


class Days:
    """Materializes raw events, and the days that want work."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self, name: str, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [assets.raw_events, assets.listening_events, assets.interactions, *UPSTREAM], selection=[name],
            resources=self.platform.resources(), instance=self.instance, **options,
        )  # fmt: skip

    def wanted(self) -> list[str]:
        return [item.key for item in Planner(self.platform).items() if item.asset == "listening_events"]

    def settle(self) -> list[str]:
        self.run("raw_events")
        days = self.wanted()
        for day in days:
            self.run("listening_events", partition_key=day)
        return days

    def events(self) -> pd.DataFrame:
        return self.platform.lake.table("listening_events").frame()


@pytest.fixture
def days(platform: Platform) -> Days:
    return Days(platform)


def catalogue(platform: Platform, run: str) -> str:
    """One known track, Low - Sunflower, in a home that has audio."""
    path = platform.home.landing_audio / "a.wav"
    path.write_text("x")
    inbox = AudioInbox(platform.database, platform.home.root)
    inbox.freeze("landing/audio", inbox.look("landing/audio", settle_seconds=0).ready)
    row = {"track": "t" + "a" * 20, "root": "landing/audio", "path": "a.wav", "batch": "b", "file_hash": "f",
           "audio_hash": "a" * 64, "mbid": None, "isrc": None, "title": "Sunflower", "artist": "Low", "matched_by": "first"}  # fmt: skip
    data = arrow_table(TrackIdentities.validate(pd.DataFrame([row])), TrackIdentities)
    platform.lake.replace("track_identities", data, platform.lake.attempt(run))
    return str(row["track"])


def test_late_events_rebuild_only_their_day(platform: Platform, days: Days) -> None:
    write(platform, "a.jsonl", [event("1", day=1), event("2", day=2)])
    assert days.settle() == ["2026-05-01", "2026-05-02"] and days.settle() == []
    write(platform, "late.jsonl", [event("3", day=1), event("2", day=2)])
    assert days.settle() == ["2026-05-01"]
    assert days.events()["event_id"].tolist() == ["1", "3", "2"]


def test_without_audio_events_name_their_tracks_themselves(platform: Platform, days: Days) -> None:
    write(platform, "a.jsonl", [event("1", track="Can – Vitamin C"), event("2", track="can - vitamin c")])
    days.settle()
    (track,) = set(days.events()["track"])
    assert track.startswith("e") and platform.quarantine.rows("listening_events") == []


def test_an_unknown_track_waits_in_quarantine_until_its_audio_arrives(platform: Platform, days: Days) -> None:
    platform.home.landing_audio.joinpath("other.wav").write_text("y")
    inbox = AudioInbox(platform.database, platform.home.root)
    inbox.freeze("landing/audio", inbox.look("landing/audio", settle_seconds=0).ready)
    write(platform, "a.jsonl", [event("1")])
    days.settle()
    (row,) = platform.quarantine.rows("listening_events")
    assert (row["source"], row["code"]) == ("landing/events/a.jsonl:1", "unknown_track") and days.events().empty
    assert days.wanted() == []
    track = catalogue(platform, "r2")
    assert days.settle() == ["2026-05-01"]
    assert days.events()["track"].tolist() == [track] and platform.quarantine.rows("listening_events") == []
    assert days.wanted() == []


def test_a_second_rebuild_of_a_day_makes_no_new_version(platform: Platform, days: Days) -> None:
    write(platform, "a.jsonl", [event("1"), event("2", listener="ben")])
    days.settle()
    version = platform.lake.versions("listening_events")[0].version
    days.run("listening_events", partition_key="2026-05-01")
    assert platform.lake.versions("listening_events")[0].version == version
    assert days.run("interactions", partition_key="2026-05-01").success
    assert platform.lake.read("interactions").num_rows == 2
