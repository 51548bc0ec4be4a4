"""`ai-assets serve-ui`: the guarded Dagster UI of a home as a server of its own."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

from resources.audit_log import AuditLog
from resources.guard.identity import KEY_FILE, Identities, TrustedProxy, kept_secret, tokens_of
from resources.platform import Platform
from resources.redaction import REDACTOR

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})


def run_front_door(
    platform: Platform,
    *,
    host: str,
    port: int,
    workspace: Path | None = None,
    names: Sequence[str] = (),
    proxies: Sequence[str] = (),
) -> None:
    """Serve until told to stop.

    Args:
        platform: of a prepared home.
        host, port: where to listen.
        workspace: workspace file with the code server to use; one of its own is started when not given.
        names: further host names by which people call this server.
        proxies: addresses of proxies whose X-Forwarded-User and X-Forwarded-Role are believed.
    """
    from ai_assets.home import open_instance
    from resources.guard.asgi import Rules
    from resources.guard.audit import AccessRecorder
    from resources.guard.dagster_app import code_location, serve

    home = platform.home
    tokens = tokens_of(platform.settings.ui_tokens, home.secrets)
    REDACTOR.add(*tokens)
    rules = Rules(
        identities=Identities(tokens, kept_secret(home.secrets / KEY_FILE).encode()),
        record=AccessRecorder(AuditLog(home.audit, home.secrets)),
        hosts=LOOPBACK | {name.lower() for name in names} | ({host.lower()} - ANY_ADDRESS) | _own_names(host),
        any_address=host in ANY_ADDRESS,
        proxy=TrustedProxy(frozenset(proxies)),
        cookie=f"ai_assets_ui_{port}",
    )
    with open_instance(platform) as instance:
        serve(instance, code_location(workspace), rules, host=host, port=port)


def _own_names(host: str) -> set[str]:
    """This machine's name, when people on other machines are to reach it."""
    return {socket.gethostname().lower(), socket.getfqdn().lower()} if host in ANY_ADDRESS else set()
