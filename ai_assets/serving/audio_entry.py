"""PUT of a track with its audio: the file is kept in the landing folder, heard in a limited process, and entered.

An upload lies aside until it was heard; one that is no sound audio leaves nothing behind. What is kept is an ordinary
file of the landing folder: the sensors take it into the tables, where it keeps the track it was entered as.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ai_assets.audio_analysis.entered import MODEL
from ai_assets.audio_status import ACCEPTED
from ai_assets.data_processing.batches import LANDING, AudioInbox, root_folder
from ai_assets.serving.api_models import TrackBody
from ai_assets.serving.live_state import LiveState
from ai_assets.serving.track_entry import Conflict, Heard, TrackEntry
from resources.isolation import LimitedPool

FOLDER = "entered"
PART = ".part"
OLD_SECONDS = 86_400.0
MEMORY_BYTES = 3 * 2**30
CPU_SECONDS, WALL_SECONDS = 300.0, 600.0
SUFFIXES = {"WAV": ".wav", "FLAC": ".flac", "MP3": ".mp3", "OGG": ".ogg", "AIFF": ".aiff", "M4A": ".m4a"}


class AudioEntry:
    """Takes in the audio of entered tracks; one file is heard at a time."""

    def __init__(self, state: LiveState, tracks: TrackEntry) -> None:
        self._state, self._tracks = state, tracks
        self._home = state.platform.home.root
        self._embedder: tuple[str, str] | None = None

    async def upload(self, chunks: AsyncIterator[bytes]) -> Path:
        """Write a body aside and return where; what breaks off leaves nothing behind."""
        folder = self._home / LANDING / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        _drop_old(folder)
        part = folder / f".{uuid.uuid4().hex}{PART}"
        try:
            with part.open("xb") as file:
                async for chunk in chunks:
                    file.write(chunk)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        return part

    def put(self, identifier: str, part: Path, body: TrackBody) -> tuple[str, bool, str | None]:
        """Enter an uploaded file; returns the track, whether it is new, and the embedding it is found by (or None).

        Raises Conflict where the file is no sound audio, or another track's.
        """
        try:
            self._tracks.check(identifier)
            heard = self._heard(part.parent, part.name)
            kept = part.with_name(f"{heard.file_hash}{SUFFIXES.get(heard.format, '.wav')}")
            self._tracks.judge(identifier, heard)
            with part.open("rb") as file:
                os.fsync(file.fileno())
            if not kept.exists():  # the same file again is kept once
                part.rename(kept)
                _sync(kept.parent)
        finally:
            part.unlink(missing_ok=True)
        return self._tracks.put_heard(identifier, body, heard)

    def put_named(self, identifier: str, body: TrackBody) -> tuple[str, bool, str | None]:
        """Enter a file that lies under a landing root already. Returns and raises as `put` does."""
        if body.vector is not None:
            raise Conflict("audio", "expected either audio or a vector")
        self._tracks.check(identifier)
        heard = self._heard(*self._place(str(body.audio)))
        self._tracks.judge(identifier, heard)
        return self._tracks.put_heard(identifier, body, heard)

    def _place(self, named: str) -> tuple[Path, str]:
        """Root folder and path below it of a file named by its root, in full, or below the landing folder."""
        for root in AudioInbox(self._state.platform.database, self._home).roots():
            folder = root_folder(root, self._home)
            for start in (f"{folder}/", f"{root}/"):
                if named.startswith(start):
                    return folder, named.removeprefix(start)
        return self._home / LANDING, named

    def _heard(self, root: Path, path: str) -> Heard:
        view = self._state.view
        label = view.snapshot.embedding if view is not None else None
        ours = label if label is not None and label.startswith(f"{MODEL}/") else None
        answer = self._limited("hear", {"root": str(root), "path": path, "embedder": self._folder(ours)})
        if answer["status"] not in ACCEPTED:
            raise Conflict("audio", f"{answer['status']}: {answer['reason']}"[:500])
        vector = answer["vector"]
        return Heard(
            file_hash=answer["file_hash"], audio_hash=answer["audio_hash"], format=str(answer["format"]),
            duration_seconds=answer["duration_seconds"], tags=answer["tags"], vector=vector,
            embedding=ours if vector is not None else None,
        )  # fmt: skip

    def _folder(self, label: str | None) -> str | None:
        """Where the embedder lies; the registry is asked in another process, for it brings half the house with it."""
        if label is None:
            return None
        if self._embedder is None or self._embedder[0] != label:
            folder = self._limited("embedder_folder", {"home": str(self._home), "label": label}, memory_bytes=None)
            self._embedder = label, folder
        return self._embedder[1]

    def _limited(self, function: str, item: dict[str, Any], *, memory_bytes: int | None = MEMORY_BYTES) -> Any:
        """What a function of `audio_analysis.entered` gives in a process with limits."""
        with LimitedPool(1, memory_bytes=memory_bytes, cpu_seconds=CPU_SECONDS, wall_seconds=WALL_SECONDS) as pool:
            outcome = next(iter(pool.map(f"ai_assets.audio_analysis.entered:{function}", [item])))
        if outcome.status == "ok":
            return outcome.value
        if outcome.exception is not None:
            raise outcome.exception
        raise Conflict("audio", f"{outcome.status}: the file could not be heard within the limits")


def _drop_old(folder: Path) -> None:
    """Remove what uploads of processes that were killed have left."""
    for path in folder.glob(f".*{PART}"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - OLD_SECONDS:
                path.unlink()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
