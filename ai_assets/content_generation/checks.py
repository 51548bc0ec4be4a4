"""Gates of generated content: a failing item blocks itself, more than five percent block the asset."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ai_assets.contract import Check, Verdict

if TYPE_CHECKING:
    import pandas as pd

MOST_FAILED = 0.05


def _gate(items: pd.DataFrame) -> Verdict:
    failed = items[~items["passed"]]
    share = len(failed) / len(items) if len(items) else 0.0
    shown = failed[["item", "subject"]].head(20)
    allowed = max(MOST_FAILED * len(items), 1.0 if len(items) < 20 else 0.0)
    return Verdict(
        len(failed) <= allowed, f"{len(failed)} of {len(items)} items failed a check", {"share": share, "failed": shown}
    )


def _distinct(items: pd.DataFrame) -> Verdict:
    repeated = int(items.duplicated("sha256").sum()) if len(items) else 0
    return Verdict(repeated <= 0.05 * len(items), f"{repeated} of {len(items)} items are equal to another")


GATE = Check(
    "gate", "At most five percent of the items fail their checks; those that fail are never shown.", _gate, True
)
DISTINCT = Check("distinct", "Items differ from one another.", _distinct)
