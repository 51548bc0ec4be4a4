"""A batch's pass: nothing is computed twice, a new version computes its own family, tags are compared with the sound."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
import pytest
import soundfile

from ai_assets.audio_analysis import batch_pass, batch_tables, plots
from ai_assets.audio_analysis.batch_pass import Job, RecordCache, analyse_files, forecast
from ai_assets.audio_analysis.batch_tables import build_tables, family_versions
from resources.blobs import Blobs


def click_track(bpm: float, seconds: float = 12.0, rate: int = 22_050) -> np.ndarray:
    """A tone burst on every beat over a chord: a tempo nobody doubts."""
    time = np.arange(int(seconds * rate)) / rate
    sound = 0.05 * np.sin(2 * np.pi * 261.63 * time)
    period = 60.0 / bpm
    for beat in np.arange(0, seconds, period):
        start = int(beat * rate)
        length = min(int(0.05 * rate), len(sound) - start)
        sound[start : start + length] += 0.6 * np.sin(2 * np.pi * 900 * time[:length]) * np.exp(-40 * time[:length])
    return sound.astype(np.float32)


def job(path: Path) -> Job:
    return Job(str(path.parent), path.name, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.wav"
    soundfile.write(path, click_track(120), 22_050)
    return path


def run(path: Path, tmp_path: Path) -> dict:
    return analyse_files([job(path)], cache=tmp_path / "cache", blobs=Blobs(tmp_path / "blobs"), workers=1)[0]


def test_a_new_tempo_method_computes_tempo_alone_and_the_forecast_says_so(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(song, tmp_path)
    hashes = [job(song).file_hash]
    assert forecast(hashes, cache=tmp_path / "cache").files == 0
    newer = MappingProxyType({**batch_pass.FAMILIES, "rhythm": "next.1"})
    versions = family_versions("features"), family_versions("rhythm")
    monkeypatch.setattr(batch_pass, "FAMILIES", newer)
    monkeypatch.setattr(batch_tables, "FAMILIES", newer)
    assert family_versions("features") == versions[0]
    assert family_versions("rhythm") != versions[1]
    expected = forecast(hashes, cache=tmp_path / "cache", workers=1)
    assert (expected.files, expected.families) == (1, {"rhythm": 1})
    assert expected.seconds is not None
    assert expected.seconds > 0
    # What is not asked for again must come from the cache: planted values survive.
    cache = RecordCache(tmp_path / "cache" / "analysis")
    planted = cache.get(hashes[0])
    assert planted is not None
    planted["families"]["tonality"]["value"]["key"] = "planted"
    planted["families"]["rhythm"]["value"]["tempo_bpm"] = -1.0
    cache.put(hashes[0], planted)
    second = run(song, tmp_path)
    assert second["families"]["tonality"]["value"]["key"] == "planted"
    assert second["families"]["rhythm"]["value"]["tempo_bpm"] == first["families"]["rhythm"]["value"]["tempo_bpm"]
    assert second["families"]["rhythm"]["version"] == "next.1"
    assert second["anomalies"] == first["anomalies"]


def test_unchanged_content_is_never_computed_again_whatever_its_name(
    song: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(song, tmp_path)
    other = tmp_path / "renamed.wav"
    song.rename(other)

    def refuse(*_: object) -> None:
        raise AssertionError("a worker was started")

    monkeypatch.setattr(batch_pass, "LimitedPool", refuse)
    assert run(other, tmp_path) == first


def id3_with_tempo(claimed: str) -> bytes:
    """An ID3v2.4 tag that says nothing but a tempo."""
    body = b"\x03" + claimed.encode()
    frame = b"TBPM" + bytes([0, 0, 0, len(body), 0, 0]) + body
    return b"ID3\x04\x00\x00" + bytes([0, 0, 0, len(frame)]) + frame


@pytest.mark.parametrize(("claimed", "expected"), [("120", False), ("60", False), ("97", True), ("fast", False)])
def test_a_tempo_tag_that_the_sound_contradicts_is_a_finding(claimed: str, expected: bool, tmp_path: Path) -> None:
    path = tmp_path / "tagged.mp3"
    soundfile.write(path, click_track(120), 22_050, format="MP3")
    path.write_bytes(id3_with_tempo(claimed) + path.read_bytes())
    record = run(path, tmp_path)
    file = {"batch": "b", "root": "r", "path": path.name, "file_hash": job(path).file_hash}
    quality = build_tables(pd.DataFrame([file]), [record])["audio_quality"]
    kinds = [item["kind"] for item in json.loads(quality["findings"].iloc[0])]
    assert ("tag_tempo" in kinds) is expected
    assert kinds.count("tag_tempo") <= 1


def test_a_file_over_a_limit_is_read_when_the_limit_is_raised(song: Path, tmp_path: Path) -> None:
    def status(**limits: float) -> str:
        places = {"cache": tmp_path / "cache", "blobs": Blobs(tmp_path / "blobs")}
        return analyse_files([job(song)], **places, workers=1, limits=limits)[0]["report"]["status"]

    assert status(max_file_bytes=song.stat().st_size - 1) == "limit"
    assert status(max_seconds=5.0) == "limit"
    assert status() == "ok"


def test_a_batch_has_pictures_of_its_sound_and_an_empty_one_has_none(song: Path, tmp_path: Path) -> None:
    record = run(song, tmp_path)
    record["anomalies"] = [{"kind": "clipping", "severity": "warning", "time": 3.0}]
    files = pd.DataFrame([{"batch": "b", "root": "r", "path": song.name, "file_hash": "0" * 64}])
    tables = build_tables(files, [record])
    (blob,) = tables["log_mels"]["blob"]
    mel = np.load(Blobs(tmp_path / "blobs").path(blob), allow_pickle=False)
    unmarked = tables["audio_quality"].assign(findings="[]")
    marked, plain = plots.waveforms(tables["audio_quality"]), plots.waveforms(unmarked)
    pictures = [
        marked,
        plots.spectrograms({"a": mel}),
        plots.tempograms({"a": mel}),
        plots.chroma(tables["audio_features"]),
    ]
    assert all(picture is not None and picture.startswith(b"\x89PNG") for picture in pictures)
    assert marked != plain, "the finding is marked in the waveform"
    strength = plots.tempogram(mel)[:, 10:-10].mean(axis=1)
    tempi = np.linspace(30.0, 240.0, len(strength))
    assert strength[np.argmin(np.abs(tempi - 120))] > 2 * strength[np.argmin(np.abs(tempi - 95))]
    nothing = build_tables(files.head(0), [])
    assert plots.waveforms(nothing["audio_quality"]) is None and plots.chroma(nothing["audio_features"]) is None
    assert plots.spectrograms({}) is None and plots.tempograms({"short": mel[:20]}) is None
