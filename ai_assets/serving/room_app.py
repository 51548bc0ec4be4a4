"""The listening room: a web page on top of the API, served by the same process at `/` and below `/room/`.

Here are its routes. Who may enter stands in `room_door`, what pages show in `room_pages`; reading tables and opening
files happens in threads of its own, so that the API's answers wait for nobody who looks around.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import sqlalchemy as sa
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from ai_assets.serving.api_page import routes_of
from ai_assets.serving.live_state import LiveState
from ai_assets.serving.room_catalogue import track_facts
from ai_assets.serving.room_content import Gallery
from ai_assets.serving.room_door import Door, Refused, RoomDoor, Session, Sessions, cookie, cookie_name
from ai_assets.serving.room_listening import Listening
from ai_assets.serving.room_pages import LANGUAGE_COOKIE, Pages
from ai_assets.serving.room_pictures import Spectrograms
from ai_assets.serving.room_sound import NoSound, Sounds, answer
from ai_assets.serving.room_why import OBSTACLES, why
from ai_assets.serving.room_words import FOLDER, LANGUAGES
from resources.event_stream import StreamUnavailable
from resources.guard.pages import safe_onward
from resources.roots import PathRefused, StorageFault

log = logging.getLogger(__name__)

THREADS, SLOW_THREADS = 2, 6  # the slow ones wait: for a worker process, or for a disk
STATIC = {
    "room.css": "text/css; charset=utf-8",
    "room.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
YEAR = 365 * 86_400


@dataclass(frozen=True)
class Room:
    """What the routes share."""

    door: Door
    pages: Pages
    sounds: Sounds
    pictures: Spectrograms
    threads: ThreadPoolExecutor
    slow: ThreadPoolExecutor

    async def aside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.threads, function, *arguments)

    async def aside_slowly(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.slow, function, *arguments)

    async def show(self, request: Request, name: str, session: Session, make: Callable[[], dict[str, Any]]) -> Response:
        """A page whose values are made in a thread."""
        found: Response = await self.aside(lambda: self.pages.page(request, name, session, **make()))
        return found


def with_listening_room(
    api: Any, state: LiveState, token: str, describe: Callable[[], dict[str, Any]]
) -> tuple[RoomDoor, str]:
    """The API with the room in front of it, and a code that opens the room once (`/room/login?code=…`).

    `describe` gives the API's OpenAPI description, which the room shows as a page.
    """
    platform = state.platform
    sessions = Sessions()
    room = Room(
        Door(sessions, token),
        Pages(state, Gallery(platform), Listening(state)),
        Sounds(platform),
        Spectrograms(platform),
        ThreadPoolExecutor(THREADS, thread_name_prefix="room"),
        ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="room-slow"),
    )
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    _errors(app, room)
    _doors(app, room)
    _look(app, room, describe)
    _listen(app, room)
    _media(app, room)
    return RoomDoor(api, app), sessions.new_code()


def _errors(app: FastAPI, room: Room) -> None:
    @app.exception_handler(Refused)
    async def refused(request: Request, error: Any) -> Response:
        session = room.door.sessions.find(_cookie_of(room, request))
        if session is None:
            return room.pages.page(request, "door", None, status=error.status, fault=error.text)
        return room.pages.page(request, "fault", session, status=error.status, fault=error.text)

    @app.exception_handler(404)
    @app.exception_handler(405)
    async def nothing(request: Request, error: Any) -> Response:
        return await refused(request, Refused(error.status_code, "no_page"))

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return await refused(request, Refused(500, "broken"))

    @app.exception_handler(StreamUnavailable)
    @app.exception_handler(sa.exc.SQLAlchemyError)
    async def no_store(request: Request, error: Exception) -> Response:
        log.warning("the listening room could not answer: %s", type(error).__name__)
        return await refused(request, Refused(503, "no_store"))


def _cookie_of(room: Room, request: Request) -> str:
    return request.cookies.get(cookie_name(request), "")


def _doors(app: FastAPI, room: Room) -> None:
    """Coming in, going out, languages and the files of the pages themselves."""

    @app.get("/room/login")
    async def enter(request: Request, code: str = "") -> Response:
        """The one-time address. It answers with a page that goes on by itself: a strict cookie is not sent along by a
        redirect that began on another site (a link in a chat)."""
        if not code:
            return room.pages.page(request, "door", None, fault=None)
        value = room.door.by_code(request, code)
        page = room.pages.page(request, "entered", None)
        page.headers["set-cookie"] = value
        return page

    @app.post("/room/login")
    async def enter_by_token(request: Request) -> Response:
        form = await room.door.form(request, None)
        value = room.door.by_token(request, form.get("token", ""))
        return RedirectResponse("/", 303, {"set-cookie": value})

    @app.post("/room/logout")
    async def leave(request: Request) -> Response:
        await room.door.form(request, room.door.visitor(request))
        room.door.sessions.close(_cookie_of(room, request))
        return RedirectResponse("/room/login", 303, {"set-cookie": room.door.cookie(request, "", 0)})

    @app.get("/room/language/{lang}")
    async def language(request: Request, lang: str, to: str = "/") -> Response:
        """Keep a language for a year and go back."""
        if lang not in LANGUAGES:
            raise Refused(404, "no_page")
        return RedirectResponse(safe_onward(to), 303, {"set-cookie": cookie(request, LANGUAGE_COOKIE, lang, YEAR)})

    @app.get("/room/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC:
            raise Refused(404, "no_page")
        data = await room.aside((FOLDER / name).read_bytes)
        return Response(data, 200, {"cache-control": "no-cache"}, STATIC[name])


def _look(app: FastAPI, room: Room, describe: Callable[[], dict[str, Any]]) -> None:
    """Pages that show."""
    pages = room.pages

    @app.get("/", response_class=HTMLResponse)
    async def catalogue(request: Request) -> Response:
        session = room.door.visitor(request)
        return await room.show(request, "catalogue", session, partial(pages.catalogue, request, session))

    @app.get("/room")
    async def home() -> Response:
        return RedirectResponse("/", 303)

    @app.get("/room/tracks/{track}", response_class=HTMLResponse)
    async def track(request: Request, track: str) -> Response:
        session = room.door.visitor(request)
        return await room.show(
            request, "track", session, partial(pages.track, session, track, pages.language(request))
        )  # fmt: skip

    @app.get("/room/api", response_class=HTMLResponse)
    async def api(request: Request) -> Response:
        session = room.door.visitor(request)
        return await room.show(
            request, "api", session, lambda: {"api": describe()["info"], "routes": routes_of(describe())}
        )  # fmt: skip

    @app.get("/room/generated", response_class=HTMLResponse)
    async def generated(request: Request) -> Response:
        session = room.door.visitor(request)
        make = partial(pages.generated, request, session, pages.language(request))
        return await room.show(request, "generated", session, make)


def _listen(app: FastAPI, room: Room) -> None:
    """Being a listener."""
    pages, listening = room.pages, room.pages.listening

    @app.get("/room/listener", response_class=HTMLResponse)
    async def listener(request: Request) -> Response:
        session = room.door.visitor(request)
        return await room.show(request, "listener", session, partial(pages.listener, session))

    @app.post("/room/listener")
    async def choose(request: Request) -> Response:
        session = room.door.visitor(request)
        form = await room.door.form(request, session)
        if "leave" in form:
            session.listener, session.shown, session.deeds = None, (), []
        else:
            listening.choose(session, form.get("listener", ""))
        return RedirectResponse("/room/listener", 303)

    @app.post("/room/events")
    async def tell(request: Request) -> Response:
        """What was done with a track; a script gets the new list, a form goes back to the page with it."""
        session = room.door.visitor(request)
        form = await room.door.form(request, session)
        await room.aside(lambda: listening.tell(pages.view, session, form))
        if request.headers.get("x-room-part") == "list":
            return await room.show(request, "list", session, partial(pages.listener, session))
        return RedirectResponse("/room/listener", 303)

    @app.get("/room/why/{track}", response_class=HTMLResponse)
    async def because(request: Request, track: str) -> Response:
        session = room.door.visitor(request)
        if session.listener is None:
            return RedirectResponse("/room/listener", 303)
        item = pages.item(pages.view, session, track)
        home = pages.state.platform.home.root
        found = await room.aside_slowly(why, home, session.listener, track)
        make = lambda: {"why": found, "card": pages.card(pages.view, item), "obstacles": OBSTACLES}  # noqa: E731
        return await room.show(request, "why", session, make)


def _media(app: FastAPI, room: Room) -> None:
    """Sound and pictures; what may not be shown cannot be fetched either."""
    pages, platform = room.pages, room.pages.state.platform

    def opened_track(session: Session, track: str, converted: bool) -> Any:
        view = pages.view
        item = pages.item(view, session, track)
        root, path = (view.snapshot.catalogue[name][item] for name in ("root", "path"))
        if path is None:
            raise NoSound("no audio")
        kind = track_facts(platform, track).quality["detected_format"]
        return room.sounds.open_track(str(root), str(path), kind, converted=converted)

    def opened_item(session: Session, item: str, kind: str) -> Any:
        made = pages.gallery.all().get(item)
        if made is None or kind not in made.files or not pages.may_show(session, made):
            raise NoSound("no such item")
        return room.sounds.open_blob(made.files[kind])

    def drawn(session: Session, track: str) -> bytes:
        pages.item(pages.view, session, track)
        blob = track_facts(platform, track).mels
        if blob is None:
            raise NoSound("no spectrogram")
        return room.pictures.picture(blob)

    async def opened(open_it: Callable[[], Any]) -> Any:
        try:
            return await room.aside_slowly(open_it)
        except (NoSound, PathRefused, ValueError) as error:
            log.info("nothing to send: %s", type(error).__name__)
            raise Refused(404, "no_sound") from None
        except (StorageFault, OSError) as error:
            log.warning("a file of the listening room cannot be read: %s", type(error).__name__)
            raise Refused(503, "no_store") from None

    @app.get("/room/tracks/{track}/sound")
    async def sound(request: Request, track: str, converted: bool = False) -> Response:
        session = room.door.visitor(request)
        return answer(request, *await opened(partial(opened_track, session, track, converted)))

    @app.get("/room/tracks/{track}/spectrogram.png")
    async def spectrogram(request: Request, track: str) -> Response:
        session = room.door.visitor(request)
        data = await opened(partial(drawn, session, track))
        return Response(data, 200, {"cache-control": "private, max-age=300"}, "image/png")

    @app.get("/room/generated/{item}/{kind}")
    async def made(request: Request, item: str, kind: str) -> Response:
        session = room.door.visitor(request)
        return answer(request, *await opened(partial(opened_item, session, item, kind)))
