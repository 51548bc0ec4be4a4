"""Sound for the browser: files of registered roots and blobs, opened by confined descriptors, answered in ranges.

What no browser plays (AIFF), or the visitor's does not (the page asks again then), is converted once by a limited
worker process, two minutes of it, and kept in the home's cache; the answering process itself decodes nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from ai_assets.data_processing.batches import AudioInbox, root_folder
from resources.isolation import LimitedError, run_limited
from resources.platform import Platform
from resources.roots import open_confined

MEDIA_TYPES = {
    "WAV": "audio/wav", "FLAC": "audio/flac", "MP3": "audio/mpeg", "OGG": "audio/ogg", "M4A": "audio/mp4",
    ".flac": "audio/flac", ".wav": "audio/wav", ".ogg": "audio/ogg", ".png": "image/png", ".mid": "audio/midi",
}  # fmt: skip
CONVERTED = frozenset({"AIFF"})
PREVIEW_SECONDS = 120
PREVIEW_MEMORY, PREVIEW_WALL = 1_000_000_000, 60.0
MOST_PREVIEWS = 100
PART = 128 * 1024
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class NoSound(Exception):
    """There is nothing that can be played."""


class Sounds:
    """The sounds of one home."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._inbox = AudioInbox(platform.database, platform.home.root)
        self._converting = Lock()

    def open_track(self, root: str, path: str, kind: str | None, *, converted: bool = False) -> tuple[BinaryIO, str]:
        """A descriptor of the file and its media type.

        Args:
            kind: its format by content.
            converted: its beginning as FLAC instead, for a browser that does not play it.

        Raises NoSound, PathRefused and StorageFault.
        """
        if root not in self._inbox.roots():
            raise NoSound("its folder is no registered root")
        home = self._platform.home.root
        if kind in CONVERTED or converted:
            return self._preview(root_folder(root, home), path), "audio/flac"
        if kind not in MEDIA_TYPES:
            raise NoSound(f"format {kind}")
        return open_confined(root_folder(root, home), path), MEDIA_TYPES[kind]

    def open_blob(self, name: str) -> tuple[BinaryIO, str]:
        """A descriptor of a blob and its media type. Raises NoSound, PathRefused, StorageFault, ValueError."""
        place = self._platform.blobs.path(name)
        if place.suffix not in MEDIA_TYPES:
            raise NoSound(f"blob with suffix {place.suffix}")
        folder = self._platform.blobs.root
        return open_confined(folder, place.relative_to(folder).as_posix()), MEDIA_TYPES[place.suffix]

    def _preview(self, folder: Path, path: str) -> BinaryIO:
        """The converted beginning of a file, made now if need be: one at a time."""
        kept = self._platform.home.cache / "room"
        with open_confined(folder, path) as file:
            facts = os.fstat(file.fileno())
        name = f"{facts.st_dev:x}-{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}.flac"
        if not (kept / name).exists():
            with self._converting:
                if not (kept / name).exists():
                    self._convert(folder, path, kept / name)
        return open_confined(kept, name)

    @staticmethod
    def _convert(folder: Path, path: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        held = sorted(target.parent.glob("*.flac"), key=lambda file: file.stat().st_mtime)
        for old in held[: max(0, len(held) + 1 - MOST_PREVIEWS)]:
            old.unlink(missing_ok=True)
        try:
            run_limited(
                partial(write_preview, str(folder), path, str(target)),
                memory_bytes=PREVIEW_MEMORY, wall_seconds=PREVIEW_WALL, cpu_seconds=PREVIEW_WALL,
            )  # fmt: skip
        except LimitedError as error:
            raise NoSound(f"not converted: {error.status}") from error
        if not target.exists():
            raise NoSound("it holds no sound")


def write_preview(folder: str, path: str, target: str) -> None:
    """Write the first two minutes of a file below `folder` as 16-bit FLAC; nothing for a file that is no audio.

    Runs in a limited worker. Raises PathRefused and StorageFault.
    """
    import soundfile

    from ai_assets.audio_analysis.decode import AudioRefused, open_audio

    aside = Path(f"{target}.{os.getpid()}")
    try:
        with open_confined(Path(folder), path) as file, open_audio(file, hash_audio=False, verify_md5=False) as reader:
            rate, channels = reader.info.sample_rate, reader.info.channels
            left = PREVIEW_SECONDS * rate
            with soundfile.SoundFile(aside, "w", rate, min(channels, 2), "PCM_16", format="FLAC") as made:
                for block in reader.blocks():
                    made.write(block[:left, :2])
                    left -= len(block)
                    if left <= 0:
                        break
        aside.replace(target)
    except AudioRefused:
        return
    finally:
        aside.unlink(missing_ok=True)


@dataclass(frozen=True)
class Part:
    """Bytes of a file that were asked for: first and last included."""

    first: int
    last: int

    def __len__(self) -> int:
        return self.last - self.first + 1


def asked_part(header: str | None, size: int) -> Part | None:
    """The range of a `Range` header (RFC 9110, 14.2); None = the whole. Raises NoSound where it holds no byte.

    Several ranges, other units and nonsense are answered with the whole, as the standard allows.
    """
    found = RANGE.fullmatch((header or "").strip())
    if found is None or not any(found.groups()) or max(map(len, found.groups())) > 18:
        return None
    first, last = found.groups()
    if not first:
        part = Part(max(0, size - int(last)), size - 1)
    else:
        part = Part(int(first), min(int(last), size - 1) if last else size - 1)
        if last and int(last) < int(first):
            return None
    if part.first >= size or not len(part):
        raise NoSound("range")
    return part


def answer(request: Request, file: BinaryIO, media_type: str) -> Response:
    """The file, or the range that was asked for; the file is closed when all is sent."""
    facts = os.fstat(file.fileno())
    tag = f'"{facts.st_size:x}-{facts.st_mtime_ns:x}"'
    headers = {"accept-ranges": "bytes", "etag": tag, "cache-control": "private, no-cache", "content-type": media_type}
    if request.headers.get("if-none-match") == tag:
        file.close()
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range") if request.headers.get("if-range", tag) == tag else None
    try:
        part = asked_part(wanted, facts.st_size)
    except NoSound:
        file.close()
        return Response(status_code=416, headers={"content-range": f"bytes */{facts.st_size}"})
    status, whole = 200, Part(0, facts.st_size - 1)
    if part is not None:
        status, whole = 206, part
        headers["content-range"] = f"bytes {part.first}-{part.last}/{facts.st_size}"
    headers["content-length"] = str(len(whole))
    return StreamingResponse(_parts(file, whole), status, headers)


def _parts(file: BinaryIO, part: Part) -> Iterator[bytes]:
    with file:
        place = part.first
        while place <= part.last:
            data = os.pread(file.fileno(), min(PART, part.last - place + 1), place)
            if not data:
                return  # the file was cut meanwhile
            yield data
            place += len(data)
