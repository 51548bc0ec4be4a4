"""Makes sound files for the decode tests and their benchmark: good ones, cut ones, lying ones, bombs."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100


def tone(seconds: float, *, rate: int = RATE, channels: int = 2, seed: int = 0) -> np.ndarray:
    """A sine with some noise on it, float32 (n, channels): noise keeps the encoders' frames large."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, (len(time), channels))
    wave = 0.3 * np.sin(2 * np.pi * 440 * time)[:, None] + noise
    return (np.round(wave * 32767) / 32768).astype(np.float32)


def write(path: Path, samples: np.ndarray, *, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> Path:
    """Write in blocks: libvorbis overflows its stack on one call with millions of frames."""
    with soundfile.SoundFile(path, "w", rate, samples.shape[1], format=kind, subtype=subtype) as file:
        for start in range(0, len(samples), 65536):
            file.write(samples[start : start + 65536])
    return path


def write_m4a(path: Path, samples: np.ndarray, *, codec: str = "aac", rate: int = RATE) -> Path:
    import av

    with av.open(str(path), "w", format="ipod") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        pcm = np.ascontiguousarray(np.round(samples * 32768).clip(-32768, 32767).astype("<i2").reshape(1, -1))
        frame = av.AudioFrame.from_ndarray(pcm, format="s16", layout="stereo")
        frame.rate = rate
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path


def cut(path: Path, keep: float, target: Path) -> Path:
    """The first `keep` part (0 to 1) of a file; a `keep` above 1 removes so many bytes from the end."""
    data = path.read_bytes()
    target.write_bytes(data[: int(len(data) * keep)] if keep < 1 else data[: -int(keep)])
    return target


def punch(path: Path, at: float, length: int, target: Path) -> Path:
    """The file with `length` bytes taken out of its middle."""
    data = path.read_bytes()
    start = int(len(data) * at)
    target.write_bytes(data[:start] + data[start + length :])
    return target


def wav_bytes(
    pcm: bytes, *, tag: int = 1, channels: int = 1, rate: int = RATE, bits: int = 16, data_size: int | None = None
) -> bytes:
    """A WAV with any header."""
    frame = max(channels * bits // 8, 1) & 0xFFFF
    fmt = struct.pack("<HHIIHH", tag, channels, rate, rate * frame & 0xFFFFFFFF, frame, bits)
    size = len(pcm) if data_size is None else data_size
    body = b"WAVEfmt " + struct.pack("<I", 16) + fmt + b"data" + struct.pack("<I", size) + pcm
    return b"RIFF" + struct.pack("<I", min(len(body), 0xFFFFFFFF)) + body


def with_total_samples(path: Path, total: int, target: Path) -> Path:
    """A FLAC whose header claims `total` samples per channel."""
    data = bytearray(path.read_bytes())
    packed = int.from_bytes(data[18:26], "big")
    data[18:26] = (packed >> 36 << 36 | total).to_bytes(8, "big")
    target.write_bytes(data)
    return target


def silence(path: Path, hours: float, *, kind: str, channels: int = 2, rate: int = RATE) -> Path:
    """Hours of digital silence: almost nothing on disk."""
    block = np.zeros((65536, channels), np.float32)
    with soundfile.SoundFile(path, "w", rate, channels, format=kind) as file:
        for _ in range(int(hours * 3600 * rate / len(block))):
            file.write(block)
    return path


def bombs(folder: Path, *, heavy: bool = True) -> Iterator[Path]:
    """Files and other things that hang, crash or bloat a careless reader; `heavy` adds hours of silence."""
    folder.mkdir(parents=True, exist_ok=True)
    made: dict[str, bytes] = {
        "empty.mp3": b"",
        "html.mp3": b"<html><body>not found</body></html>\n" * 20,
        "random.flac": np.random.default_rng(1).bytes(200_000),
        "id3_only.mp3": b"ID3\x04\x00\x00\x00\x00\x07\x76" + bytes(1014),
        "id3_claims_256_mb.mp3": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(1000),
        "rate_1.wav": wav_bytes(bytes(400_000), rate=1),
        "rate_2e31.wav": wav_bytes(bytes(400_000), rate=2**31 - 1),
        "channels_0.wav": wav_bytes(bytes(4000), channels=0),
        "channels_255.wav": wav_bytes(bytes(510 * 4000), channels=255),
        "channels_65535.wav": wav_bytes(bytes(400_000), channels=65535),
        "bits_0.wav": wav_bytes(bytes(4000), bits=0),
        "adpcm.wav": wav_bytes(bytes(4000), tag=0x11, bits=4),
        "gsm.wav": wav_bytes(bytes(4000), tag=0x31, bits=0),
        "claims_4_gb.wav": wav_bytes(bytes(400_000), data_size=0xFFFFFF00),
        "no_data.wav": wav_bytes(b""),
        "nan.wav": wav_bytes(np.full(RATE * 2, np.nan, "<f4").tobytes(), tag=3, bits=32),
        "huge_values.wav": wav_bytes(np.full(RATE * 2, 1e30, "<f4").tobytes(), tag=3, bits=32),
        "zeros_with_id3.mp3": b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(3 << 20),
        "sync_bytes.mp3": b"\xff\xfb" * 500_000,
        "ff.mp3": b"\xff" * 1_000_000,
        "ogg_headers.ogg": (b"OggS" + bytes(22) + b"\x00") * 40_000,
        "mp4_tiny_boxes.m4a": b"\x00\x00\x00\x08ftyp" + b"\x00\x00\x00\x08free" * 100_000,
        "riff_tiny_chunks.wav": b"RIFF\xff\xff\xff\xffWAVE" + b"junk\x00\x00\x00\x00" * 100_000,
    }
    for name, data in made.items():
        (folder / name).write_bytes(data)
        yield folder / name
    good = write(folder / "good.flac", tone(2.0), kind="FLAC")
    yield with_total_samples(good, 2**36 - 1, folder / "claims_2e36_samples.flac")
    yield with_total_samples(good, 0, folder / "unknown_length.flac")
    if heavy:
        yield silence(folder / "silence_3_h.ogg", 3.0, kind="OGG")
        yield silence(folder / "silence_8_channels.ogg", 1.0, kind="OGG", channels=8)
        yield silence(folder / "silence_3_h.flac", 3.0, kind="FLAC")
        with (folder / "sparse_8_gb.wav").open("wb") as file:
            file.write(wav_bytes(b"", data_size=0xFFFFFFFF))
            file.truncate(8 << 30)
        yield folder / "sparse_8_gb.wav"
    os.mkfifo(folder / "fifo.wav")
    yield folder / "fifo.wav"
    (folder / "folder.wav").mkdir()
    yield folder / "folder.wav"
    (folder / "dangling.wav").symlink_to(folder / "nowhere")
    yield folder / "dangling.wav"
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    yield folder / "loop.wav"
    (folder / "zero.wav").symlink_to("/dev/zero")
    yield folder / "zero.wav"


def behind(prefix: bytes, path: Path, target: Path) -> Path:
    """The file with something in front of it."""
    target.write_bytes(prefix + path.read_bytes())
    return target


def id3(payload: bytes = b"") -> bytes:
    """An ID3v2.4 tag with padding."""
    body = payload + bytes(2000 - len(payload))
    size = len(body)
    return b"ID3\x04\x00\x00" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + body


def pcm_md5_offset(path: Path) -> int:
    """Where a FLAC made by libsndfile keeps its MD5."""
    data = path.read_bytes()
    assert data[:4] == b"fLaC"
    return 4 + 4 + 18


def in_memory(samples: np.ndarray, kind: str, rate: int = RATE) -> bytes:
    """The bytes of a sound file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind)
    return buffer.getvalue()
