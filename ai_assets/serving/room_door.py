"""Who may enter the listening room: one-time login addresses, sessions, and what every answer of it carries.

A login address is good once and for ten minutes; what it opens is a session that this process alone remembers, under a
random cookie (HttpOnly, SameSite=Strict). Every POST must bring the session's CSRF token and may not come from another
site. The API behind the same port is not touched: its bearer token opens nothing here but the login form.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from fastapi import Request, Response

from ai_assets.serving.api_guard import Bucket, Message, Receive, Scope, Send

CODE_SECONDS = 600.0
SESSION_SECONDS = 12 * 3600.0
MOST_SESSIONS = 100
MOST_BODY_BYTES = 64_000
LOGINS_PER_SECOND = 3
REQUESTS_PER_SECOND = 200

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer a browser would post forms with the origin "null"
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Refused(Exception):
    """A request that does not pass: HTTP status and the key of the sentence that says why."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


@dataclass
class Session:
    """One visitor. The raw listener id stays here, in memory: never in an address, a cookie or a log.

    Attributes:
        csrf: what every form of this session brings back; until: its end, on the clock of `Sessions`.
        listener: raw id of the listener whose place the visitor takes; None = nobody yet.
        shown: track ids of the list last shown; deeds: (action, title) of what was done, newest first.
    """

    until: float
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    listener: str | None = None
    shown: tuple[str, ...] = ()
    deeds: list[tuple[str, str]] = field(default_factory=list)


class Sessions:
    """Login codes and sessions of one process; both are kept as hashes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._codes: dict[str, float] = {}
        self._open: dict[str, Session] = {}

    def new_code(self) -> str:
        """A code that opens one session within ten minutes."""
        code = secrets.token_urlsafe(32)
        self._codes[_hash(code)] = self._clock() + CODE_SECONDS
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code is good; it is not afterwards."""
        until = self._codes.pop(_hash(code), None)
        return until is not None and self._clock() < until

    def open(self) -> str:
        """Begin a session; returns the cookie's value. The oldest ends where there are too many."""
        now = self._clock()
        self._open = {name: held for name, held in self._open.items() if held.until > now}
        while len(self._open) >= MOST_SESSIONS:
            del self._open[next(iter(self._open))]
        key = secrets.token_urlsafe(32)
        self._open[_hash(key)] = Session(now + SESSION_SECONDS)
        return key

    def find(self, key: str) -> Session | None:
        """The session of a cookie; None when it is unknown or over."""
        held = self._open.get(_hash(key))
        return held if held is not None and held.until > self._clock() else None

    def close(self, key: str) -> None:
        self._open.pop(_hash(key), None)


@dataclass
class RoomDoor:
    """ASGI: the paths of the room go to the room, all others to the API, untouched."""

    api: Any
    room: Any
    requests: Bucket = field(default_factory=lambda: Bucket(REQUESTS_PER_SECOND))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _of_room(scope["path"]):
            await self.api(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                more = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                kept = [] if b"cache-control" in given else [(b"cache-control", b"no-store")]
                message = {**message, "headers": [*message["headers"], *more, *kept]}
            await send(message)

        if self.requests.take() > 0:
            busy = Response("too many requests", 429, {"retry-after": "1"}, "text/plain")
            await busy(scope, receive, dressed)
            return
        await self.room(scope, receive, dressed)


def _of_room(path: str) -> bool:
    return path in ("/", "/room") or path.startswith("/room/")


@dataclass
class Door:
    """What the room's routes ask about a request."""

    sessions: Sessions
    token: str
    logins: Bucket = field(default_factory=lambda: Bucket(LOGINS_PER_SECOND))

    def visitor(self, request: Request) -> Session:
        """The session of a request. Raises Refused for anybody else."""
        session = self.sessions.find(request.cookies.get(cookie_name(request), ""))
        if session is None:
            raise Refused(401, "door_closed")
        return session

    async def form(self, request: Request, session: Session | None) -> dict[str, str]:
        """The fields of a POST. Raises Refused where it is too large, of another site, or lacks the CSRF token."""
        origin = request.headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("host", "").lower():
            raise Refused(403, "other_site")
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise Refused(403, "other_site")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > MOST_BODY_BYTES:
                raise Refused(413, "too_large")
        try:
            found = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=30)
        except ValueError:
            raise Refused(422, "bad_form") from None
        fields = {name: values[-1] for name, values in found.items()}
        given = request.headers.get("x-csrf-token") or fields.get("csrf", "")
        if session is not None and not hmac.compare_digest(given.encode(), session.csrf.encode()):
            raise Refused(403, "no_csrf")
        return fields

    def by_code(self, request: Request, code: str) -> str:
        """A session's cookie for a login code. Raises Refused."""
        if not self.sessions.redeem(code):
            raise Refused(401, "code_used")
        return self.cookie(request, self.sessions.open(), SESSION_SECONDS)

    def by_token(self, request: Request, token: str) -> str:
        """A session's cookie for the API's token, at most three tries a second. Raises Refused."""
        if self.logins.take() > 0:
            raise Refused(429, "too_many_logins")
        if not hmac.compare_digest(token.strip().encode(), self.token.encode()):
            raise Refused(401, "wrong_token")
        return self.cookie(request, self.sessions.open(), SESSION_SECONDS)

    def cookie(self, request: Request, value: str, seconds: float) -> str:
        """The header that sets the session's cookie (0 seconds: removes it)."""
        return cookie(request, cookie_name(request), value, seconds)


def cookie_name(request: Request) -> str:
    """Cookies of all ports of a host share one jar, so the name has the port in it."""
    return f"ai_assets_room_{(request.scope.get('server') or ('', 0))[1]}"


def cookie(request: Request, name: str, value: str, seconds: float) -> str:
    secure = "; Secure" if request.url.scheme == "https" else ""
    return f"{name}={value}; Path=/; Max-Age={seconds:.0f}; HttpOnly; SameSite=Strict{secure}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
