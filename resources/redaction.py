"""Redaction: no secret, and no forged line, in anything that is written down.

Secrets are known by value (registered when they are loaded) and by pattern (keys, tokens, passwords in URLs). Every
sink (logs, audit, alerts) passes its text through one `Redactor`. Where secrets come from is `settings`' matter.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MASK = "[redacted]"
SHORTEST = 6
MAX_LENGTH = 20_000

PATTERNS = (
    re.compile(r"(?<=://)(?P<secret>[^\s/@:]*:[^\s/@]+)(?=@)"),  # user:password in a URL
    re.compile(r"(?i)\b(?:bearer|basic)\s+(?P<secret>[A-Za-z0-9._~+/=-]{8,})"),
    re.compile(r"\b(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*)"),  # JSON web token
    re.compile(r"\b(?P<secret>(?:AKIA|ASIA)[A-Z0-9]{16})\b"),
    re.compile(r"\b(?P<secret>(?:gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|hf_)[A-Za-z0-9_-]{16,})"),
    re.compile(r"(?P<secret>-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z))", re.DOTALL),
    re.compile(
        r"""(?ix)\b[\w-]*(?:password|passwd|secret|token|api_?key|access_?key|private_?key|listener_?key)\b
        ["']?\s*[=:]\s*["']?(?P<secret>[^\s"',;&}\]]{4,})"""
    ),
)
SECRET_NAMES = re.compile(
    r"(?i)(?:password|passwd|secret|token|api_?key|access_?key|private_?key|authorization|cookie)$"
)
# C0 and C1 controls (ANSI escapes among them), line separators, bidirectional and zero-width characters.
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


class Redactor:
    """Masks known secrets and secret-looking text. Thread-safe; secrets may be added at any time."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._lock = threading.Lock()
        self._forms: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self.add(*secrets)

    def add(self, *secrets: str) -> None:
        """Mask these values from now on, also quoted, base64 or JSON-escaped; those under 6 characters are ignored."""
        with self._lock:
            for secret in secrets:
                if len(secret) >= SHORTEST:
                    self._forms |= _forms(secret)
            if self._forms:
                longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
                self._known = re.compile("|".join(re.escape(form) for form in longest_first))

    def text(self, text: str) -> str:
        """`text` without secrets; line breaks stay."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        for pattern in PATTERNS:
            text = pattern.sub(_mask, text)
        return text

    def line(self, text: str) -> str:
        """`text` without secrets, on one line: control characters become visible escapes, 20,000 characters at most."""
        cleaned = UNPRINTABLE.sub(_escape, self.text(text))
        return cleaned if len(cleaned) <= MAX_LENGTH else f"{cleaned[:MAX_LENGTH]}… ({len(cleaned)} characters)"

    def value(self, value: Any) -> Any:
        """A JSON value with every text in it redacted, and every field whose name says secret masked."""
        if isinstance(value, str):
            return self.line(value)
        if isinstance(value, Mapping):
            return {
                self.line(str(key)): MASK if SECRET_NAMES.search(str(key)) and one else self.value(one)
                for key, one in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(one) for one in value]
        if value is None or isinstance(value, bool | int | float):
            return value
        return self.line(str(value))


REDACTOR = Redactor()


class RedactFilter(logging.Filter):
    """Redacts a record's message, arguments and exception; put it on `context.log`, loggers and handlers.

    The message is formatted here, once, so that no later handler sees the arguments. An exception becomes redacted text
    (`exc_text`), its object is dropped.
    """

    def __init__(self, redactor: Redactor = REDACTOR, *, one_line: bool = True) -> None:
        super().__init__()
        self._redactor = redactor
        self._clean = redactor.line if one_line else redactor.text

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:
            message = f"{record.msg} (arguments do not fit)"
        record.msg, record.args = self._clean(message), ()
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = self._redactor.text(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        elif record.exc_text:
            record.exc_text = self._redactor.text(record.exc_text)
        if record.stack_info:
            record.stack_info = self._redactor.text(record.stack_info)
        return True


def _forms(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode()).decode()
    forms = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    return forms | {encoded, encoded.rstrip("="), base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")}


def _mask(match: re.Match[str]) -> str:
    if match["secret"] == MASK:
        return match[0]
    start, end = match.start("secret") - match.start(), match.end("secret") - match.start()
    return f"{match[0][:start]}{MASK}{match[0][end:]}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    names = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return names.get(match[0], f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}")
