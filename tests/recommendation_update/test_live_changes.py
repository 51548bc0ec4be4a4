"""What is entered and withdrawn while a generation answers, and the searches of large catalogues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from listening_world import World

from ai_assets.data_processing.external_tracks import ExternalTrack, ExternalTracks, with_external
from ai_assets.recommendation_update import index_updates, retrieval
from ai_assets.recommendation_update.histories import History, Play
from ai_assets.recommendation_update.overlay import Room, overlaid
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from ai_assets.recommendation_update.retrieval import ExactSearch, IndexSearch, NormSearch, item_codes
from ai_assets.recommendation_update.rules import Rule
from resources.database import Database
from resources.vector_index import build, current
from resources.vector_index.delta import DeltaStore, LiveIndex

DIM = 16


def _store(folder: Path, model: str = "sound/1") -> DeltaStore:
    database = Database(f"sqlite:///{folder / 'platform.db'}", folder / "locks")
    database.prepare()
    return DeltaStore(database, "content", dim=DIM, model_version=model)


def _entered(world: World, number: int, item: int, **more: Any) -> ExternalTrack:
    values: dict[str, Any] = {"title": f"New {number}", "artist": "Artist 0", "genre": "style9", "embedding": "sound/1"}
    vector = np.asarray(world.content[item], np.float32)
    return ExternalTrack(**{"track": f"x{number}", "sequence": number, "vector": vector, **values, **more})


@pytest.fixture
def known(snapshot: QuerySnapshot) -> QuerySnapshot:
    from dataclasses import replace

    return replace(snapshot, facts={**snapshot.facts, "embedding": "sound/1"})


def test_entered_tracks_are_found_and_the_snapshot_before_does_not_change(known: QuerySnapshot, world: World) -> None:
    before = similar(known, 25, 5), recommend(known, History.of([Play(1)]), 5)
    one = overlaid(known, [_entered(world, 1, 25)])
    two = overlaid(one, [_entered(world, 2, 26, artist="Somebody new")])
    assert similar(one, 25, 1)[0] == (240, pytest.approx(1.0, abs=1e-5)) and len(one.codes) == 241
    assert {code for code, _ in similar(two, 26, 2)} >= {241} and two.find("artist 0 - new 1") == 240
    assert (
        two.sources.artists[240] == known.sources.artists[0] and two.sources.artists[241] not in known.sources.artists
    )
    assert (
        len(one.sources.plays) == 241 and (similar(known, 25, 5), recommend(known, History.of([Play(1)]), 5)) == before
    )
    listened = History.of([Play(240), *(Play(20 + place) for place in range(5))] * 4)
    assert recommend(two, listened, 10)[0] and 240 not in {row.item for row in recommend(two, listened, 50)[0]}


def test_rules_and_withdrawals_hold_for_entered_tracks(known: QuerySnapshot, world: World) -> None:
    live = overlaid(known.with_rules([Rule("genre", "is", "style9")]), [_entered(world, 1, 25)])
    assert not live.allowed()[240] and live.allowed()[25]
    live = overlaid(live, [_entered(world, 2, 30, genre="other")])
    assert live.allowed()[241] and not live.allowed()[240]
    gone = overlaid(
        live, [_entered(world, 2, 30, withdrawn=True, sequence=3), ExternalTrack("t0025", withdrawn=True, sequence=4)]
    )
    assert not gone.allowed()[241] and not gone.allowed()[25] and live.allowed()[25] and gone.sequence == 4
    back = overlaid(gone, [ExternalTrack("t0025", sequence=5)])
    assert back.allowed()[25]


def test_a_vector_of_another_embedding_is_left_out(known: QuerySnapshot, world: World) -> None:
    live = overlaid(known, [_entered(world, 1, 25, embedding="sound/2")])
    assert similar(live, 240, 5) == [] and 240 not in {code for code, _ in similar(live, 25, 240)}


def test_a_changed_vector_of_a_known_track_counts_from_now_on(known: QuerySnapshot, world: World) -> None:
    live = overlaid(known, [_entered(world, 1, 200, track="t0003", title=None, artist=None, genre=None)])
    assert similar(live, 200, 1)[0][0] == 3 != similar(known, 200, 1)[0][0]
    assert live.catalogue["title"][3] == "Song 3"


def test_rows_are_added_without_disturbing_earlier_views() -> None:
    room = Room(np.arange(6.0).reshape(3, 2))
    first, room = room.extended(3, np.ones((1, 2)))
    second, same = room.extended(4, np.full((2, 2), 2.0))
    assert same is room and first.shape == (4, 2) and np.shares_memory(first, second)
    other, _ = room.extended(4, np.full((1, 2), 9.0))  # from the earlier view again: not over the rows of the later
    assert second[4, 0] == 2.0 and other[4, 0] == 9.0


def test_rows_of_the_database_outlive_rebuilds(tmp_path: Path, world: World) -> None:
    store = _store(tmp_path)
    external = ExternalTracks(store._database)
    vector = world.content[25] * 7
    numbers = [
        external.put(ExternalTrack("x1", external_id="shop-1", title="A", vector=vector, embedding="sound/1"), store),
        external.put(ExternalTrack("x1", artist="B"), store),
        external.withdraw("t0002", store),
        external.withdraw("x1", store),
    ]
    assert numbers == [1, 2, 3, 4] and external.last() == 4 and external.ids() == {"shop-1": "x1"}
    rows = {row.track: row for row in external.after()}
    assert rows["x1"].title == "A" and rows["x1"].artist == "B" and rows["x1"].withdrawn and rows["x1"].own
    assert np.linalg.norm(rows["x1"].vector) == pytest.approx(1.0, abs=1e-5)
    assert store.after(0).gone == {"x1", "t0002"}
    external.put(ExternalTrack("x1"), store)
    assert store.after(0).ids.tolist() == ["x1"]  # found by its vector again
    catalogue = world.catalogue.assign(files=1)
    whole = with_external(catalogue, external.after())
    assert whole["track"].tolist() == sorted(whole["track"]) and len(whole) == 241
    last = whole.set_index("track")
    assert bool(last.loc["t0002", "deleted"]) and not last.loc["x1", "deleted"] and last.loc["x1", "title"] == "A"
    assert whole["deleted"].dtype == bool and whole["duration_seconds"].dtype == float
    assert len(with_external(catalogue.iloc[:0], external.after())) == 1


def _vectors(count: int, seed: int = 0) -> np.ndarray:
    values = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_inner_products_by_norm_are_those_of_the_whole_catalogue() -> None:
    rng = np.random.default_rng(1)
    vectors = _vectors(9_000) * (1.0 / rng.permutation(np.arange(1, 9_001))[:, None] ** 0.3).astype(np.float32)
    mask = rng.random(9_000) < 0.8
    queries = _vectors(5, 3)
    for one, two in zip(
        NormSearch.of(vectors).best(queries, mask, 50), ExactSearch(vectors).best(queries, mask, 50), strict=True
    ):
        assert set(one.tolist()) == set(two.tolist())
    assert NormSearch.of(vectors).best(queries, np.zeros(9_000, bool), 50)[0].size == 0


def test_an_index_with_its_delta_is_searched_like_the_whole(tmp_path: Path) -> None:
    vectors, store = _vectors(3_000), _store(tmp_path)
    names = [f"t{row:04}" for row in range(3_000)]
    build(tmp_path / "index", names, vectors, model_version="sound/1")
    fresh = _vectors(20, 9)
    for row in range(20):
        store.upsert(f"n{row}", fresh[row])
    store.upsert("t0007", fresh[0])
    store.delete("t0008")
    live = LiveIndex.open(tmp_path / "index", store)
    codes = {name: row for row, name in enumerate([*names, *(f"n{row}" for row in range(20))])}
    matrix = np.concatenate([vectors, fresh])
    matrix[7] = fresh[0]
    plain = item_codes(names, {name: codes[name] for name in names[:2_990]})
    search = IndexSearch.of(live, plain, codes, matrix)
    mask = np.ones(3_020, bool)
    mask[8] = mask[100:200] = False
    hits = 0
    for query in (*fresh[:5], *vectors[5:30]):
        (found,) = search.best(query[None, :], mask, 50)
        (truth,) = ExactSearch(matrix).best(query[None, :], mask, 50)
        assert mask[found].all() and len(set(found.tolist())) == 50
        hits += len(set(found.tolist()) & set(truth.tolist()))
    assert hits >= 0.95 * 50 * 30
    few = np.zeros(3_020, bool)
    few[[3, 2_995, 3_004]] = True  # what so many rules exclude is searched exactly
    assert set(search.best(vectors[:1], few, 10)[0].tolist()) == {3, 2_995, 3_004}


def test_few_changes_go_into_the_delta_and_many_are_a_new_generation(tmp_path: Path) -> None:
    store, folder = _store(tmp_path), tmp_path / "index"
    names, vectors = [f"t{row}" for row in range(100)], _vectors(120)
    first = index_updates.bring_up_to_date(folder, store, names, vectors[:100], seen=store.last())
    assert first.rebuilt and first.delta_rows == 0
    same = index_updates.bring_up_to_date(folder, store, names, vectors[:100], seen=store.last())
    assert not same.rebuilt and same.delta_rows == 0 and store.last() == 0
    changed = [*names[1:], "new"]
    moved = np.concatenate([vectors[1:100], vectors[110:111]])
    few = index_updates.bring_up_to_date(folder, store, changed, moved, seen=store.last())
    live = LiveIndex.open(folder, store)
    assert not few.rebuilt and few.delta_rows == 2 and live.delta.gone == {"t0"} and live.delta.ids.tolist() == ["new"]
    many = index_updates.bring_up_to_date(folder, store, [*changed, *(f"m{row}" for row in range(15))],
                                          np.concatenate([moved, vectors[100:115]]), seen=store.last())  # fmt: skip
    assert many.rebuilt and many.delta_rows == 0 and len(many.generation.ids) == 115
    assert current(folder).name == many.generation.name
    other = index_updates.bring_up_to_date(folder, _store(tmp_path, "sound/2"), names, vectors[:100], seen=store.last())
    assert other.rebuilt and other.generation.manifest["model_version"] == "sound/2"


def test_what_is_written_while_a_generation_is_made_is_left_alone(tmp_path: Path) -> None:
    store, folder = _store(tmp_path), tmp_path / "index"
    names, vectors = [f"t{row}" for row in range(50)], _vectors(60)
    index_updates.bring_up_to_date(folder, store, names, vectors[:50], seen=0)
    seen = store.last()
    store.delete("t3")  # withdrawn after the tables were read
    index_updates.bring_up_to_date(folder, store, names, vectors[:50], seen=seen)
    assert "t3" not in LiveIndex.open(folder, store).search(vectors[3], 50)[0]


def test_a_large_catalogue_asks_its_indices(
    known: QuerySnapshot, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_assets.recommendation_update.candidates.EXACT_BELOW", 100)
    build(tmp_path / "index", list(known.catalogue["track"]), known.sources.content, model_version="sound/1")
    live = LiveIndex.open(tmp_path / "index", _store(tmp_path))
    large = known.with_indices(live, None)
    assert isinstance(large.sources.content_search, retrieval.IndexSearch)
    assert isinstance(large.sources.ials_search, retrieval.NormSearch)
    for item in (3, 25, 170):
        assert [code for code, _ in similar(large, item, 10)] == [code for code, _ in similar(known, item, 10)]
    history = History.of([Play(item) for item in (3, 4, 5, 8, 9)] * 5)
    one, two = (pd.Series([row.item for row in recommend(made, history, 20)[0]]) for made in (large, known))
    assert one.isin(two).mean() >= 0.8
