"""`worker` and `up --team`: what is missing is named before anything is started or made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def command(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_"))}
    return subprocess.run(
        [sys.executable, "-m", "ai_assets.cli", *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**clean, "AI_ASSETS_HOME": str(home), **more},
    )  # fmt: skip


def test_up_names_every_setting_that_is_missing_and_makes_nothing(tmp_path: Path) -> None:
    done = command(tmp_path / "home", "up", "--team", AI_ASSETS_REDIS_URL="redis://127.0.0.1:1/0")
    text = " ".join(done.stderr.split())
    assert done.returncode == 1 and not (tmp_path / "home").exists()
    assert all(f"AI_ASSETS_{name}" in text for name in ("DATABASE_URL", "BROKER_URL", "EXECUTOR=celery"))
    assert "AI_ASSETS_REDIS_URL" not in text


@pytest.mark.parametrize(("arguments", "named"), [(("--queue", "cpu,gpx"), "gpx"), (("--concurrency", "0"), "0")])
def test_a_worker_s_bad_arguments_are_named(tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    done = command(tmp_path, "worker", *arguments)
    assert done.returncode == 2 and named in done.stderr
