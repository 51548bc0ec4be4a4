"""The team template: platform database and Dagster's storage in PostgreSQL, the same graph on it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from ai_assets.home import prepare_home
from ai_assets.launch import Launcher
from resources.settings import load_settings

SERVER = os.environ.get("AI_ASSETS_TEST_POSTGRES", "postgresql+psycopg2://root@127.0.0.1:5432/postgres")

pytestmark = pytest.mark.team


@pytest.fixture
def database_url() -> Iterator[str]:
    """A database of its own on the server; skipped (in CI: failed) where none answers."""
    server = sa.create_engine(SERVER, isolation_level="AUTOCOMMIT")
    name = f"platform_{uuid.uuid4().hex[:12]}"
    try:
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {name}"))
    except sa.exc.OperationalError as error:
        reason = f"no PostgreSQL at {SERVER}: {type(error).__name__}"
        if os.environ.get("AI_ASSETS_REQUIRE_SERVICES"):
            pytest.fail(reason)
        pytest.skip(reason)
    yield SERVER.rsplit("/", 1)[0] + f"/{name}"
    with server.connect() as connection:
        connection.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))


def test_events_become_tables_with_everything_in_postgresql(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_ASSETS_DATABASE_URL", database_url)
    platform = prepare_home(load_settings(home=tmp_path))
    row = '{"event_id": "%s", "listener": "u", "track": "A - B", "played_at": "2026-10-01T10:00:00Z"}\n'
    (platform.home.landing_events / "a.jsonl").write_text(row % "1" + row % "2" + row % "2" + "{broken\n")
    with Launcher(platform) as launcher:
        assert type(launcher.instance.run_storage).__name__ == "PostgresRunStorage"
        wanted = {"raw_events", "listening_events", "interactions", "listeners"}
        summary = launcher.bring_up_to_date(only=wanted)
        assert not summary.failures
        again = launcher.bring_up_to_date(only=wanted)
    assert not again.runs
    assert platform.lake.table("interactions").frame()["plays"].tolist() == [2]
    assert len(platform.quarantine.rows("raw_events")) == 1
    assert not (tmp_path / "platform.db").exists()
