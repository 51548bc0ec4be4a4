"""The way of a generated item from "generated" to "published": a pure state machine over review rows.

Here belong the states, the allowed changes and the policy. Storing rows and writing the audit belong to the callers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

POLICY_ACTOR = "policy:auto"


class State(StrEnum):
    """Where an item stands; only ``PUBLISHED`` items are shown to the outside."""

    GENERATED = "generated"
    CHECKS_PASSED = "checks_passed"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    REJECTED = "rejected"
    PUBLISHED = "published"
    WITHDRAWN = "withdrawn"


# Every state but the first may also go back to GENERATED: that is what making an item again means.
_FORWARD: Mapping[State, frozenset[State]] = {
    State.GENERATED: frozenset({State.CHECKS_PASSED, State.REJECTED}),
    State.CHECKS_PASSED: frozenset({State.IN_REVIEW}),
    State.IN_REVIEW: frozenset({State.APPROVED, State.REJECTED}),
    State.APPROVED: frozenset({State.PUBLISHED, State.REJECTED}),
    State.REJECTED: frozenset(),
    State.PUBLISHED: frozenset({State.WITHDRAWN}),
    State.WITHDRAWN: frozenset(),
}


class ReviewError(ValueError):
    """A change of state that is not allowed, or that lacks who or why."""


@dataclass(frozen=True)
class ReviewRow:
    """One change: ``item`` with content ``sha256`` reached ``state`` at ``at`` (UTC) through ``who`` because ``why``.

    The current state of an item is its last row. ``sequence`` counts an item's rows from 0.
    """

    item: str
    sha256: str
    state: State
    who: str
    why: str
    at: datetime
    sequence: int = 0


def generated(item: str, sha256: str, *, who: str, why: str, at: datetime | None = None) -> ReviewRow:
    """First row of an item that was just made."""
    return ReviewRow(item, sha256, State.GENERATED, _said(who, "who"), _said(why, "why"), _moment(at))


def changed(row: ReviewRow, state: State | str, *, who: str, why: str, at: datetime | None = None) -> ReviewRow:
    """The row that follows ``row``. Raises ``ReviewError`` when the change is not allowed or lacks who or why."""
    target = _state(state)
    if target not in _FORWARD[row.state]:
        allowed = ", ".join(sorted(_FORWARD[row.state])) or "nothing but making it again"
        raise ReviewError(f"item {row.item} is {row.state}: it cannot become {target}; allowed: {allowed}")
    return _next(row, target, row.sha256, who, why, at)


def regenerated(row: ReviewRow, sha256: str, *, who: str, why: str, at: datetime | None = None) -> ReviewRow:
    """The row of an item that was made again: it starts over, whatever it was, with its new content hash."""
    return _next(row, State.GENERATED, sha256, who, why, at)


def after_checks(
    row: ReviewRow, *, passed: bool, why: str, policy: str = "manual", doubt: str = "", at: datetime | None = None
) -> list[ReviewRow]:
    """The rows that follow a freshly generated item's checks.

    A failed item is rejected. A passed one goes into review; under ``policy="auto"`` it is then approved by the actor
    ``policy:auto``, so that the record shows that no person looked at it, and published. With a ``doubt`` (a sentence)
    it waits for a person under either policy.
    """
    if policy not in ("auto", "manual"):
        raise ReviewError(f"review policy is {policy!r}, expected 'auto' or 'manual'")
    moment = _moment(at)
    if not passed:
        return [changed(row, State.REJECTED, who="checks", why=why, at=moment)]
    rows = [changed(row, State.CHECKS_PASSED, who="checks", why=why, at=moment)]
    rows.append(changed(rows[-1], State.IN_REVIEW, who="checks", why=doubt or "waits for a decision", at=moment))
    if policy == "auto" and not doubt:
        reason = "review = auto: an item whose checks passed is approved without a person"
        rows.append(changed(rows[-1], State.APPROVED, who=POLICY_ACTOR, why=reason, at=moment))
        rows.append(changed(rows[-1], State.PUBLISHED, who=POLICY_ACTOR, why="approved", at=moment))
    return rows


def decided(row: ReviewRow, state: State | str, *, who: str, why: str, at: datetime | None = None) -> list[ReviewRow]:
    """The rows of a person's decision: an approved item is published at once, a published one that is rejected is
    withdrawn. Raises ``ReviewError`` when the change is not allowed."""
    target = _state(state)
    if target is State.APPROVED:
        approved = changed(row, State.APPROVED, who=who, why=why, at=at)
        return [approved, changed(approved, State.PUBLISHED, who=who, why="approved", at=at)]
    if target is State.REJECTED and row.state is State.PUBLISHED:
        target = State.WITHDRAWN
    return [changed(row, target, who=who, why=why, at=at)]


def current(rows: Iterable[ReviewRow]) -> dict[str, ReviewRow]:
    """The last row of each item. Raises ``ReviewError`` when rows of an item do not follow from one another."""
    last: dict[str, ReviewRow] = {}
    for row in sorted(rows, key=lambda entry: (entry.item, entry.sequence)):
        before = last.get(row.item)
        _follows(before, row)
        last[row.item] = row
    return last


def _follows(before: ReviewRow | None, row: ReviewRow) -> None:
    if before is None:
        if row.state is not State.GENERATED or row.sequence != 0:
            raise ReviewError(f"item {row.item}: its first review row is {row.state}, expected generated")
        return
    again = row.state is State.GENERATED
    if row.sequence != before.sequence + 1 or not (again or row.state in _FORWARD[before.state]):
        raise ReviewError(f"item {row.item}: review row {row.sequence} ({row.state}) cannot follow {before.state}")
    if not again and row.sha256 != before.sha256:
        raise ReviewError(f"item {row.item}: review row {row.sequence} speaks of other content than the row before")


def _next(row: ReviewRow, state: State, sha256: str, who: str, why: str, at: datetime | None) -> ReviewRow:
    moment = _moment(at)
    return ReviewRow(row.item, sha256, state, _said(who, "who"), _said(why, "why"), moment, row.sequence + 1)


def _state(state: State | str) -> State:
    try:
        return State(state)
    except ValueError:
        raise ReviewError(f"unknown review state {state!r}, expected one of {', '.join(State)}") from None


def _said(value: str, name: str) -> str:
    if not value.strip():
        raise ReviewError(f"{name} is empty: every change of a review says who made it and why")
    return value


def _moment(at: datetime | None) -> datetime:
    return datetime.now(UTC) if at is None else at
