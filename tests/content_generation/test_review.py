from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import product

import pytest

from ai_assets.content_generation.review import (
    POLICY_ACTOR,
    ReviewError,
    State,
    after_checks,
    changed,
    current,
    decided,
    generated,
    regenerated,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIRST = generated("text:1", "a" * 64, who="content_job", why="daily batch", at=NOON)


def reached(*states: State):
    row = FIRST
    for state in states:
        row = changed(row, state, who="ana", why="seen", at=NOON)
    return row


def test_only_the_documented_changes_are_allowed():
    paths = {
        State.GENERATED: (),
        State.CHECKS_PASSED: (State.CHECKS_PASSED,),
        State.IN_REVIEW: (State.CHECKS_PASSED, State.IN_REVIEW),
        State.APPROVED: (State.CHECKS_PASSED, State.IN_REVIEW, State.APPROVED),
        State.REJECTED: (State.REJECTED,),
        State.PUBLISHED: (State.CHECKS_PASSED, State.IN_REVIEW, State.APPROVED, State.PUBLISHED),
        State.WITHDRAWN: (State.CHECKS_PASSED, State.IN_REVIEW, State.APPROVED, State.PUBLISHED, State.WITHDRAWN),
    }
    allowed = set()
    for start, target in product(State, State):
        try:
            changed(reached(*paths[start]), target, who="ana", why="seen")
            allowed.add((start.value, target.value))
        except ReviewError:
            pass
    assert allowed == {
        ("generated", "checks_passed"),
        ("generated", "rejected"),
        ("checks_passed", "in_review"),
        ("in_review", "approved"),
        ("in_review", "rejected"),
        ("approved", "published"),
        ("approved", "rejected"),
        ("published", "withdrawn"),
    }


def test_a_refused_change_names_the_item_and_what_is_allowed():
    with pytest.raises(
        ReviewError, match="text:1 is generated: it cannot become published; allowed: checks_passed, rejected"
    ):
        changed(FIRST, "published", who="ana", why="hurry")


def test_who_and_why_are_never_empty():
    for who, why in (("", "good"), ("ana", "  ")):
        with pytest.raises(ReviewError, match="empty"):
            changed(FIRST, State.CHECKS_PASSED, who=who, why=why)


def test_the_automatic_policy_is_recorded_as_such():
    rows = after_checks(FIRST, passed=True, why="12 of 12 checks", policy="auto", at=NOON)
    assert [row.state for row in rows] == ["checks_passed", "in_review", "approved", "published"]
    assert {row.who for row in rows[2:]} == {POLICY_ACTOR}


def test_a_doubt_waits_for_a_person_under_either_policy():
    for policy in ("auto", "manual"):
        rows = after_checks(FIRST, passed=True, why="ok", policy=policy, doubt="near-duplicate of text:0", at=NOON)
        assert (rows[-1].state, rows[-1].why) == (State.IN_REVIEW, "near-duplicate of text:0")


def test_a_person_publishes_by_approving_and_withdraws_by_rejecting():
    waiting = after_checks(FIRST, passed=True, why="ok", at=NOON)[-1]
    assert [row.state for row in decided(waiting, "approved", who="ana", why="good")] == ["approved", "published"]
    assert [row.state for row in decided(waiting, "rejected", who="ana", why="dull")] == ["rejected"]
    shown = decided(waiting, "approved", who="ana", why="good")[-1]
    assert [row.state for row in decided(shown, "rejected", who="ana", why="no")] == ["withdrawn"]
    with pytest.raises(ReviewError, match="rejected"):
        decided(reached(State.REJECTED), "approved", who="ana", why="changed my mind")


def test_under_manual_review_a_passed_item_waits_and_a_failed_one_is_rejected():
    waiting = after_checks(FIRST, passed=True, why="ok", at=NOON)
    assert waiting[-1].state is State.IN_REVIEW
    assert [row.state for row in after_checks(FIRST, passed=False, why="key differs")] == [State.REJECTED]
    with pytest.raises(ReviewError, match="sometimes"):
        after_checks(FIRST, passed=True, why="ok", policy="sometimes")


def test_an_item_made_again_starts_over_with_its_new_hash():
    row = regenerated(reached(State.REJECTED), "b" * 64, who="ana", why="new model", at=NOON)
    assert (row.state, row.sha256, row.sequence) == (State.GENERATED, "b" * 64, 2)


def test_the_last_row_of_each_item_counts_and_a_broken_history_is_refused():
    rows = [
        FIRST,
        *after_checks(FIRST, passed=True, why="ok", at=NOON),
        generated("text:2", "c" * 64, who="job", why="x"),
    ]
    assert {item: row.state for item, row in current(rows[::-1]).items()} == {
        "text:1": "in_review",
        "text:2": "generated",
    }
    with pytest.raises(ReviewError, match="cannot follow"):
        current([FIRST, replace(FIRST, state=State.PUBLISHED, sequence=1)])
    with pytest.raises(ReviewError, match="other content"):
        current([FIRST, replace(rows[1], sha256="d" * 64)])
    with pytest.raises(ReviewError, match="first review row"):
        current([rows[1]])
