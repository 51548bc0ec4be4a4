"""The wheel, built and installed elsewhere: it has all it needs inside and works where no checkout is near."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("ai_assets", "resources", "sensors")
CHECKOUT_ONLY = ("resources/instance/docker/",)  # the image is built from a checkout
EVENTS = "listener,track,played_at\nann,Low - Lullaby,2026-11-01T20:00:00Z\nben,Low - Lullaby,2026-11-02T20:00:00Z\n"


def called(*words: object, folder: Path, status: int = 0) -> str:
    """What a command prints, run in `folder` with no setting of this process."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("AI_ASSETS_", "DAGSTER_", "PYTHON"))
    }
    variables = {**kept, "AI_ASSETS_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    variables["AI_ASSETS_PRESET"] = "tiny"
    done = subprocess.run(
        [str(word) for word in words],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == status, f"{words}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, so that the checkout stays as it is."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    called(sys.executable, "-m", "pip", "wheel", *options, "-w", source / "dist", source, folder=source)
    return next((source / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a virtual environment of the wheel; what the project depends on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    called(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index")
    python = folder / "venv" / "bin" / "python"
    called(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, folder=folder)
    borrowed = [path for path in sys.path if path.endswith("site-packages")]
    site = folder / "venv" / "lib" / f"python3.{sys.version_info[1]}" / "site-packages"
    (site / "borrowed.pth").write_text("\n".join(borrowed))
    return folder


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in there ^ inside if not name.startswith(CHECKOUT_ONLY)} == set()


def test_the_installed_wheel_is_what_runs_and_its_definitions_load(elsewhere: Path) -> None:
    script = (
        "import ai_assets, resources, sensors\n"
        "from ai_assets.definitions import defs\n"
        "graph = defs.get_repository_def()\n"
        "graph.load_all_definitions()\n"
        "print(*(module.__path__[0] for module in (ai_assets, resources, sensors)), len(graph.assets_defs_by_key))"
    )
    *places, assets = called(elsewhere / "venv" / "bin" / "python", "-c", script, folder=elsewhere).split()
    assert len(places) == 3
    assert all(Path(place).is_relative_to(elsewhere) for place in places)
    assert int(assets) > 30


def test_the_installed_command_speaks_and_analyses(elsewhere: Path) -> None:
    import numpy as np
    import soundfile

    program = elsewhere / "venv" / "bin" / "ai-assets"
    assert "Look after it" in called(program, "--help", folder=elsewhere)
    called(program, "status", folder=elsewhere, status=1)  # there is no home yet
    called(program, "doctor", folder=elsewhere)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(3 * 22_050) / 22_050)
    soundfile.write(elsewhere / "tone.wav", tone, 22_050)
    found = json.loads(called(program, "analyze", "tone.wav", "--json", "--html", "pages", folder=elsewhere))
    assert found["status"] == "ok"
    assert len(list((elsewhere / "pages").glob("*.html"))) == 1


@pytest.mark.team  # makes the whole graph from two plays
def test_the_installed_command_makes_and_reads_a_home(elsewhere: Path) -> None:
    program = elsewhere / "venv" / "bin" / "ai-assets"
    (elsewhere / "plays.csv").write_text(EVENTS)
    called(program, "run", "--events", "plays.csv", folder=elsewhere)
    assert "listening_events" in called(program, "status", folder=elsewhere)
    assert len(called(program, "table", "listening_events", "--json", folder=elsewhere).splitlines()) == 2
    facts = '{"title": "Nuit", "artist": "Ana", "genre": "jazz"}'
    assert "Nuit" in called(program, "generate", "text", "--facts", facts, "--lang", "fr", folder=elsewhere)
