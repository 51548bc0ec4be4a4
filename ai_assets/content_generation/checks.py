"""Gates of generated content: a failing item blocks itself, more than five percent block the asset."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ai_assets.contract import Check, Verdict

if TYPE_CHECKING:
    import pandas as pd

MOST_FAILED = 0.05
_NEEDED = (
    "model", "model_version", "model_digests", "seed", "facts", "fact_sources", "decoding", "candidates", "checks",
    "content_sha256", "licence", "review_state", "libraries",
)  # fmt: skip


def _gate(items: pd.DataFrame) -> Verdict:
    failed = items[~items["passed"]]
    share = len(failed) / len(items) if len(items) else 0.0
    shown = failed[["item", "subject"]].head(20)
    # A failed item can never be published, whatever this verdict is: review rejected it.
    return Verdict(
        share <= MOST_FAILED, f"{len(failed)} of {len(items)} items failed a check", {"share": share, "failed": shown}
    )


def _distinct(items: pd.DataFrame) -> Verdict:
    """Equal items, and those that their record calls near-duplicates."""
    notes = [[note for note in json.loads(text)["notes"] if "near-duplicate" in note] for text in items["provenance"]]
    equal = items.duplicated("sha256").tolist()
    because = [near[0] if near else "equal to another" if same else "" for near, same in zip(notes, equal, strict=True)]
    found = items[["item"]].assign(because=because)[[bool(text) for text in because]]
    return Verdict(
        len(found) <= MOST_FAILED * len(items),
        f"{sum(equal)} of {len(items)} items are equal to another, {sum(map(bool, notes))} nearly so",
        {"share": len(found) / max(1, len(items)), "found": found.head(20)},
    )


def _papers(items: pd.DataFrame) -> Verdict:
    """Every item has a complete record that belongs to it and marks it as synthetic."""
    from ai_assets.content_generation.provenance import ProvenanceError, from_mapping

    bad = []
    for row in items.itertuples():
        try:
            record = json.loads(str(row.provenance))
            own = from_mapping(record)
            empty = [name for name in _NEEDED if record.get(name) in (None, "", {})]
            if empty:
                raise ProvenanceError(f"empty: {', '.join(empty)}")
            if (own.item, own.content_sha256) != (row.item, row.sha256):
                raise ProvenanceError("the record belongs to another item")
        except (ProvenanceError, ValueError, TypeError) as error:
            bad.append(f"{row.item}: {error}")
    return Verdict(not bad, f"{len(bad)} of {len(items)} items lack papers", {"worst": "; ".join(bad[:5]) or "none"})


def _decided(items: pd.DataFrame) -> Verdict:
    """Nothing is published that was not approved, or whose content is no longer the approved one."""
    wrong = items[items["published"] & (items["state"] != "published")]
    waiting = int((items["state"] == "in_review").sum())
    return Verdict(
        not len(wrong), f"{waiting} items wait for a decision", {"waiting": waiting, "wrong": wrong[["item", "state"]]}
    )


GATE = Check(
    "gate", "At most five percent of the items fail their checks; those that fail are never shown.", _gate, True
)
DISTINCT = Check("distinct", "Items differ from one another: none is equal or nearly so to another.", _distinct)
PAPERS = Check("papers", "Every item has its complete record and the mark of synthetic content.", _papers, True)
DECIDED = Check("decided", "Only approved items are published.", _decided, True)
