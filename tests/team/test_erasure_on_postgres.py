"""Erasing and restoring with the platform database in PostgreSQL, Dagster's tables beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa

from ai_assets.home import prepare_home
from resources.backup import after_restore
from resources.platform import Platform
from resources.settings import load_settings
from resources.vector_index.delta import DeltaStore

pytestmark = pytest.mark.team


@pytest.fixture
def platform(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    monkeypatch.setenv("AI_ASSETS_DATABASE_URL", database_url)
    return prepare_home(load_settings(home=tmp_path / "home"))


def test_own_rows_go_and_the_rows_of_dagster_lose_the_name(platform: Platform) -> None:
    pseudonym = platform.pseudonyms.of("anna")
    platform.event_stream.append([{"listener": "anna", "track": "t"}, {"listener": "bert", "track": "t"}])
    with platform.database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE foreign_log (event text)"))
        connection.execute(sa.text("INSERT INTO foreign_log VALUES (:event)"), {"event": f"a {pseudonym} b"})
    assert platform.database.forget(pseudonym) == 2
    assert [record["listener"] for _, record in platform.event_stream.read_after(0)] == [platform.pseudonyms.of("bert")]
    assert platform.database.query(sa.text("SELECT event FROM foreign_log")) == [{"event": f"a {'0' * 25} b"}]


def test_the_gate_lets_many_pass_together_or_one_alone(platform: Platform) -> None:
    gate = platform.database.gate
    with gate("g", alone=False), gate("g", alone=False):
        pass
    with gate("g", alone=True):
        pass


def test_a_restored_database_begins_above_tables_and_indices(platform: Platform) -> None:
    before = platform.lake.attempt("r").token >> 48
    folder = platform.home.indices / "content" / "gen-1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"watermark": 41}))
    after_restore(platform)
    fresh = Platform(platform.settings)
    assert fresh.lake.attempt("r").token >> 48 == before + 1
    store = DeltaStore(fresh.database, "content", dim=2, model_version="m")
    assert store.upsert("t", np.array([1, 0], np.float32)) == 42
