"""What every request of the API passes first: the token, the rate and the size of its body. Pure ASGI.

Open to everybody: `/health` and `/ready`. Nothing here reads or logs a path, for a path may name a listener.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

OPEN_PATHS = frozenset({"/health", "/ready"})
MAX_BODY_BYTES = 10_000_000
MAX_AUDIO_BYTES = 500_000_000
"""Of a track's audio alone: it goes to the disk as it comes, and never lies in memory."""


class BodyTooLarge(Exception):
    """More came than the request may hold."""


def is_audio(content_type: str) -> bool:
    """Whether a body is a file of audio by what its sender says of it."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind.startswith("audio/") or kind in ("application/octet-stream", "application/ogg", "video/mp4")


def most_bytes(scope: Scope, headers: Mapping[str, str]) -> int:
    """How long the body of a request may be."""
    track = scope["method"] == "PUT" and scope["path"].startswith("/tracks/")
    return MAX_AUDIO_BYTES if track and is_audio(headers.get("content-type", "")) else MAX_BODY_BYTES


@dataclass
class Bucket:
    """A token bucket: `rate` requests a second, as many at once; 0 = no limit. Used from one thread."""

    rate: int
    clock: Callable[[], float] = time.monotonic
    _left: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._left, self._at = float(self.rate), self.clock()

    def take(self) -> float:
        """0.0 where the request may pass, else the seconds to wait."""
        if self.rate == 0:
            return 0.0
        now = self.clock()
        self._left = min(float(self.rate), self._left + (now - self._at) * self.rate)
        self._at = now
        if self._left >= 1.0:
            self._left -= 1.0
            return 0.0
        return (1.0 - self._left) / self.rate


@dataclass
class ApiGuard:
    """Wraps the application."""

    app: Any
    token: str
    rate: int

    def __post_init__(self) -> None:
        self._bucket = Bucket(self.rate)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if scope["path"] not in OPEN_PATHS:
            if not self._knows(headers.get("authorization", "")):
                reason = "a valid token is needed: Authorization: Bearer TOKEN"
                await _refuse(send, 401, "token_needed", reason, "WWW-Authenticate: Bearer")
                return
            wait = self._bucket.take()
            if wait > 0:
                reason = f"more than {self.rate} requests a second (AI_ASSETS_API_RATE_LIMIT)"
                await _refuse(send, 429, "too_many_requests", reason, f"Retry-After: {max(1, round(wait))}")
                return
        length, most = headers.get("content-length", "0"), most_bytes(scope, headers)
        if not length.isdigit() or int(length) > most:
            await _too_large(send, most)
            return
        body, started = _Body(receive, most), False

        async def watched(message: Message) -> None:
            nonlocal started
            if body.too_large and not started:
                return  # the application's own word on a body that broke off
            started = True
            await send(message)

        try:
            await self.app(scope, body.next, watched)
        except Exception:
            if not body.too_large:
                raise
        if body.too_large and not started:
            await _too_large(send, most)

    def _knows(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        same = hmac.compare_digest(token.strip().encode("utf-8", "replace"), self.token.encode())
        return same and scheme.lower() == "bearer"


@dataclass
class _Body:
    """The body as it comes, until it is too long: a length need not be said beforehand."""

    receive: Receive
    most: int
    seen: int = 0
    too_large: bool = False

    async def next(self) -> Message:
        message = await self.receive()
        self.seen += len(message.get("body", b""))
        if self.seen > self.most:
            self.too_large = True
            raise BodyTooLarge
        return message


async def _too_large(send: Send, most: int) -> None:
    reason = f"the body is larger than {most:,} bytes: send it in parts"
    await _refuse(send, 413, "body_too_large", reason, "Connection: close")


async def _refuse(send: Send, status: int, code: str, reason: str, header: str) -> None:
    body = json.dumps({"detail": reason, "code": code}).encode()
    name, _, value = header.partition(": ")
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (name.lower().encode(), value.encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
