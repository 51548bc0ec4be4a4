"""Encodes sound with its tags, byte for byte reproducible, and writes files so that no reader sees half of one.

Here belongs the file side of the library: containers, tags, atomic writes. libsndfile writes the tags where it writes
them well (FLAC, OGG, Opus, WAV); its ID3 text is wrong beyond ASCII for MP3 and AIFF has no genre, so for those two an
ID3v2.4 tag is built here (https://id3.org/id3v2.4.0-structure).
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

_CONTAINERS = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "flac": ("FLAC", "PCM_16"),
    "wav": ("WAV", "PCM_16"),
    "aiff": ("AIFF", "PCM_16"),
}
EXTENSIONS = tuple(_CONTAINERS)
_BLOCK = 65_536  # one larger call overflows libvorbis' stack and ends the process
_REVERSED_BYTES = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


@dataclass(frozen=True)
class Tags:
    """What is written into a file about itself; an empty text is left out."""

    title: str
    artist: str
    album: str
    genre: str
    date: str
    tracknumber: str


def encode(audio: NDArray[np.float32], *, samplerate: int, extension: str, tags: Tags) -> bytes:
    """Encode ``audio`` of shape (frames, channels) as the bytes of a tagged file; same input, same bytes.

    Raises ``ValueError`` for an extension other than those of ``EXTENSIONS``.
    """
    if extension not in _CONTAINERS:
        raise ValueError(f"cannot write .{extension} files; expected one of {', '.join(EXTENSIONS)}")
    container, subtype = _CONTAINERS[extension]
    target = io.BytesIO()
    with soundfile.SoundFile(
        target, "w", samplerate=samplerate, channels=audio.shape[1], format=container, subtype=subtype
    ) as file:
        if extension not in ("mp3", "aiff"):
            for name, text in vars(tags).items():
                if text:
                    setattr(file, name, text)
        for start in range(0, len(audio), _BLOCK):
            file.write(audio[start : start + _BLOCK])
    data = target.getvalue()
    if container == "OGG":
        return _with_serial(data, zlib.crc32(repr(tags).encode()))
    if extension == "mp3":
        return id3(tags) + data
    if extension == "aiff":
        return _with_chunk(data, b"ID3 ", id3(tags))
    return data


def id3(tags: Tags) -> bytes:
    """An ID3v2.4 tag in UTF-8."""
    frames = b""
    for name, text in (
        (b"TIT2", tags.title), (b"TPE1", tags.artist), (b"TALB", tags.album), (b"TCON", tags.genre),
        (b"TDRC", tags.date), (b"TRCK", tags.tracknumber),
    ):  # fmt: skip
        if text:
            body = b"\x03" + text.encode()
            frames += name + _synchsafe(len(body)) + b"\x00\x00" + body
    return b"ID3\x04\x00\x00" + _synchsafe(len(frames)) + frames


def _synchsafe(number: int) -> bytes:
    return bytes((number >> shift) & 0x7F for shift in (21, 14, 7, 0))


def _with_chunk(data: bytes, name: bytes, body: bytes) -> bytes:
    """An AIFF file with one more chunk at its end."""
    padded = body + b"\x00" * (len(body) % 2)
    longer = data + name + struct.pack(">I", len(body)) + padded
    return longer[:4] + struct.pack(">I", len(longer) - 8) + longer[8:]


def _with_serial(data: bytes, serial: int) -> bytes:
    """An Ogg file under a given stream serial number: libsndfile draws it from the clock, so bytes would differ.

    Page layout and checksum: RFC 3533, section 6. The checksum is the unreflected CRC-32 without complement, which
    ``zlib`` gives for bit-reversed bytes.
    """
    pages, start = [], 0
    while start < len(data):
        segments = data[start + 26]
        end = start + 27 + segments + sum(data[start + 27 : start + 27 + segments])
        page = bytearray(data[start:end])
        page[14:18] = struct.pack("<I", serial)
        page[22:26] = b"\x00" * 4
        reflected = zlib.crc32(bytes(page).translate(_REVERSED_BYTES), 0xFFFFFFFF) ^ 0xFFFFFFFF
        page[22:26] = struct.pack("<I", int(f"{reflected:032b}"[::-1], 2))
        pages.append(bytes(page))
        start = end
    return b"".join(pages)


def write_atomically(path: Path, data: bytes) -> bool:
    """Write ``data`` under ``path`` by rename; False (and nothing touched) if the file has these bytes already."""
    if path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return True
