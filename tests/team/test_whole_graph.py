"""The whole graph where it is hardest: on two workers over PostgreSQL and Redis, and every asset made twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Team

pytestmark = [pytest.mark.team, pytest.mark.timeout(1500)]


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ai_assets.cli", *arguments], cwd=ROOT, env=variables, capture_output=True, text=True,
        timeout=1400, check=False,
    )  # fmt: skip


def test_the_demo_is_made_by_two_workers(team: Team) -> None:
    team.worker()
    team.worker()
    done = command("demo", "--size", "tiny", **team.variables)
    assert done.returncode == 0, done.stderr[-3000:]
    found = command("table", "recommendations", "--json", "--limit", "5", **team.variables)
    assert len([json.loads(line) for line in found.stdout.splitlines()]) == 5
    assert len(steps_by_worker(team)) == 2  # both worked


def steps_by_worker(team: Team) -> list[int]:
    """Workers that began steps, from what each printed."""
    return [number for number, process in enumerate(team.started) if "STEP_WORKER_STARTED" in team.output(process)]


TWICE = """
import json, sys
from ai_assets.contract.spec import CONTRACTS
from ai_assets.launch import Launcher
from ai_assets.home import prepare_home
from ai_assets.planning import Item
from resources.settings import load_settings

def state(platform):
    found = {}
    for asset, entries in platform.lake.ledger.all().items():
        for key, entry in entries.items():
            found[f"{asset}/{key}"] = entry.content_hash
    versions = {name: platform.lake.open(name).version() for name in platform.lake.tables()}
    return found, versions

platform = prepare_home(load_settings())
changed, grown, failed = [], {}, []
with Launcher(platform) as launcher:
    entries = platform.lake.ledger.all()
    wanted = sorted((name for name in CONTRACTS if name in entries), key=launcher.planner.order.index)
    for asset in [name for name in wanted if not sys.argv[1:] or name in sys.argv[1:]]:
        states = []
        for _ in range(2):  # twice in a row: what came before it may have changed since the home was made
            items = [Item(asset, key, "again", "again") for key in entries[asset]]
            failed += [(one.asset, one.message) for one in launcher.bring_up_to_date(items=items).failures]
            states.append(state(platform))
        names = [f"{asset}/{key}" for key in entries[asset]]
        changed += [name for name in names if states[0][0][name] != states[1][0][name]]
        if states[0][1].get(asset) != states[1][1].get(asset):
            grown[asset] = [item[1].get(asset) for item in states]
print(json.dumps({"made": len(wanted), "failed": failed, "changed": changed, "grown": grown}))
"""


@pytest.mark.matrix
def test_every_asset_made_twice_gives_the_same_content_and_no_new_version(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    variables = {**clean, "AI_ASSETS_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    first = command("demo", "--size", "tiny", **variables)
    assert first.returncode == 0, first.stderr[-3000:]
    again = subprocess.run([sys.executable, "-c", TWICE], cwd=ROOT, env=variables, capture_output=True, text=True,
                           timeout=1200)  # fmt: skip
    assert again.returncode == 0, again.stderr[-3000:]
    found = json.loads(again.stdout.splitlines()[-1])
    assert found["made"] > 25 and not found["failed"]
    # Recommendations hold the number of the generation that they publish, which is a new one each time.
    assert set(found["grown"]) <= {"recommendations"} and set(found["changed"]) <= {"recommendations/"}, found
