"""Where rules lie: rows in the platform database. What they mean is `rules`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import sqlalchemy as sa

from ai_assets.recommendation_update.rules import Rule
from resources.database import METADATA, Database, upsert

RULES = sa.Table(
    "recommendation_rules",
    METADATA,
    sa.Column("rule", sa.String(16), primary_key=True),
    sa.Column("scope", sa.String(8), nullable=False),
    sa.Column("listener", sa.String(64), nullable=False),
    sa.Column("field", sa.String(16), nullable=False),
    sa.Column("operator", sa.String(16), nullable=False),
    sa.Column("value", sa.String(1000), nullable=False),
    sa.Column("season", sa.String(12), nullable=False),
    sa.Column("added_at", sa.String(40), nullable=False),
)


class RuleStore:
    """The rules of one home."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rule: Rule) -> str:
        """Enter a rule and return its id; the same rule again is the same row.

        Raises:
            ValueError: a field, operator, value or season that is not one.
        """
        values: dict[str, Any] = asdict(rule.checked()) | {"listener": rule.listener or "", "scope": rule.scope}
        name = sha256("\0".join(str(values[key]) for key in sorted(values)).encode()).hexdigest()[:16]
        row = {"rule": name, **values, "added_at": datetime.now(UTC).isoformat()}
        with self._database.begin() as connection:
            upsert(connection, RULES, [row], update={})
        return name

    def remove(self, name: str) -> None:
        """Take a rule out. Raises LookupError for an id that is not there."""
        with self._database.begin() as connection:
            if connection.execute(sa.delete(RULES).where(RULES.c.rule == name)).rowcount == 0:
                raise LookupError(f"there is no rule {name!r}")

    def forget(self, listener: str) -> int:
        """Erase the rules of one listener (pseudonym); returns how many there were."""
        with self._database.begin() as connection:
            return int(connection.execute(sa.delete(RULES).where(RULES.c.listener == listener)).rowcount)

    def rows(self) -> list[dict[str, Any]]:
        """All rules as rows `rule scope listener field operator value season added_at`, oldest first."""
        return self._database.query(sa.select(RULES).order_by(RULES.c.added_at, RULES.c.rule))

    def current(self) -> tuple[Rule, ...]:
        """All rules, oldest first."""
        names = ("field", "operator", "value", "season")
        return tuple(
            Rule(**{name: row[name] for name in names}, listener=row["listener"] or None) for row in self.rows()
        )
