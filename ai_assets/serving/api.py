"""The HTTP API: thin routes over `answers`, the event stream and entered tracks. What they mean lies there.

Answering is done in a few threads (numpy, LightGBM and annoy let go of the interpreter), so that no request waits
behind more than a few others. The raw listener id is mapped here, at the rim; no log line holds a path.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import sqlalchemy as sa
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from ai_assets.data_processing.events import Place, Refused, check_event
from ai_assets.recommendation_update.answers import NOTHING, NothingToAnswer, alike, recommended
from ai_assets.recommendation_update.histories import History, Play
from ai_assets.serving import api_models as models
from ai_assets.serving.answering import Answerer, NotReady, as_json
from ai_assets.serving.api_guard import is_audio
from ai_assets.serving.api_metrics import ApiMetrics
from ai_assets.serving.api_page import api_page
from ai_assets.serving.audio_entry import AudioEntry
from ai_assets.serving.helpers import Helpers
from ai_assets.serving.live_state import LiveState, View
from ai_assets.serving.room_door import HEADERS
from ai_assets.serving.track_entry import Conflict, TrackEntry
from resources.event_stream import StreamUnavailable

log = logging.getLogger(__name__)

THREADS = 2
"""More only wait for each other: half of an answer is held by the interpreter's lock."""
MOST_EVENTS = 50_000
MOST_FAULTS = 100
# what ingestion puts into quarantine: the sender's clock is wrong, not the form of the event
JUDGED_LATER = frozenset({"future", "too_old"})
Count = Annotated[int, Query(ge=1, le=1000, description="How many.")]


class Faulty(Exception):
    """The request's content is at fault; `faults` is shown."""

    def __init__(self, faults: list[dict[str, Any]]) -> None:
        super().__init__("faults")
        self.faults = faults


@dataclass
class Service:
    """What the routes share: the state, a few threads to answer in, helpers beside them, and the counters."""

    state: LiveState
    pool: ThreadPoolExecutor
    hearing: ThreadPoolExecutor
    metrics: ApiMetrics
    answerer: Answerer
    helpers: Helpers
    started: Callable[[], None]

    @property
    def view(self) -> View:
        """The view of this moment. Raises NotReady."""
        if self.state.view is None:
            raise NotReady
        return self.state.view

    async def aside(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.pool, function, *arguments)

    async def heard(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Beside the answers, for it takes seconds; one at a time."""
        return await asyncio.get_running_loop().run_in_executor(self.hearing, function, *arguments)

    @asynccontextmanager
    async def running(self, _app: FastAPI) -> AsyncIterator[None]:
        """Have helpers while the application runs."""
        await self.helpers.start()
        self.started()
        try:
            yield
        finally:
            await self.helpers.stop()
            self.answerer.stop()


def build_api(state: LiveState, *, helpers: int | None = None, started: Callable[[], None] = lambda: None) -> Measured:
    """The application of one home. The caller starts and stops `state`.

    Args:
        helpers: processes that answer beside this one where the catalogue is large; by default one for each core.
        started: called when all is ready to answer.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="answer")
    hearing = ThreadPoolExecutor(1, thread_name_prefix="hearing")
    service = Service(state, pool, hearing, ApiMetrics(state), Answerer(state), Helpers(state, helpers), started)
    app = FastAPI(
        lifespan=service.running,
        docs_url=None,
        redoc_url=None,
        title="Music AI: recommendations",
        description="Recommendations and similar tracks, fresh within a second of an event. "
        "Send `Authorization: Bearer TOKEN`.",
    )
    _errors(app)
    _wrong_addresses(app)
    _ask(app, service)
    _tell(app, service)
    _watch(app, service)
    return Measured(app, service.metrics)


