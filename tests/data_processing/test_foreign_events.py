"""Tables of events from elsewhere: recognised by their columns, mapped in words, read and refused row by row."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from data_home import make_platform
from event_lines import event

from ai_assets.data_processing import event_formats as formats
from ai_assets.data_processing.event_files import read_blocks, read_lines
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.event_inspection import inspect_events
from resources.platform import Platform

SPOTIFY = [
    {"endTime": "2026-05-01 10:03", "artistName": "Low", "trackName": "Sunflower", "msPlayed": 180_000},
    {"endTime": "2026-05-01 10:05", "artistName": "Low", "trackName": "Monkey", "msPlayed": 1_000},
]
EXTENDED = [
    {"ts": "2026-05-01T10:03:00Z", "username": "anna", "platform": "android", "ms_played": 180_000, "skipped": True,
     "master_metadata_track_name": "Sunflower", "master_metadata_album_artist_name": "Low"},
    {"ts": "2026-05-01T11:00:00Z", "username": "anna", "platform": "android", "ms_played": 9, "skipped": None,
     "master_metadata_track_name": None, "master_metadata_album_artist_name": None, "episode_name": "a podcast"},
]  # fmt: skip

SUNFLOWER = {"listener": "me", "track": "Low - Sunflower", "played_at": "2026-05-01T10:00:00+00:00"}

KNOWN: list[tuple[str, str, str, dict[str, Any]]] = [
    ("spotify", "StreamingHistory0.json", json.dumps(SPOTIFY, indent=1), {**SUNFLOWER, "seconds_played": 180.0}),
    ("spotify-extended", "Streaming_History_Audio_2026.json", json.dumps(EXTENDED),
     {**SUNFLOWER, "listener": "anna", "skipped": True, "device": "android"}),
    ("lastfm", "lastfm.csv", 'uts,utc_time,artist,artist_mbid,album,album_mbid,track,track_mbid\n'
     '1777629600,"01 May 2026, 10:00",Low,,,,Sunflower,m-1\n', {"track": "Low - Sunflower", "recording_mbid": "m-1"}),
    ("lastfm-plain", "anna.csv", 'Low,C\'mon,Sunflower,01 May 2026 10:00\n', SUNFLOWER),
    ("lastfmstats", "stats.csv", "Artist;Album;AlbumId;Track;Date#anna\nLow;x;;Sunflower;1777629600000\n",
     {"listener": "anna", "track": "Low - Sunflower", "played_at": 1777629600.0}),
    ("lastfm-1k", "userid-timestamp.tsv", "user_000001\t2026-05-01T10:00:00Z\ta-1\tLow\tm-1\tSunflower\n",
     {"listener": "user_000001", "track": "Low - Sunflower", "recording_mbid": "m-1"}),
    ("movielens", "ratings.csv", "userId,movieId,rating,timestamp\n7,296,5.0,1777629600\n",
     {"listener": "7", "track": "296", "liked": True, "played_at": "1777629600"}),
    ("movielens", "ratings.dat", "7::296::1::1777629600\n", {"listener": "7", "liked": False}),
    ("events", "plain.csv", "listener,track,played_at\nanna,Low - Sunflower,2026-05-01T10:00:00Z\n",
     {"listener": "anna"}),
    ("listenbrainz", "a.listens", json.dumps({"listened_at": 1777629600, "user_name": "rob", "track_metadata":
     {"artist_name": "Low", "track_name": "Sunflower"}}), {"listener": "rob", "track": "Low - Sunflower"}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "file", "text", "wanted"), KNOWN, ids=[f"{row[0]}-{row[1]}" for row in KNOWN])
def test_a_known_export_is_taken_as_it_is(
    platform: Platform, tmp_path: Path, name: str, file: str, text: str, wanted: dict[str, Any]
) -> None:
    path = tmp_path / file
    path.write_text(text)
    with path.open("rb") as opened:
        (lines, _, _), *_ = read_blocks(opened, str(path))
    record = lines[0].record
    assert record is not None and {key: record.get(key) for key in wanted} == wanted
    found = inspect_events(path)
    assert found.format == name and found.accepted >= 1 and not found.missing and found.command
    assert "--mapping" not in found.command
    inbox = EventInbox(platform)
    inbox.register(path)
    (reading,) = inbox.ingest("r")
    assert (reading.read, reading.accepted) == (found.rows, found.accepted)
    assert reading.quarantined == found.refused


def test_inspect_and_run_agree_row_by_row_and_name_the_same_places(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "Streaming_History_Audio_2026.json"
    path.write_text(json.dumps(EXTENDED))
    found = inspect_events(path)
    assert found.reasons["missing_field"]["examples"] == [
        {"source": f"{path}:2", "reason": "track is missing: expected a text"}
    ]
    inbox = EventInbox(platform)
    inbox.register(path)
    inbox.ingest("r")
    (row,) = platform.quarantine.rows("raw_events")
    assert (row["source"], row["reason"]) == (f"{path}:2", "track is missing: expected a text")
    inbox.register(path)
    (again,) = inbox.ingest("r2")
    assert (again.read, again.accepted, again.quarantined, again.duplicates) == (2, 0, 1, 1)


FOREIGN = "uid;song name;performer;when;ms played\n1;Sunflower;Low;2026-5-1;60000\n2;;Low;2026-05-01;5\n"
MAPPING = "listener=uid, track={performer} - {song name}, played_at=when, seconds_played=ms played/1000"


def test_an_unknown_table_gets_a_proposal_and_is_taken_with_it(platform: Platform, tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(FOREIGN.replace("when", "date"))
    found = inspect_events(path)
    assert found.format is None and found.mapping == {
        "listener": "uid", "track": "{performer} - {song name}", "played_at": "date", "seconds_played": "ms played/1000",
    }  # fmt: skip
    assert (found.rows, found.accepted, found.refused) == (2, 1, 1) and "--mapping" in str(found.command)
    inbox = EventInbox(platform)
    inbox.register(path)
    (refused,) = inbox.ingest("r1")
    assert refused.accepted == 0 and "inspect" in platform.quarantine.rows("raw_events")[0]["reason"]
    inbox.register(path, formats.mapping_text(found.mapping))
    (reading,) = inbox.ingest("r2")
    assert (reading.read, reading.accepted, reading.quarantined) == (2, 1, 1)
    frame = platform.lake.table("raw_events").frame()
    assert frame["track_reference"].tolist() == ["Low - Sunflower"] and frame["seconds_played"].tolist() == [60.0]
    assert [row["source"] for row in platform.quarantine.rows("raw_events")] == [f"{path}:3"]


def test_a_column_that_no_name_betrays_can_be_said(tmp_path: Path) -> None:
    path = tmp_path / "plays.csv"
    path.write_text(FOREIGN)
    assert inspect_events(path).missing == ["played_at"] and inspect_events(path).command is None
    found = inspect_events(path, "played_at=when")
    assert (found.accepted, found.missing) == (1, []) and "played_at=when" in str(found.command)
    constant = inspect_events(path, "played_at='2026-05-01', listener='anna'")
    assert constant.listeners == 1 and constant.accepted == 1


@pytest.mark.parametrize("wrong", ["listener", "listener=", "colour=x", "listener=a,,track=b", "=x"])
def test_a_mapping_that_is_none_says_what_was_expected(wrong: str) -> None:
    with pytest.raises(ValueError, match="mapping"):
        formats.parse_mapping(wrong)


def test_a_mapping_survives_being_written_and_read() -> None:
    parsed = formats.parse_mapping(MAPPING)
    assert parsed["track"] == "{performer} - {song name}" and parsed["seconds_played"] == "ms played/1000"
    assert formats.parse_mapping(formats.mapping_text(parsed)) == parsed
    assert formats.mapping_columns(parsed) == {"uid", "performer", "song name", "when", "ms played"}
    assert formats.parse_mapping("listener='a, b'") == {"listener": "'a, b'"}


def parquet(path: Path, rows: int) -> pd.DataFrame:
    times = pd.date_range("2026-05-01", periods=rows, freq="s", tz="UTC")
    frame = pd.DataFrame({"listener": "anna", "track": "a - b", "played_at": times, "seconds_played": 5.0})
    frame.loc[0, "seconds_played"] = float("nan")
    frame.loc[1, "track"] = None
    frame.to_parquet(path)
    return frame


def test_a_parquet_file_is_read_in_batches_each_row_once(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_assets.data_processing.event_parquet.BATCH_ROWS", 7)
    path = tmp_path / "plays.parquet"
    parquet(path, 40)
    inbox = EventInbox(platform)
    inbox.register(path)
    (reading,) = inbox.ingest("r")
    assert (reading.read, reading.accepted, reading.quarantined) == (40, 39, 1)
    assert [row["source"] for row in platform.quarantine.rows("raw_events")] == [f"{path}:2"]
    assert inbox.pending() == []
    parquet(path, 45)
    (again,) = inbox.ingest("r2")
    assert (again.read, again.accepted, again.quarantined, again.duplicates) == (45, 5, 1, 39)


@pytest.mark.parametrize(
    ("name", "data"), [("x.parquet", b"PAR1 nothing"), ("x.json", b'[{"listener": '), ("x.json", b"[1]")]
)
def test_a_broken_file_is_one_refused_row(platform: Platform, tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    inbox = EventInbox(platform)
    inbox.register(path)
    (reading,) = inbox.ingest("r")
    assert (reading.read, reading.quarantined) == (1, 1)


def test_a_big_csv_is_read_in_blocks_with_one_header(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_assets.data_processing.event_files.BLOCK_BYTES", 64)
    path = tmp_path / "plays.csv"
    rows = [f"anna,a - {number},2026-05-01T10:00:{number:02}Z" for number in range(30)]
    path.write_text("\n".join(["listener,track,played_at", *rows, ""]))
    inbox = EventInbox(platform)
    inbox.register(path)
    assert inbox.ingest("r")[0].accepted == 30
    assert sorted(platform.lake.table("raw_events").frame()["line"]) == list(range(2, 32))


def test_json_lines_keep_their_own_form_line_by_line() -> None:
    lines = list(read_lines("\n".join([event("1"), json.dumps(SPOTIFY[0]), "{}"]).encode(), name="x.jsonl"))
    assert [(line.record or {}).get("track") for line in lines] == ["Low - Sunflower", "Low - Sunflower", None]


def test_inspecting_stores_nothing(tmp_path: Path) -> None:
    platform = make_platform(tmp_path / "home")
    path = tmp_path / "plays.csv"
    path.write_text(FOREIGN)
    inspect_events(path, MAPPING)
    assert platform.quarantine.rows() == [] and not platform.lake.table("raw_events").exists


@pytest.mark.parametrize(
    ("text", "options", "status"),
    [
        ("listener,track,played_at\na,b,2026-05-01\n", [], 0),
        ("listener,track,played_at\na,b,2026-05-01\na,,2026-05-01\n", [], 3),
        ("weight\n1\n", [], 1),
        ("listener,track,played_at\na,b,2026-05-01\n", ["--mapping", "colour=x"], 2),
    ],
)
def test_the_command_answers_one_json_value_and_its_status_says_what_can_be_taken(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], text: str, options: list[str], status: int
) -> None:
    from ai_assets.cli import main

    path = tmp_path / "plays.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as left:
        main(["--home", str(tmp_path / "home"), "inspect", str(path), "--json", *options])
    printed = capfd.readouterr()
    assert left.value.code == status
    if status == 2:
        assert "colour" in printed.err and printed.out == ""
    else:
        answer = json.loads(printed.out)
        assert answer["rows"] == answer["accepted"] + answer["refused"] + answer["duplicates"]
        assert (answer["command"] is None) == (status == 1)
    assert not (tmp_path / "home").exists()


def test_a_mapping_without_a_file_is_wrong_usage(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from ai_assets.cli import main

    with pytest.raises(SystemExit) as left:
        main(["--home", str(tmp_path / "home"), "run", "--mapping", "listener=a"])
    assert left.value.code == 2 and "--events" in capfd.readouterr().err and not (tmp_path / "home").exists()


WINDOWS = "uid;song;performer;date\r\n1;J\xf3ga;Bj\xf6rk;1.5.2026 10:00\r\n2;\u0160koda;Die \xc4rzte;31.02.2026\r\n"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["bare", "with a byte order mark"])
def test_a_table_of_an_older_program_is_read_in_its_encoding(platform: Platform, tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "plays.csv"
    path.write_bytes(mark + WINDOWS.encode("cp1252"))
    found = inspect_events(path)
    assert found.columns == ["uid", "song", "performer", "date"] and (found.accepted, found.refused) == (1, 1)
    inbox = EventInbox(platform)
    inbox.register(path, formats.mapping_text(found.mapping))
    inbox.ingest("r")
    frame = platform.lake.table("raw_events").frame()
    assert frame["track_reference"].tolist() == ["Björk - Jóga"]
    assert str(frame["played_at"].iloc[0]).startswith("2026-05-01 10:00")


@pytest.mark.parametrize(("data", "note"), [(WINDOWS.encode("utf-16"), "UTF-16"), (b"", "empty"), (b"\n \n", "empty")])
def test_a_file_without_any_columns_is_called_what_it_is(tmp_path: Path, data: bytes, note: str) -> None:
    path = tmp_path / "plays.csv"
    path.write_bytes(data)
    found = inspect_events(path)
    assert note in found.note and found.columns == [] and found.command is None
    with path.open("rb") as file:
        lines = [line for block, _, _ in read_blocks(file, path.name) for line in block]
    assert all(line.record is None for line in lines)
    if note == "UTF-16":
        assert "UTF-8" in lines[0].reason


def test_a_small_parquet_file_of_huge_equal_texts_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "plays.parquet"
    long, usual = "x" * 60_000, "a - b"
    tracks = ["y" * 100_000, usual, None, *[long] * 600]
    pd.DataFrame({"listener": "anna", "track": tracks, "played_at": "2026-05-01T10:00:00Z"}).to_parquet(path)
    with path.open("rb") as file:
        blocks = list(read_blocks(file, path.name))
    lines = [line for block, _, _ in blocks for line in block]
    assert [line.number for line in lines] == list(range(1, 604)) and sum(taken for _, taken, _ in blocks) > 0
    assert lines[0].record is None and "100,024 characters" in lines[0].reason
    assert (lines[1].record or {})["track"] == usual and "track" not in (lines[2].record or {})
    assert len(blocks) > 1, "600 rows of 60,000 characters are more than a block"
    assert len({id((line.record or {})["track"]) for line in lines[3:]}) == 1, "equal texts are one object"
