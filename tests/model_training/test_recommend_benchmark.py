"""`benchmark recommend` on planted tables: protocols, counts, honesty of the parts, limits, clear errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from ai_assets.benchmarks.listening_models import KEYS, ranked_lists
from ai_assets.benchmarks.listening_table import TableError, read_table, split_table
from ai_assets.benchmarks.recommend import Job
from ai_assets.benchmarks.recommend import recommend as run
from ai_assets.cli.benchmark import benchmark


def planted(users: int = 120, items: int = 60, rows: int = 18, groups: int = 4, seed: int = 0) -> pd.DataFrame:
    """Users who take items of their own group: a neighbourhood model must find them, popularity cannot."""
    rng = np.random.default_rng(seed)
    group = np.arange(items) % groups
    records = []
    for user in range(users):
        own = np.flatnonzero(group == user % groups)
        other = np.flatnonzero(group != user % groups)
        taken = [*rng.choice(own, min(rows - 4, len(own)), replace=False), *rng.choice(other, 4, replace=False)]
        for step, item in enumerate(rng.permutation(taken)):
            records.append((f"u{user}", f"i{item}", 1_700_000_000 + step * 86_400 + user))
    return pd.DataFrame(records, columns=["user", "item", "time"])


def job(frame: pd.DataFrame, **more: Any) -> Job:
    values: dict[str, Any] = {
        "train": frame, "test": None, "protocol": "random", "ratios": (0.8, 0.1, 0.1), "k": 10, "seeds": (0,),
        "models": ("popularity", "itemknn", "ease"), "seconds": 120.0,
    }  # fmt: skip
    return Job(**{**values, **more})


def test_neighbours_find_planted_tastes_and_popularity_does_not() -> None:
    answer = run(job(planted().drop(columns="time"), seeds=(0, 1)))
    models = answer["models"]
    assert set(models) == {"popularity", "itemknn", "ease"}
    assert models["itemknn"]["ndcg"] > 2 * models["popularity"]["ndcg"]
    assert answer["served"] in ("itemknn", "ease")
    assert models["ease"]["ndcg_std"] >= 0
    assert answer["left_out"] == {}


def test_every_model_answers_on_a_small_dated_table() -> None:
    answer = run(job(planted(users=60), protocol="time", models=KEYS, seconds=240.0))
    assert set(answer["models"]) == set(KEYS), answer["left_out"]
    assert answer["pipeline_gain"]["low"] <= answer["pipeline_gain"]["mean"] <= answer["pipeline_gain"]["high"]


@pytest.mark.parametrize("protocol", ["random", "user-time", "time"])
def test_parts_are_disjoint_and_the_test_part_is_the_end_where_time_decides(protocol: Any) -> None:
    split = split_table(planted(), None, protocol, (0.8, 0.1, 0.1), 0)

    def pairs(part: Any) -> set[tuple[int, int]]:
        return set(zip(part.users.tolist(), part.items.tolist(), strict=True))

    assert not pairs(split.train) & pairs(split.test)
    assert pairs(split.learn) | pairs(split.tune) == pairs(split.train)
    assert not pairs(split.learn) & pairs(split.tune)
    if protocol == "time":
        assert split.train.times.max() <= split.test.times.min()
        assert split.learn.times.max() <= split.tune.times.min()
    if protocol == "user-time":
        for user in np.unique(split.test.users):
            last = split.train.times[split.train.users == user].max(initial=0)
            assert last <= split.test.times[split.test.users == user].min()


def test_a_fixed_test_table_ranks_the_items_of_both_and_masks_what_was_trained_on(tmp_path: Path) -> None:
    frame = planted()
    train, test = frame.iloc[:-200], frame.iloc[-200:]
    extra = pd.DataFrame({"user": ["new", "u0"], "item": ["only-in-test", str(train[train.user == "u0"].item.iloc[0])]})
    split = split_table(train, pd.concat([test, extra]), "fixed", (0.8, 0.1, 0.1), 0)
    assert "only-in-test" in split.train.item_ids
    with pytest.raises(TableError, match="nothing new is left to find"):
        split_table(train, train.head(5), "fixed", (0.8, 0.1, 0.1), 0)
    known = set(zip(split.train.users.tolist(), split.train.items.tolist(), strict=True))
    assert not known & set(zip(split.test.users.tolist(), split.test.items.tolist(), strict=True))

    class Flat:
        def scores(self, histories: Any) -> Any:
            return np.zeros((len(histories), split.train.item_count), np.float32)

    ranked = ranked_lists(Flat(), split.train, np.unique(split.test.users), 10)  # type: ignore[arg-type]
    for user, row in zip(np.unique(split.test.users), ranked, strict=True):
        assert not {(int(user), int(item)) for item in row} & known


def test_a_model_that_does_not_fit_or_finish_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = run(job(planted(users=400, items=300, rows=60), models=("popularity", "two_tower"), seconds=0.05))
    assert "not finished within" in answer["left_out"]["two_tower"]
    assert "two_tower" not in answer["models"]


def test_tables_of_all_kinds_are_read_and_duplicates_count_once(tmp_path: Path) -> None:
    frame = planted(users=5)
    doubled = pd.concat([frame, frame.head(3), pd.DataFrame({"user": ["x", None], "item": [None, "y"]})])
    doubled["time"] = doubled["time"].fillna(1_700_000_000)
    (tmp_path / "bom.csv").write_text("\ufeff" + doubled.to_csv(index=False))
    doubled.to_csv(tmp_path / "tabs.tsv", sep="\t", index=False)
    doubled.to_parquet(tmp_path / "a.parquet")
    doubled.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    iso = doubled.assign(time=pd.to_datetime(doubled["time"], unit="s", utc=True).dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    iso.to_csv(tmp_path / "iso.csv", index=False)
    first, _ = read_table(tmp_path / "bom.csv")
    for name in ("bom.csv", "tabs.tsv", "a.parquet", "a.jsonl", "iso.csv"):
        found, counts = read_table(tmp_path / name)
        assert counts == {"read": len(doubled), "duplicate": 3, "unusable": 2}, name
        pd.testing.assert_frame_equal(found.astype({"time": float}), first.astype({"time": float}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listener,track\na,b\n", "expected columns user,item"),
        ("user,item\n,\n", "none of its"),
        ("", "cannot be read"),
        ("user,item,time\na,b,yesterday\nc,d,today\n", "neither seconds since 1970 nor ISO"),
    ],
)
def test_a_table_that_cannot_be_used_is_named_with_what_was_expected(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        read_table(tmp_path / "t.csv")


def test_the_command_prints_one_json_value_and_refuses_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "plays.csv"
    planted(users=40).to_csv(file, index=False)
    words = ["recommend", str(file), "--models", "popularity,itemknn", "--protocol", "user-time", "--json"]
    done = CliRunner().invoke(benchmark, words)
    answer = json.loads(done.stdout)
    assert {"models", "left_out", "served", "protocol"} <= set(answer)
    assert {"recall", "ndcg", "map", "mrr", "precision", "hit_rate", "coverage"} <= set(answer["models"]["itemknn"])
    for bad in (["--models", "magic"], ["--ratios", "1,2"], ["--protocol", "fixed"]):
        refused = CliRunner().invoke(benchmark, ["recommend", str(file), *bad])
        assert refused.exit_code == 2, refused.output