@dataclass
class Measured:
    """Counts requests by route; plain ASGI, for a middleware of the framework costs as much as a small answer."""

    app: FastAPI
    metrics: ApiMetrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        start, status = time.perf_counter(), 500

        async def watched(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            if scope["type"] == "http":
                route = getattr(scope.get("route"), "path", "none")
                self.metrics.count(route, status, time.perf_counter() - start)


def _ask(app: FastAPI, service: Service) -> None:
    """Routes that answer."""
    platform = service.state.platform
    home = platform.home.root

    @app.get("/recommendations/{listener:path}", response_model=models.Recommendations, tags=["ask"])
    async def recommendations(listener: str, k: Count = 10) -> Response:
        """Tracks a listener has not heard yet, with reasons. Never seen: popular tracks and `cold`."""
        pseudonym = platform.pseudonyms.of(listener)
        answer = await service.helpers.ask(pseudonym, k)
        if answer is None:
            answer = await service.aside(service.answerer.recommendations, pseudonym, k)
        body, cold = answer
        service.metrics.answered(cold=cold)
        # the raw id is put in here: it never leaves this process
        return Response(b'{"listener":' + as_json(listener) + b"," + body[1:], media_type="application/json")

    @app.post("/recommendations/session", response_model=models.Recommendations, tags=["ask"])
    async def session(body: models.Session) -> Response:
        """Tracks for an anonymous history that the request brings; nothing of it is stored."""

        def work() -> dict[str, Any]:
            now = service.view
            plays = [models.Listened(track=item) if isinstance(item, str) else item for item in body.tracks]
            found = [now.snapshot.find(play.track) for play in plays]
            known = [Play(item, play.liked) for item, play in zip(found, plays, strict=True) if item is not None]
            unknown = [play.track for item, play in zip(found, plays, strict=True) if item is None]
            answer = recommended(now.snapshot, History.of(known), body.k, home=home)
            return {"listener": None, **answer, "unknown_tracks": unknown[:MOST_FAULTS]}

        return _json(await service.aside(work))

    @app.get("/similar/{track:path}", response_model=models.Similar, tags=["ask"])
    async def similar(track: str, k: Count = 10) -> Response:
        """Tracks that sound alike. TRACK is an id, a path or "artist - title"."""
        return _json(await service.aside(lambda: alike(service.view.snapshot, track, k, home=home)))


def _tell(app: FastAPI, service: Service) -> None:
    """Routes that take in."""
    state, platform = service.state, service.state.platform
    entry = TrackEntry(state)
    audio = AudioEntry(state, entry)

    @app.post(
        "/events", status_code=202, response_model=models.Accepted, openapi_extra=models.EVENTS_BODY, tags=["tell"]
    )
    async def events(request: Request) -> Response:
        """Take in one event or a list of them, all or none; durable when it answers, and in the very next answer.

        An event without `event_id` is known by listener, track and `played_at`. Wrong times are accepted here and put
        into quarantine when the events are taken into the lake.
        """
        raw = await request.body()

        def work() -> dict[str, Any]:
            records = checked_events(raw, platform.pseudonyms.of)
            sequence = platform.event_stream.append(records)
            state.follow_events()
            return {"accepted": len(records), "sequence": sequence, "trace_id": uuid.uuid4().hex}

        answer = await service.aside(work)
        service.metrics.took(answer["accepted"])
        return _json(answer, 202)

    @app.put("/tracks/{identifier:path}", response_model=models.Entered, openapi_extra=models.TRACK_BODY, tags=["tell"])
    async def put_track(identifier: str, request: Request) -> Response:
        """Enter or change a track: found by the very next question. A vector must name the embedding's version.

        Or send the audio file itself (`Content-Type: audio/flac` or the like, the facts as `?title=&artist=&album=
        &genre=`), or name a file under a landing root as `audio`: it is heard first, which takes some seconds.
        """
        if is_audio(request.headers.get("content-type", "")):
            body = _track_body(dict(request.query_params))
            part = await audio.upload(request.stream())
            track, new, embedding = await service.heard(audio.put, identifier, part, body)
        else:
            body = _track_body(await request.body())
            if body.audio is not None:
                track, new, embedding = await service.heard(audio.put_named, identifier, body)
            else:
                track, new = await service.aside(entry.put, identifier, body)
                embedding = body.embedding
        return _json({"track": track, "embedding": embedding, "trace_id": uuid.uuid4().hex}, 201 if new else 200)

    @app.delete("/tracks/{identifier:path}", status_code=204, tags=["tell"])
    async def delete_track(identifier: str) -> Response:
        """Withdraw a track for good: no answer names it any more, no rebuild brings it back; a PUT does."""
        await service.aside(entry.withdraw, identifier)
        return Response(status_code=204)


def _watch(app: FastAPI, service: Service) -> None:
    """Routes that tell how the process is, and what there is to ask."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return Response(await service.aside(api_page, app.openapi()), media_type="text/html", headers=HEADERS)

    @app.get("/health", tags=["watch"])
    async def health() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/ready", tags=["watch"])
    async def ready() -> Response:
        """Whether there is something to answer from, how old it is, and what could not be brought up to date."""
        return _json(*readiness(service.state))

    @app.get("/metrics", tags=["watch"], response_class=Response)
    async def scrape() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def readiness(state: LiveState) -> tuple[dict[str, Any], int]:
    """The answer of `/ready` and its status."""
    now = state.view
    if now is None:
        faults = [f"{name}: {fault.reason}" for name, fault in state.faults.items()]
        return {"status": "not ready", "because": "; ".join(faults) or NOTHING}, 503
    age = state.age_seconds(now)
    return {
        "status": "ready" if not state.faults else "ready, not up to date",
        "generation": now.snapshot.name,
        "generation_age_seconds": None if age is None else round(age, 1),
        "tracks": int(now.snapshot.allowed().sum()),
        "embedding": now.snapshot.embedding,
        "faults": {
            name: {"reason": fault.reason, "seconds": round(time.time() - fault.since, 1)}
            for name, fault in state.faults.items()
        },
    }, 200


def checked_events(raw: bytes, pseudonym: Callable[[str], str]) -> list[dict[str, Any]]:
    """The records of a request's body. Raises Faulty with every fault of form (at most 100)."""
    try:
        value = json.loads(raw, parse_constant=_no_number)
    except (ValueError, RecursionError, UnicodeDecodeError) as error:
        raise Faulty([{"index": None, "code": "malformed", "message": f"no JSON: {error}"[:300]}]) from None
    records = value if isinstance(value, list) else [value]
    if len(records) > MOST_EVENTS:
        message = f"{len(records):,} events: at most {MOST_EVENTS:,} in one request"
        raise Faulty([{"index": None, "code": "too_many", "message": message}])
    faults, now = [], datetime.now(UTC)
    for index, record in enumerate(records):
        if not isinstance(record, dict):
            message = f"expected an object, found a {type(record).__name__}"
            faults.append({"index": index, "code": "malformed", "message": message})
            continue
        try:
            check_event(record, Place("http", index + 1), now=now, pseudonym=pseudonym)
        except Refused as error:
            if error.code not in JUDGED_LATER:
                faults.append({"index": index, "code": error.code, "message": str(error)})
    if faults:
        raise Faulty(faults[:MOST_FAULTS])
    return records


def _wrong_addresses(app: FastAPI) -> None:
    @app.exception_handler(404)
    async def no_such_address(_request: Request, _error: Exception) -> Response:
        return _json({"detail": "there is no such address: /openapi.json lists them", "code": "not_there"}, 404)

    @app.exception_handler(405)
    async def no_such_method(request: Request, error: Any) -> Response:
        faults = [{"field": "method", "message": f"{request.method} is not answered here"}]
        answer = {"detail": "the request is not as documented", "code": "invalid_request", "faults": faults}
        reply = _json(answer, 405)
        reply.headers.update(error.headers or {})
        return reply


def _errors(app: FastAPI) -> None:
    """One shape for every refusal: `detail`, and `faults` where there may be several."""

    @app.exception_handler(NotReady)
    async def not_ready(_request: Request, _error: Exception) -> Response:
        return _json({"detail": NOTHING, "code": "not_ready"}, 503)

    @app.exception_handler(NothingToAnswer)
    async def not_there(_request: Request, error: Exception) -> Response:
        return _json({"detail": str(error), "code": "not_there"}, 404)

    @app.exception_handler(StreamUnavailable)
    async def no_stream(_request: Request, error: Exception) -> Response:
        return _json({"detail": str(error), "code": "not_durable"}, 503)

    @app.exception_handler(sa.exc.SQLAlchemyError)
    async def no_database(_request: Request, error: Exception) -> Response:
        log.warning("the platform database failed: %s", type(error).__name__)
        detail = "the platform database does not answer: nothing was taken in, send it again"
        return _json({"detail": detail, "code": "not_durable"}, 503)

    @app.exception_handler(Conflict)
    async def conflict(_request: Request, error: Exception) -> Response:
        faults = [{"field": getattr(error, "field", None), "message": str(error)}]
        return _json({"detail": "the track was not entered", "code": "invalid_request", "faults": faults}, 422)

    @app.exception_handler(Faulty)
    async def faulty(_request: Request, error: Any) -> Response:
        detail = "nothing was taken in: repair the faults and send it again"
        return _json({"detail": detail, "code": "invalid_request", "faults": error.faults}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: Any) -> Response:
        # the given value stays out of the answer: it may be a whole vector
        faults = [
            {"field": ".".join(str(part) for part in item["loc"][1:]), "message": item["msg"]}
            for item in error.errors()
        ]
        if "json" not in request.headers.get("content-type", "") and [fault["field"] for fault in faults] == [""]:
            faults[0]["message"] = "no JSON object was found: send one with Content-Type: application/json"
        return _json(
            {"detail": "the request is not as documented", "code": "invalid_request", "faults": faults[:MOST_FAULTS]},
            422,
        )


def _track_body(given: bytes | dict[str, str]) -> models.TrackBody:
    """What a request says of a track. Raises RequestValidationError."""
    try:
        if isinstance(given, bytes):
            return models.TrackBody.model_validate_json(given)
        return models.TrackBody.model_validate(given)
    except ValidationError as error:
        found = [{**item, "loc": ("body", *item["loc"])} for item in error.errors(include_context=False)]
        raise RequestValidationError(found) from None


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")


def _json(value: Any, status: int = 200) -> Response:
    return Response(as_json(value), status, media_type="application/json")
