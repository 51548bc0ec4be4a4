"""A serving generation of a small dated world, made by the product's own functions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from listening_world import World, catalogue_of, drifting_events, embeddings_of

from ai_assets.data_processing.interactions import daily_interactions
from ai_assets.model_training.listening import fit, listening_data
from ai_assets.recommendation_update import build
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.serving_folder import write_generation


@pytest.fixture(scope="session")
def world() -> World:
    events, catalogue = drifting_events(), catalogue_of()
    content = build.content_matrix(embeddings_of(catalogue), catalogue)
    assert content is not None
    return World(events, daily_interactions(events), catalogue, content)


@pytest.fixture(scope="session")
def windows(world: World) -> pd.DataFrame:
    """The ranking dataset."""
    return build.ranking_windows(world.interactions, world.catalogue, world.content)


@pytest.fixture(scope="session")
def ranker(windows: pd.DataFrame) -> str:
    """A ranking model that saw the training window only."""
    from ai_assets.recommendation_update.ranking import fit_ranker

    return fit_ranker(windows[windows["window"] == "train"])


@pytest.fixture(scope="session")
def model_folder(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The saved listening model of the whole world."""
    import json
    from dataclasses import asdict

    folder = tmp_path_factory.mktemp("listening")
    model, _ = fit(listening_data(world.interactions))
    model.save(folder)
    (folder / "config.json").write_text(json.dumps({"ials": asdict(model.ials.config), "until": 0.0}))
    return folder


@pytest.fixture(scope="session")
def serving(world: World, model_folder: Path, ranker: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one serving generation of everything."""
    folder = tmp_path_factory.mktemp("serving")
    arrays, facts = build.serving_arrays(model_folder, world.catalogue, world.content)
    plays = build.play_counts(world.catalogue["track"].to_numpy(str), world.events["track"])
    write_generation(folder, world.catalogue.assign(plays=plays), arrays, ranker=ranker, facts=facts)
    return folder


@pytest.fixture
def snapshot(serving: Path) -> QuerySnapshot:
    found = QuerySnapshot.load(serving)
    assert found is not None
    return found
