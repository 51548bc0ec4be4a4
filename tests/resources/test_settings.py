"""Settings: where they come from, and what a bad one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.platform import Platform
from resources.pseudonyms import KeyChanged, Pseudonyms
from resources.settings import Home, home_folder, load_settings, setting_sources


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AI_ASSETS_HOME", "DAGSTER_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def test_environment_beats_the_file_which_beats_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "settings.toml").write_text("sensor_seconds = 7\nui_port = 4000\n")
    monkeypatch.setenv("AI_ASSETS_UI_PORT", "5000")
    settings = load_settings(home=tmp_path)
    assert (settings.sensor_seconds, settings.ui_port, settings.mlflow_port) == (7, 5000, 5000)
    sources = setting_sources(settings)
    assert [sources[name] for name in ("sensor_seconds", "ui_port", "mlflow_port")] == [
        "settings.toml", "environment", "default"]  # fmt: skip


def test_an_empty_variable_counts_as_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_ASSETS_LISTENER_KEY", "")
    settings = load_settings(home=tmp_path)
    assert settings.listener_key is None and setting_sources(settings)["listener_key"] == "default"


def test_the_home_is_named_or_the_parent_of_dagsters(tmp_path: Path) -> None:
    assert home_folder({"AI_ASSETS_HOME": "x", "DAGSTER_HOME": "/d/dagster"}) == tmp_path / "x"
    assert home_folder({"DAGSTER_HOME": "/d/dagster"}) == Path("/d")
    assert home_folder({}) == tmp_path / ".ai-assets"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"sensor_seconds": 0}, "sensor_seconds"), ({"ui_port": 70000}, "ui_port"), ({"preset": "huge"}, "preset"),
        ({"database_url": "mysql://u:hunter2@h/x"}, "database_url"), ({"ui_tokens": {"hunter2": "king"}}, "ui_tokens"),
        ({"lake_uri": "gs://hunter2/x"}, "lake_uri"), ({"no_such_setting": "hunter2"}, "no_such_setting"),
    ],
)  # fmt: skip
def test_a_bad_setting_is_named_and_its_value_is_not_shown(tmp_path: Path, changes: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named) as error:
        load_settings(home=tmp_path, **changes)
    assert named == "ui_tokens" or "hunter2" not in str(error.value)


def test_a_misspelt_or_broken_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("sensor_secnds = 3")
    with pytest.raises(ValueError, match="sensor_secnds"):
        load_settings(home=tmp_path)
    (tmp_path / "settings.toml").write_text("nonsense = [")
    with pytest.raises(ValueError, match=r"settings\.toml is no TOML"):
        load_settings(home=tmp_path)


def test_no_secret_shows_in_the_printed_settings(tmp_path: Path) -> None:
    settings = load_settings(
        home=tmp_path, database_url="postgresql+psycopg2://u:hunter2@h/x", listener_key="hunter2", api_token="hunter2",
        ui_tokens={"hunter2": "viewer"}, lake_storage_options={"AWS_SECRET_ACCESS_KEY": "hunter2"},
        alert_webhook_key="hunter2", broker_url="redis://:hunter2@h",
    )  # fmt: skip
    assert "hunter2" not in repr(settings) + str(settings) and "hunter2" in settings.database


def test_making_a_home_keeps_its_secrets_to_the_owner(tmp_path: Path) -> None:
    home = Home(tmp_path / "new")
    home.make()
    home.make()
    assert home.landing_audio.is_dir() and home.secrets.stat().st_mode & 0o777 == 0o700


def test_building_a_platform_touches_nothing(tmp_path: Path) -> None:
    Platform(load_settings(home=tmp_path / "none", lake_uri="file:///somewhere/lake")).resources()
    assert not (tmp_path / "none").exists()
    assert load_settings(home=tmp_path, lake_uri="file:///somewhere/lake").lake_root == "/somewhere/lake"


def test_pseudonyms_are_stable_keyed_and_made_with_a_private_key(tmp_path: Path) -> None:
    one = Pseudonyms(tmp_path / "a")
    one.prepare()
    assert one.of("anna") == Pseudonyms(tmp_path / "a").of("anna") != one.of("ben")
    assert one.of("anna").startswith("l") and len(one.of("anna")) == 25
    other = Pseudonyms(tmp_path / "b")
    other.prepare()
    assert other.of("anna") != one.of("anna")
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "a").iterdir()} == {0o600}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["listener_key", "listener_key.check"]


def test_a_changed_listener_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    Pseudonyms(tmp_path, "first").prepare()
    Pseudonyms(tmp_path, "first").prepare()
    with pytest.raises(KeyChanged, match="Restore the old AI_ASSETS_LISTENER_KEY"):
        Pseudonyms(tmp_path, "second").prepare()
