"""Event files into `raw_events`: each event once, whatever happens to files and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from data_home import make_platform
from event_lines import event, lines_of, old, raw_ids, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.raw_store import Reading
from resources.platform import Platform
from resources.roots import StorageFault


def counts(reading: Reading) -> tuple[int, int, int, int]:
    return reading.read, reading.accepted, reading.quarantined, reading.duplicates


def held(platform: Platform) -> list[str]:
    return [row["source"] for row in platform.quarantine.rows("raw_events")]


def test_the_same_file_twice_and_a_copy_of_it_bring_only_duplicates(platform: Platform, inbox: EventInbox) -> None:
    path = write(platform, "a.jsonl", [event("1"), event("2"), "rubbish"])
    (first,) = inbox.ingest("r1")
    assert counts(first) == (3, 2, 1, 0)
    assert inbox.ingest("r2") == []
    inbox.register(path)
    (again,) = inbox.ingest("r3")
    assert counts(again) == (3, 0, 1, 2)
    write(platform, "copy.jsonl", [event("1"), event("2")])
    (copied,) = inbox.ingest("r4")
    assert counts(copied) == (2, 0, 0, 2)
    assert raw_ids(platform) == ["1", "2"]
    (row,) = platform.quarantine.rows("raw_events")
    assert row["attempts"] == 2 and row["source"] == "landing/events/a.jsonl:3" and "rubbish" not in str(row)


def test_event_ids_are_unique_over_all_files_and_all_days(platform: Platform, inbox: EventInbox) -> None:
    write(platform, "a.jsonl", [event("1", day=1), event("1", day=2)])
    write(platform, "b.jsonl", [event("1", day=3)])
    assert [counts(item) for item in inbox.ingest("r")] == [(2, 1, 0, 1), (1, 0, 0, 1)]
    assert raw_ids(platform) == ["1"]


def test_a_growing_file_is_read_from_where_it_was_left(platform: Platform, inbox: EventInbox) -> None:
    path = write(platform, "a.jsonl", [event("1")])
    inbox.ingest("r1")
    with path.open("a") as file:
        file.write(event("2") + "\n")
    (grown,) = inbox.ingest("r2")
    assert counts(grown) == (1, 1, 0, 0)
    assert lines_of(platform) == {"1": 1, "2": 2}


def test_a_line_still_being_written_waits_and_is_whole_in_the_end(platform: Platform, inbox: EventInbox) -> None:
    whole = event("2", extra={"x": {"y": 1}})
    path = write(platform, "a.jsonl", [event("1")], end="\n" + whole[:-1], settled=False)
    assert counts(inbox.ingest("r1")[0]) == (1, 1, 0, 0)
    assert held(platform) == []
    path.write_text(event("1") + "\n" + whole)
    assert counts(inbox.ingest("r2")[0]) == (1, 1, 0, 0)
    path.write_text(event("1") + "\n" + whole + "\n" + event("3") + "\n")
    assert counts(inbox.ingest("r3")[0]) == (1, 1, 0, 0)
    assert raw_ids(platform) == ["1", "2", "3"]


def test_a_csv_row_cut_in_its_last_cell_is_not_taken_for_whole(platform: Platform, inbox: EventInbox) -> None:
    text = "event_id,listener,track,played_at,seconds_played\n1,a,t,1700000000,100\n2,a,t,1700000100,12"
    path = platform.home.landing_events / "a.csv"
    path.write_text(text)
    assert counts(inbox.ingest("r1")[0]) == (1, 1, 0, 0)
    path.write_text(text + "3\n")
    assert counts(inbox.ingest("r2")[0]) == (1, 1, 0, 0)
    frame = platform.lake.table("raw_events").frame().set_index("event_id")
    assert frame.loc["2", "seconds_played"] == 123


def test_the_last_line_is_judged_once_the_file_stands_still(platform: Platform, inbox: EventInbox) -> None:
    path = write(platform, "a.jsonl", [event("1")], end="\n{half", settled=False)
    assert counts(inbox.ingest("r1")[0]) == (1, 1, 0, 0)
    assert inbox.pending() == []
    row = path.stat()
    os.utime(path, ns=(row.st_atime_ns, row.st_mtime_ns))
    old(path)
    assert inbox.pending() and counts(inbox.ingest("r2")[0]) == (1, 0, 1, 0)
    assert inbox.pending() == [] and inbox.pending_digest() == ""


def test_a_file_that_settles_unchanged_becomes_pending_for_its_last_line(
    platform: Platform, inbox: EventInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(platform, "a.jsonl", [event("1")], end="\n{half", settled=False)
    inbox.ingest("r1")
    assert inbox.pending() == []
    monkeypatch.setattr("ai_assets.data_processing.event_inbox.SETTLE_SECONDS", 0.0)
    assert inbox.pending() and counts(inbox.ingest("r2")[0]) == (1, 0, 1, 0)


def test_a_file_given_by_name_is_read_to_its_last_byte(platform: Platform, inbox: EventInbox, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(event("1") + "\nrubbish")
    source = inbox.register(path)
    (reading,) = inbox.ingest("r")
    assert counts(reading) == (2, 1, 1, 0) and reading.source == source == str(path)
    assert inbox.reports(["r"]) == [reading]


def test_a_repaired_line_leaves_quarantine_and_its_neighbours_stay_single(
    platform: Platform, inbox: EventInbox
) -> None:
    path = write(platform, "a.jsonl", [event("1"), "broken", "hopeless", event("3")])
    inbox.ingest("r1")
    assert held(platform) == ["landing/events/a.jsonl:2", "landing/events/a.jsonl:3"]
    path.write_text("\n".join([event("1"), event("2"), "hopeless", event("3")]) + "\n")
    (reading,) = inbox.ingest("r2")
    assert counts(reading) == (4, 1, 1, 2)
    (row,) = platform.quarantine.rows("raw_events")
    assert row["source"] == "landing/events/a.jsonl:3" and row["attempts"] == 2
    path.write_text(event("1") + "\n")
    inbox.ingest("r3")
    assert held(platform) == []
    assert raw_ids(platform) == ["1", "2", "3"]


def test_an_event_from_the_future_is_taken_once_it_lies_in_the_past(
    platform: Platform, inbox: EventInbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ahead.jsonl"
    path.write_text(
        json.dumps({"event_id": "1", "listener": "a", "track": "t", "played_at": time.time() + 3600}) + "\n"
    )
    inbox.register(path)
    assert counts(inbox.ingest("r1")[0]) == (1, 0, 1, 0)
    from datetime import timedelta

    monkeypatch.setattr("ai_assets.data_processing.events.FUTURE", timedelta(days=1))
    inbox.register(path)
    assert counts(inbox.ingest("r2")[0]) == (1, 1, 0, 0)
    assert raw_ids(platform) == ["1"] and held(platform) == []


def test_a_binary_file_called_jsonl_fails_no_other(platform: Platform, inbox: EventInbox) -> None:
    (platform.home.landing_events / "a.jsonl").write_bytes(os.urandom(5000) + b"\n\xff\xfe\x00")
    old(platform.home.landing_events / "a.jsonl")
    write(platform, "b.jsonl", [event("1", listener=42)])
    first, second = inbox.ingest("r")
    assert first.read == first.quarantined > 0 and counts(second) == (1, 1, 0, 0)


def test_listener_ids_never_reach_the_lake(platform: Platform, inbox: EventInbox) -> None:
    write(platform, "a.jsonl", [event("1", listener="anna.secret@example.org"), event("2", listener=4711)])
    inbox.ingest("r")
    frame = platform.lake.table("raw_events").frame()
    assert set(frame["listener"]) == {platform.pseudonyms.of("anna.secret@example.org"), platform.pseudonyms.of("4711")}
    assert not any(b"anna.secret" in file.read_bytes() for file in platform.home.root.rglob("*.*") if file.is_file()
                   and "landing" not in file.parts)  # fmt: skip


def test_a_file_the_storage_withholds_does_not_keep_back_the_others(
    platform: Platform, inbox: EventInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(platform, "a.jsonl", [event("1")])
    write(platform, "b.jsonl", [event("2")])
    real = inbox.open_source

    def fail(source: str) -> Any:
        if source.endswith("a.jsonl"):
            raise StorageFault(13, "Permission denied", source)
        return real(source)

    monkeypatch.setattr(inbox, "open_source", fail)
    with pytest.raises(StorageFault):
        inbox.ingest("r")
    assert raw_ids(platform) == ["2"]
    monkeypatch.undo()
    inbox.ingest("r2")
    assert raw_ids(platform) == ["1", "2"]


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from data_home import inbox_of
from ai_assets.data_processing import event_inbox
inbox = inbox_of(Path(sys.argv[1]))
real = inbox._store._append
def append_and_die(*args):
    real(*args)
    os.kill(os.getpid(), 9)
inbox._store._append = append_and_die
inbox.ingest("r1")
"""


