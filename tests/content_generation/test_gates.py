"""Each gate of the content tables is green on good items and red on a planted bad one."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from ai_assets.content_generation import checks
from ai_assets.content_generation.duplicates import doubts
from ai_assets.content_generation.facts import fact_set
from ai_assets.content_generation.make import Desk, make_rows
from ai_assets.content_generation.papers import Source, record_of, row_of
from ai_assets.content_generation.provenance import item_seed
from ai_assets.content_generation.subjects import Subject
from ai_assets.content_generation.text.decode import GrammarGenerator


@pytest.fixture(scope="module")
def items() -> pd.DataFrame:
    generator = GrammarGenerator()
    facts = [fact_set({"title": f"T{n}", "artist": f"A{n}", "genre": "rock", "tempo_bpm": 90 + n}) for n in range(40)]
    ids = [f"track-text:t{n}:en" for n in range(40)]
    seeds = [item_seed(name, "text", generator.version) for name in ids]
    source = Source(generator, "text_generator/1", {"config.json": "0" * 64}, {"tracks": {"run_id": "r"}})
    made = generator.sample(facts, seeds=seeds, lang="en")
    return pd.DataFrame(
        [
            row_of(record_of("text", item, name, source), name, {}, text=item.text)
            for name, item in zip(ids, made, strict=True)
        ]
    )


def with_record(items: pd.DataFrame, place: int, **changes: object) -> pd.DataFrame:
    changed = items.copy()
    record = json.loads(changed.loc[place, "provenance"]) | changes
    changed.loc[place, "provenance"] = json.dumps(record)
    return changed


def test_good_items_pass_every_gate(items: pd.DataFrame) -> None:
    for check in (checks.GATE, checks.PAPERS, checks.DISTINCT):
        assert check.function(items).passed, check.name
        assert check.function(items.head(0)).passed, check.name
    assert checks.GATE.blocking and checks.PAPERS.blocking


def test_five_percent_of_failed_items_pass_and_more_block_the_asset(items: pd.DataFrame) -> None:
    failed = items.copy()
    failed.loc[:1, "passed"] = False
    assert checks.GATE.function(failed).passed
    failed.loc[:2, "passed"] = False
    verdict = checks.GATE.function(failed)
    assert not verdict.passed and list(verdict.metadata["failed"]["item"]) == [f"track-text:t{n}:en" for n in range(3)]


@pytest.mark.parametrize(
    "changes",
    [
        {"digitalSourceType": None}, {"licence": None}, {"model_digests": {}}, {"fact_sources": {}}, {"seed": None},
        {"content_sha256": "0" * 64}, {"item": "track-text:other:en"},
    ],
)  # fmt: skip
def test_an_item_with_incomplete_or_foreign_papers_blocks_the_asset(items: pd.DataFrame, changes: dict) -> None:
    verdict = checks.PAPERS.function(with_record(items, 7, **changes))
    assert not verdict.passed and "track-text:t7:en" in verdict.metadata["worst"]


def test_equal_and_nearly_equal_items_are_found(items: pd.DataFrame) -> None:
    copied = items.copy()
    copied.loc[:9, "sha256"] = copied.loc[0, "sha256"]
    verdict = checks.DISTINCT.function(copied)
    assert not verdict.passed and len(verdict.metadata["found"]) == 9
    noted = items
    for place in range(5):
        noted = with_record(noted, place, notes=["near-duplicate of x: similarity 0.93"])
    assert not checks.DISTINCT.function(noted).passed


def test_published_without_approval_is_red() -> None:
    rows = pd.DataFrame({"item": ["a", "b"], "state": ["published", "in_review"], "published": [True, False]})
    assert checks.DECIDED.function(rows).passed
    verdict = checks.DECIDED.function(rows.assign(published=[True, True]))
    assert not verdict.passed and list(verdict.metadata["wrong"]["item"]) == ["b"]


class Cover:
    def __init__(self, code: int) -> None:
        self.checks = {"perceptual_hash": f"{code:016x}"}


def test_near_duplicates_of_texts_covers_and_tunes_are_named_and_distinct_ones_are_not() -> None:
    from ai_assets.content_generation.music.scores import Score, ScoreNote

    generator = GrammarGenerator()
    facts = [
        fact_set({"title": title, "artist": "The Long Named Band of the North", "genre": "rock"})
        for title in ("Ab", "Ac")
    ]
    texts = generator.sample([facts[0], facts[1], facts[0]], seeds=[1, 1, 5], lang="en")
    found = doubts("text", ["a", "b", "c"], texts)
    assert found[0] == "" and "near-duplicate of a" in found[1] and found[2] == ""
    hashes = doubts("cover", ["a", "b", "c"], [Cover(0), Cover(0b111111), Cover(0b1111111 << 20)])
    assert hashes == ["", "near-duplicate of a: 6 of 64 bits of the picture's hash differ", ""]
    rng = np.random.default_rng(0)

    class Tune:
        def __init__(self, pitches: list[int]) -> None:
            notes = tuple(ScoreNote(6 * place, 6, pitch) for place, pitch in enumerate(pitches))
            self.score = Score("x", notes, (), (4, 4), 0, "major")

    first, other = rng.integers(60, 80, 40).tolist(), rng.integers(60, 80, 40).tolist()
    moved = other[:10] + [pitch + 3 for pitch in first[5:30]]
    tunes = doubts("music", ["a", "b", "c"], [Tune(first), Tune(other), Tune(moved)])
    assert tunes[:2] == ["", ""] and "near-duplicate of a" in tunes[2]


def test_a_batch_is_rows_with_states_and_a_doubtful_item_waits(tmp_path) -> None:
    from ai_assets.content_generation.review_store import ReviewStore
    from resources.audit_log import AuditLog
    from resources.blobs import Blobs
    from resources.database import Database

    database = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    database.prepare()
    desk = Desk(ReviewStore(database, AuditLog(tmp_path, tmp_path)), "auto", Blobs(tmp_path))
    facts = fact_set({"title": "Nuit", "artist": "Ana"})
    source = Source(GrammarGenerator(), "text_generator/1", {"config.json": "0" * 64}, {"tracks": {"run_id": "r"}})
    rows, pictures = make_rows("text", "track-text", [Subject("t1", facts), Subject("t2", facts)], source, desk)
    assert [row["item"] for row in rows[:3]] == [f"track-text:t1:{lang}" for lang in ("en", "de", "fr")]
    assert {row["state"] for row in rows} <= {"published", "in_review"} and pictures == []
    for row in rows:
        notes = json.loads(row["provenance"])["notes"]
        assert (row["state"] == "in_review") == any("near-duplicate" in note for note in notes)


def test_a_champion_that_todays_code_cannot_load_is_replaced_instead_of_failing_every_training(tmp_path) -> None:
    from ai_assets.content_generation.text.decode import TextGenerator
    from ai_assets.content_generation.training import _standing

    (tmp_path / "config.json").write_text('{"format": "text-llama-0"}')
    assert _standing(tmp_path, TextGenerator.load, lambda generator: np.ones(3)) is None
