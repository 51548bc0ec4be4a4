"""The guard: an ASGI application round another one, through which every request, message and socket has to pass.

It decides by what a request would do, never by how it arrives: one way in for GraphQL (POST, JSON, in the body), every
other way refused. What passes is rebuilt from what was read, so that guard and application cannot read it differently.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from resources.guard.audit import LONGEST_DETAIL, Access, Record, nothing_recorded
from resources.guard.documents import Asked, BadRequest, read_body
from resources.guard.identity import SESSION_SECONDS, Identities, Person, TrustedProxy
from resources.guard.pages import HEADERS as PAGE_HEADERS
from resources.guard.pages import login_page, safe_onward
from resources.guard.roles import Role, needed_for
from resources.guard.sockets import SubscriptionsOnly

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

PERSON = "ai_assets.person"  # where the application finds who was let in: in the scope, which no client can write
BODY_SECONDS = 60.0
FAILED_LOGIN_SECONDS = 0.5
CLOSE_REFUSED = 1008
# What a client could lie with about itself, and what is the guard's alone.
DROPPED = frozenset(
    {
        "forwarded", "x-real-ip", "x-remote-user", "remote-user", "authorization", "cookie", "content-length",
        "transfer-encoding", "content-encoding", "proxy",
    }
)  # fmt: skip
REPORTS = ("/report_asset_materialization/", "/report_asset_check/", "/report_asset_observation/")
ALWAYS = {"x-frame-options": "DENY", "x-content-type-options": "nosniff", "referrer-policy": "same-origin"}


@dataclass(frozen=True)
class Rules:
    """How one guard decides.

    Args:
        identities: tokens and sessions.
        record: called for each mutation before it happens, each login and each refusal.
        hosts: host names by which this server may be called, without port.
        any_address: whether it may also be called by any IP address (a rebound name is never one).
        proxy: a proxy whose word about the user is taken.
        cookie: name of the session cookie (cookies of all ports of a host share one jar).
        largest_body: bytes; more is answered with 413.
    """

    identities: Identities
    record: Record = nothing_recorded
    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "::1"})
    any_address: bool = False
    proxy: TrustedProxy = field(default_factory=TrustedProxy)
    cookie: str = "ai_assets_ui"
    largest_body: int = 10_000_000


class Refused(Exception):
    """A request that does not pass: HTTP status and the reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Guard:
    """`Guard(app, rules)` is an ASGI application; `app` sees only what `rules` let through."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        person: Person | None = None
        try:
            headers = self._checked_headers(scope)
            if scope["path"] in ("/login", "/logout"):
                await self._door(scope, headers, receive, send)
                return
            person = self._person(scope, headers)
            if person is None:
                await self._ask_to_log_in(scope, headers, send)
                return
            if scope["method"] in ("GET", "HEAD"):
                self._check_reading(scope["path"])
                await self._forward(scope, receive, send, person)
                return
            await self._write(scope, headers, receive, send, person)
        except Refused as refusal:
            await self._refuse(scope, send, refusal, person)

    def _checked_headers(self, scope: Scope) -> dict[str, str]:
        """Headers by lower-case name. Raises Refused for a wrong host, origin or path, and for doubled headers."""
        headers: dict[str, str] = {}
        for raw, value in scope["headers"]:
            name = raw.decode("latin-1").lower()
            if name in headers and name in ("host", "origin", "authorization", "content-type", "content-length"):
                raise Refused(400, f"the header {name} was given twice")
            joined = f"{headers[name]}; " if name == "cookie" and name in headers else ""
            headers[name] = joined + value.decode("latin-1")
        host = headers.get("host", "")
        if not self._known_host(host):
            raise Refused(403, f"host {host[:100]!r} is not one of this server's names (option --allow-host)")
        writing = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        origin = headers.get("origin")
        if writing and origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise Refused(403, f"origin {origin[:100]!r} is another site")
        path = scope["path"]
        if "\\" in path or "\0" in path or ".." in path.split("/"):
            raise Refused(400, "the path is not plain")
        return headers

    def _known_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if "@" in host or "/" in host:
                return False
        except ValueError:
            return False
        if name in self._rules.hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._rules.any_address

    def _person(self, scope: Scope, headers: Mapping[str, str]) -> Person | None:
        """Who is asking. A token that is given must be right: a wrong one does not fall back to the cookie."""
        identities = self._rules.identities
        if "authorization" in headers:
            kind, _, token = headers["authorization"].partition(" ")
            return identities.by_token(token.strip()) if kind.lower() == "bearer" else None
        named = self._rules.proxy.person(_address(scope), headers)
        if named is not None:
            return named
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self._rules.cookie)
        except CookieError:
            return None
        return identities.by_session(cookie.value) if cookie is not None else None

    async def _door(self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send) -> None:
        """Login by page or by an address with `?token=`, and logout."""
        query = parse_qs(scope["query_string"].decode("latin-1"))
        onward = safe_onward(query.get("next", ["/"])[0])
        method, token = scope["method"], query.get("token", [""])[0]
        if scope["path"] == "/logout":
            if method != "POST":
                raise Refused(405, "log out by POST")
            await _answer(send, 303, headers={"location": "/login", "set-cookie": self._cookie(scope, "", 0)})
            return
        if method == "POST":
            form = parse_qs((await self._body(receive, headers)).decode("utf-8", "replace"))
            token = form.get("token", [""])[0].strip()
        elif method not in ("GET", "HEAD"):
            raise Refused(405, "log in by GET or POST")
        elif not token:
            page = login_page(person=self._person(scope, headers), onward=onward)
            await _answer(send, 200, page, "text/html; charset=utf-8", PAGE_HEADERS)
            return
        person = self._rules.identities.by_token(token)
        if person is None:
            await asyncio.sleep(FAILED_LOGIN_SECONDS)
            await self._note(Access("", "", "login", False, "http", _address(scope), "wrong token"))
            page = login_page(onward=onward, fault="This token is not valid.")
            await _answer(send, 401, page, "text/html; charset=utf-8", PAGE_HEADERS)
            return
        await self._note(Access(person.name, str(person.role), "login", True, "http", _address(scope)))
        cookie = self._cookie(scope, self._rules.identities.open_session(person), SESSION_SECONDS)
        await _answer(send, 303, headers={"location": quote(onward, safe="/?=&%:~,+@"), "set-cookie": cookie})

    def _cookie(self, scope: Scope, value: str, seconds: int) -> str:
        secure = "; Secure" if scope.get("scheme") == "https" else ""
        return f"{self._rules.cookie}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}"

    async def _ask_to_log_in(self, scope: Scope, headers: Mapping[str, str], send: Send) -> None:
        page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
        if page and "authorization" not in headers:
            query = scope["query_string"].decode("latin-1")
            onward = safe_onward(scope["path"] + (f"?{query}" if query else ""))
            place = "/login" if onward == "/" else f"/login?next={quote(onward, safe='/')}"
            await _answer(send, 303, headers={"location": place})
            return
        raise Refused(401, "log in: Authorization: Bearer TOKEN, or a browser session from /login")

    def _check_reading(self, path: str) -> None:
        first = path.strip("/").split("/")[0].lower()
        if first == "graphql":  # Dagster would execute mutations of a query in the URL
            raise Refused(405, "GraphQL by POST only, with the query in the body")
        if first in ("notebook", "dagit"):
            raise Refused(403, "notebooks are not served")
        if first.startswith("report_asset_"):
            raise Refused(405, "report by POST")

    async def _write(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, send: Send, person: Person
    ) -> None:
        path = scope["path"]
        reporting = path.startswith(REPORTS)
        if scope["method"] != "POST" or not (path == "/graphql" or reporting):
            raise Refused(405, f"{scope['method']} {path[:100]} is not served")
        if headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(415, "expected content-type: application/json")
        if not _names_operation_only(scope["query_string"]):
            raise Refused(400, "expected everything in the body, nothing in the URL")
        body = await self._body(receive, headers)
        if path == "/graphql":
            body = await self._graphql(scope, body, person)
        else:
            name = path.split("/")[1]
            await self._judge(scope, person, {name: Role.ADMIN}, {"path": path[:LONGEST_DETAIL]})
        await self._forward(scope, _replay(body), send, person, body)

    async def _graphql(self, scope: Scope, body: bytes, person: Person) -> bytes:
        try:
            asked = read_body(body)
        except BadRequest as error:
            raise Refused(400, str(error)) from None
        if "subscription" in asked.kinds:
            raise Refused(400, "subscriptions go over the WebSocket")
        await self._judge(scope, person, {name: needed_for(name) for name in asked.mutations}, _details(asked))
        return asked.body()

    async def _judge(self, scope: Scope, person: Person, needed: Mapping[str, Role], details: dict[str, Any]) -> None:
        """Let all of these pass or none. What passes is recorded before it happens; unrecorded, nothing passes."""
        for name, role in needed.items():
            if person.role < role:
                raise Refused(403, f"{name} needs the role {role}; {person.name} has {person.role}")
        for name in needed:
            access = Access(person.name, str(person.role), name, True, scope["type"], _address(scope), details=details)
            if not await self._note(access):
                raise Refused(503, "the audit log cannot be written, so nothing is changed; see ai-assets doctor")

    async def _body(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        most = self._rules.largest_body
        too_large = Refused(413, f"the body is larger than {most:,} bytes")
        declared = headers.get("content-length", "0")
        if not declared.isdigit() or int(declared) > most:
            raise too_large
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Refused(400, "the client has gone")
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        raise too_large
                    if not message.get("more_body", False):
                        return b"".join(parts)
        except TimeoutError:
            raise Refused(408, f"the body did not come within {BODY_SECONDS:.0f} s") from None

    async def _forward(
        self, scope: Scope, receive: Receive, send: Send, person: Person, body: bytes | None = None
    ) -> None:
        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message.get("headers", [])}
                extra = [(k.encode(), v.encode()) for k, v in ALWAYS.items() if k.encode() not in names]
                message = {**message, "headers": [*message.get("headers", []), *extra]}
            await send(message)

        await self._app(_cleaned(scope, person, body), receive, guarded_send)

    async def _refuse(self, scope: Scope, send: Send, refusal: Refused, person: Person | None) -> None:
        await self._note_refusal(scope, refusal, person)
        headers = {"www-authenticate": "Bearer"} if refusal.status == 401 else {}
        if refusal.status == 413:
            headers["connection"] = "close"
        error = json.dumps({"data": None, "errors": [{"message": refusal.reason}]})
        await _answer(send, refusal.status, error, "application/json", headers)

    async def _note_refusal(self, scope: Scope, refusal: Refused, person: Person | None) -> None:
        method = scope.get("method", "WEBSOCKET")
        actor, role = (person.name, str(person.role)) if person else ("", "")
        what = f"{method} {scope['path'][:200]}"
        await self._note(Access(actor, role, what, False, scope["type"], _address(scope), refusal.reason))

    async def _note(self, access: Access) -> bool:
        try:
            await asyncio.to_thread(self._rules.record, access)
        except Exception:
            log.exception("the access of %s to %s could not be recorded", access.actor, access.what)
            return False
        return True

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        person: Person | None = None
        try:
            headers = self._checked_headers(scope)
            person = self._person(scope, headers)
            if person is None:
                raise Refused(401, "log in before opening a socket")
            if scope["path"] != "/graphql" or scope["query_string"]:
                raise Refused(404, "there is no such socket")
        except Refused as refusal:
            await self._note_refusal(scope, refusal, person)
            await receive()
            await send({"type": "websocket.close", "code": CLOSE_REFUSED, "reason": refusal.reason[:120]})
            return

        async def note(reason: str) -> None:
            await self._note_refusal(scope, Refused(403, reason), person)

        filtered = SubscriptionsOnly(receive, send, self._rules.largest_body, note)
        await self._app(_cleaned(scope, person, None), filtered.receive, send)


def _cleaned(scope: Scope, person: Person, body: bytes | None) -> Scope:
    """The scope the application sees: no header by which a client could claim to be somebody, and who it really is."""
    kept = []
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower().replace("_", "-")
        if name in DROPPED or name.startswith("x-forwarded-"):
            continue
        kept.append((raw, value))
    kept.append((b"x-forwarded-user", person.name.encode("latin-1", "replace")))
    if body is not None:
        kept.append((b"content-length", str(len(body)).encode()))
    query = scope["query_string"] if body is None else b""
    return {**scope, "headers": kept, "query_string": query, PERSON: person}


def _names_operation_only(query: bytes) -> bool:
    """Whether a URL's query is empty or the `op=NAME` that Dagster's UI adds for people who watch its requests."""
    fields = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    return not query or (set(fields) == {"op"} and fields["op"][0].isidentifier() and len(fields["op"]) == 1)


def _details(asked: Asked) -> dict[str, Any]:
    """What was asked for, short enough to keep; the audit log redacts it."""
    if not asked.mutations:
        return {}
    text = json.dumps(asked.variables, ensure_ascii=False, default=str)
    if len(text) <= LONGEST_DETAIL:
        return {"variables": asked.variables}
    return {"variables_start": text[:LONGEST_DETAIL], "variables_characters": len(text)}


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _replay(body: bytes) -> Receive:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if not sent:
            sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.Event().wait()  # the client's going is not of interest to a request of milliseconds
        raise AssertionError("unreachable")

    return receive


async def _answer(
    send: Send, status: int, text: str = "", kind: str = "text/plain", headers: Mapping[str, str] | None = None
) -> None:
    body = text.encode()
    all_headers = {**ALWAYS, "cache-control": "no-store", "content-type": kind, "content-length": str(len(body))}
    all_headers.update(headers or {})
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in all_headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
