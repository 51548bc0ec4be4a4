"""Listener ids become pseudonyms at the rim: HMAC-SHA-256 with a key that is never stored beside the data."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

LENGTH = 24


class KeyChanged(Exception):
    """The configured key is not the one this home's pseudonyms were made with."""


class Pseudonyms:
    """Maps raw listener ids to pseudonyms.

    Args:
        folder: the home's secrets folder; a key is made there (mode 0600) when `key` is None.
        key: the configured key.

    Raises:
        KeyChanged: by `prepare`, when the home was built with another key.
    """

    FORGETS_NOTHING = "the key alone; who was mapped with it is not kept"

    def __init__(self, folder: Path, key: str | None = None) -> None:
        self._folder = folder
        self._configured = key
        self._key: bytes | None = None

    def prepare(self) -> None:
        """Make the key if there is none, and refuse a changed one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        key = self._load()
        mark = hmac.new(key, b"listener-key", hashlib.sha256).hexdigest()
        known = self._folder / "listener_key.check"
        if not known.exists():
            _write_secret(known, mark)
        elif known.read_text().strip() != mark:
            raise KeyChanged(
                "the listener key is not the one this home was built with: every pseudonym would change. "
                "Restore the old AI_ASSETS_LISTENER_KEY, or start a new home."
            )

    def of(self, listener: str) -> str:
        """The pseudonym of a raw id: `l` and 24 hexadecimal digits."""
        digest = hmac.new(self._load(), listener.encode(), hashlib.sha256).hexdigest()
        return f"l{digest[:LENGTH]}"

    def _load(self) -> bytes:
        if self._key is None:
            if self._configured is not None:
                self._key = self._configured.encode()
            else:
                path = self._folder / "listener_key"
                if not path.exists():
                    self._folder.mkdir(parents=True, exist_ok=True)
                    _write_secret(path, secrets.token_hex(32))
                self._key = path.read_text().strip().encode()
        return self._key


def _write_secret(path: Path, text: str) -> None:
    """Write once, readable by the owner alone; a file another process made first stays."""
    handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".aside-")  # mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(aside, path)
    finally:
        Path(aside).unlink()
