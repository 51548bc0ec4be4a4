"""Lists over days and weeks: new every day, nothing given twice within 60 days, every version kept."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from listening_world import ArrowTable, World

from ai_assets.contract.validation import empty_frame
from ai_assets.recommendation_update import checks, schemas
from ai_assets.recommendation_update.histories import History, Play, all_histories
from ai_assets.recommendation_update.playlist_memory import IDENTITY, Memory, extended, repeats
from ai_assets.recommendation_update.playlists import LENGTH, all_playlists, week_of
from ai_assets.recommendation_update.query import QuerySnapshot
from ai_assets.recommendation_update.recordings import song_keys
from ai_assets.recommendation_update.rules import Rule
from ai_assets.recommendation_update.wishes import Wish, WishStore, range_of
from resources.database import Database

MONDAY = date(2026, 3, 2)


def _moment(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 3, 30, tzinfo=UTC)


class Nights:
    """What the nightly job does, day after day."""

    def __init__(self, snapshot: QuerySnapshot, histories: dict[str, History]) -> None:
        self.snapshot, self.histories = snapshot, histories
        self.history, self.lists = empty_frame(schemas.PlaylistsHistory), empty_frame(schemas.Playlists)

    def night(self, day: date) -> pd.DataFrame:
        memory = Memory.of(self.history, self.lists, _moment(day))
        rows = all_playlists(self.snapshot, self.histories, day=day, memory=memory)
        self.lists = schemas.Playlists.validate(pd.DataFrame(rows))
        self.history = schemas.PlaylistsHistory.validate(extended(self.history, self.lists, _moment(day)))
        return self.lists

    def discovery(self, listener: str) -> list[str]:
        found = self.lists[(self.lists["kind"] == "discovery") & (self.lists["listener"] == listener)]
        return found.sort_values("position")["track"].tolist()


@pytest.fixture
def nights(world: World, snapshot: QuerySnapshot) -> Nights:
    histories = all_histories(ArrowTable(world.events), snapshot.codes)
    return Nights(snapshot, {name: histories[name] for name in sorted(histories)[:3]})


def test_no_discovery_comes_back_within_sixty_days_and_afterwards_it_may(nights: Nights) -> None:
    given: dict[str, list[set[str]]] = {name: [] for name in nights.histories}
    for week in range(11):
        nights.night(MONDAY + timedelta(weeks=week))
        for name, weeks in given.items():
            weeks.append(set(nights.discovery(name)))
    for weeks in given.values():
        assert all(weeks[:8])
        for later in range(1, 11):
            for earlier in range(max(later - 8, 0), later):
                assert not weeks[later] & weeks[earlier], (earlier, later)
        assert weeks[10] & weeks[0], "66 days after it was last given, a track may be given again"
    assert repeats(nights.history).passed and checks.ONE_VERSION.function(nights.lists).passed  # type: ignore[misc]


def test_a_week_keeps_its_discoveries_but_for_those_heard_or_excluded_since(nights: Nights) -> None:
    nights.night(MONDAY)
    name = next(iter(nights.histories))
    first = nights.discovery(name)
    assert len(first) == LENGTH
    nights.night(MONDAY + timedelta(days=1))
    assert nights.discovery(name) == first and set(nights.lists["version"]) == {"2026-03-03", "2026-W10"}
    past = nights.histories[name]
    heard = np.union1d(past.heard, [nights.snapshot.codes[first[0]]])
    nights.histories[name] = History(past.recent, heard, np.ones(len(heard), int), past.disliked, name)
    artist = str(nights.snapshot.catalogue["artist"][nights.snapshot.codes[first[1]]])
    nights.snapshot = nights.snapshot.with_rules([Rule("artist", "is", artist)])
    nights.night(MONDAY + timedelta(days=2))
    now = nights.discovery(name)
    assert first[0] not in now and first[1] not in now and len(now) == LENGTH
    assert [track for track in now if track in first] == [track for track in first if track in now]
    nights.snapshot = nights.snapshot.with_rules([])
    nights.night(MONDAY + timedelta(days=7))
    assert not set(nights.discovery(name)) & set(first), "also what was taken out within the week was given"


def test_favourites_change_from_day_to_day_and_are_the_same_for_the_same_day(snapshot: QuerySnapshot) -> None:
    plays = [Play(item) for item in range(0, 240, 3) for _ in range(2 + item % 5)]
    histories = {"a": History.of(plays, "a")}
    one, again, other = (
        [row["track"] for row in all_playlists(snapshot, histories, day=day) if row["kind"] == "familiar"]
        for day in (MONDAY, MONDAY, MONDAY + timedelta(days=1))
    )
    assert one == again and one != other and len(one) == len(other) == LENGTH


def test_every_list_has_one_version_of_a_song_and_few_tracks_of_an_artist(world: World, tmp_path: Path) -> None:
    from ai_assets.recommendation_update.serving_folder import write_generation

    catalogue = world.catalogue.assign(plays=np.arange(240)[::-1], genre="one")
    catalogue["title"] = [f"Song {code // 2}" + (" (Live)" if code % 2 else "") for code in range(240)]
    catalogue["artist"] = [f"Artist {code // 10}" for code in range(240)]
    write_generation(tmp_path, catalogue, {}, ranker=None, facts={})
    snapshot = QuerySnapshot.load(tmp_path)
    assert snapshot is not None
    history = History.of([Play(item) for item in range(120) for _ in range(3)], "a")
    rows = pd.DataFrame(
        all_playlists(snapshot, {"a": history}, wishes=[Wish("t", genre="ONE"), Wish("o", "a", genre="one")])
    )
    assert set(rows["kind"]) == {"familiar", "discovery", "genre", "theme"}
    for name, part in rows.groupby("playlist"):
        assert len(part) == LENGTH and part["artist"].value_counts().max() <= 3, name
        assert len(set(song_keys(part["title"], part["artist"]))) == LENGTH, name


def test_a_theme_holds_what_was_asked_for(world: World, snapshot: QuerySnapshot) -> None:
    facts = world.catalogue[["track"]].assign(
        mood=["calm" if code % 2 else None for code in range(240)], tempo_bpm=60.0 + np.arange(240) / 2,
        energy_index=0.5, year=pd.array([2000 + code % 20 for code in range(240)], dtype="Int64"),
    )  # fmt: skip
    wish = Wish("w", genre="Style3", mood="CALM", tempo=(90.0, 98.0), years=(2000.0, 2018.0))
    rows = all_playlists(snapshot, {}, wishes=[wish], facts=facts)
    found = {snapshot.codes[row["track"]]: row["reason"] for row in rows if row["playlist"] == "w"}
    assert found and all(code // 20 == 3 and code % 2 and 60 <= code <= 76 for code in found)
    assert found[61] == "style3, calm, 90 bpm, 2001"
    unknown = all_playlists(snapshot, {}, wishes=[Wish("w", mood="calm")])
    assert [row for row in unknown if row["playlist"] == "w"] == [], "without facts nothing is calm"


def test_a_list_by_seeds_begins_with_them_and_goes_on_with_what_is_like_them(snapshot: QuerySnapshot) -> None:
    wish = Wish("w", seeds=("t0040", "t0047", "gone"), length=10)
    rows = [row for row in all_playlists(snapshot, {}, wishes=[wish]) if row["playlist"] == "w"]
    codes = [snapshot.codes[row["track"]] for row in rows]
    assert codes[:2] == [40, 47] and len(rows) == 10 and np.mean([code // 20 == 2 for code in codes]) > 0.8
    assert {row["reason"] for row in rows[:2]} == {"you chose it"}
    assert all(row["reason"] in ("sounds like “Song 40”", "sounds like “Song 47”") for row in rows[2:])
    assert json.loads(rows[0]["about"]) == {"seeds": ["Song 40", "Song 47"]}
    ruled = snapshot.with_rules([Rule("track", "is", "t0040")])
    without = [row["track"] for row in all_playlists(ruled, {}, wishes=[wish]) if row["playlist"] == "w"]
    assert without[0] == "t0047" and "t0040" not in without


@pytest.mark.parametrize(
    ("wish", "names"),
    [
        (Wish("Big"), "lower-case"),
        (Wish("familiar-x", genre="jazz"), "familiar-"),
        (Wish("w"), "seed"),
        (Wish("w", genre="jazz", length=2), "length"),
        (Wish("w", tempo=(3.0, 2.0)), "tempo"),
    ],
)
def test_a_wish_that_is_none_is_refused(wish: Wish, names: str) -> None:
    with pytest.raises(ValueError, match=names):
        wish.checked()


def test_wishes_are_kept_replaced_removed_and_erased(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    database.prepare()
    store, own = WishStore(database), Wish("own", "l" + "1" * 24, seeds=("t1", "t2"), energy=range_of("..0.4"))
    store.add(own)
    store.add(Wish("w", genre="jazz"))
    store.add(Wish("w", genre="pop", length=5))
    assert store.current() == (own, Wish("w", genre="pop", length=5))
    database.forget("l" + "1" * 24)
    assert [wish.name for wish in store.current()] == ["w"]
    store.remove("w")
    with pytest.raises(LookupError, match="w"):
        store.remove("w")
    for text in ("", "..", "a..b", "3"):
        with pytest.raises(ValueError, match="expected LOW"):
            range_of(text)


def _rows(*rows: tuple[str, str, str, int, int | None]) -> pd.DataFrame:
    """History of discovery lists of one listener: track, version, from day, to day."""
    days = [pd.Timestamp(_moment(MONDAY))]
    made = [
        dict(zip(IDENTITY, ("discovery-a", "discovery", version, "a", 1, track, "why"), strict=True))
        | {
            "valid_from": days[0] + pd.Timedelta(days=begun),
            "valid_to": pd.NaT if ended is None else days[0] + pd.Timedelta(days=ended),
        }
        for _, track, version, begun, ended in rows
    ]
    frame = pd.DataFrame(made, columns=[*IDENTITY, "valid_from", "valid_to"])
    return schemas.PlaylistsHistory.validate(frame)


def test_the_check_turns_red_for_a_track_given_again_too_early() -> None:
    assert repeats(_rows(("", "t1", "2026-W10", 0, 7), ("", "t1", "2026-W20", 70, None))).passed
    assert repeats(_rows(("", "t1", "2026-W10", 0, 3), ("", "t1", "2026-W10", 3, None))).passed, "a new place, one gift"
    assert not repeats(_rows(("", "t1", "2026-W10", 0, 7), ("", "t1", "2026-W15", 35, None))).passed
    assert not repeats(_rows(("", "t1", "2026-W10", 0, None), ("", "t1", "2026-W11", 7, None))).passed
    assert repeats(_rows(("", "t1", "2026-W10", 0, 7), ("", "t2", "2026-W11", 7, None))).passed
    assert repeats(empty_frame(schemas.PlaylistsHistory)).passed


def test_the_history_keeps_every_version_and_the_same_lists_change_nothing(nights: Nights) -> None:
    nights.night(MONDAY)
    before = nights.history
    again = extended(before, nights.lists, _moment(MONDAY) + timedelta(hours=5))
    pd.testing.assert_frame_equal(again, before)
    nights.night(MONDAY + timedelta(days=1))
    kept = nights.history
    name = f"familiar-{next(iter(nights.histories))}"
    versions = kept[kept["playlist"] == name].groupby("version")["valid_to"].agg(lambda ends: ends.isna().all())
    assert versions.to_dict() == {"2026-03-02": False, "2026-03-03": True}
    late = extended(kept, nights.lists, _moment(MONDAY) + timedelta(days=1 + 91))
    assert set(late[late["playlist"] == name]["version"]) == {"2026-03-03"}, "after 90 days a version goes"
    assert extended(kept, nights.lists.head(0), _moment(MONDAY))["valid_to"].notna().all()


def test_checks_of_lists_turn_red() -> None:
    rows = pd.DataFrame(
        {
            "playlist": ["p"] * 3, "kind": "discovery", "listener": "a", "track": ["t1", "t2", "t3"],
            "title": ["Song", "Other", "Third"], "artist": "A",
        }
    )  # fmt: skip
    versions, length = checks.ONE_VERSION.function, checks.PLAYLIST_LENGTH.function
    assert versions is not None and length is not None
    assert versions(rows).passed and length(rows).passed
    assert not versions(rows.assign(title=["Song", "Song (Live)", "Third"])).passed
    assert not versions(rows.assign(track=["t1", "t1", "t3"])).passed
    assert versions(rows.assign(title="Song", artist="Unknown artist")).passed
    assert not length(rows.head(2)).passed
    assert checks.unheard(rows, {"a": {"t9"}, "b": {"t1"}}).passed
    assert not checks.unheard(rows, {"a": {"t2"}}).passed


def test_weeks_are_named_as_iso_names_them() -> None:
    assert week_of(date(2027, 1, 1)) == "2026-W53" and week_of(date(2026, 3, 2)) == "2026-W10"
