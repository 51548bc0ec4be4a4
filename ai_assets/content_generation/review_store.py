"""Where review states lie: rows in the platform database, appended, never changed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from ai_assets.content_generation.review import ReviewRow, State, after_checks, changed, current, generated, regenerated
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


class ReviewStore:
    """Review states of generated items."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self) -> dict[str, ReviewRow]:
        """The current row of every item."""
        return current(self._rows())

    def submit(self, items: Iterable[tuple[str, str, bool]], *, policy: str, who: str) -> dict[str, State]:
        """Enter freshly made items (item, sha256, passed) and what follows from their checks; returns their states.

        An item whose content is what it was keeps its state. Under `auto`, passed items are approved by policy and
        published.
        """
        standing = self.states()
        new: list[ReviewRow] = []
        states: dict[str, State] = {}
        for item, sha256, passed in items:
            before = standing.get(item)
            if before is not None and before.sha256 == sha256:
                states[item] = before.state
                continue
            if before is None:
                row = generated(item, sha256, who=who, why="made by its asset")
            else:
                row = regenerated(before, sha256, who=who, why="made again by its asset")
            rows = [
                row,
                *after_checks(row, passed=passed, why="checks passed" if passed else "a check failed", policy=policy),
            ]
            if rows[-1].state is State.APPROVED:
                rows.append(changed(rows[-1], State.PUBLISHED, who=rows[-1].who, why="approved"))
            new += rows
            states[item] = rows[-1].state
        self._append(new)
        return states

    def change(self, item: str, state: State, *, who: str, why: str) -> ReviewRow:
        """Move one item on. Raises LookupError for an unknown item, ReviewError for a change that is not allowed."""
        before = self.states().get(item)
        if before is None:
            raise LookupError(f"there is no generated item {item!r}")
        row = changed(before, state, who=who, why=why)
        self._append([row])
        return row

    def _append(self, rows: list[ReviewRow]) -> None:
        values = [{**vars(row), "state": row.state.value, "at": row.at.isoformat()} for row in rows]
        with self._database.begin() as connection:
            upsert(connection, REVIEWS, values, update={})

    def _rows(self) -> list[ReviewRow]:
        return [
            ReviewRow(**{**row, "state": State(row["state"]), "at": datetime.fromisoformat(row["at"])})
            for row in self._database.query(sa.select(REVIEWS))
        ]
