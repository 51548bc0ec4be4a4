"""Alerts by e-mail, over an open and an encrypted connection, and beside a webhook that is down."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ai_assets.home import prepare_home
from resources.alert_senders import MailSender, SendRefused, SeveralSenders
from resources.alerts import Alert, Alerts, LogSender
from resources.database import Database
from resources.settings import load_settings
from sensors.followers import alert_sender

FAILED = Alert("run:1", "run_failed", "Run failed\r\nBcc: everybody@example.org", trace_id="t" * 32)


class MailServer:
    """Speaks SMTP on a free port: keeps what it is told, upgrades on STARTTLS when it has a certificate."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.lines: list[str] = []
        self.mails: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):  # closed at the end of the test
            while True:
                connection, _ = self.listener.accept()
                with suppress(OSError):
                    self._speak(connection)

    def _speak(self, connection: socket.socket) -> None:
        connection.sendall(b"220 test\r\n")
        stream = connection.makefile("rb")
        while line := stream.readline():
            text = line.decode().strip()
            self.lines.append(text)
            word = text.split(" ")[0].upper()
            if word == "DATA":
                connection.sendall(b"354 go\r\n")
                mail = b"".join(iter(stream.readline, b".\r\n"))
                self.mails.append(mail.decode())
            extensions = "STARTTLS" if self.tls and not isinstance(connection, ssl.SSLSocket) else "AUTH PLAIN"
            answers = {
                "EHLO": f"250-test\r\n250 {extensions}",
                "QUIT": "221 bye",
                "AUTH": "235 in",
                "STARTTLS": "220 go",
            }
            connection.sendall((answers.get(word, "250 ok") + "\r\n").encode())
            if word == "STARTTLS" and self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
                stream = connection.makefile("rb")
            if word == "QUIT":
                connection.close()
                return


@pytest.fixture
def server() -> Iterator[MailServer]:
    one = MailServer()
    yield one
    one.listener.close()


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MailServer]:
    """A server with a certificate for 127.0.0.1, trusted by this process."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    pem = tmp_path / "certificate.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    one = MailServer(context)
    yield one
    one.listener.close()


@pytest.fixture
def alerts(tmp_path: Path) -> Alerts:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    database.prepare()
    return Alerts(database)


def test_mail_is_one_message_with_the_alert_and_no_forged_header(alerts: Alerts, server: MailServer) -> None:
    alerts.raise_alert(FAILED)
    assert alerts.deliver(MailSender(f"smtp://127.0.0.1:{server.port}", "from@example.org", ("to@example.org",))) == 1
    (mail,) = server.mails
    headers, _, body = mail.partition("\r\n\r\n")
    assert "Subject: [error] firing: Run failed" in headers and '"code": "run_failed"' in body
    assert not [line for line in headers.splitlines() if line.startswith("Bcc")]
    assert [line for line in server.lines if line.upper().startswith("RCPT")] == ["rcpt TO:<to@example.org>"]


def test_a_password_goes_over_an_encrypted_connection_alone(alerts: Alerts, encrypted: MailServer) -> None:
    with pytest.raises(ValueError, match="password needs"):
        MailSender("smtp://user:secret@127.0.0.1", "from@example.org", ("to@example.org",))
    mail = MailSender(
        f"smtp+starttls://us%40er:s3cret@127.0.0.1:{encrypted.port}", "from@example.org", ("to@example.org",)
    )
    assert "s3cret" not in repr(mail)
    alerts.raise_alert(FAILED)
    assert alerts.deliver(mail) == 1 and len(encrypted.mails) == 1
    words = [line.split(" ")[0].upper() for line in encrypted.lines]
    assert words.index("STARTTLS") < words.index("AUTH")
    said = next(line for line in encrypted.lines if line.upper().startswith("AUTH"))
    assert base64.b64decode(said.split()[-1]) == b"\0us@er\0s3cret"


def test_a_certificate_nobody_trusts_is_refused(alerts: Alerts, encrypted: MailServer, monkeypatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    alerts.raise_alert(FAILED)
    url = f"smtp+starttls://user:s3cret@127.0.0.1:{encrypted.port}"
    assert alerts.deliver(MailSender(url, "from@example.org", ("to@example.org",))) == 0
    assert not encrypted.mails and "AUTH" not in {line.split(" ")[0] for line in encrypted.lines}


class Moody:
    """Takes messages only while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.taken: list[str] = []

    def send(self, message: object, idempotency_key: str) -> None:
        if not self.up:
            raise SendRefused("down")
        self.taken.append(idempotency_key)


def test_a_receiver_that_is_down_costs_the_other_one_nothing_and_no_doubles(alerts: Alerts) -> None:
    webhook, mail = Moody(), Moody()
    webhook.up = False
    alerts.raise_alert(FAILED)
    later = datetime.datetime.now(datetime.UTC)
    for minutes in (0, 5, 10):
        moment = later + datetime.timedelta(minutes=minutes)
        assert alerts.deliver(SeveralSenders(alerts.database, {"webhook": webhook, "mail": mail}), now=moment) == 0
    assert len(mail.taken) == 1 and "webhook: down" in alerts.list_alerts()[0]["last_error"]
    webhook.up = True
    both = SeveralSenders(alerts.database, {"webhook": webhook, "mail": mail})
    assert alerts.deliver(both, now=later + datetime.timedelta(hours=1)) == 1
    assert mail.taken == webhook.taken and len(mail.taken) == 1


def test_settings_choose_the_receivers(tmp_path: Path, server: MailServer) -> None:
    def chosen(**settings: str) -> object:
        return alert_sender(prepare_home(load_settings(home=tmp_path / "home", **settings)))

    smtp = f"smtp://127.0.0.1:{server.port}"
    assert isinstance(chosen(), LogSender)
    assert isinstance(chosen(alert_smtp_url=smtp), LogSender)  # nobody to write to
    mail = chosen(alert_smtp_url=smtp, alert_mail_to="a@example.org, b@example.org")
    assert isinstance(mail, MailSender) and mail.recipients == ("a@example.org", "b@example.org")
    assert mail.sender == "a@example.org"
    both = chosen(alert_smtp_url=smtp, alert_mail_to="a@example.org", alert_webhook_url="http://127.0.0.1:9/")
    assert isinstance(both, SeveralSenders) and set(both.receivers) == {"webhook", "mail"}
    for wrong in ("mail.example.org", "smtp://", "smtp://user:hunter2@mail.example.org"):
        with pytest.raises(ValueError, match="alert_smtp_url") as refusal:
            load_settings(home=tmp_path, alert_smtp_url=wrong)
        assert "hunter2" not in str(refusal.value)
