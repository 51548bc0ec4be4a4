"""A small home to look around in: audio of each kind, what the analysis stores of it, generated items, hostile names.

Of the world's 240 tracks a few have a sound: `t0000` is none that a browser plays, though it seems so, `t0001` is damaged,
`t0002` an AIFF, `t0003` has an evil name, `t0004` is a link out of the landing folder, `t0005` has vanished; `t0006` and
`t0007` lead out of the registered roots, `t0008` is deleted.
"""

from __future__ import annotations

import http.client
import json
import re
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from listening_world import World
from serving_home import Server, publish

from ai_assets.content_generation.provenance import Provenance, content_sha256
from ai_assets.content_generation.review import State
from ai_assets.content_generation.review_store import ReviewStore, Submitted
from resources.platform import Platform
from resources.settings import Settings

EVIL = "<img src=x onerror=alert(1)>\"'{{7*7}}</script>"
RATE, SECONDS = 22_050, 8
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63606060000000040001f61738"
    "550000000049454e44ae426082"
)


def furnish(home: Path, world: World, model: Path) -> None:
    """Write sounds, tables and generated items into a home, and a generation that knows them."""
    platform = Platform(Settings(home=home))
    catalogue = _named(world.catalogue)
    name = publish(platform, world, model, catalogue=catalogue)
    manifest = home / "indices" / "serving" / name / "manifest.json"
    facts = json.loads(manifest.read_text()) | {"models": {}}  # no model of this home lies in a registry
    manifest.write_text(json.dumps(facts))
    _sounds(home)
    for name, frame in _tables(platform, catalogue).items():
        _write(platform, name, frame)
    _generated(platform)


def _named(catalogue: pd.DataFrame) -> pd.DataFrame:
    rows = catalogue.copy()
    rows.loc[0, ["title", "path"]] = ["Stubborn Song", "stubborn.wav"]
    rows.loc[1, ["title", "path"]] = ["Night Train Home", "night train.wav"]
    rows.loc[2, ["title", "path"]] = ["Apple Song", "apple.aiff"]
    rows.loc[3, ["title", "artist", "album", "genre", "path"]] = [
        EVIL,
        EVIL,
        EVIL,
        EVIL,
        f"{EVIL.replace('/', '')}.wav",
    ]
    rows.loc[4, "path"] = "link.wav"
    rows.loc[5, "path"] = "gone.wav"
    rows.loc[6, "path"] = "../../secrets/api-token"
    rows.loc[7, ["root", "path"]] = ["/etc", "passwd"]
    rows.loc[8, "deleted"] = True
    rows["duration_seconds"] = rows["duration_seconds"].where(rows.index > 8, SECONDS)
    return rows


def _sounds(home: Path) -> None:
    landing = home / "landing" / "audio"
    landing.mkdir(parents=True, exist_ok=True)
    times = np.arange(RATE * SECONDS) / RATE
    tone = (0.4 * np.sin(2 * np.pi * 330 * times)).astype(np.float32)
    soundfile.write(landing / "night train.wav", tone, RATE)
    soundfile.write(landing / f"{EVIL.replace('/', '')}.wav", tone, RATE)
    soundfile.write(landing / "apple.aiff", tone, RATE, format="AIFF")
    soundfile.write(landing / "stubborn.wav", tone, RATE, format="AIFF")
    outside = home.parent / "outside.wav"
    soundfile.write(outside, tone, RATE)
    (landing / "link.wav").symlink_to(outside)


def _tables(platform: Platform, catalogue: pd.DataFrame) -> dict[str, pd.DataFrame]:
    heard = catalogue.iloc[:9].assign(batch="b1")
    place, sound = heard[["batch", "root", "path"]], heard[["batch", "audio_hash"]]
    wave = [*np.linspace(-0.5, -0.1, 300).tolist(), *np.linspace(0.5, 0.1, 300).tolist()]
    mels = np.linspace(-80, 0, 340 * 64).reshape(340, 64).astype(np.float16)
    target = platform.home.root / "mels.npy"
    np.save(target, mels)
    blob = platform.blobs.put(target.read_bytes(), ".npy")
    target.unlink()
    files = heard[["track", "root", "path", "batch", "audio_hash"]].assign(matched_by="first", file_hash="0" * 64)
    twin = files.iloc[[1]].assign(path="copies/night train.mp3", matched_by="fingerprint")
    finding = {"severity": "error", "value": 1.0, "threshold": 0.5, "suggested_action": EVIL, "model": "defects"}
    findings = [
        {"kind": "clipping", "time": 5.0, **finding}, {"kind": "a-new-kind", "time": 2.0, **finding},
        {"kind": "true_peak", "time": None, **finding, "severity": "info"},
    ]  # fmt: skip
    described = {
        "tempo_bpm": 124.0, "tempo_confidence": 0.8, "tempo_alternative_bpm": 62.0, "key": "C# minor",
        "key_confidence": 0.6, "loudness_lufs": -14.2, "loudness_range_lu": 4.0, "true_peak_dbtp": 0.3,
        "energy_index": 0.5, "danceability_index": 1.0,
    }  # fmt: skip
    tracks = catalogue.assign(
        tempo_bpm=124.0, key="C# minor", mood="calm", genre_source="tag", year=1999, loudness_lufs=-14.2
    )
    return {
        "tracks": tracks,
        "track_identities": pd.concat([files, twin]),
        "audio_descriptors": sound.assign(**described),
        "audio_quality": place.assign(
            status="ok", detected_format=["AIFF" if path.endswith(".aiff") else "WAV" for path in place["path"]],
            sample_rate=float(RATE), channels=1.0, waveform=[wave] * len(place),
        ),
        "track_tags": sound.assign(best_guess=EVIL, probability=0.7, model="genre_classifier/1"),
        "log_mels": sound.assign(blob=blob),
        "audio_anomalies": pd.DataFrame([{**place.iloc[1].to_dict(), **row} for row in findings]),
    }  # fmt: skip


