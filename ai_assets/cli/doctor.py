"""`doctor`: what is installed, reachable, writable and running, with a remedy for what is not."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import rich_click as click

from ai_assets.cli.output import OUT, emit_json, json_option, literal, settings_of

PACKAGES = (
    "dagster", "dagster-webserver", "dagster-mlflow", "mlflow", "pandas", "pandera", "librosa", "torch", "lightgbm",
    "annoy", "deltalake", "soundfile", "soxr",
)  # fmt: skip
LEAST_FREE_BYTES = 2 * 10**9
MOST_CLOCK_SECONDS = 5


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


def _storage(settings: Any) -> Iterator[Finding]:
    """Can tables be written where they are to lie? A folder is tried; an object store must answer a listing."""
    if settings.lake_root.startswith("s3://"):
        yield _object_store(settings)
        return
    folder = Path(settings.lake_root)
    if not folder.exists():
        return
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            ahead = os.fstat(file.fileno()).st_mtime - time.time()
    except OSError as error:
        yield Finding("tables", "error", f"{folder}: {error.strerror}", "make the folder writable, or free space on it")
        return
    yield Finding("tables", "ok", f"{folder} can be written")
    yield _clock("clock of the storage", ahead)


def _object_store(settings: Any) -> Finding:
    from deltalake import DeltaTable

    try:
        DeltaTable.is_deltatable(f"{settings.lake_root}/tracks", dict(settings.lake_storage_options))
    except Exception as error:
        remedy = "check AI_ASSETS_LAKE_URI and AI_ASSETS_LAKE_STORAGE_OPTIONS (endpoint, region, keys)"
        return Finding("tables", "error", f"the object store does not answer ({type(error).__name__})", remedy)
    return Finding("tables", "ok", "the object store answers")


def _clock(name: str, ahead: float) -> Finding:
    """`ahead`: seconds by which another clock is before this one's."""
    if abs(ahead) <= MOST_CLOCK_SECONDS:
        return Finding(name, "ok", f"agrees with this machine within {MOST_CLOCK_SECONDS} s")
    remedy = "set the clocks by NTP (timedatectl set-ntp true): files seem unsettled, events seem to lie ahead"
    return Finding(name, "warning", f"differs from this machine's by {ahead:.0f} s", remedy)


def _secrets(settings: Any) -> Iterator[Finding]:
    """Keys and tokens of the home are for its owner alone."""
    folder = settings.places.secrets
    if not folder.exists():
        return
    paths = [folder, *sorted(path for path in folder.rglob("*") if path.is_file())]
    wide = [path for path in paths if path.stat().st_mode & 0o077]
    if wide:
        names = ", ".join(str(path) for path in wide[:3])
        yield Finding("secrets", "error", f"others can read {names}", f"chmod -R go= {folder}")
    else:
        yield Finding("secrets", "ok", f"{len(paths) - 1} files, readable by their owner alone")


def _ports(settings: Any) -> Iterator[Finding]:
    for name, port in (("UI", settings.ui_port), ("MLflow", settings.mlflow_port)):
        with socket.socket() as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                one.bind(("127.0.0.1", port))
            except OSError as error:
                remedy = f"it is the {name} that runs, or the next free one is taken (AI_ASSETS_{name.upper()}_PORT)"
                yield Finding(f"port of the {name}", "warning", f"{port}: {error.strerror}", remedy)
            else:
                yield Finding(f"port of the {name}", "ok", f"{port} is free")


def _settings(settings: Any) -> Iterator[Finding]:
    from resources.settings import setting_sources

    for name, source in setting_sources(settings).items():
        if source != "default":
            # tokens and keys of an object store lie in fields that are not shown
            value = getattr(settings, name) if type(settings).model_fields[name].repr else "(not shown)"
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
        database = Platform(settings).database
        with database.engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
            ahead = None
            if not database.is_sqlite:
                theirs = connection.execute(sa.text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
                ahead = float(theirs) - time.time()
        yield Finding("platform database", "ok", "answers")
        if ahead is not None:
            yield _clock("clock of the database", ahead)
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
    _python, _packages, _annoy, _home, _storage, _secrets, _settings, _database, _daemon, _services, _ports,
)  # fmt: skip
