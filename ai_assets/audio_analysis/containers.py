"""What the headers of an accepted file say: encoding, claimed length, and whether the file is as long as it claims.

Belongs here: RIFF/WAVE, AIFF, FLAC, OGG, MP4 and MPEG headers, read without any decoder (so that nothing unwanted
reaches one). Does not belong here: decoding, and the verdict on what was read (`truncation`, `decode`).

Sources: Microsoft RIFF/WAVE and EBU Tech 3306 (RF64), Apple AIFF-C draft, RFC 9639 (FLAC), RFC 3533 (Ogg),
ISO/IEC 14496-12 (MP4 boxes).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from ai_assets.audio_analysis.formats import ByteSource, Detected
from ai_assets.audio_analysis.mpeg_headers import (
    MpegFrame,
    find_mpeg_audio,
    last_frame_is_cut,
    parse_frame,
    parse_vbr_header,
    walk_frames,
)

_MAX_CHUNKS = 4096
_STREAMED = (0xFFFFFFFF, 0x7FFFF000, 0x80000000)
"""Data sizes that writers leave when they cannot seek back: FFmpeg, SoX, ALSA's arecord. They claim no length."""

_WAVE_TAGS = {
    0x0002: "Microsoft ADPCM", 0x0006: "A-law", 0x0007: "mu-law", 0x0011: "IMA ADPCM", 0x0031: "GSM 6.10",
    0x0040: "G.721 ADPCM", 0x0050: "MPEG", 0x0055: "MP3", 0x0161: "Windows Media", 0x2000: "AC-3",
}  # fmt: skip
_WAVE_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_AMBISONIC_GUID_TAIL = bytes.fromhex("00002107d3118644c8c1ca000000")
_AIFC_PLAIN = (b"NONE", b"sowt", b"twos", b"raw ", b"in24", b"in32", b"fl32", b"FL32", b"fl64", b"FL64")


@dataclass(frozen=True)
class Container:
    """What the headers of one file say; None where they say nothing.

    `unaccepted`: why this encoding is refused ("" = accepted). `damage`: evidence, found without decoding, that bytes
    are missing ("" = none). `md5` and `bits`: FLAC's MD5 of the unencoded samples and their width.
    `claimed_frames`: length in sample frames that a truncated file would fall short of, by more than
    `tolerance_seconds` (decoder delay, priming and header frames make honest files of some formats a little shorter).
    """

    format: str
    offset: int = 0
    sample_rate: int | None = None
    channels: int | None = None
    subtype: str | None = None
    claimed_frames: int | None = None
    unaccepted: str = ""
    damage: str = ""
    md5: bytes | None = None
    bits: int | None = None
    tolerance_seconds: float = 0.0


def parse(source: ByteSource, detected: Detected) -> Container:
    """Read the headers of a file whose format was recognised; never raises for what they hold."""
    assert detected.name is not None
    readers = {"WAV": _wav, "AIFF": _aiff, "FLAC": _flac, "OGG": _ogg, "M4A": _mp4, "MP3": _mpeg}
    return readers[detected.name](source, Container(detected.name, detected.offset))


def _missing(claimed: int, present: int, what: str) -> str:
    return f"truncated: {what} claims {claimed} bytes, the file holds {present}" if present < claimed else ""


def _wav(source: ByteSource, empty: Container) -> Container:
    at = empty.offset + 12
    sizes_64: int | None = None
    found = empty
    for _ in range(_MAX_CHUNKS):
        head = source.at(at, 8)
        if len(head) < 8:
            break
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if name == b"ds64":
            sizes_64 = int.from_bytes(source.at(at + 16, 8), "little")
        elif name == b"fmt ":
            found = _wave_format(source.at(at + 8, min(size, 40)), found)
        elif name == b"data":
            if size == 0xFFFFFFFF and sizes_64 is not None:
                size = sizes_64
            return _wave_data(found, size, max(source.size - at - 8, 0))
        at += 8 + size + (size & 1)
    if found.sample_rate is None:
        return replace(found, unaccepted="a WAV without a fmt chunk")
    return replace(found, damage="truncated: the WAV ends before its data chunk")


