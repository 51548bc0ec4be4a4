"""Diversity, playlists, quality and the serving folder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from listening_world import ArrowTable, World

from ai_assets.model_training import metrics
from ai_assets.model_training.listening import first_plays, fit, listening_data
from ai_assets.model_training.splits import time_split
from ai_assets.recommendation_update import build, checks, ranking
from ai_assets.recommendation_update.candidates import candidates
from ai_assets.recommendation_update.diversity import PER_ALBUM, PER_ARTIST, diversify
from ai_assets.recommendation_update.histories import History, Play, all_histories
from ai_assets.recommendation_update.playlists import FEWEST, LENGTH, all_playlists
from ai_assets.recommendation_update.quality import quality_rows
from ai_assets.recommendation_update.query import QuerySnapshot, recommend
from ai_assets.recommendation_update.serving_folder import current_folder, write_generation
from resources.vector_index.generation import file_digest


def _served(snapshot: QuerySnapshot, history: np.ndarray) -> list[int]:
    plays = [Play(int(item)) for item in history]
    return [answer.item for answer in recommend(snapshot, History.of(plays), 10)[0]]


def test_what_is_served_is_nearly_as_good_as_what_the_ranker_was_judged_on(world: World, ranker: str) -> None:
    """Diversity and blending come after the judged order: together they may cost a tenth of NDCG@10 at most."""
    data = listening_data(world.interactions)
    _, rest = time_split(data, 0.4)
    middle, late = time_split(rest, 0.5)
    before = data.take(data.times <= middle.times.max())
    model, _ = fit(before)
    sources = build.sources_at(model, world.interactions, float(before.times.max()), world.catalogue, world.content)
    columns = {name: world.catalogue[name].to_numpy() for name in world.catalogue}
    snapshot = QuerySnapshot("cut", columns, sources, ranker, {})
    booster = ranking.load_ranker(ranker)
    judged, served = (np.full((before.user_count, 10), -1, np.int64) for _ in range(2))
    for user, history in enumerate(before.histories()):
        mask = np.ones(before.item_count, bool)
        mask[history] = False
        pool = candidates(sources, history, mask, 200)
        judged[user] = pool.items[np.argsort(-ranking.predict(booster, pool.features), kind="stable")[:10]]
        served[user] = _served(snapshot, history)
    relevant = first_plays(before, late).matrix()
    values = [float(np.nanmean(metrics.evaluate(ranked, relevant)["ndcg"])) for ranked in (judged, served)]
    distances = [metrics.intra_list_distance(ranked, world.content) for ranked in (judged, served)]
    assert values[1] > 0.9 * values[0] and distances[1] > distances[0], (values, distances)


def test_no_artist_takes_more_than_its_share_while_others_are_left() -> None:
    items, artists = np.arange(30), np.array([0] * 15 + list(range(1, 16)))
    chosen = diversify(items, np.linspace(1, 0.5, 30), None, artists, 10)
    assert sum(item < 15 for item, _ in chosen) == PER_ARTIST and len(chosen) == 10
    alone = diversify(items[:15], np.linspace(1, 0.5, 15), None, artists[:15], 10)
    assert [item for item, _ in alone] == list(range(10))


def test_no_album_takes_more_than_its_share_while_others_are_left() -> None:
    """A compilation: every track by another artist. Tracks on no album are never fellows."""
    items, artists = np.arange(30), np.arange(30)
    albums = np.array([7] * 15 + [-1] * 15)
    chosen = diversify(items, np.linspace(1, 0.5, 30), None, artists, 10, albums=albums)
    assert [item for item, _ in chosen] == [0, 1, 2, *range(15, 22)] and PER_ALBUM == 3
    alone = diversify(items[:15], np.linspace(1, 0.5, 15), None, artists[:15], 10, albums=albums[:15])
    assert [item for item, _ in alone] == list(range(10))


def test_albums_are_told_apart_by_folder_or_artist(world: World, tmp_path: Path) -> None:
    catalogue = world.catalogue.head(8).assign(plays=1)
    catalogue["album"] = ["Hits"] * 6 + [None, ""]
    catalogue["path"] = ["a/1.flac", "a/2.flac", "b/3.flac", None, None, "flat.flac", "a/7.flac", "a/8.flac"]
    catalogue["artist"] = ["X", "Y", "X", "X", "Y", "X", "X", "X"]
    write_generation(tmp_path, catalogue, {}, ranker=None, facts={})
    snapshot = QuerySnapshot.load(tmp_path)
    assert snapshot is not None
    codes = snapshot.albums.tolist()
    assert codes[0] == codes[1] != codes[2] and codes[3] == codes[5] != codes[4] and codes[6:] == [-1, -1]


def test_of_two_equal_sounds_the_second_gives_way() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    chosen = diversify(np.arange(3), np.array([1.0, 0.99, 0.97]), vectors, np.arange(3), 2)
    assert [item for item, _ in chosen] == [0, 2]
    plain = diversify(np.arange(3), np.array([1.0, 0.99, 0.97]), vectors, np.arange(3), 2, relevance=1.0)
    assert [item for item, _ in plain] == [0, 1]


@pytest.mark.parametrize(("count", "k"), [(0, 5), (3, 5), (300, 250)])
def test_a_list_has_as_many_tracks_as_there_are_and_none_twice(count: int, k: int) -> None:
    chosen = diversify(np.arange(count), np.linspace(1, 0, count), None, np.zeros(count, int), k)
    assert len({item for item, _ in chosen}) == len(chosen) == min(count, k)


def test_playlists_keep_their_promises(world: World, snapshot: QuerySnapshot) -> None:
    histories = all_histories(ArrowTable(world.events), snapshot.codes)
    rows = pd.DataFrame(all_playlists(snapshot, histories))
    assert set(rows["kind"]) == {"familiar", "discovery", "genre"} and (rows["reason"].str.len() > 0).all()
    for (kind, _), part in rows.groupby(["kind", "playlist"]):
        assert FEWEST <= len(part) <= LENGTH and part["position"].tolist() == list(range(1, len(part) + 1))
        assert part["track"].is_unique
        codes = {snapshot.codes[track] for track in part["track"]}
        if kind == "genre":
            assert part["listener"].isna().all() and len({code // 20 for code in codes}) == 1
        else:
            heard = set(histories[part["listener"].iloc[0]].heard.tolist())
            assert codes <= heard if kind == "familiar" else not codes & heard
    assert checks.PLAYLIST_LENGTH.function is not None and checks.PLAYLIST_LENGTH.function(rows).passed


def test_quality_of_one_list_for_all_and_of_own_lists() -> None:
    tracks = pd.DataFrame({"track": [f"t{code}" for code in range(40)]})
    listeners = pd.DataFrame({"listener": list("abcd"), "activity_group": ["low", "low", "high", "high"]})

    def lists(own: bool) -> pd.DataFrame:
        rows = [
            (name, rank, f"t{(place * 10 if own else 0) + rank - 1}")
            for place, name in enumerate("abcd")
            for rank in range(1, 11)
        ]
        return pd.DataFrame(rows, columns=["listener", "rank", "track"])

    plays = np.arange(40, 0, -1).astype(np.float32)
    content = np.eye(40, dtype=np.float32)
    content[1:10, 0] = 1.0  # the ten most played sound alike
    frame = quality_rows(lists(False), tracks, listeners, plays, content)
    same = frame.set_index(["metric", "group"])["value"]
    mixed = quality_rows(lists(True), tracks, listeners, plays, content).set_index(["metric", "group"])
    own = mixed["value"]
    assert (same["coverage", "all"], own["coverage", "all"], own["coverage", "low"]) == (0.25, 1.0, 0.5)
    assert same["gini", "all"] == pytest.approx(0.75) and own["gini", "all"] == pytest.approx(0.0)
    assert own["listeners", "high"] == 2 and ("coverage", "medium") not in own
    assert own["novelty_bits", "all"] > own["novelty_bits", "low"] > same["novelty_bits", "all"]
    assert (frame["value"] == frame["baseline"])[frame["metric"].isin(["novelty_bits", "diversity"])].all()
    assert own["diversity", "all"] > same["diversity", "all"] + 0.2
    low, high = mixed["low"]["novelty_bits", "all"], mixed["high"]["novelty_bits", "all"]
    assert low < own["novelty_bits", "all"] < high
    assert same["exposure", "items head"] > own["exposure", "items head"] and own["shown", "items cold"] == 1.0
    assert same["shown", "items cold"] == 0.0 and same["exposure"].sum() == pytest.approx(1.0)
    assert quality_rows(lists(True).head(0), tracks, listeners, plays).empty


def test_a_serving_generation_is_whole_and_the_newest_answers(serving: Path, world: World, tmp_path: Path) -> None:
    current = current_folder(serving)
    assert current is not None
    manifest = json.loads((current / "manifest.json").read_text())
    assert set(manifest["files"]) == {"catalogue.parquet", "model.npz", "ranker.txt"}
    for name, digest in manifest["files"].items():
        assert file_digest(current / name) == digest
    for count in (1, 2, 3, 4, 5):
        part = world.catalogue.head(count).assign(plays=1)
        write_generation(tmp_path, part, {}, ranker=None, facts={})
        snapshot = QuerySnapshot.load(tmp_path)
        assert snapshot is not None and len(snapshot.codes) == count
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CURRENT", "gen-3", "gen-4", "gen-5"]


def test_a_failed_write_leaves_the_old_generation(world: World, tmp_path: Path) -> None:
    write_generation(tmp_path, world.catalogue.assign(plays=1), {}, ranker=None, facts={})
    with pytest.raises(KeyError):
        write_generation(tmp_path, world.catalogue, {}, ranker=None, facts={})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["CURRENT", "gen-1"]
