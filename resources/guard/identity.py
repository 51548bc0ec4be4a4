"""Who is asking: tokens with roles, the session cookie of a person who has logged in, and a trusted proxy's word.

Sessions are signed statements, kept nowhere: they end by their time, with the key, or when their token is withdrawn.
Tokens never appear in a cookie, a log or the audit; a token's fingerprint does.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from resources.guard.roles import Role

SESSION_SECONDS = 12 * 3600
TOKEN_FILE = "ui-admin-token"
KEY_FILE = "ui-session-key"


@dataclass(frozen=True)
class Person:
    """Somebody who was let in. `name` is what audit records and run tags show."""

    name: str
    role: Role


@dataclass(frozen=True)
class TrustedProxy:
    """A proxy that has checked who is asking.

    Requests from `addresses` may say so in the two headers; without a role header the person is a viewer.
    """

    addresses: frozenset[str] = frozenset()
    user_header: str = "x-forwarded-user"
    role_header: str = "x-forwarded-role"

    def person(self, address: str, headers: Mapping[str, str]) -> Person | None:
        """The person the proxy names, None when the request does not come from the proxy or names nobody."""
        name = headers.get(self.user_header, "")
        if address not in self.addresses or not name or not name.isprintable() or len(name) > 200:
            return None
        try:
            return Person(name, Role.named(headers.get(self.role_header, "viewer")))
        except ValueError:
            return None


@dataclass(frozen=True)
class Identities:
    """Tokens and their sessions.

    Args:
        tokens: token to role.
        key: signs the sessions; a new one at each start ends all of them.
    """

    tokens: Mapping[str, Role]
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def by_token(self, token: str) -> Person | None:
        """The person who holds this token; compares in constant time."""
        found = None
        for known, role in self.tokens.items():
            if hmac.compare_digest(known.encode(), token.encode()):
                found = Person(f"{role}-{fingerprint(known)}", role)
        return found

    def open_session(self, person: Person, *, seconds: int = SESSION_SECONDS, now: float | None = None) -> str:
        """The cookie's value of a person who has shown a token."""
        text = f"{person.name}.{int((time.time() if now is None else now) + seconds)}"
        return f"{text}.{self._sign(text)}"

    def by_session(self, cookie: str, *, now: float | None = None) -> Person | None:
        """The person of a cookie, None when it is forged, over, or its token is no longer valid."""
        text, _, signature = cookie.rpartition(".")
        if not text or not hmac.compare_digest(self._sign(text).encode(), signature.encode()):
            return None
        name, _, until = text.rpartition(".")
        if not until.isdigit() or int(until) <= (time.time() if now is None else now):
            return None
        people = (Person(f"{role}-{fingerprint(token)}", role) for token, role in self.tokens.items())
        return next((person for person in people if person.name == name), None)

    def _sign(self, text: str) -> str:
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()


def fingerprint(token: str) -> str:
    """Eight hexadecimal digits that tell tokens apart without giving them away."""
    return hashlib.sha256(b"ai-assets ui token\0" + token.encode()).hexdigest()[:8]


def tokens_of(configured: Mapping[str, str], folder: Path) -> dict[str, Role]:
    """The tokens in force: the configured ones, else one admin token that is made once in `folder` (0600).

    Raises ValueError for an unknown role or an empty token.
    """
    if any(not token.strip() for token in configured):
        raise ValueError("AI_ASSETS_UI_TOKENS: a token is empty; give each role a long random text")
    if configured:
        return {token: Role.named(role) for token, role in configured.items()}
    return {kept_secret(folder / TOKEN_FILE): Role.ADMIN}


def kept_secret(path: Path) -> str:
    """The secret in `path`; made with 256 random bits and mode 0600 when it is not there. Safe between processes."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not path.exists():
        aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        aside.touch(mode=0o600, exist_ok=False)
        aside.write_text(secrets.token_urlsafe(32) + "\n")
        try:
            path.hardlink_to(aside)  # the first of two starters wins; both read the same secret
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    text = path.read_text().strip()
    if not text:
        raise ValueError(f"{path} is empty; delete it and start again, a new secret is made then")
    return text
