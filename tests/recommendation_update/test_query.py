"""Answers for every kind of listener and every kind of home."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from listening_world import PER_STYLE, ArrowTable, World

from ai_assets.model_training.ials import Ials
from ai_assets.recommendation_update import build, candidates, reasons
from ai_assets.recommendation_update.fold_in import FoldIn
from ai_assets.recommendation_update.histories import History, Play, all_histories
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from ai_assets.recommendation_update.reasons import history_shares
from ai_assets.recommendation_update.serving_folder import current_folder, write_generation


def _style(items: list[int], style: int) -> float:
    return float(np.mean([item // PER_STYLE == style for item in items]))


def _items(snapshot: QuerySnapshot, history: History, k: int = 10) -> list[int]:
    return [answer.item for answer in recommend(snapshot, history, k)[0]]


def _in_style(style: int, count: int = 12) -> History:
    return History.of([Play(style * PER_STYLE + place) for place in range(count)])


def test_a_listener_never_seen_gets_popular_tracks_and_is_cold(snapshot: QuerySnapshot) -> None:
    answers, cold = recommend(snapshot, History.of([]), 10)
    assert cold and len(answers) == 10
    popular = set(np.argsort(-snapshot.sources.plays, kind="stable")[:60].tolist())
    assert {answer.item for answer in answers} <= popular
    assert all(answer.reasons == ("popular with all listeners",) for answer in answers)


def test_a_warm_listener_gets_unheard_tracks_of_the_style_just_played(snapshot: QuerySnapshot) -> None:
    history = History.of([*(Play(place) for place in range(14)), *(Play(3 * PER_STYLE + place) for place in range(8))])
    answers, cold = recommend(snapshot, history, 10)
    items = [answer.item for answer in answers]
    assert not cold and len(set(items)) == 10 and not set(items) & set(history.heard.tolist())
    assert _style(items[:5], 3) >= 0.6 and _style(items, 3) + _style(items, 0) >= 0.6
    assert all(0 <= answer.score <= 1 for answer in answers)


def test_a_new_event_changes_the_answer_at_once(snapshot: QuerySnapshot) -> None:
    before = History.of([Play(place) for place in range(12)])
    after = History.of([*(Play(place) for place in range(12)), *(Play(5 * PER_STYLE + place) for place in range(4))])
    assert _style(_items(snapshot, before), 5) + 0.3 <= _style(_items(snapshot, after), 5)


@pytest.mark.parametrize("kept", ["content", "listening"])
def test_a_home_with_only_sound_or_only_listening_answers(kept: str, snapshot: QuerySnapshot) -> None:
    content = snapshot.sources.content if kept == "content" else None
    models = (None, None) if kept == "content" else (snapshot.sources.tower, snapshot.sources.ials)
    sources = replace(snapshot.sources, content=content, tower=models[0], ials=models[1])
    poor = replace(snapshot, sources=sources, ranker=None)
    history = History.of([Play(4 * PER_STYLE + place) for place in range(10)] * 2)
    assert _style(_items(poor, history, 6), 4) >= 0.5
    alike = [item for item, _ in similar(poor, 4 * PER_STYLE, 8)]
    assert _style(alike, 4) >= 0.5 and 4 * PER_STYLE not in alike


def test_a_home_without_models_gives_popular_tracks(world: World, tmp_path: Path) -> None:
    write_generation(tmp_path, world.catalogue.assign(plays=range(240)), {}, ranker=None, facts={})
    snapshot = QuerySnapshot.load(tmp_path)
    assert snapshot is not None and similar(snapshot, 0, 5) == []
    assert _items(snapshot, History.of([]), 3) == [239, 238, 237]


def test_a_new_track_without_plays_is_found_by_its_sound(snapshot: QuerySnapshot) -> None:
    """It has no factors; the content generator brings it into the pool."""
    new = 7 * PER_STYLE + 19
    tower, ials = snapshot.sources.tower, snapshot.sources.ials
    assert tower is not None and ials is not None
    inputs, outputs, factors = tower.inputs.copy(), tower.outputs.copy(), ials.items.copy()
    inputs[new], outputs[new], factors[new] = 0, 0, 0
    plays = snapshot.sources.plays.copy()
    plays[new] = 0
    sources = replace(
        snapshot.sources,
        plays=plays,
        tower=replace(tower, inputs=inputs, outputs=outputs),
        ials=Ials(factors, ials.config),
    )
    pool = candidates.candidates(sources, _in_style(7).recent, np.ones(240, bool), 100)
    assert new in pool.items
    assert new in [item for item, _ in similar(replace(snapshot, sources=sources), 7 * PER_STYLE, 20)]


def test_more_answers_than_the_usual_pool_can_be_asked_for(snapshot: QuerySnapshot) -> None:
    assert len(_items(snapshot, History.of([Play(1)]), 1_000)) == 239
    assert len(similar(snapshot, 1, 1_000)) == 239


def test_similar_is_exact_and_in_order(snapshot: QuerySnapshot) -> None:
    content = snapshot.sources.content
    assert content is not None
    unit = content / np.linalg.norm(content, axis=1, keepdims=True)
    cosines = unit @ unit[17]
    cosines[17] = -2
    found = similar(snapshot, 17, 10)
    assert [item for item, _ in found] == np.argsort(-cosines)[:10].tolist()
    np.testing.assert_allclose([cosine for _, cosine in found], np.sort(cosines)[::-1][:10], atol=1e-5)


def test_answers_do_not_change_from_call_to_call(serving: Path) -> None:
    one, two = QuerySnapshot.load(serving), QuerySnapshot.load(serving)
    assert one is not None and two is not None
    assert recommend(one, _in_style(2), 20) == recommend(two, _in_style(2), 20)


def test_batch_lists_are_what_asking_gives(world: World, snapshot: QuerySnapshot) -> None:
    histories = all_histories(ArrowTable(world.events), snapshot.codes)
    rows = pd.DataFrame(build.recommend_all(snapshot, histories, 10))
    for listener in ("l000", "l077"):
        items = [snapshot.codes[track] for track in rows[rows["listener"] == listener]["track"]]
        assert items == _items(snapshot, histories[listener])


def test_the_pool_of_a_large_catalogue_holds_each_generators_best() -> None:
    rng = np.random.default_rng(0)
    content = rng.standard_normal((5_000, 8)).astype(np.float32)
    plays = rng.integers(0, 1_000, 5_000).astype(np.float32)
    sources = candidates.Sources(plays, rng.integers(0, 900, 5_000), content=content)
    history, mask = np.arange(5), rng.random(5_000) < 0.7
    pool = candidates.candidates(sources, history, mask, 100)
    assert mask[pool.items].all() and len(set(pool.items.tolist())) == 100
    taste = content @ content[:5].mean(0)
    places = dict(
        zip(pool.items.tolist(), pool.features[:, candidates.FEATURES.index("rank_content_last_5")], strict=True)
    )
    allowed = np.flatnonzero(mask)
    for place, item in enumerate(allowed[np.argsort(-taste[allowed])][:20].tolist()):
        assert places[item] == place
    for item in allowed[np.argsort(-plays[allowed], kind="stable")][:20].tolist():
        assert item in places


def test_folding_in_agrees_with_the_model(snapshot: QuerySnapshot) -> None:
    ials, tower = snapshot.sources.ials, snapshot.sources.tower
    assert ials is not None and tower is not None
    for history in (np.array([3, 3, 8, 100]), np.array([5]), np.array([], np.int64)):
        np.testing.assert_allclose(FoldIn.of(ials).vectors([history])[0], ials.fold_in(history), atol=1e-5)
        np.testing.assert_allclose(candidates.tower_vectors(tower, [history]), tower.user_vectors([history]), atol=1e-6)


def test_shares_of_the_history_sum_to_the_ials_score(snapshot: QuerySnapshot) -> None:
    ials = snapshot.sources.ials
    assert ials is not None
    history, items = np.array([3, 8, 3, 100, 41]), np.array([9, 60, 200])
    shares = history_shares(snapshot.sources, history, items)
    scores = ials.scores([history])[0][items]
    assert shares.shape == (3, 5) and np.abs(scores).max() > 1e-2
    np.testing.assert_allclose(shares.sum(1), scores, atol=1e-6)
    np.testing.assert_allclose(shares[0], ials.shares(history, 9), atol=1e-6)


def test_reasons_name_the_tracks_that_speak_most(snapshot: QuerySnapshot) -> None:
    history = _in_style(6)
    ials = snapshot.sources.ials
    assert ials is not None
    for answer in recommend(snapshot, history, 5)[0]:
        shares = ials.shares(history.recent, answer.item)
        best = history.recent[np.argmax(shares)]
        if shares.max() > 0:
            assert answer.reasons[0].startswith(f"because you listened to “Song {best}” by Artist {best // 5}")


def test_a_damaged_pointer_or_no_generation(tmp_path: Path) -> None:
    assert QuerySnapshot.load(tmp_path) is None and current_folder(tmp_path) is None


COLD = """
import sys
from pathlib import Path
from ai_assets.recommendation_update.histories import History, Play
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
snapshot = QuerySnapshot.load(Path(sys.argv[1]))
answers, cold = recommend(snapshot, History.of([Play(item) for item in range(25)]), 10)
assert len(answers) == 10 and not cold and similar(snapshot, 3, 5)
heavy = {"torch", "mlflow", "dagster", "librosa", "transformers", "sklearn", "lightgbm"} & set(sys.modules)
print(sorted(heavy))
"""


def test_answering_needs_no_torch_and_no_mlflow(serving: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", COLD, str(serving)], capture_output=True, text=True, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.stdout == "[]\n"


def test_a_track_that_nothing_is_known_about_is_like_nothing(snapshot: QuerySnapshot) -> None:
    from dataclasses import replace

    from ai_assets.recommendation_update.candidates import Sources

    known = snapshot.sources
    assert known.content is not None
    assert known.tower is not None
    content, outputs = known.content.copy(), known.tower.outputs.copy()
    content[0] = outputs[0] = 0.0
    tower = replace(known.tower, outputs=outputs)
    sources = Sources(plays=known.plays, artists=known.artists, tower=tower, ials=known.ials, content=content)
    unknown = replace(snapshot, sources=sources)
    assert similar(unknown, 0, 3) == []
    assert len(similar(unknown, 1, 3)) == 3


def test_a_ranker_of_an_older_release_steps_aside_until_it_is_retrained(snapshot: QuerySnapshot) -> None:
    import lightgbm as lgb

    rows = np.random.default_rng(0).random((200, 4))
    data = lgb.Dataset(rows, (rows[:, 0] > 0.5).astype(int))
    text = lgb.train({"objective": "binary", "verbose": -1, "num_threads": 1}, data, 3).model_to_string()
    older = replace(snapshot, ranker=text)
    assert older.booster is None
    assert len(recommend(older, _in_style(2), 10)[0]) == 10


def test_tracks_that_speak_alike_are_named_in_one_order_whatever_the_rounding(
    snapshot: QuerySnapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"name {item}" for item in range(len(snapshot.sources.plays))]
    played, asked = np.arange(30)[::-1], np.arange(50, 60)
    wanted = "because you listened to “name 0” by name 0, “name 1” by name 1, “name 2” by name 2"
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(0, 1e-16, (len(asked), len(played)))
        monkeypatch.setattr(reasons, "history_shares", lambda *_, noise=noise: 0.03 + noise)
        assert [said[0] for said in reasons.reasons_for(snapshot.sources, played, asked, names, names)] == [wanted] * 10
