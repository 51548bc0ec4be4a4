"""The login page: the only page of our own, without script, readable without style."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from resources.guard.identity import Person

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'",
    "cache-control": "no-store",
    "referrer-policy": "same-origin",  # with no-referrer a browser would post the form with the origin "null"
}


def login_page(*, person: Person | None = None, onward: str = "/", fault: str = "") -> str:
    """The form for a token, or who is logged in and the way out.

    Args:
        person: who is logged in.
        onward: path to go to after the login.
        fault: why the last try failed.
    """
    if person is not None and not fault:
        content = (
            f"<p>You are logged in as <strong>{escape(person.name)}</strong> (role {person.role}).</p>"
            '<p><a href="/">Open the UI</a></p>'
            '<form method="post" action="/logout"><button>Log out</button></form>'
        )
    else:
        content = (
            (f'<p class="fault" role="alert">{escape(fault)}</p>' if fault else "")
            + f'<form method="post" action="/login?next={quote(onward, safe="/")}">'
            '<label for="token">Access token</label>'
            '<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>'
            "<button>Log in</button></form>"
            '<p class="hint">The command that started the UI (<code>make ui</code>) prints an address that logs you in.'
            " Tokens of a team are set in <code>AI_ASSETS_UI_TOKENS</code>.</p>"
        )
    return Path(__file__).with_name("login.html").read_text().replace("<!--CONTENT-->", content)


def safe_onward(path: str) -> str:
    """A path on this server to go to after the login; "/" for anything that could lead elsewhere."""
    if not path.startswith("/") or path.startswith(("//", "/\\")) or path.startswith(("/login", "/logout")):
        return "/"
    return path if path.isprintable() and "\\" not in path else "/"
