"""The page structure of an Ogg file: which codec, how long, whether pages are missing and whether the stream ends.

An Ogg stream that was cut decodes without any error; only the missing end-of-stream flag or a gap in the page numbers
shows it. Source: RFC 3533. Does not decode anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from ai_assets.audio_analysis.formats import ByteSource

_WINDOW = 1 << 16
_EOS, _BOS = 4, 2
_NO_POSITION = (1 << 64) - 1


@dataclass(frozen=True)
class OggStream:
    """The first audio stream of an Ogg file: codec "VORBIS" or "OPUS", `claimed_frames` from the last page."""

    codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    claimed_frames: int | None = None
    unaccepted: str = ""
    damage: str = ""


def _identify(packet: bytes) -> tuple[str | None, int, int, int]:
    """Codec, sample rate, channels and pre-skip from a stream's first packet."""
    if packet[:7] == b"\x01vorbis" and len(packet) >= 16:
        return "VORBIS", int.from_bytes(packet[12:16], "little"), packet[11], 0
    if packet[:8] == b"OpusHead" and len(packet) >= 12:
        return "OPUS", 48000, packet[9], int.from_bytes(packet[10:12], "little")
    return None, 0, 0, 0


def _other_codec(packet: bytes) -> str:
    known = (
        (b"Speex", "Speex"),
        (b"\x7fFLAC", "FLAC in Ogg"),
        (b"\x80theora", "Theora video"),
        (b"fLaC", "FLAC in Ogg"),
    )
    return next((name for magic, name in known if packet.startswith(magic)), "an unknown codec")


class _Pages:
    """Sequential pages; `lost` counts bytes that belong to no page."""

    def __init__(self, source: ByteSource, offset: int) -> None:
        self.source, self.at, self.lost = source, offset, 0
        self.cut = False

    def next(self) -> tuple[int, int, int, int, int] | None:
        """(flags, granule position, serial, sequence number, offset of the body), or None at the end."""
        while self.at < self.source.size:
            head = self.source.at(self.at, 27 + 255)
            if head[:4] == b"OggS" and len(head) >= 27:
                segments = head[26]
                body = self.at + 27 + segments
                end = body + sum(head[27 : 27 + segments])
                if len(head) < 27 + segments or end > self.source.size:
                    self.cut = True
                    return None
                self.at = end
                return (
                    head[5],
                    int.from_bytes(head[6:14], "little"),
                    int.from_bytes(head[14:18], "little"),
                    int.from_bytes(head[18:22], "little"),
                    body,
                )
            self._resynchronise()
        return None

    def _resynchronise(self) -> None:
        start = self.at
        self.at += 1
        while self.at < self.source.size:
            window = self.source.at(self.at, _WINDOW)
            found = window.find(b"OggS")
            if found >= 0:
                self.at += found
                self.lost += self.at - start
                return
            self.at += max(len(window) - 3, 1)
        self.at = self.source.size


def read_ogg(source: ByteSource, offset: int) -> OggStream:
    """Walk the pages of an Ogg file and describe its first audio stream; never raises for what the file holds."""
    pages = _Pages(source, offset)
    page = pages.next()
    if page is None:
        return OggStream(unaccepted="an Ogg file without one whole page")
    _, _, serial, sequence, body = page
    packet = source.at(body, 64)
    codec, rate, channels, skip = _identify(packet)
    if codec is None:
        return OggStream(unaccepted=f"an Ogg file with {_other_codec(packet)}; only Vorbis and Opus are accepted")
    position, ended, gap, chained = 0, False, False, False
    while (page := pages.next()) is not None:
        flags, granule, number, seen, _ = page
        if ended and flags & _BOS:
            chained = True
            break
        if number != serial:
            continue
        gap = gap or seen != sequence + 1
        sequence = seen
        if granule != _NO_POSITION:
            position = max(position, granule)
        ended = ended or bool(flags & _EOS)
    damage = ""
    if pages.cut and not ended:
        damage = "truncated: the last Ogg page is cut"
    elif not ended:
        damage = "truncated: no Ogg page carries the end-of-stream flag"
    elif gap or pages.lost:
        damage = "damaged: Ogg pages are missing"
    elif chained:
        damage = "chained Ogg: only the first of several streams is read"
    frames = max(position - skip, 0) or None
    return OggStream(codec, rate, channels, frames, damage=damage)
