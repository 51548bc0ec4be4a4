"""A small home with a serving generation, and the real server process on it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "recommendation_update"))
sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))
from chromium import browser  # noqa: F401
from listening_world import World, catalogue_of, drifting_events, embeddings_of
from room_home import furnish
from serving_home import ROOT, Server, copy_of, environment, publish, serving

from ai_assets.data_processing.interactions import daily_interactions
from ai_assets.home import prepare_home
from ai_assets.model_training.ials import IalsConfig, fit_ials
from ai_assets.model_training.listening import Collaborative, listening_data
from ai_assets.model_training.two_tower import TowerConfig, TwoTower
from ai_assets.recommendation_update import build
from resources.platform import Platform
from resources.settings import Settings


@pytest.fixture(scope="session")
def world() -> World:
    events, catalogue = drifting_events(), catalogue_of()
    content = build.content_matrix(embeddings_of(catalogue), catalogue)
    assert content is not None
    return World(events, daily_interactions(events), catalogue, content)


@pytest.fixture(scope="session")
def model(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """iALS as it is fitted, and a tower whose vectors are the sound's: training one is not what is tested here."""
    folder = tmp_path_factory.mktemp("listening")
    data = listening_data(world.interactions)
    places = [int(track[1:]) for track in data.item_ids]
    tower = TwoTower(world.content[places], world.content[places], TowerConfig(dim=world.content.shape[1]))
    fitted = Collaborative(data.item_ids, tower, fit_ials(data, config=IalsConfig(dim=16)))
    fitted.save(folder)
    (folder / "config.json").write_text(json.dumps({"ials": asdict(fitted.ials.config), "until": 0.0}))
    return folder


@pytest.fixture(scope="session")
def template(world: World, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which the world's listeners are known by pseudonym, with one generation."""
    import deltalake

    home = tmp_path_factory.mktemp("template") / "home"
    platform = prepare_home(Settings(home=home))
    names = {name: platform.pseudonyms.of(name) for name in world.events["listener"].unique()}
    events = world.events.assign(listener=world.events["listener"].map(names))
    table = pa.Table.from_pandas(events.drop(columns="liked"), preserve_index=False)
    table = table.append_column("liked", pa.array([None] * len(events), pa.bool_()))
    deltalake.write_deltalake(str(platform.settings.lake_root) + "/listening_events", table)
    publish(platform, world, model)
    return home


@pytest.fixture(scope="module")
def home(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that the tests of a module share; each keeps to listeners and tracks of its own."""
    return copy_of(template, tmp_path_factory.mktemp("shared"))


@pytest.fixture
def own_home(template: Path, tmp_path: Path) -> Path:
    """A home for one test."""
    return copy_of(template, tmp_path)


@pytest.fixture
def platform(home: Path) -> Platform:
    """The shared home as another process on it sees it."""
    return Platform(Settings(home=home))


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[Server]:
    """The server of the shared home."""
    with serving(home) as running:
        yield running


@pytest.fixture(scope="module")
def room_home(template: Path, world: World, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with something to look at in the listening room."""
    home = copy_of(template, tmp_path_factory.mktemp("room"))
    furnish(home, world, model)
    return home


@pytest.fixture(scope="module")
def room(room_home: Path) -> Iterator[Server]:
    """The server of that home."""
    with serving(room_home) as running:
        yield running


@pytest.fixture
def command(home: Path) -> Callable[..., Any]:
    """Ask the shared home by the command line, in a process of its own."""

    def run(*arguments: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "ai_assets.cli", *arguments, "--json"],
            env=environment(home), cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
        return json.loads(done.stdout)

    return run
