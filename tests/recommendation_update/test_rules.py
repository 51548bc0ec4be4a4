"""Rule x surface: what is excluded is shown nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from listening_world import ArrowTable, World, catalogue_of
from rule_table import LISTENER, RULES, WISHES

from ai_assets.recommendation_update import build
from ai_assets.recommendation_update.answers import alike, recommended
from ai_assets.recommendation_update.candidates import Sources
from ai_assets.recommendation_update.histories import History, Play, all_histories
from ai_assets.recommendation_update.playlists import all_playlists
from ai_assets.recommendation_update.query import QuerySnapshot, recommend, similar
from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.rules import Rule, RuleColumns, allowed_mask
from ai_assets.recommendation_update.serving_folder import write_generation
from ai_assets.recommendation_update.wishes import Wish
from resources.database import Database


def _surfaces(world: World, snapshot: QuerySnapshot, rule: Rule) -> Iterator[tuple[str, set[int]]]:
    """What each surface shows, as far as the rule holds there."""
    histories = all_histories(ArrowTable(world.events), snapshot.codes)
    if rule.listener is not None:
        histories = {rule.listener: histories[rule.listener]}
    else:
        histories = {name: histories[name] for name in sorted(histories)[:12]}
    everything = recommend(snapshot, History.of([], rule.listener), 240)[0]
    yield "recommend, cold", {answer.item for answer in everything}
    past = histories[rule.listener or "l000"]
    yield "recommend", {answer.item for answer in recommend(snapshot, past, 240, heard=True)[0]}
    answer = recommended(snapshot, past, 240, home=Path("/"), arm="retrieval")
    yield "API", {snapshot.codes[row["track"]] for row in answer["recommendations"]}
    for item in (0, 25, 45, 85, 105, 125):
        yield "similar", {code for code, _ in similar(snapshot, item, 240, listener=rule.listener)}
    if rule.listener is None:
        session = recommended(snapshot, History.of([Play(3), Play(50)]), 240, home=Path("/"))
        yield "API session", {snapshot.codes[row["track"]] for row in session["recommendations"]}
        yield (
            "API similar",
            {snapshot.codes[row["track"]] for row in alike(snapshot, "t0025", 240, home=Path("/"))["similar"]},
        )
    rows = build.recommend_all(snapshot, histories, 50)
    yield "batch", {snapshot.codes[row["track"]] for row in rows}
    lists = all_playlists(snapshot, histories, wishes=WISHES)
    own = [row for row in lists if rule.listener is None or row["listener"] is not None]
    for kind in ("familiar", "discovery", "genre", "theme", "seeds"):
        yield kind, {snapshot.codes[row["track"]] for row in own if row["kind"] == kind}


@pytest.mark.parametrize("scope", ["all", "one listener"])
@pytest.mark.parametrize("name", RULES)
def test_no_surface_shows_what_a_rule_excludes(name: str, scope: str, world: World, snapshot: QuerySnapshot) -> None:
    rule, excluded = RULES[name]
    rule = replace(rule, listener=None if scope == "all" else LISTENER)
    banned = set(np.flatnonzero(excluded(world.catalogue)).tolist())
    without: dict[str, set[int]] = {}
    for surface, shown in _surfaces(world, snapshot, rule):
        without[surface] = without.get(surface, set()) | shown
    always = {"recommend", "recommend, cold", "API", "similar"} | ({"API session"} if scope == "all" else set())
    idle = {surface for surface in always if not banned & without[surface]}
    assert not idle, f"the rule has nothing to exclude from {idle}, so this proves nothing"
    seen = dict.fromkeys(without, False)
    for surface, shown in _surfaces(world, snapshot.with_rules([rule]), rule):
        assert not shown & banned, f"{surface} leaks {sorted(shown & banned)[:5]}"
        seen[surface] = seen[surface] or bool(shown)
    assert all(seen[surface] for surface in (*always, "batch", "discovery"))


def test_the_rules_of_the_table_bite_on_every_kind_of_playlist(world: World, snapshot: QuerySnapshot) -> None:
    """Over all rules together: no kind of list passes the table above because it never named an excluded track."""
    histories = all_histories(ArrowTable(world.events), snapshot.codes)
    rows = all_playlists(snapshot, {name: histories[name] for name in sorted(histories)[:12]}, wishes=WISHES)
    for kind in ("familiar", "discovery", "genre", "theme", "seeds"):
        shown = {snapshot.codes[row["track"]] for row in rows if row["kind"] == kind}
        bitten = [
            name for name, (_, hit) in RULES.items() if shown & set(np.flatnonzero(hit(world.catalogue)).tolist())
        ]
        assert len(bitten) >= 3, (kind, bitten)


@pytest.mark.parametrize("column", ["deleted", "synthetic"])
def test_no_surface_shows_deleted_or_synthetic_tracks(
    column: str, world: World, model_folder: Path, tmp_path: Path
) -> None:
    catalogue = world.catalogue.assign(plays=1, synthetic=False)
    catalogue[column] = np.arange(len(catalogue)) % 3 == 0
    arrays, facts = build.serving_arrays(model_folder, catalogue, world.content)
    write_generation(tmp_path, catalogue, arrays, ranker=None, facts=facts)
    snapshot = QuerySnapshot.load(tmp_path)
    assert snapshot is not None
    for surface, shown in _surfaces(world, snapshot, Rule("genre", "is", "none")):
        assert not [code for code in shown if code % 3 == 0], surface


def test_a_rule_of_one_listener_leaves_the_others_alone(snapshot: QuerySnapshot) -> None:
    ruled = snapshot.with_rules([Rule("genre", "is", "style6", listener="a")])
    banned = snapshot.rule_columns.matches(Rule("genre", "is", "style6"))
    assert not (ruled.allowed("a") & banned).any()
    assert (ruled.allowed("b") & banned).sum() == banned.sum() == (ruled.allowed() & banned).sum()


def test_a_season_holds_on_its_days_also_over_new_year(snapshot: QuerySnapshot) -> None:
    ruled = snapshot.with_rules([Rule("genre", "is", "style1", season="12-20..01-06")])
    for day, free in (("2026-12-20", 220), ("2027-01-06", 220), ("2026-12-19", 240), ("2027-01-07", 240)):
        assert ruled.allowed(day=date.fromisoformat(day)).sum() == free, day


def test_a_folder_rule_is_no_prefix_of_names(world: World) -> None:
    """style1 holds style1/…, not style10/…; the rule knows the whole way or its end."""
    columns = RuleColumns.of({name: world.catalogue[name].to_numpy() for name in world.catalogue})
    for text in ("style1", "/style1/", "landing/audio/style1", "audio/style1"):
        assert columns.matches(Rule("folder", "is", text)).sum() == 20, text


@pytest.mark.parametrize("rule", [rule for rule, _ in RULES.values()], ids=list(RULES))
def test_any_rule_works_on_an_empty_catalogue(rule: Rule, tmp_path: Path) -> None:
    empty = catalogue_of(0).assign(plays=0)
    write_generation(tmp_path, empty, {}, ranker=None, facts={})
    snapshot = QuerySnapshot.load(tmp_path, [rule])
    assert snapshot is not None
    assert recommend(snapshot, History.of([], LISTENER), 5) == ([], True)
    assert allowed_mask(snapshot.rule_columns, [rule], listener=LISTENER).shape == (0,)
    assert all_playlists(snapshot, {LISTENER: History.of([], LISTENER)}) == []


def test_a_disliked_track_is_on_no_list_and_a_heard_one_is_new_nowhere(snapshot: QuerySnapshot) -> None:
    plays = [Play(3), Play(3), Play(3), Play(9), Play(9), Play(11), Play(11), Play(9, liked=False)]
    history = History.of(plays, "a")
    wishes = [Wish("own", "a", genre="style0", length=20), Wish("seeds", "a", seeds=("t0009", "t0008"), length=30)]
    surfaces: dict[str, set[int]] = {
        "heard too": {answer.item for answer in recommend(snapshot, history, 240, heard=True)[0]},
        "recommend": {answer.item for answer in recommend(snapshot, history, 240)[0]},
        "batch": {snapshot.codes[row["track"]] for row in build.recommend_all(snapshot, {"a": history}, 240)},
        "session": {answer.item for answer in recommend(snapshot, History.of(plays), 240)[0]},
    }
    for row in all_playlists(snapshot, {"a": history}, wishes=wishes):
        if row["listener"]:
            surfaces.setdefault(row["kind"], set()).add(snapshot.codes[row["track"]])
    assert set(surfaces) >= {"discovery", "theme", "seeds"} and 3 in surfaces["heard too"]
    assert [name for name, shown in surfaces.items() if 9 in shown or not shown] == []
    for name in ("recommend", "batch", "session", "discovery"):
        assert not surfaces[name] & {3, 9, 11}, name


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (Rule("mood", "is", "sad"), "artist"),
        (Rule("genre", "longer_than", "3"), "contains"),
        (Rule("duration", "is", "3"), "longer_than"),
        (Rule("duration", "longer_than", "long"), "seconds"),
        (Rule("genre", "is", "  "), "empty"),
        (Rule("genre", "is", "x", season="13-01..14-02"), "MM-DD"),
        (Rule("genre", "is", "x", season="winter"), "MM-DD"),
    ],
)
def test_a_wrong_rule_is_refused_with_what_was_expected(rule: Rule, names: str, database: Database) -> None:
    with pytest.raises(ValueError, match=names):
        RuleStore(database).add(rule)
    assert RuleStore(database).current() == ()


def test_rules_are_kept_once_listed_removed_and_erased(database: Database) -> None:
    store = RuleStore(database)
    common, own = Rule("genre", "is", "polka"), Rule("artist", "is", "X", listener="p1", season="12-01..12-31")
    name = store.add(common)
    assert store.add(common) == name and store.add(own) != name
    assert set(store.current()) == {common, own}
    assert {row["scope"] for row in store.rows()} == {"all", "listener"}
    assert store.forget("p1") == 1 and store.current() == (common,)
    store.remove(name)
    assert store.current() == ()
    with pytest.raises(LookupError, match=name):
        store.remove(name)


def test_rules_of_one_listener_stay_out_of_the_generation(world: World, tmp_path: Path) -> None:
    """Readers that bring no rules get those for all listeners that held when the generation was written."""
    rule = {"field": "genre", "operator": "is", "value": "style1", "listener": None, "season": ""}
    write_generation(tmp_path, world.catalogue.assign(plays=0), {}, ranker=None, facts={"rules": [rule]})
    snapshot = QuerySnapshot.load(tmp_path)
    assert snapshot is not None and snapshot.allowed().sum() == 220
    newer = QuerySnapshot.load(tmp_path, [])
    assert newer is not None and newer.allowed().sum() == 240


def test_with_rules_shares_what_is_loaded(snapshot: QuerySnapshot) -> None:
    assert snapshot.booster is not None
    ruled = snapshot.with_rules([Rule("genre", "is", "style1")])
    assert ruled.booster is snapshot.booster and ruled.sources is snapshot.sources
    assert replace(snapshot.sources, tower=None).by_plays is not None and isinstance(ruled.sources, Sources)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    found.prepare()
    return found
