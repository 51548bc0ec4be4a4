"""PUT of a track with its audio: heard in a process apart, found at once, kept for the tables under the same track."""

from __future__ import annotations

import hashlib
import io
import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from serving_home import TOKEN, Reply, Server, copy_of, serving

from ai_assets.audio_analysis.entered import hear
from ai_assets.audio_analysis.track_embedder import fit
from ai_assets.data_processing.external_tracks import ExternalTracks
from ai_assets.data_processing.identities import assign_identities, mint
from ai_assets.recommendation_update.serving_folder import write_generation
from resources.platform import Platform
from resources.settings import Settings

RATE = 22_050


def song(pitch: float, kind: str = "FLAC") -> bytes:
    """Three seconds of a tone with its overtones."""
    at = np.arange(3 * RATE) / RATE
    sound = sum(np.sin(2 * np.pi * pitch * part * at) / part for part in (1, 2, 3)) * np.exp(-at)
    file = io.BytesIO()
    soundfile.write(file, (9_000 * sound).astype(np.int16), RATE, format=kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def heard_home(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose champion embedder was fitted on four songs that its catalogue holds by content."""
    home = copy_of(template, tmp_path_factory.mktemp("heard"))
    platform = Platform(Settings(home=home))
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((30, 518))
    embedder, _ = fit(rows, None, dim=8)
    folder = home.parent / "embedder"
    embedder.save(folder)
    version = platform.registry.log_model("track_embedder", folder)
    platform.registry.promote("track_embedder", version.version, "test")
    catalogue = pd.DataFrame({
        "track": [f"k{place}" for place in range(30)], "title": [f"Known {place}" for place in range(30)],
        "artist": "Known", "album": None, "genre": None, "root": "landing/audio", "path": None,
        "duration_seconds": 3.0, "deleted": False, "has_audio": True, "plays": 1,
    })  # fmt: skip
    facts: dict[str, Any] = {"embedding": version.label, "models": {}, "delta_sequence": 0, "external_sequence": -1}
    write_generation(platform.home.indices / "serving", catalogue, {"content": embedder.embed(rows)}, ranker=None,
                     facts=facts)  # fmt: skip
    return home


@pytest.fixture(scope="module")
def listening(heard_home: Path) -> Any:
    with serving(heard_home) as running:
        yield running


def send(server: Server, address: str, body: bytes, kind: str = "audio/flac") -> Reply:
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": kind}
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{address}", body, headers, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return Reply(answer.status, answer.read(), dict(answer.headers))
    except urllib.error.HTTPError as error:
        return Reply(error.code, error.read(), dict(error.headers))


def kept(home: Path) -> set[str]:
    return {path.name for path in (home / "landing" / "audio").rglob("*") if path.is_file()}


def test_a_sent_file_is_kept_and_found_and_the_tables_keep_its_track(listening: Server, heard_home: Path) -> None:
    low, near, far = song(220.0), song(221.0, "WAV"), song(1760.0)
    first = send(listening, "/tracks/low?title=Low&artist=Band", low)
    assert first.status == 201 and first.json["embedding"] == "track_embedder/1"
    others = [send(listening, f"/tracks/{name}?title={name}", body, "audio/x-wav").json["track"]
              for name, body in (("near", near), ("far", far))]  # fmt: skip
    found = listening.similar("Band - Low", 30)
    assert set(others) <= set(found) and found.index(others[0]) < found.index(others[1])
    digest = hashlib.sha256(low).hexdigest()
    assert (
        f"{digest}.flac" in kept(heard_home)
        and (heard_home / f"landing/audio/entered/{digest}.flac").read_bytes() == low
    )
    # what the tables will make of it, from the file alone and from the row
    alone = hear({"root": str(heard_home / "landing/audio"), "path": f"entered/{digest}.flac", "embedder": None})
    assert first.json["track"] == mint(alone["audio_hash"])
    rows = ExternalTracks(Platform(Settings(home=heard_home)).database).after()
    entered = {row.file_hash: row.track for row in rows if row.file_hash}
    file = {"batch": "b", "root": "landing/audio", "path": "x", "mbid": None, "isrc": None, "title": None,
            "artist": None, "duration_seconds": 3.0, "file_hash": digest, "audio_hash": "f" * 64}  # fmt: skip
    assert assign_identities(pd.DataFrame([file]), lambda _: [], entered)["track"].tolist() == [first.json["track"]]
    again = send(listening, "/tracks/low", low)
    assert (again.status, again.json["track"]) == (200, first.json["track"])
    assert listening.ask("DELETE", "/tracks/low").status == 204
    assert first.json["track"] not in listening.similar("near", 30)


def test_a_file_under_a_landing_root_is_named(listening: Server, heard_home: Path) -> None:
    (heard_home / "landing" / "audio" / "dropped.wav").write_bytes(song(330.0, "WAV"))
    for number, named in enumerate(
        ("dropped.wav", "landing/audio/dropped.wav", f"{heard_home}/landing/audio/dropped.wav")
    ):
        reply = listening.ask("PUT", "/tracks/dropped", {"audio": named, "title": "Dropped"})
        assert reply.status == (200 if number else 201), reply.body
    assert listening.ask("GET", "/similar/dropped").json["track"] == reply.json["track"]


@pytest.mark.parametrize("named", ["../secrets/api-token", "/etc/passwd", "absent.wav"])
def test_nothing_outside_the_roots_is_opened(named: str, listening: Server) -> None:
    reply = listening.ask("PUT", "/tracks/outside", {"audio": named})
    assert reply.status == 422 and reply.json["faults"][0]["field"] == "audio"


def test_what_is_no_audio_leaves_nothing(listening: Server, heard_home: Path) -> None:
    before = kept(heard_home)
    for body in (b"", b"no audio at all" * 100, bytes(11_000_000), song(440.0)[:2000]):
        reply = send(listening, "/tracks/bad", body)
        assert reply.status == 422 and reply.json["faults"][0]["field"] == "audio", reply.body
    assert kept(heard_home) == before and listening.ask("GET", "/similar/bad").status == 404


def test_a_known_sound_is_no_second_track(listening: Server) -> None:
    one = send(listening, "/tracks/one", song(550.0)).json["track"]
    other = send(listening, "/tracks/two", song(550.0, "WAV"))
    assert (other.status, other.json["track"]) == (200, one)  # the same samples in another container
    assert listening.ask("GET", "/similar/two").json["track"] == one
    clash = send(listening, "/tracks/k3", song(550.0))
    assert clash.status == 422 and clash.json["faults"][0]["field"] == "id"


def test_hearing_brings_no_library_of_audio_into_the_answering_process(listening: Server) -> None:
    send(listening, "/tracks/light", song(660.0))
    maps = Path(f"/proc/{listening.process.pid}/maps").read_text()
    assert not [name for name in ("libtorch", "librosa", "sklearn", "libsndfile", "dagster") if name in maps]


def test_the_documentation_shows_both_ways(listening: Server) -> None:
    route = json.loads(listening.ask("GET", "/openapi.json").body)["paths"]["/tracks/{identifier}"]["put"]
    assert {"application/json", "audio/flac"} <= set(route["requestBody"]["content"])
