"""Decisions about items: stored, audited, and editors' texts as training data."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_assets.content_generation.facts import fact_set
from ai_assets.content_generation.provenance import content_sha256
from ai_assets.content_generation.review import POLICY_ACTOR, ReviewError, State
from ai_assets.content_generation.review_store import ReviewStore, Submitted
from ai_assets.content_generation.reviewing import TextRefused, checked_text
from ai_assets.content_generation.training_sets import text_examples, text_rows
from resources.audit_log import AuditLog
from resources.database import Database

FACTS = fact_set({"title": "Nuit", "artist": "Ana", "genre": "jazz"})
TEXT = "“Nuit” is a jazz track by Ana."
SHA = content_sha256(TEXT)


@pytest.fixture
def audit(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit", tmp_path / "secrets")


@pytest.fixture
def store(tmp_path: Path, audit: AuditLog) -> ReviewStore:
    database = Database(f"sqlite:///{tmp_path / 'platform.db'}", tmp_path / "locks")
    database.prepare()
    return ReviewStore(database, audit)


def submit(store: ReviewStore, *items: Submitted, policy: str = "manual") -> dict[str, State]:
    return store.submit(items, policy=policy, who="asset:test")


def test_every_change_is_in_the_audit_with_who_when_and_why(store: ReviewStore, audit: AuditLog) -> None:
    submit(store, Submitted("text:1", SHA, True))
    store.decide("text:1", State.APPROVED, who="ana", why="reads well")
    made, approved = list(audit.records())
    assert (made["action"], made["subject"]) == ("content_in_review", {"item": "text:1", "sha256": SHA})
    assert [change["state"] for change in made["details"]["changes"]] == ["generated", "checks_passed", "in_review"]
    assert approved["actor"] == "ana"
    assert [(c["state"], c["why"]) for c in approved["details"]["changes"]] == [
        ("approved", "reads well"), ("published", "approved"),
    ]  # fmt: skip
    assert all(change["at"] for record in (made, approved) for change in record["details"]["changes"])
    assert audit.verify().ok


def test_the_policy_approves_what_passed_but_not_a_doubt_and_never_a_failed_item(store: ReviewStore) -> None:
    states = submit(
        store, Submitted("good", SHA, True), Submitted("near", SHA, True, "near-duplicate of good"),
        Submitted("bad", SHA, False), policy="auto",
    )  # fmt: skip
    assert states == {"good": "published", "near": "in_review", "bad": "rejected"}
    assert store.history("good")[-1].who == POLICY_ACTOR
    assert store.history("near")[-1].why == "near-duplicate of good"
    with pytest.raises(ReviewError, match="bad is rejected"):
        store.decide("bad", State.APPROVED, who="ana", why="please")


def test_the_same_content_keeps_its_state_and_other_content_starts_over(store: ReviewStore) -> None:
    submit(store, Submitted("text:1", SHA, True))
    store.decide("text:1", State.APPROVED, who="ana", why="good")
    assert submit(store, Submitted("text:1", SHA, True)) == {"text:1": "published"}
    assert submit(store, Submitted("text:1", "b" * 64, True)) == {"text:1": "in_review"}
    assert [row.state for row in store.history("text:1")][-3:] == ["generated", "checks_passed", "in_review"]


def test_two_decisions_at_the_same_moment_do_not_both_count(store: ReviewStore) -> None:
    submit(store, Submitted("text:1", SHA, True))
    seen = store.history("text:1")
    store.decide("text:1", State.REJECTED, who="ana", why="dull")
    store.history = lambda item: seen  # type: ignore[method-assign]  # what a second editor saw
    with pytest.raises(ReviewError, match="somebody else"):
        store.decide("text:1", State.APPROVED, who="bob", why="good")


def test_an_editors_wording_is_published_and_survives_the_asset_being_made_again(store: ReviewStore) -> None:
    submit(store, Submitted("text:1", SHA, True))
    changed = "By Ana comes “Nuit”, a jazz track."
    row = store.approve_text("text:1", "en", FACTS, changed, who="ana", why="shorter")
    assert (row.state, row.sha256) == (State.PUBLISHED, content_sha256(changed))
    assert submit(store, Submitted("text:1", SHA, True)) == {"text:1": "published"}
    (known,) = store.editor_texts()
    assert (known.text, known.edited, known.who) == (changed, True, "ana")
    store.decide("text:1", State.REJECTED, who="ana", why="on second thoughts")
    assert store.editor_texts() == []


def test_what_the_policy_approved_is_no_editors_text(store: ReviewStore) -> None:
    submit(store, Submitted("text:1", SHA, True), policy="auto")
    assert store.editor_texts() == []


def test_an_untrue_wording_is_refused_with_what_is_wrong() -> None:
    assert checked_text(" “Nuit” is a jazz track by Ana. ", FACTS, "en") == TEXT
    with pytest.raises(TextRefused, match="techno"):
        checked_text("“Nuit” is a techno track by Ana.", FACTS, "en")
    with pytest.raises(TextRefused, match="language"):
        checked_text("„Nuit“ ist ein Jazz-Stück und stammt von Ana.", FACTS, "en")


def test_approved_texts_enter_the_training_set_and_what_cannot_be_learned_is_named(store: ReviewStore) -> None:
    from ai_assets.content_generation.text.decode import GrammarGenerator

    facts = [fact_set({"title": f"T{n}", "artist": "Ana", "genre": "rock", "energy": 0.9}) for n in range(30)]
    items = GrammarGenerator().sample(facts, seeds=range(30), lang="en")
    for number, item in enumerate(items):
        submit(store, Submitted(f"text:{number}", content_sha256(item.text), True))
        store.approve_text(f"text:{number}", "en", facts[number], item.text, who="ana", why="good")
    free = "Ana made “T0”: rock with high energy, and it is wonderful."
    store.approve_text("text:0", "en", facts[0], free, who="ana", why="livelier")
    rows, refused = text_rows("tiny", store.editor_texts())
    assert [name for name, _ in refused] == ["text:0"]
    learned = rows[rows["origin"] == "editor"]
    assert set(learned["item"]) <= {f"text:{number}" for number in range(1, 30)}
    assert 0.08 < len(learned) / len(rows) < 0.2  # 29 of 229
    again = text_examples(rows)
    assert len(again) == len(rows) and sum(bool(example.item) for example in again) == len(learned)
    assert learned["text"].iloc[0] == items[int(learned["item"].iloc[0].split(":")[1])].text
