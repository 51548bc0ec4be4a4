"""A serving generation of a small dated world, made by the product's own functions."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from listening_world import World, catalogue_of, drifting_events, embeddings_of

from ai_assets.data_processing.interactions import daily_interactions
from ai_assets.home import prepare_home
from ai_assets.model_training.listening import fit, listening_data
from ai_assets.recommendation_update import build
from ai_assets.recommendation_update.answers import snapshot_of
from ai_assets.recommendation_update.histories import all_histories
from ai_assets.recommendation_update.playlists import all_playlists
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.serving_folder import write_generation
from resources.platform import Platform
from resources.settings import Settings


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


@pytest.fixture
def platform(
    world: World, model_folder: Path, ranker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Platform:
    """A home with events of which listener "l003" is known by pseudonym, and a serving generation."""
    import deltalake

    monkeypatch.setenv("AI_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", "")
    platform = prepare_home(Settings())
    names = {name: platform.pseudonyms.of(name) for name in world.events["listener"].unique()}
    events = world.events.assign(listener=world.events["listener"].map(names), liked=pd.Series(dtype=object))
    table = pa.Table.from_pandas(events, preserve_index=False)
    liked = pa.array([None] * len(events), pa.bool_())
    table = table.set_column(table.column_names.index("liked"), "liked", liked)
    deltalake.write_deltalake(str(platform.settings.lake_root) + "/listening_events", table)
    arrays, facts = build.serving_arrays(model_folder, world.catalogue, world.content)
    plays = build.play_counts(world.catalogue["track"].to_numpy(str), world.events["track"])
    catalogue = world.catalogue.assign(plays=plays)
    write_generation(platform.home.indices / "serving", catalogue, arrays, ranker=ranker, facts=facts)
    snapshot = snapshot_of(platform)
    histories = all_histories(platform.lake.table("listening_events"), snapshot.codes)
    rows = pd.DataFrame(all_playlists(snapshot, histories))
    deltalake.write_deltalake(str(platform.settings.lake_root) + "/playlists", pa.Table.from_pandas(rows))
    return platform
