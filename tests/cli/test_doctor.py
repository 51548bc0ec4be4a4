"""`ai-assets doctor`: each fault planted, found, with a remedy and the exit status."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ai_assets.cli import doctor as doctor_module
from ai_assets.cli import group
from ai_assets.home import prepare_home
from resources.settings import load_settings

Examine = Callable[[], tuple[int, dict[str, dict[str, str]]]]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("doctor") / "home"
    prepare_home(load_settings(home=folder))
    return folder


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    shutil.copytree(prepared, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def examine(home: Path) -> Examine:
    def run() -> tuple[int, dict[str, dict[str, str]]]:
        done = CliRunner().invoke(group, ["--home", str(home), "doctor", "--json"], standalone_mode=False)
        assert done.exception is None, done.exception
        found = json.loads(done.stdout)
        assert found["ok"] is (done.return_value == 0)
        return done.return_value, {finding["what"]: finding for finding in found["findings"]}

    return run


def is_told(found: dict[str, dict[str, str]], what: str, state: str, remedy: str) -> None:
    assert found[what]["state"] == state and remedy in found[what]["remedy"], found[what]


def test_a_home_that_is_well_has_exit_status_0_and_every_subject_is_looked_at(examine: Examine) -> None:
    status, found = examine()
    assert status == 0
    looked_at = {"Python", "dagster", "annoy", "home", "disk", "tables", "clock of the storage", "secrets",
                 "platform database", "Dagster daemon", "port of the UI", "port of the MLflow"}  # fmt: skip
    assert looked_at <= set(found) and all(one["remedy"] for one in found.values() if one["state"] != "ok")


def test_a_package_that_is_missing(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "lightgbm":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor_module.metadata, "version", version)
    status, found = examine()
    assert status == 1
    is_told(found, "lightgbm", "error", "make setup")


def test_tables_that_cannot_be_written(examine: Examine, home: Path) -> None:
    shutil.rmtree(home / "lake")
    (home / "lake").write_text("no folder")
    status, found = examine()
    assert status == 1
    is_told(found, "tables", "error", "writable")


def test_an_object_store_that_does_not_answer(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_LAKE_URI", "s3://bucket/lake")
    options = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ALLOW_HTTP": "true", "AWS_REGION": "x", "max_retries": "0",
        "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "hunter2-secret", "connect_timeout": "2s",
    }  # fmt: skip
    monkeypatch.setenv("AI_ASSETS_LAKE_STORAGE_OPTIONS", json.dumps(options))
    status, found = examine()
    assert status == 1 and "hunter2" not in json.dumps(found)
    is_told(found, "tables", "error", "AI_ASSETS_LAKE_STORAGE_OPTIONS")


def test_a_full_disk_is_warned_of(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=10**9)
    monkeypatch.setattr(doctor_module.shutil, "disk_usage", lambda _: usage)
    status, found = examine()
    assert status == 0
    is_told(found, "disk", "warning", "free space")


@pytest.mark.parametrize("ahead", [-3600.0, 3600.0])
def test_a_clock_that_is_wrong(examine: Examine, monkeypatch: pytest.MonkeyPatch, ahead: float) -> None:
    now = time.time

    class Clock:
        time = staticmethod(lambda: now() + ahead)

    monkeypatch.setattr(doctor_module, "time", Clock)
    status, found = examine()
    assert status == 0
    is_told(found, "clock of the storage", "warning", "NTP")


def test_secrets_that_others_can_read(examine: Examine, home: Path) -> None:
    key = home / "secrets" / "leaked-key"
    key.write_text("x")
    key.chmod(0o644)
    status, found = examine()
    assert status == 1
    is_told(found, "secrets", "error", "chmod")


def test_tokens_are_not_shown(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_UI_TOKENS", '{"hunter2-token": "admin"}')
    monkeypatch.setenv("AI_ASSETS_ALERT_SMTP_URL", "smtps://user:hunter2@mail.example.org")
    _, found = examine()
    assert "setting ui_tokens" in found and "hunter2" not in json.dumps(found)


def test_a_variable_that_is_no_setting(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_EXECUTER", "celery")
    status, found = examine()
    assert status == 0
    is_told(found, "AI_ASSETS_EXECUTER", "warning", "README")


def test_databases_and_services_that_do_not_answer(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:  # bound, not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        monkeypatch.setenv("AI_ASSETS_DATABASE_URL", f"postgresql+psycopg2://u:hunter2@127.0.0.1:{port}/x")
        monkeypatch.setenv("AI_ASSETS_REDIS_URL", f"redis://:hunter2@127.0.0.1:{port}/0")
        monkeypatch.setenv("AI_ASSETS_BROKER_URL", f"amqp://u:hunter2@127.0.0.1:{port}/x")
        found: dict[str, Any] = {}
        for look in (doctor_module._database, doctor_module._services):
            found |= {one.what: vars(one) for one in look(load_settings(home=Path("/nowhere")))}
    is_told(found, "platform database", "error", "AI_ASSETS_DATABASE_URL")
    is_told(found, "Redis", "error", "start Redis")
    is_told(found, "Celery broker", "error", "start Celery broker")
    assert "hunter2" not in str(found)


def test_a_port_that_is_taken(examine: Examine, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("AI_ASSETS_UI_PORT", str(taken.getsockname()[1]))
        status, found = examine()
    assert status == 0
    is_told(found, "port of the UI", "warning", "AI_ASSETS_UI_PORT")
