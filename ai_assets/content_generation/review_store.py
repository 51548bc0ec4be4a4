"""Where review states and editors' texts lie: rows in the platform database, appended, each change also in the audit.

Here belong storing and reading. Which changes are allowed stands in ``review``, what an item is in ``items``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ai_assets.content_generation.facts import FactSet, fact_set
from ai_assets.content_generation.provenance import content_sha256
from ai_assets.content_generation.review import (
    POLICY_ACTOR,
    ReviewError,
    ReviewRow,
    State,
    after_checks,
    current,
    decided,
    generated,
    regenerated,
)
from resources.audit_log import AuditEntry, AuditLog
from resources.database import METADATA, Database, upsert

REVIEWS = sa.Table(
    "content_reviews",
    METADATA,
    sa.Column("item", sa.String(200), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("state", sa.String(32), nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("why", sa.String(1000), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
)

EDITOR_TEXTS = sa.Table(
    "content_editor_texts",
    METADATA,
    sa.Column("item", sa.String(200), primary_key=True),
    sa.Column("generated_sha256", sa.String(64), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("lang", sa.String(8), nullable=False),
    sa.Column("facts", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("who", sa.String(200), nullable=False),
    sa.Column("at", sa.String(40), nullable=False),
)


@dataclass(frozen=True)
class Submitted:
    """A freshly made item: its content hash, whether its checks passed, and a doubt that only a person can settle."""

    item: str
    sha256: str
    passed: bool
    doubt: str = ""


@dataclass(frozen=True)
class EditorText:
    """A text that a person approved, as it was or as they changed it."""

    item: str
    lang: str
    facts: FactSet
    text: str
    who: str
    at: str
    generated_sha256: str

    @property
    def edited(self) -> bool:
        """Whether the person changed what was generated."""
        return content_sha256(self.text) != self.generated_sha256


class ReviewStore:
    """Review states of generated items. Every change goes into the audit log with who, when and why."""

    def __init__(self, database: Database, audit: AuditLog) -> None:
        self._database, self._audit = database, audit

    def states(self) -> dict[str, ReviewRow]:
        """The current row of every item."""
        return current(self._rows(sa.select(REVIEWS)))

    def history(self, item: str) -> list[ReviewRow]:
        """All changes of one item, oldest first. Raises LookupError for an unknown item."""
        rows = self._rows(sa.select(REVIEWS).where(REVIEWS.c.item == item).order_by(REVIEWS.c.sequence))
        if not rows:
            raise LookupError(f"there is no generated item {item!r}; `ai-assets review list` shows them")
        return rows

    def submit(self, items: Iterable[Submitted], *, policy: str, who: str) -> dict[str, State]:
        """Enter freshly made items and what follows from their checks; returns their states.

        An item whose content is what it was keeps its state, and so does one whose text an editor has changed since.
        """
        standing, edited = self.states(), {text.item: text for text in self.editor_texts()}
        new: list[list[ReviewRow]] = []
        states: dict[str, State] = {}
        for made in items:
            before, edit = standing.get(made.item), edited.get(made.item)
            kept = before is not None and (
                before.sha256 == made.sha256 or (edit is not None and edit.generated_sha256 == made.sha256)
            )
            if before is not None and kept:
                states[made.item] = before.state
                continue
            if before is None:
                row = generated(made.item, made.sha256, who=who, why="made")
            else:
                row = regenerated(before, made.sha256, who=who, why="made again")
            why = "checks passed" if made.passed else "a check failed"
            rows = [row, *after_checks(row, passed=made.passed, why=why, policy=policy, doubt=made.doubt)]
            new.append(rows)
            states[made.item] = rows[-1].state
        self._append(new)
        return states

    def decide(self, item: str, state: State, *, who: str, why: str) -> ReviewRow:
        """A person's decision. Raises LookupError for an unknown item, ReviewError for a change that is not allowed."""
        rows = decided(self.history(item)[-1], state, who=who, why=why)
        self._append([rows])
        return rows[-1]

    def approve_text(self, item: str, lang: str, facts: FactSet, text: str, *, who: str, why: str) -> ReviewRow:
        """Approve a text, as it is or changed by the editor (``text`` must have passed the checker); it becomes
        training data. Raises as ``decide`` does."""
        before = self.history(item)[-1]
        digest = content_sha256(text)
        if before.state is State.REJECTED:
            raise ReviewError(f"item {item} is rejected: make it again before it is approved")
        if digest == before.sha256:
            rows = decided(before, State.APPROVED, who=who, why=why)
        else:
            row = regenerated(before, digest, who=who, why=f"text changed by {who}: {why}")
            checked = after_checks(row, passed=True, why="the changed text passed the checker")
            rows = [row, *checked, *decided(checked[-1], State.APPROVED, who=who, why=why)]
        first = next((text.generated_sha256 for text in self.editor_texts() if text.item == item), before.sha256)
        entry = {
            "item": item, "generated_sha256": first, "sha256": digest, "lang": lang, "text": text,
            "facts": json.dumps(facts.to_mapping(), ensure_ascii=False, sort_keys=True), "who": who,
            "at": rows[-1].at.isoformat(),
        }  # fmt: skip
        with self._database.begin() as connection:
            upsert(connection, EDITOR_TEXTS, [entry], update=dict.fromkeys(entry, "new"))
        self._append([rows])
        return rows[-1]

    def editor_texts(self) -> list[EditorText]:
        """The texts that persons approved and that are published, oldest first: the editors' share of training."""
        states = self.states()
        rows = self._database.query(sa.select(EDITOR_TEXTS).order_by(EDITOR_TEXTS.c.at, EDITOR_TEXTS.c.item))
        return [
            EditorText(
                row["item"], row["lang"], fact_set(json.loads(row["facts"])), row["text"], row["who"], row["at"],
                row["generated_sha256"],
            )
            for row in rows
            if row["item"] in states
            and states[row["item"]].state is State.PUBLISHED
            and states[row["item"]].who != POLICY_ACTOR
            and states[row["item"]].sha256 == row["sha256"]
        ]  # fmt: skip

    def _append(self, changes: Sequence[Sequence[ReviewRow]]) -> None:
        rows = [row for rows in changes for row in rows]
        if not rows:
            return
        values = [{**vars(row), "state": row.state.value, "at": row.at.isoformat()} for row in rows]
        with self._database.begin() as connection:
            taken = {(row.item, row.sequence) for row in self._standing(connection, rows)}
            if taken & {(row.item, row.sequence) for row in rows}:
                raise ReviewError(f"item {rows[0].item} was changed by somebody else at the same moment; look again")
            upsert(connection, REVIEWS, values, update={})
        self._audit.append_all([_audited(rows) for rows in changes])

    @staticmethod
    def _standing(connection: sa.Connection, rows: Sequence[ReviewRow]) -> list[Any]:
        """Rows that stand at the places of the new ones: the first place of each item is enough."""
        first = {row.item: row.sequence for row in reversed(rows)}
        found: list[Any] = []
        items = sorted(first)
        for start in range(0, len(items), 500):
            chosen = items[start : start + 500]
            query = sa.select(REVIEWS.c.item, REVIEWS.c.sequence).where(REVIEWS.c.item.in_(chosen))
            found += [row for row in connection.execute(query) if row.sequence >= first[row.item]]
        return found

    def _rows(self, query: sa.Select[Any]) -> list[ReviewRow]:
        return [
            ReviewRow(**{**row, "state": State(row["state"]), "at": datetime.fromisoformat(row["at"])})
            for row in self._database.query(query)
        ]


def _audited(rows: Sequence[ReviewRow]) -> AuditEntry:
    """One record for all that happened to an item at once: every change with who, when and why."""
    last = rows[-1]
    changes = [{"state": row.state.value, "who": row.who, "why": row.why, "at": row.at.isoformat()} for row in rows]
    subject = {"item": last.item, "sha256": last.sha256}
    return AuditEntry(f"content_{last.state.value}", last.who, subject, details={"changes": changes})
