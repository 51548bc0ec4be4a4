"""`ai-assets serve`: the API of a home as a process. No Dagster, no torch; helpers for a large catalogue."""

from __future__ import annotations

import errno
import importlib
import socket
import sys
from collections.abc import Callable

from ai_assets.serving.api import build_api
from ai_assets.serving.api_guard import ApiGuard
from ai_assets.serving.helper import SWITCH_SECONDS, TABLES
from ai_assets.serving.live_state import LiveState
from ai_assets.serving.room_app import with_listening_room
from resources.guard.identity import kept_secret
from resources.platform import Platform
from resources.redaction import REDACTOR

TOKEN_FILE = "api-token"


class PortTaken(OSError):
    """Somebody listens there already."""


def api_token(platform: Platform) -> tuple[str, bool]:
    """The token in force, and whether it was made just now. Raises ValueError for an empty one."""
    configured = platform.settings.api_token
    if configured is not None:
        token = configured.get_secret_value().strip()
        if not token:
            raise ValueError("AI_ASSETS_API_TOKEN is empty; give it a long random text")
        return token, False
    path = platform.home.secrets / TOKEN_FILE
    made = not path.exists()
    return kept_secret(path), made


def serve(platform: Platform, *, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve until told to stop.

    Args:
        platform: of a home that exists.
        port: 0 = any free one; the printed address names it.

    Raises:
        PortTaken: somebody listens there.
    """
    import uvicorn

    for module in TABLES:
        importlib.import_module(module)
    platform.database.prepare()
    token, made = api_token(platform)
    REDACTOR.add(token)
    sys.setswitchinterval(SWITCH_SECONDS)
    listening = _bound(host, port)
    state = LiveState(platform)
    state.start()
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{listening.getsockname()[1]}"

    def started() -> None:
        say(f"listening room: {address}/room/login?code={code}")
        say("(opens once, within ten minutes; afterwards by the token)")
        say(f"serving on {address}")

    routes = build_api(state, started=started)
    api = ApiGuard(routes, token, platform.settings.api_rate_limit)
    app, code = with_listening_room(api, state, token, describe=routes.app.openapi)
    # no access log: its paths name listeners
    config = uvicorn.Config(
        app, access_log=False, log_level="warning", timeout_graceful_shutdown=10, server_header=False
    )
    server = uvicorn.Server(config)
    if made:
        say(f"token: {token}")
        say(f"(shown once; it is kept in {platform.home.secrets / TOKEN_FILE})")
    try:
        server.run(sockets=[listening])
    finally:
        state.stop()
        listening.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} of {host} is taken: choose another with --port, 0 for any free one") from None
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return listening