def test_a_kill_between_append_and_the_note_of_it_doubles_and_loses_nothing(
    platform: Platform, inbox: EventInbox
) -> None:
    write(platform, "a.jsonl", [event("1"), "broken", event("2"), event("1")])
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(platform.home.root), here], check=False)
    assert done.returncode == -9
    assert raw_ids(platform) == ["1", "2"] and held(platform) == ["landing/events/a.jsonl:2"]
    (reading,) = inbox.ingest("r2")
    assert counts(reading) == (4, 2, 1, 1)
    assert raw_ids(platform) == ["1", "2"]
    assert platform.lake.table("raw_events").arrow().num_rows == 2
    assert inbox.pending() == []


pieces = st.lists(st.sampled_from(["good", "same", "broken", "", "future", "odd", "unicode"]), max_size=8)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces, pieces, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_whatever_a_file_holds_and_becomes_its_lines_add_up(
    before: Sequence[str], after: Sequence[str], ending: str, edit: bool
) -> None:

    with tempfile.TemporaryDirectory() as folder:
        platform = make_platform(Path(folder))
        inbox = EventInbox(platform)
        made = {
            "good": lambda n: event(f"g{n}"), "same": lambda _n: event("same"), "broken": lambda n: f"{{broken {n}",
            "": lambda _n: "  ", "future": lambda n: event(f"f{n}", played_at="2999-01-01"),
            "odd": lambda n: event(f"o{n}", seconds_played=-3),
            "unicode": lambda n: event(f"u{n}", track="é – \U0001f3b5"),
        }  # fmt: skip
        first = [made[kind](n) for n, kind in enumerate(before)]
        more = [made[kind](n + (0 if edit else 100)) for n, kind in enumerate(after)]
        path = platform.home.landing_events / "x.jsonl"
        texts = [first, more if edit else first + more]
        for run, text in enumerate(texts):
            path.write_bytes(ending.join([*text, ""]).encode())
            os.utime(path, ns=(run * 10**9, run * 10**9))
            for reading in inbox.ingest(f"r{run}"):
                assert reading.read == reading.accepted + reading.quarantined + reading.duplicates
        wrong = ("broken", "2999", "-3")
        bad = [n for n, line in enumerate(texts[1], 1) if any(word in line for word in wrong)]
        assert sorted(held(platform)) == sorted(f"landing/events/x.jsonl:{n}" for n in bad)
        lines = {line for text in texts for line in text if line.strip() and not any(word in line for word in wrong)}
        good = {json.loads(line)["event_id"] for line in lines}
        assert raw_ids(platform) == sorted(good)
