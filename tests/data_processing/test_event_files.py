"""Lines of event files, in every state of repair."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_assets.data_processing.event_files import parse_time, read_lines
from ai_assets.data_processing.events import Place, Refused, check_event

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
GOOD = {"listener": "anna", "track": "a - b", "played_at": "2026-05-01T10:00:00Z"}


def checked(**changes: Any) -> dict[str, Any]:
    return check_event({**GOOD, **changes}, Place("f", 1), now=NOW, pseudonym=lambda raw: f"l{raw}")


def code_of(**changes: Any) -> str:
    with pytest.raises(Refused) as refused:
        checked(**changes)
    return refused.value.code


def test_a_bom_windows_line_ends_and_empty_lines_change_nothing() -> None:
    data = b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(GOOD).encode() + b"\r\n"
    lines = list(read_lines(data, name="x.jsonl"))
    assert [line.number for line in lines] == [1, 3]
    assert [line.record for line in lines] == [GOOD, GOOD]


@pytest.mark.parametrize("name", ["x.jsonl", "x.csv"])
def test_an_unfinished_last_line_is_left_until_the_file_is_final(name: str) -> None:
    whole = b'{"listener": "a"}\n' if name == "x.jsonl" else b"listener,track,played_at\na,b,1700000000\n"
    part = b'{"listener": {"x":1}' if name == "x.jsonl" else b"a,b,17000"
    before = list(read_lines(whole, name=name))
    assert list(read_lines(whole + part, name=name, final=False)) == before
    assert len(list(read_lines(whole + part, name=name, final=True))) == len(before) + 1


def test_a_whole_json_object_counts_without_its_line_break() -> None:
    assert [line.record for line in read_lines(json.dumps(GOOD).encode(), name="x.jsonl", final=False)] == [GOOD]


def test_a_line_of_a_megabyte_is_refused_by_size_and_the_next_is_read() -> None:
    lines = list(read_lines(b'{"track": "' + b"x" * 10**6 + b'"}\n' + json.dumps(GOOD).encode(), name="x.jsonl"))
    assert "at most 65,536" in lines[0].reason and lines[1].record == GOOD


def test_csv_rows_are_counted_as_lines_of_the_file_and_bad_ones_named() -> None:
    rows = [
        "listener,track,played_at,skipped",
        'anna,"Sigur, Ros - x",1700000000,',
        "",
        "only,two",
        "ben,c,1700000001,true",
    ]
    data = "\r\n".join([*rows, ""]).encode()
    lines = list(read_lines(data, name="EVENTS.CSV"))
    assert [line.number for line in lines] == [2, 4, 5]
    assert lines[0].record == {"listener": "anna", "track": "Sigur, Ros - x", "played_at": "1700000000"}
    assert lines[1].record is None and "2 cells under 4 headings" in lines[1].reason


def test_a_csv_without_the_needed_headings_says_which() -> None:
    (line,) = read_lines(b"user,track\na,b\n", name="x.csv")
    assert "listener, played_at" in line.reason


def test_a_listen_of_listenbrainz_becomes_an_event() -> None:
    listen = {
        "listened_at": 1700000000, "user_name": "rob",
        "track_metadata": {"artist_name": "Low", "track_name": "Sunflower",
                           "additional_info": {"recording_mbid": "m-1", "duration_ms": 279000},
                           "mbid_mapping": {"recording_mbid": "m-2"}},
    }  # fmt: skip
    (line,) = read_lines(json.dumps(listen).encode(), name="a.listens")
    assert line.record == {
        "listener": "rob", "track": "Low - Sunflower", "played_at": 1700000000, "recording_mbid": "m-1",
        "source": "listenbrainz", "seconds_played": 279.0,
    }  # fmt: skip


@pytest.mark.parametrize("odd", [None, 1, "x", [1], {"additional_info": 3, "mbid_mapping": ["m"]}])
def test_a_listen_of_odd_shape_is_one_incomplete_record_and_no_error(odd: Any) -> None:
    (line,) = read_lines(json.dumps({"track_metadata": odd, "listened_at": 1}).encode(), name="a.jsonl")
    assert line.record is not None and "track" not in line.record


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"played_at": "2026-06-01T12:06:00Z"}, "future"), ({"played_at": "1999-12-31T23:59:59Z"}, "too_old"),
        ({"played_at": None}, "bad_time"), ({"played_at": "yesterday"}, "bad_time"), ({"played_at": True}, "bad_time"),
        ({"played_at": float("nan")}, "bad_time"), ({"played_at": 1e300}, "bad_time"), ({"played_at": []}, "bad_time"),
        ({"played_at": "0001-01-01T00:00:00+23:00"}, "bad_time"), ({"played_at": -5}, "too_old"),
        ({"seconds_played": -1}, "bad_duration"), ({"seconds_played": 86401}, "bad_duration"),
        ({"seconds_played": "long"}, "bad_number"), ({"seconds_played": True}, "bad_number"),
        ({"seconds_played": 10**400}, "bad_number"), ({"seconds_played": float("inf")}, "bad_number"),
        ({"position": 0}, "bad_position"), ({"position": 1.5}, "bad_position"), ({"position": 1e30}, "bad_position"),
        ({"skipped": "perhaps"}, "bad_flag"), ({"listener": " "}, "missing_field"), ({"track": None}, "missing_field"),
        ({"track": ["a"]}, "missing_field"), ({"listener": "x" * 257}, "too_long"),
        ({"event_id": ""}, "missing_field"), ({"event_id": "x" * 257}, "too_long"),
        ({"listener": "\ud800"}, "bad_text"), ({"track": "a\udfff"}, "bad_text"), ({"device": "\ud801"}, "bad_text"),
        ({"event_id": "\ud800"}, "bad_text"), ({"track": "a\0b"}, "bad_text"),
    ],
)  # fmt: skip
def test_an_impossible_field_is_refused_with_a_stable_code(changes: dict[str, Any], code: str) -> None:
    assert code_of(**changes) == code


def test_ids_given_as_numbers_are_texts() -> None:
    assert checked(listener=17, event_id=5)["listener"] == "l17"
    assert checked(event_id=5)["event_id"] == "5"


def test_an_event_without_an_id_is_known_by_listener_track_and_time() -> None:
    one = checked(played_at="2026-05-01T10:00:00Z")["event_id"]
    assert one == checked(played_at="2026-05-01T12:00:00+02:00", seconds_played=3)["event_id"]
    assert one != checked(played_at="2026-05-01T10:00:01Z")["event_id"]
    assert one != checked(listener="ben")["event_id"]


def test_times_without_a_zone_are_utc_and_days_are_utc_days() -> None:
    assert parse_time("2026-05-01T10:00:00") == datetime(2026, 5, 1, 10, tzinfo=UTC)
    assert parse_time("1700000000.5") == parse_time(1700000000.5)
    assert checked(played_at="2026-05-01T23:30:00-02:00")["day"] == "2026-05-02"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["listener", "track", "played_at", "seconds_played", "position", "skipped", "liked", "event_id", "device"]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "track_metadata", "user_name"]), json_values))
def test_no_json_object_whatever_its_fields_is_worse_than_refused(record: dict[str, Any]) -> None:
    (line,) = read_lines(json.dumps(record).encode(), name="x.jsonl") if record else read_lines(b"{}", name="x.jsonl")
    assert line.record is not None
    try:
        row = check_event({**GOOD, **line.record}, Place("f", 1), now=NOW, pseudonym=lambda raw: raw)
    except Refused as error:
        assert str(error)
        return
    assert all(not isinstance(value, str) or value.encode() for value in row.values())


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_every_non_empty_line_of_any_bytes_is_read_or_refused(data: bytes) -> None:
    lines = list(read_lines(data, name="x.jsonl"))
    assert [line.number for line in lines] == [n for n, raw in enumerate(data.split(b"\n"), 1) if raw.strip()]