def _generated(platform: Platform) -> None:
    png, flac = platform.blobs.put(PNG, ".png"), platform.blobs.put(b"fLaC" + bytes(5_000), ".flac")
    cover, other = _item("cover:t0001", "cover", {"png": png}), _item("cover:t0002", "cover", {"png": png})
    hidden = _item("cover:t0008", "cover", {"png": png})
    tune = _item("music:t0001", "music", {"audio": flac, "picture": png})
    texts = [_item(f"track-text:t0001:{lang}", "text", {}, lang, f"{EVIL} in {lang}") for lang in ("en", "de", "fr")]
    _write(platform, "cover_art", pd.DataFrame([cover, other, hidden]))
    _write(platform, "generated_music", pd.DataFrame([tune]))
    _write(platform, "track_descriptions", pd.DataFrame(texts))
    store = ReviewStore(platform.database, platform.audit)
    made = [cover, hidden, tune, *texts]
    store.submit([Submitted(row["item"], row["sha256"], True) for row in made], policy="auto", who="test")
    store.submit([Submitted(other["item"], other["sha256"], True)], policy="manual", who="test")
    assert store.states()["cover:t0002"].state is not State.PUBLISHED


def _item(item: str, modality: str, files: dict[str, str], lang: str | None = None, text: str | None = None) -> Any:
    digest = content_sha256(text or item)
    record = Provenance(
        item, modality, f"{modality}_generator", f"{modality}_generator/1", {}, 7, {"title": EVIL, "artist": "A"}, {}, {},
        digest, lang=lang,
    )  # fmt: skip
    return {
        "item": item, "subject": item.split(":")[1], "modality": modality, "lang": lang, "text": text,
        "files": json.dumps(files), "sha256": digest, "model": "m/1", "provenance": record.to_json(),
    }  # fmt: skip


def _write(platform: Platform, name: str, frame: pd.DataFrame) -> None:
    import deltalake
    import pyarrow as pa

    table = pa.Table.from_pandas(frame, preserve_index=False)
    columns = [pa.field(part.name, pa.string() if pa.types.is_null(part.type) else part.type) for part in table.schema]
    deltalake.write_deltalake(platform.lake.uri(name), table.cast(pa.schema(columns)))


@dataclass(frozen=True)
class Page:
    """One answer."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Visitor:
    """A browser without a window: keeps cookies, follows nothing."""

    server: Server
    cookies: dict[str, str] = field(default_factory=dict)
    language: str = "en"

    def get(self, path: str, **headers: str) -> Page:
        return self.ask("GET", path, None, **headers)

    def post(self, path: str, csrf: str | None = "", **fields: Any) -> Page:
        """Post a form with this session's CSRF token; another one, or none (None), where it is given."""
        given = {"csrf": self.csrf} if csrf == "" else {} if csrf is None else {"csrf": csrf}
        return self.ask("POST", path, urllib.parse.urlencode({**given, **fields}))

    def ask(self, method: str, path: str, body: str | None, **headers: str) -> Page:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        form = {"content-type": "application/x-www-form-urlencoded"} if body is not None else {}
        sent = {"accept-language": self.language, "cookie": cookie, **form, **given}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        page = Page(answer.status, answer.read(), {name.lower(): value for name, value in answer.getheaders()})
        connection.close()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        return page

    @property
    def csrf(self) -> str:
        found = re.search(r'data-csrf="([^"]+)"', self.get("/").text)
        assert found is not None
        return found[1]

    def enter(self) -> Visitor:
        """Log in by the address that the server printed."""
        assert self.get(self.server.login).status == 200
        return self
