"""Which audio format a file really is, by its content: the allow-list. The suffix is never looked at.

Belongs here: magic numbers, ID3 tags and junk in front of the audio, the names of formats. Does not belong here:
what the headers say about length and encoding (`containers`), and decoding itself (`decode`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from ai_assets.audio_analysis.mpeg_headers import find_mpeg_audio

_HEAD_BYTES = 4096
_MAX_JUNK_BYTES = 1 << 20

ALLOWED_FORMATS = ("WAV", "FLAC", "MP3", "OGG", "AIFF", "M4A")


class ByteSource:
    """Random access to the bytes of an open regular file, without moving its file position."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.size = os.fstat(fd).st_size

    def at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; fewer at the end of the file; OSError when the storage fails."""
        if offset < 0 or offset >= self.size:
            return b""
        parts: list[bytes] = []
        while count > 0:
            part = os.pread(self.fd, count, offset)
            if not part:
                break
            parts.append(part)
            offset += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


@dataclass(frozen=True)
class Detected:
    """What the content is: `name` is one of ALLOWED_FORMATS, or None with the `reason` of the refusal.

    `other` names a recognised but unwanted format ("APE"); `offset` is the first byte of the audio container.
    """

    name: str | None
    reason: str = ""
    other: str | None = None
    offset: int = 0


_UNWANTED: tuple[tuple[int, bytes, str], ...] = (
    (0, b"MAC ", "Monkey's Audio (APE)"),
    (0, b"wvpk", "WavPack"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"TTA", "True Audio"),
    (0, b"DSD ", "DSF"),
    (0, b"FRM8", "DSDIFF"),
    (0, b"OFR ", "OptimFROG"),
    (0, b"tBaK", "TAK"),
    (0, b"ajkg", "Shorten"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (ASF)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska/WebM"),
    (0, b"caff", "CAF"),
    (0, b".snd", "Sun AU"),
    (0, b"dns.", "Sun AU"),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64"),
    (0, b"RIFX", "RIFX (big-endian WAV)"),
    (0, b"\x0b\x77", "AC-3"),
    (0, b"MThd", "MIDI (a score, not audio)"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"%PDF", "PDF"),
    (0, b"\x89PNG", "PNG image"),
    (0, b"\xff\xd8\xff", "JPEG image"),
    (0, b"\x7fELF", "ELF program"),
)


def id3v2_size(head: bytes) -> int:
    """Length in bytes of the ID3v2 tag that begins at `head`, 0 when there is none (ID3v2.4 structure, section 3.1)."""
    if len(head) < 10 or head[:3] != b"ID3" or max(head[6:10]) > 0x7F:
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return size + (20 if head[5] & 0x10 else 10)


def _skip_id3(source: ByteSource) -> int:
    """Offset after all ID3v2 tags at the start (some files carry several) and zero padding after them."""
    offset = 0
    for _ in range(8):
        size = id3v2_size(source.at(offset, 10))
        if size == 0:
            break
        offset += size
    # A tag may be followed by padding that its size does not cover; but an MP4 begins with zero bytes of its own.
    if offset and _container(source.at(offset, 12)) is None:
        while offset < source.size:
            chunk = source.at(offset, _HEAD_BYTES)
            stripped = chunk.lstrip(b"\0")
            offset += len(chunk) - len(stripped)
            if stripped or not chunk:
                break
    return offset


def _container(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"fLaC":
        return "FLAC"
    if head[:4] == b"OggS":
        return "OGG"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head[4:8] == b"ftyp":
        return "M4A"
    return None


def _unwanted(head: bytes) -> str | None:
    if len(head) >= 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        # 0xFFF8 is also the sync code of a FLAC frame; neither stream without its header is accepted.
        return "AAC (ADTS stream) or FLAC without its header"
    return next((name for at, magic, name in _UNWANTED if head[at : at + len(magic)] == magic), None)


def _text(head: bytes) -> bool:
    try:
        text = head[:512].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < min(len(head), 512) - 4:
            return False
        text = head[: error.start].decode("utf-8")
    return bool(text) and all(char.isprintable() or char in "\r\n\t\f" for char in text)


def detect(source: ByteSource) -> Detected:
    """Recognise the format of an open file by content.

    ID3v2 tags are skipped in front of every format; up to 1 MiB of junk in front of an MPEG stream only, and only
    where four matching frame headers follow one another.
    """
    if source.size == 0:
        return Detected(None, "the file is empty (0 bytes)")
    start = _skip_id3(source)
    head = source.at(start, _HEAD_BYTES)
    if not head:
        return Detected(None, "an ID3 tag without audio behind it", "ID3 tag only")
    name = _container(head)
    if name is not None:
        return Detected(name, offset=start)
    frame = find_mpeg_audio(head, complete=start + len(head) >= source.size, search=1)
    if frame is not None:
        return Detected("MP3", offset=start)
    other = _unwanted(head)
    if other is None and not _text(head):
        window = source.at(start, _MAX_JUNK_BYTES + (64 << 10))
        frame = find_mpeg_audio(window, complete=start + len(window) >= source.size, search=_MAX_JUNK_BYTES)
        if frame is not None:
            return Detected("MP3", offset=start + frame)
    if other is not None:
        return Detected(None, f"{other} is not an accepted format ({', '.join(ALLOWED_FORMATS)})", other)
    what = "text, not audio" if _text(head) else "no audio format recognised in the content"
    return Detected(None, what, "text" if _text(head) else None)
