"""The inventory: everything that came in is accounted for, and what is not is named."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
from event_lines import event, write

from ai_assets.data_processing import assets, checks
from ai_assets.data_processing.batches import LANDING, AudioInbox
from ai_assets.data_processing.erasure import forget_listener
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.inventory import count_all, event_counts, file_counts, inventory_frame
from ai_assets.home import open_instance, prepare_home
from ai_assets.partitions import EVENT_DAYS
from resources.lake.upkeep import rewrite
from resources.platform import Platform
from resources.quarantine import Rejected
from resources.settings import load_settings

INVENTORY = next(item for item in assets.ASSETS if item.key.path == ["inventory"])


@pytest.fixture
def home(tmp_path: Path) -> Iterator[tuple[Platform, dg.DagsterInstance]]:
    platform = prepare_home(load_settings(home=tmp_path / "home"))
    with open_instance(platform) as instance:
        yield platform, instance


def analysed(platform: Platform, *known: str, status: str = "ok") -> None:
    """Batch all files of the landing folder, with an analysis of those named."""
    inbox = AudioInbox(platform.database, platform.home.root)
    for batch in inbox.freeze(LANDING, inbox.look(LANDING, settle_seconds=0).ready):
        rows = {"batch": [batch] * len(known), "root": [LANDING] * len(known), "path": list(known)}
        data = pa.table({**rows, "status": [status] * len(known)})
        attempt = platform.lake.attempt("r")
        platform.lake.replace("audio_quality", data, attempt, column="batch", key=batch)


def drop(platform: Platform, *names: str) -> None:
    for name in names:
        (platform.home.landing_audio / name).write_text(name)


def test_a_file_that_was_analysed_refused_or_waits_is_accounted_for_and_a_lost_one_is_named(
    home: tuple[Platform, dg.DagsterInstance],
) -> None:
    platform, _ = home
    drop(platform, "good.wav", "refused.wav", "lost.wav")
    analysed(platform, "good.wav")
    refused = Rejected("audio_quality", f"{LANDING}/refused.wav", "no sound", "audio_refused")
    platform.quarantine.add([refused], "r")
    drop(platform, "waiting.wav")
    (count,) = file_counts(platform)
    assert (count.found, count.accepted, count.refused, count.waiting, count.missing) == (4, 1, 1, 1, 1)
    assert count.examples == ("lost.wav",) and not count.passed
    (platform.home.landing_audio / "lost.wav").unlink()
    assert file_counts(platform)[0].passed


def test_rows_read_are_accepted_quarantined_or_duplicates_and_a_lost_row_is_noticed(
    home: tuple[Platform, dg.DagsterInstance],
) -> None:
    platform, _ = home
    write(platform, "a.jsonl", [event("1"), event("2", listener="bert"), event("1"), "rubbish"])
    EventInbox(platform).ingest("r1")
    (count,) = event_counts(platform)
    assert (count.found, count.accepted, count.refused, count.duplicates, count.missing) == (4, 2, 1, 1, 0)
    forget_listener(platform, "anna", actor="tester")
    (count,) = event_counts(platform)
    assert count.passed and count.accepted == 1, "what was erased is not missed"
    raw = platform.lake.read("raw_events")
    rewrite(platform.lake, "raw_events", raw.slice(0, 0), "2026-05-01")
    (count,) = event_counts(platform)
    assert count.missing == 1 and "not in raw_events" in count.examples[0]
    verdict = checks.EVENTS_ACCOUNTED.function(inventory_frame([count]))
    assert checks.EVENTS_ACCOUNTED.blocking and not verdict.passed and "a.jsonl" in verdict.description


def test_a_partition_left_failed_turns_the_asset_red_until_it_is_made(
    home: tuple[Platform, dg.DagsterInstance],
) -> None:
    platform, instance = home
    fail = {"now": True}

    @dg.asset(name="interactions", partitions_def=EVENT_DAYS.definition)
    def broken() -> None:
        if fail["now"]:
            raise RuntimeError("as asked")

    def attempt() -> None:
        dg.materialize([broken], partition_key="2026-11-09", instance=instance, raise_on_error=False)

    attempt()
    (count,) = [item for item in count_all(platform, instance) if item.subject == "interactions"]
    assert count.examples == ("2026-11-09",) and count.missing == 1
    upstream = [dg.AssetSpec(name) for name in ("audio_quality", "raw_events")]
    result = dg.materialize(
        [INVENTORY, *upstream], selection=["inventory"], resources=platform.resources(), instance=instance,
        raise_on_error=False,
    )  # fmt: skip
    found = {item.check_name: item.passed for item in result.get_asset_check_evaluations()}
    assert not result.success and found["none_failed"] is False and found["files"] and found["events"]
    assert not platform.lake.table("inventory").exists
    fail["now"] = False
    attempt()
    assert all(item.passed for item in count_all(platform, instance) if item.subject == "interactions")
