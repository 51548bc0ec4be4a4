"""Small tables that show what stands in the platform database, so that the lineage knows when it has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_assets.recommendation_update.rule_store import RuleStore
from ai_assets.recommendation_update.wishes import WishStore
from resources.platform import Platform

STORES: dict[str, Callable[[Platform], RuleStore | WishStore]] = {
    "recommendation_rules": lambda platform: RuleStore(platform.database),
    "playlist_wishes": lambda platform: WishStore(platform.database),
}


def rows_of(platform: Platform, table: str) -> list[dict[str, Any]]:
    """The rows that the table is to hold now."""
    return STORES[table](platform).rows()


def outdated(platform: Platform, table: str) -> bool:
    """Whether the table holds other rows than the platform database."""
    held = platform.lake.table(table)
    rows = rows_of(platform, table)
    return _sorted(held.arrow().to_pylist() if held.exists else []) != _sorted(rows)


def _sorted(rows: list[dict[str, Any]]) -> list[list[tuple[str, Any]]]:
    return sorted(sorted(row.items()) for row in rows)
