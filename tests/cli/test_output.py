"""What people see of a value, and how much of a table stands on a terminal."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from ai_assets.cli.output import cell, emit_json, fitting, literal, rows_table


@pytest.mark.parametrize(
    ("value", "column", "shown"),
    [
        (None, "", "-"),
        (float("nan"), "", "-"),
        (True, "", "yes"),
        (1995, "year", "1995"),
        (1995, "plays", "1,995"),
        (0.50, "", "0.5"),
        ("2026-11-23T09:49:15.345000+00:00", "made", "2026-11-23 09:49"),
        ("2026-11-23T09:49:15Z", "made", "2026-11-23 09:49"),
        ("2026-11-23T09:49:15+02:00", "made", "2026-11-23T09:49:15+02:00"),
        ("a" * 64, "file_hash", "aaaaaaaaaaaa…"),
        ("a" * 63 + "z", "title", "a" * 63 + "z"),
    ],
)
def test_a_value_is_shown_as_people_read_it(value: object, column: str, shown: str) -> None:
    assert cell(value, column) == shown


def test_a_table_shows_the_columns_that_fit_and_never_none() -> None:
    rows = [{"a": "x" * 200, "b": "short", "c": "y" * 30, "d": 1}]
    assert fitting(rows, ["a", "b", "c", "d"], 40) == ["a", "b"]
    assert fitting(rows, ["a", "b", "c", "d"], 300) == ["a", "b", "c", "d"]
    assert fitting(rows, ["a", "b"], 10) == ["a"]
    assert fitting([], ["a", "b"], 80) == ["a", "b"]


def test_brackets_in_titles_and_bytes_that_are_no_text_are_shown_and_stop_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = "Song [remix] [/live] \udcff.wav"
    console = Console(width=120)
    console.print(rows_table("files [/x]", [{"file": name}]))
    console.print(f"[dim]{literal(name)}[/dim]")
    shown = capsys.readouterr().out
    assert shown.count("Song [remix] [/live] \\udcff.wav") == 2
    emit_json({"path": name})
    assert json.loads(capsys.readouterr().out.encode()) == {"path": name}
