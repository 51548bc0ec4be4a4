"""What is remembered of a listener, in the models' window and apart from it."""

from __future__ import annotations

import numpy as np
import pandas as pd
from listening_world import START, ArrowTable, World

from ai_assets.data_processing.interactions import daily_interactions
from ai_assets.model_training.listening import listening_data
from ai_assets.recommendation_update import build
from ai_assets.recommendation_update.histories import WINDOW, History, Play, all_histories, history_of
from ai_assets.recommendation_update.query import QuerySnapshot, recommend


def _events(tracks: list[str], **columns: object) -> pd.DataFrame:
    times = [START + pd.Timedelta(days=row) for row in range(len(tracks))]
    rows = {"event_id": [f"e{row}" for row in range(len(tracks))], "listener": "a", "track": tracks}
    frame = pd.DataFrame({**rows, "played_at": times, "seconds_played": 100.0})
    return frame.assign(skipped=False, liked=pd.Series([None] * len(tracks), dtype=object)).assign(**columns)


def test_a_track_heard_or_disliked_before_the_last_500_plays_is_never_recommended(snapshot: QuerySnapshot) -> None:
    filler = [f"t{10 + row % 200:04}" for row in range(WINDOW + 100)]
    events = _events(["t0000", "t0001", *filler])
    events.loc[1, "liked"] = False
    history = history_of(ArrowTable(events), "a", snapshot.codes)
    assert len(history) == WINDOW + 102 and len(history.recent) == WINDOW
    assert 0 not in history.recent and {0, 1} <= set(history.heard) and history.disliked.tolist() == [1]
    found = {answer.item for answer in recommend(snapshot, history, 100)[0]}
    assert found and not found & {0, 1}
    again = {answer.item for answer in recommend(snapshot, history, 240, heard=True)[0]}
    assert 0 in again and 1 not in again


def test_the_window_when_answering_is_the_one_of_training(world: World) -> None:
    """Repeats within a day count once, dislikes not at all, in the order of the day's last play."""
    events = world.events.copy()
    events.loc[events.index[::7], "liked"] = False
    later = events.iloc[::3].assign(played_at=events["played_at"] + pd.Timedelta(seconds=30))
    doubled = pd.concat([events, later], ignore_index=True)
    doubled = doubled.assign(day=doubled["played_at"].dt.strftime("%Y-%m-%d"), event_id=range(len(doubled)))
    data = listening_data(daily_interactions(doubled))
    codes = {str(track): code for code, track in enumerate(data.item_ids)}
    served = all_histories(ArrowTable(doubled), codes)
    for user, trained in zip(data.user_ids, data.histories(WINDOW), strict=True):
        assert served[str(user)].recent.tolist() == trained.tolist()


def test_popularity_means_plays_in_training_and_when_answering(world: World) -> None:
    tracks = world.catalogue["track"].to_numpy(str)
    again = world.events.iloc[:50].assign(played_at=world.events["played_at"] + pd.Timedelta(seconds=1))
    events = pd.concat([world.events, again], ignore_index=True)
    events["event_id"] = range(len(events))
    interactions = daily_interactions(events)
    model_tracks = listening_data(interactions).item_ids

    class Model:
        tracks, tower, ials = model_tracks, None, None

    sources = build.sources_at(Model(), interactions, np.inf, world.catalogue, None)  # type: ignore[arg-type]
    served = dict(zip(tracks, build.play_counts(tracks, events["track"]), strict=True))
    assert sources.plays.tolist() == [served[track] for track in model_tracks]
    assert sources.plays.sum() == len(events) > len(interactions)


def test_plays_after_the_date_do_not_count_in_training(world: World) -> None:
    tracks = listening_data(world.interactions).item_ids

    class Model:
        tower, ials = None, None

    Model.tracks = tracks
    cut = (START + pd.Timedelta(days=10)).timestamp()
    sources = build.sources_at(Model(), world.interactions, cut, world.catalogue, None)  # type: ignore[arg-type]
    rows = world.interactions[world.interactions["last_played_at"] <= pd.Timestamp(cut, unit="s", tz="UTC")]
    assert sources.plays.sum() == rows["plays"].sum() < len(world.events)


def test_a_listener_never_seen_has_an_empty_history(world: World, snapshot: QuerySnapshot) -> None:
    assert len(history_of(ArrowTable(world.events), "nobody", snapshot.codes)) == 0
    assert len(history_of(ArrowTable(None), "nobody", snapshot.codes)) == 0
    assert all_histories(ArrowTable(None), snapshot.codes) == {}


def test_a_history_from_a_request_keeps_dislikes_out_of_the_window() -> None:
    history = History.of([Play(3), Play(5, liked=False), Play(3, liked=True)])
    assert history.recent.tolist() == [3, 3] and history.heard.tolist() == [3, 5]
    assert history.plays.tolist() == [2, 1] and history.disliked.tolist() == [5] and len(history) == 3
