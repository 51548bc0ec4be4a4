"""A home and the small assets over it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import small_assets

from ai_assets.contract import errors
from ai_assets.home import TABLE_MODULES
from resources.platform import Platform
from resources.settings import load_settings


class Home:
    """A prepared platform with an ephemeral Dagster instance."""

    def __init__(self, root: Path) -> None:
        self.platform = Platform(load_settings(home=root))
        self.platform.home.make()
        for module in TABLE_MODULES:
            importlib.import_module(module)
        self.platform.database.prepare()
        self.instance = dg.DagsterInstance.ephemeral()

    def run(self, *names: str, **options: Any) -> dg.ExecuteInProcessResult:
        assets = options.pop("assets", small_assets.ASSETS)
        return dg.materialize(
            assets, selection=list(names), resources=self.platform.resources(), instance=self.instance,
            raise_on_error=False, **options,
        )  # fmt: skip

    def checks(self, run: dg.ExecuteInProcessResult) -> dict[tuple[str, str | None], Any]:
        """Every recorded evaluation by check and partition."""
        found = {}
        for record in self.instance.all_logs(run.run_id):
            event = record.dagster_event
            if event is not None and event.event_type_value == "ASSET_CHECK_EVALUATION":
                data: Any = event.event_specific_data
                found[f"{data.asset_key.path[-1]}/{data.check_name}", data.partition] = data
        return found

    def types(self, run: dg.ExecuteInProcessResult) -> list[str]:
        events = (record.dagster_event for record in self.instance.all_logs(run.run_id))
        return [event.event_type_value for event in events if event is not None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    small_assets.MODE.clear()
    monkeypatch.setattr(errors.RETRIES.__class__, "calculate_delay", lambda *_: 0, raising=True)
    yield Home(tmp_path)
    small_assets.MODE.clear()