def _wave_data(found: Container, size: int, present: int) -> Container:
    if found.sample_rate is None:
        return replace(found, unaccepted="a WAV without a fmt chunk before its data")
    frame = (found.channels or 0) * ((found.bits or 0) + 7 >> 3)
    if size in _STREAMED:
        return replace(found, claimed_frames=present // frame if frame else None)
    claimed = size // frame if frame else None
    return replace(found, claimed_frames=claimed, damage=_missing(size, present, "the data chunk"))


def _wave_format(chunk: bytes, found: Container) -> Container:
    if len(chunk) < 16:
        return replace(found, unaccepted="a WAV with a cut fmt chunk")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    guid = chunk[26:40]
    if tag == 0xFFFE and len(chunk) >= 40 and guid in (_WAVE_GUID_TAIL, _AMBISONIC_GUID_TAIL):
        tag = int.from_bytes(chunk[24:26], "little")
    kind = {1: "PCM", 3: "FLOAT"}.get(tag)
    reason = ""
    if kind is None:
        reason = f"a WAV with {_WAVE_TAGS.get(tag, f'encoding 0x{tag:04x}')} inside; only PCM and float are accepted"
    return replace(found, sample_rate=rate, channels=channels, bits=bits, subtype=f"{kind}_{bits}", unaccepted=reason)


def _aiff(source: ByteSource, empty: Container) -> Container:
    at = empty.offset + 12
    compressed = source.at(empty.offset + 8, 4) == b"AIFC"
    found = empty
    damage = ""
    has_sound = False
    for _ in range(_MAX_CHUNKS):
        head = source.at(at, 8)
        if len(head) < 8:
            break
        name, size = head[:4], int.from_bytes(head[4:], "big")
        if name == b"COMM":
            found = _aiff_format(source.at(at + 8, min(size, 64)), found, compressed=compressed)
        elif name == b"SSND":
            has_sound = True
            damage = _missing(size, max(source.size - at - 8, 0), "the SSND chunk")
        at += 8 + size + (size & 1)
    if found.channels is None:
        return replace(found, unaccepted="an AIFF without a COMM chunk")
    if not has_sound and found.claimed_frames:
        damage = "truncated: the AIFF ends before its SSND chunk"
    return replace(found, damage=damage)


def _aiff_format(chunk: bytes, found: Container, *, compressed: bool) -> Container:
    if len(chunk) < 18:
        return replace(found, unaccepted="an AIFF with a cut COMM chunk")
    channels, frames, bits = struct.unpack(">hIh", chunk[:8])
    exponent, mantissa = struct.unpack(">HQ", chunk[8:18])
    # 80-bit extended precision, as AIFF stores the sample rate.
    rate = int(mantissa * 2.0 ** ((exponent & 0x7FFF) - 16383 - 63)) if exponent & 0x7FFF < 16383 + 40 else 1 << 40
    kind = chunk[18:22] if compressed else b"NONE"
    reason = ""
    if kind not in _AIFC_PLAIN:
        reason = f"an AIFF-C with {kind.decode('ascii', 'replace')!r} inside; only PCM and float are accepted"
    subtype = f"{'FLOAT' if kind.lower().startswith(b'fl') else 'PCM'}_{bits}"
    return replace(
        found, sample_rate=rate, channels=channels, bits=bits, subtype=subtype, claimed_frames=frames, unaccepted=reason
    )


def _flac(source: ByteSource, empty: Container) -> Container:
    at = empty.offset + 4
    found = empty
    for _ in range(_MAX_CHUNKS):
        head = source.at(at, 4)
        if len(head) < 4:
            return replace(found, damage="truncated: the FLAC ends inside its metadata")
        last, kind, size = head[0] >> 7, head[0] & 0x7F, int.from_bytes(head[1:4], "big")
        if kind == 0 and size >= 34:
            found = _streaminfo(source.at(at + 4, 34), found)
        at += 4 + size
        if last:
            break
    return found


def _streaminfo(block: bytes, found: Container) -> Container:
    if len(block) < 34:
        return replace(found, damage="truncated: the FLAC ends inside its STREAMINFO")
    packed = int.from_bytes(block[10:18], "big")
    rate, channels, bits = packed >> 44, (packed >> 41 & 7) + 1, (packed >> 36 & 31) + 1
    frames = packed & (1 << 36) - 1
    md5 = block[18:34]
    return replace(
        found,
        sample_rate=rate,
        channels=channels,
        bits=bits,
        subtype=f"PCM_{bits}",
        claimed_frames=frames or None,
        md5=md5 if any(md5) else None,
    )


def _ogg(source: ByteSource, empty: Container) -> Container:
    from ai_assets.audio_analysis.ogg_pages import read_ogg

    stream = read_ogg(source, empty.offset)
    return replace(
        empty,
        sample_rate=stream.sample_rate,
        channels=stream.channels,
        subtype=stream.codec,
        claimed_frames=stream.claimed_frames,
        unaccepted=stream.unaccepted,
        damage=stream.damage,
        tolerance_seconds=0.05,
    )


def _mp4(source: ByteSource, empty: Container) -> Container:
    empty = replace(empty, tolerance_seconds=0.25)
    at = empty.offset
    names: set[bytes] = set()
    for _ in range(_MAX_CHUNKS):
        head = source.at(at, 16)
        if len(head) < 8:
            break
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:], "big")
        elif size == 0:
            size = source.size - at
        names.add(name)
        if size < 8:
            return replace(empty, damage=f"damaged: the MP4 box at byte {at} has size {size}")
        if at + size > source.size:
            label = name.decode("ascii", "replace")
            return replace(empty, damage=_missing(size, source.size - at, f"the MP4 box {label!r}"))
        at += size
    if b"moov" not in names:
        return replace(empty, damage="truncated: the MP4 holds no moov box")
    return empty


