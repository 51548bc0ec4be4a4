"""The code of the README and of the how-to pages on assets and sensors: it runs, and does what the page says."""

from __future__ import annotations

import os
import re
import sys
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from ai_assets.contract.spec import CONTRACTS

ROOT = Path(__file__).parents[2]


def module_of(page: str, section: str = "") -> types.ModuleType:
    """The Python blocks of a page, or of one of its sections, as one module."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if section:
        text = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))
    module = types.ModuleType("of_" + re.sub(r"\W", "_", page))
    sys.modules[module.__name__] = module
    exec(compile(code, page, "exec"), module.__dict__)
    return module


@pytest.fixture
def plain_inputs() -> Iterator[None]:
    """`listening_events` and `interactions` as plain tables; contracts of the pages are taken out again."""
    before = dict(CONTRACTS)
    for name in ("listening_events", "interactions"):
        CONTRACTS.pop(name, None)
    yield
    CONTRACTS.clear()
    CONTRACTS.update(before)


def test_the_asset_of_the_page_is_made_and_checked(home: Any, plain_inputs: None) -> None:
    page = module_of("docs/how-to/new-asset.md")
    lake = home.platform.lake
    hours = [20, 20, 20, 21]
    moments = pa.array([datetime(2026, 11, 1, hour, tzinfo=UTC) for hour in hours], pa.timestamp("us", tz="UTC"))
    lake.replace("listening_events", pa.table({"played_at": moments}), lake.attempt("r"))
    run = home.run("busy_hours", assets=[page.busy_hours, dg.AssetSpec("listening_events")])
    assert run.success
    assert lake.read("busy_hours").to_pylist() == [{"hour": 20, "plays": 3}, {"hour": 21, "plays": 1}]
    assert set(home.checks(run)) == {("busy_hours/contract", None), ("busy_hours/one_hour_is_not_everything", None)}
    lake.replace("listening_events", pa.table({"played_at": moments.slice(0, 3)}), lake.attempt("r2"))
    warned = home.run("busy_hours", assets=[page.busy_hours, dg.AssetSpec("listening_events")])
    assert warned.success
    assert not home.checks(warned)["busy_hours/one_hour_is_not_everything", None].passed


def test_the_asset_and_the_task_of_the_readme_are_what_it_says(home: Any, plain_inputs: None) -> None:
    page = module_of("README.md", "Add an asset")
    lake = home.platform.lake
    table = pa.table({"day": ["2026-11-01", "2026-11-01", "2026-11-02"], "plays": [1, 2, 3]})
    lake.replace("interactions", table, lake.attempt("r"))
    assert home.run("busy_days", assets=[page.busy_days, dg.AssetSpec("interactions")]).success
    found = lake.read("busy_days").to_pylist()
    assert found == [{"day": "2026-11-01", "plays": 3}, {"day": "2026-11-02", "plays": 3}]
    assert page.count_days_task.name == "ai_tasks.count_days_task"


def test_the_sensor_of_the_page_asks_once_for_each_version_of_the_file(home: Any) -> None:
    (editors,) = module_of("docs/how-to/new-sensor.md").editor_sensors(5)
    assert editors.description.startswith("Makes generated content anew")
    assert editors.default_status == dg.DefaultSensorStatus.RUNNING

    def tick() -> Any:
        with dg.build_sensor_context(instance=home.instance, resources={"platform": home.platform}) as context:
            return editors.evaluate_tick(context)

    assert "editors.csv" in tick().skip_message
    file = home.platform.home.landing_audio.parent / "editors.csv"
    file.write_text("track,genre\n")
    first, second = tick().run_requests[0], tick().run_requests[0]
    assert first.run_key == second.run_key
    os.utime(file, ns=(1, 1))
    assert tick().run_requests[0].run_key != first.run_key
