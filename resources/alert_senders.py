"""How alerts leave the house: webhook and e-mail. Others are one class each with `send` (`resources.alerts.Sender`)."""

from __future__ import annotations

import email.message
import email.utils
import hashlib
import hmac
import json
import smtplib
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from resources.alerts import Sender, SendRefused
from resources.database import METADATA, Database, upsert

TIMEOUT_SECONDS = 5.0
MAX_CLOCK_SKEW_SECONDS = 300
MAIL_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}

ALERT_DELIVERIES = sa.Table(
    "alert_deliveries",  # receivers that have taken a message which another one has not taken yet
    METADATA,
    sa.Column("idempotency_key", sa.String(64), primary_key=True),
    sa.Column("receiver", sa.String(40), primary_key=True),
)


@dataclass(frozen=True)
class WebhookSender:
    """POSTs JSON with `X-Timestamp`, `X-Signature: v1=HMAC-SHA256(key, ts + "." + body)` and `Idempotency-Key`.

    Redirects are refused: they would carry the message to a place nobody configured.
    """

    url: str = field(repr=False)
    key: str = field(repr=False)
    timeout: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        if urllib.parse.urlsplit(self.url).scheme not in ("http", "https"):
            raise ValueError("alert_webhook_url: expected http://… or https://…")

    def send(self, message: Mapping[str, Any], idempotency_key: str) -> None:
        body = json.dumps(message, sort_keys=True).encode()
        timestamp = str(int(datetime.now(UTC).timestamp()))
        headers = {
            "Content-Type": "application/json",
            "X-Timestamp": timestamp,
            "X-Signature": sign(self.key, timestamp, body),
            "Idempotency-Key": idempotency_key,
        }
        request = urllib.request.Request(self.url, data=body, headers=headers, method="POST")
        opener = urllib.request.build_opener(_NoRedirect)
        try:
            with opener.open(request, timeout=self.timeout) as answer:
                answer.read(1024)
        except urllib.error.HTTPError as error:
            error.close()
            raise SendRefused(f"receiver answered {error.code}") from None


@dataclass(frozen=True)
class MailSender:
    """Sends plain text mail over `smtp://`, `smtp+starttls://` or `smtps://[USER:PASSWORD@]HOST[:PORT]`.

    The message id is the idempotency key. Certificates are checked; a password never goes over an open connection.
    """

    url: str = field(repr=False)
    sender: str
    recipients: tuple[str, ...]
    timeout: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in MAIL_PORTS or not parts.hostname:
            raise ValueError(f"alert_smtp_url: expected one of {', '.join(MAIL_PORTS)} and ://[USER:PASSWORD@]HOST")
        if parts.username and parts.scheme == "smtp":
            raise ValueError("alert_smtp_url: a password needs smtp+starttls:// or smtps://")

    def send(self, message: Mapping[str, Any], idempotency_key: str) -> None:
        mail = email.message.EmailMessage()
        mail["From"], mail["To"] = self.sender, ", ".join(self.recipients)
        title = " ".join(str(message["title"]).split())  # a line break would end the header
        mail["Subject"] = f"[{message['severity']}] {message['state']}: {title}"[:200]
        mail["Date"] = email.utils.localtime()
        mail["Message-ID"] = f"<{idempotency_key}@ai-assets>"
        mail.set_content(json.dumps(message, indent=2, sort_keys=True))
        try:
            with self._connect() as server:
                server.send_message(mail)
        except smtplib.SMTPException as error:
            raise SendRefused(f"mail server: {type(error).__name__}") from None

    def _connect(self) -> smtplib.SMTP:
        parts = urllib.parse.urlsplit(self.url)
        host, port = parts.hostname or "", parts.port or MAIL_PORTS[parts.scheme]
        tls = ssl.create_default_context()
        if parts.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=self.timeout, context=tls)
        else:
            server = smtplib.SMTP(host, port, timeout=self.timeout)
        try:
            if parts.scheme == "smtp+starttls":
                server.starttls(context=tls)
            if parts.username:
                server.login(urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or ""))
        except BaseException:
            server.close()
            raise
        return server


@dataclass(frozen=True)
class SeveralSenders:
    """Every receiver gets every message; one that has taken it is not asked again because another is down."""

    database: Database
    receivers: Mapping[str, Sender]

    def send(self, message: Mapping[str, Any], idempotency_key: str) -> None:
        mine = ALERT_DELIVERIES.c.idempotency_key == idempotency_key
        taken = {row["receiver"] for row in self.database.query(sa.select(ALERT_DELIVERIES).where(mine))}
        faults = []
        for name in sorted(self.receivers.keys() - taken):
            try:
                self.receivers[name].send(message, idempotency_key)
            except Exception as error:  # whatever is wrong with one receiver, the others get the message
                faults.append(f"{name}: {error or type(error).__name__}")
                continue
            with self.database.begin() as connection:
                row = {"idempotency_key": idempotency_key, "receiver": name}
                upsert(connection, ALERT_DELIVERIES, [row], update={})
        if faults:
            raise SendRefused("; ".join(faults))
        with self.database.begin() as connection:
            connection.execute(sa.delete(ALERT_DELIVERIES).where(mine))


def sign(key: str, timestamp: str, body: bytes) -> str:
    """Value of `X-Signature`."""
    return "v1=" + hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def signature_is_valid(key: str, timestamp: str, body: bytes, signature: str, *, now: float) -> bool:
    """What a receiver checks: the signature, and a clock no more than 300 s away (a replay is older)."""
    if not timestamp.isdigit() or abs(now - int(timestamp)) > MAX_CLOCK_SKEW_SECONDS:
        return False
    return hmac.compare_digest(sign(key, timestamp, body), signature)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None