def _end_of_mpeg(source: ByteSource) -> int:
    """Where the audio of an MPEG file ends: before ID3v1, APEv2 and ID3v2 footers."""
    end = source.size
    for _ in range(4):
        if source.at(end - 128, 3) == b"TAG":
            end -= 128
        footer = source.at(end - 32, 32)
        if footer[:8] == b"APETAGEX":
            has_header = footer[23] & 0x80
            end -= int.from_bytes(footer[12:16], "little") + (32 if has_header else 0)
        elif footer[22:25] == b"3DI":
            end -= (footer[28] << 21 | footer[29] << 14 | footer[30] << 7 | footer[31]) + 20
        else:
            break
    return max(end, 0)


def _mpeg(source: ByteSource, empty: Container) -> Container:
    head = source.at(empty.offset, 4096)
    frame = parse_frame(head)
    if frame is None:
        return empty
    found = replace(
        empty,
        sample_rate=frame.sample_rate,
        channels=frame.channels,
        subtype=f"MPEG_LAYER_{'I' * frame.layer}",
    )
    header = parse_vbr_header(head)
    end = _end_of_mpeg(source)
    if header is None or header.frames is None:
        return _mpeg_without_length(source, found, frame, end)
    damage, trimmed = "", header.trimmed_samples
    present = source.size - empty.offset
    if header.stream_bytes is not None:
        # One frame of tolerance: writers differ on whether the header's own frame counts.
        damage = _missing(header.stream_bytes - max(frame.length, 1), present, f"the {header.kind} header")
        rest = max(end - empty.offset - header.stream_bytes, 0)
        behind = source.at(empty.offset + header.stream_bytes, min(rest, 8192))
        if find_mpeg_audio(behind, complete=False, search=1) is not None:
            damage = "joined MP3: only the first of several streams is read"
    if not damage and header.stream_bytes != present:
        damage = _cut_last_frame(source, empty.offset, end, frame)
    claimed = max(header.frames * frame.samples - (trimmed or 0), 0)
    tolerance = 0.001 if trimmed is not None else 0.2
    return replace(found, claimed_frames=claimed, damage=damage, tolerance_seconds=tolerance)


def _cut_last_frame(source: ByteSource, offset: int, end: int, frame: MpegFrame) -> str:
    tail = source.at(max(offset, end - 8192), min(8192, end - offset))
    return "truncated: the last MPEG frame is cut" if last_frame_is_cut(tail, frame) else ""


def _mpeg_without_length(source: ByteSource, found: Container, frame: MpegFrame, end: int) -> Container:
    walk = walk_frames(source.at, found.offset, end)
    damage = _cut_last_frame(source, found.offset, end, frame)
    if not damage and walk is not None and walk.lost:
        damage = f"damaged: {walk.lost} bytes between the MPEG frames belong to none"
    claimed = walk.samples if walk is not None else None
    return replace(found, claimed_frames=claimed, damage=damage, tolerance_seconds=0.2)
