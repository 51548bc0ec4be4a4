"""`doctor`: what is installed, reachable, writable and running, with a remedy for what is not."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Literal

import rich_click as click

from ai_assets.cli.output import OUT, emit_json, json_option, literal, settings_of

PACKAGES = (
    "dagster", "dagster-webserver", "dagster-mlflow", "mlflow", "pandas", "pandera", "librosa", "torch", "lightgbm",
    "annoy", "deltalake", "soundfile", "soxr",
)  # fmt: skip
LEAST_FREE_BYTES = 2 * 10**9


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    state: Literal["ok", "warning", "error"]
    detail: str
    remedy: str = ""


@click.command()
@json_option
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> int:
    """Check the installation, the home, the databases and the services. Exit status 1 when something is broken.

    Example: `ai-assets doctor --json`.
    """
    settings = settings_of(ctx)
    findings = [finding for look in LOOKS for finding in look(settings)]
    broken = any(finding.state == "error" for finding in findings)
    if as_json:
        emit_json({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
        return int(broken)
    marks = {"ok": "[green]✓[/green]", "warning": "[yellow]![/yellow]", "error": "[red]✗[/red]"}
    for finding in findings:
        OUT.print(f"{marks[finding.state]} {finding.what}: {literal(finding.detail)}")
        if finding.remedy:
            OUT.print(f"    [dim]→ {literal(finding.remedy)}[/dim]")
    return int(broken)


def _python(_: Any) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] == (3, 11)
    yield Finding("Python", "ok" if good else "warning", version, "" if good else "tested with Python 3.11 only")


def _packages(_: Any) -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Finding(name, "error", "not installed", "make setup")


def _annoy(_: Any) -> Iterator[Finding]:
    try:
        from annoy import AnnoyIndex

        index = AnnoyIndex(2, "angular")
        index.add_item(0, [1.0, 0.0])
        index.build(1, n_jobs=1)
        yield Finding("annoy", "ok", "builds an index on this CPU")
    except Exception as error:
        yield Finding("annoy", "error", str(error), "reinstall it with the flags of resources/annoy_flags.py")


def _home(settings: Any) -> Iterator[Finding]:
    home = settings.places
    parent = home.root if home.root.exists() else home.root.parent
    if not os.access(parent, os.W_OK):
        yield Finding("home", "error", f"{home.root} cannot be written", "choose another folder with AI_ASSETS_HOME")
        return
    yield Finding(
        "home", "ok", str(home.root) if home.root.exists() else f"{home.root} (will be made by ai-assets run)"
    )
    free = shutil.disk_usage(parent).free
    good = free >= LEAST_FREE_BYTES
    remedy = "" if good else "free space: a full disk stops every run (nothing is lost)"
    yield Finding("disk", "ok" if good else "warning", f"{free / 1e9:.1f} GB free", remedy)
    for name, folder in (
        ("landing folder for audio", home.landing_audio),
        ("landing folder for events", home.landing_events),
    ):
        if home.root.exists() and not os.access(folder, os.R_OK | os.X_OK):
            yield Finding(name, "error", f"{folder} cannot be read", "restore the folder or its permissions")


def _settings(settings: Any) -> Iterator[Finding]:
    from resources.settings import setting_sources

    for name, source in setting_sources(settings).items():
        if source != "default":
            value = getattr(settings, name)
            yield Finding(f"setting {name}", "ok", f"{value} (from {source})")
    known = {f"AI_ASSETS_{name.upper()}" for name in type(settings).model_fields} | {"AI_ASSETS_TEST_DATA"}
    for name in sorted(os.environ):
        if name.startswith("AI_ASSETS_") and name not in known:
            yield Finding(name, "warning", "is no setting of this product", "see the table of settings in the README")


def _database(settings: Any) -> Iterator[Finding]:
    import sqlalchemy as sa

    if settings.database_url is None and not settings.places.database.exists():
        return
    from resources.platform import Platform

    try:
        with Platform(settings).database.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
        yield Finding("platform database", "ok", "answers")
    except Exception as error:
        yield Finding(
            "platform database", "error", type(error).__name__, "check AI_ASSETS_DATABASE_URL and that it runs"
        )


def _daemon(settings: Any) -> Iterator[Finding]:
    if not settings.places.dagster.exists():
        return
    from ai_assets.look import daemon_running
    from resources.platform import Platform

    if daemon_running(Platform(settings)):
        yield Finding("Dagster daemon", "ok", "running: sensors, schedules and queued runs work")
    else:
        remedy = "start it with: make ui (without it `dagster job backfill` answers 0 and its runs wait for ever)"
        yield Finding("Dagster daemon", "warning", "not running", remedy)


def _services(settings: Any) -> Iterator[Finding]:
    for name, value in (("Redis", settings.redis_url), ("Celery broker", settings.broker_url)):
        if value is not None:
            yield _reachable(name, value.get_secret_value())


def _reachable(name: str, url: str) -> Finding:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    port = parts.port or {"redis": 6379, "amqp": 5672}.get(parts.scheme, 0)
    try:
        with socket.create_connection((parts.hostname or "127.0.0.1", port), 2):
            return Finding(name, "ok", f"{parts.hostname}:{port} answers")
    except OSError as error:
        return Finding(name, "error", f"{parts.hostname}:{port} {error}", f"start {name}, or correct its URL")


LOOKS: tuple[Callable[[Any], Iterator[Finding]], ...] = (
    _python, _packages, _annoy, _home, _settings, _database, _daemon, _services,
)  # fmt: skip
