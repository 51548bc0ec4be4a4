"""The public collections: 348 odd files without crash or hang, no false alarm on good ones."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from audio_makers import tone, write, write_m4a

from ai_assets.audio_analysis.decode import DecodeReport, decode_report
from ai_assets.data_processing.tags import Tags, read_tags
from resources.isolation import LimitedPool

SUFFIXES = (".wav", ".ogg", ".mp3", ".flac")


@pytest.fixture(scope="module")
def odd_reports(odd_audio: Path) -> dict[str, tuple[str, DecodeReport]]:
    with (odd_audio / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    paths = [str(odd_audio / row["path"]) for row in rows]
    reports = {}
    with LimitedPool(2, memory_bytes=512 << 20, cpu_seconds=10, wall_seconds=30) as pool:
        for row, outcome in zip(rows, pool.map(decode_report, paths), strict=True):
            assert outcome.status == "ok", (row["path"], outcome)
            assert outcome.peak_bytes < 512 << 20
            assert outcome.cpu_seconds < 5
            reports[row["path"]] = (row["kind"], outcome.value)
        assert pool.started_workers == 2
    return reports


def test_348_odd_files_give_348_reports_and_cost_no_worker(odd_reports: dict[str, tuple[str, DecodeReport]]) -> None:
    assert len(odd_reports) == 348
    for path, (_, report) in odd_reports.items():
        assert report.reason or report.status == "ok", path


def test_what_is_intact_is_read_and_what_is_damaged_is_found(
    odd_reports: dict[str, tuple[str, DecodeReport]],
) -> None:
    found = Counter((kind, report.status) for kind, report in odd_reports.values())
    assert found["intact", "ok"] == 2
    assert found["damaged", "partial"] == 6
    assert found["valid", "ok"] == 22 and found["valid", "refused"] == 0
    assert {report.status for kind, report in odd_reports.values() if kind in ("empty_file", "not_audio")} == {
        "refused"
    }


def test_nothing_outside_the_allow_list_reaches_a_decoder(odd_reports: dict[str, tuple[str, DecodeReport]]) -> None:
    unwanted = (
        ".ape",
        ".mpc",
        ".wv",
        ".tta",
        ".dsf",
        ".dff",
        ".wma",
        ".ofr",
        ".tak",
        ".shn",
        ".spx",
        ".aac",
        ".ac3",
        ".au",
    )
    for path, (_, report) in odd_reports.items():
        if path.endswith(unwanted):
            assert (report.status, report.decoder) == ("refused", None), path


@pytest.mark.parametrize(("folder", "least"), [("librosa_examples", 28), ("esc10", 400), ("philharmonia_notes", 500)])
def test_no_false_alarm_on_good_collections(public_data: Path, folder: str, least: int) -> None:
    paths = [path for path in sorted((public_data / folder).rglob("*")) if path.suffix.lower() in SUFFIXES]
    assert len(paths) >= least
    alarms = {path.name: report for path in paths if (report := decode_report(path)).status not in ("ok", "short")}
    assert not alarms


def test_tags_of_all_odd_files_are_clean_or_empty(odd_audio: Path) -> None:
    tags = {path.name: read_tags(path) for path in sorted(odd_audio.rglob("*")) if path.is_file()}
    assert sum(found != Tags() for found in tags.values()) > 50
    assert tags["silence-44-s.flac"].title == "Silence"
    assert tags["silence-44-s.flac"].artist == "piman"
    for found in tags.values():
        for text in (found.title, found.artist, found.album, found.genre):
            assert text is None or ((text.isprintable() or "\u200d" in text) and len(text) <= 500)


def test_files_with_overwritten_headers_cost_no_worker(tmp_path: Path) -> None:
    samples = tone(1.2)
    good = [write(tmp_path / f"a.{kind}", samples, kind=kind.upper()) for kind in ("wav", "flac", "mp3", "ogg", "aiff")]
    good += [write_m4a(tmp_path / f"{codec}.m4a", samples, codec=codec) for codec in ("aac", "alac")]
    rng = np.random.default_rng(0)
    paths = []
    for index in range(350):
        source = good[index % len(good)]
        data = bytearray(source.read_bytes())
        for _ in range(int(rng.integers(1, 12))):
            # The index of an MP4 lies at its end, all other headers at the start.
            place = int(rng.integers(400))
            data[-1 - place if source.suffix == ".m4a" else place] = int(rng.choice([0, 127, 128, 255]))
        path = tmp_path / f"{index}{source.suffix}"
        path.write_bytes(data)
        paths.append(str(path))
    with LimitedPool(2, memory_bytes=512 << 20, cpu_seconds=10, wall_seconds=30) as pool:
        outcomes = list(pool.map(decode_report, paths))
        assert pool.started_workers == 2
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert max(outcome.peak_bytes for outcome in outcomes) < 512 << 20
    assert len({outcome.value.status for outcome in outcomes}) >= 3, "the damage must be varied to mean anything"
