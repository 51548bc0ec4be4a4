"""Today's review state of every item of a home, and a person's decisions about them.

Here belongs joining items with their states. States and their storage stand in ``review`` and ``review_store``.
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from ai_assets.content_generation import items as stored_items
from ai_assets.content_generation.facts import fact_set
from ai_assets.content_generation.review import ReviewRow, State
from ai_assets.content_generation.review_store import ReviewStore
from resources.platform import Platform

COLUMNS = (
    "item", "source", "modality", "lang", "state", "published", "who", "why", "at", "changes", "edited", "text",
    "sha256",
)  # fmt: skip


class TextRefused(ValueError):
    """An editor's text that contradicts the facts or breaks a rule; the message lists what the checker found."""


def review_rows(platform: Platform) -> pd.DataFrame:
    """One row per item that lies in a content table or was made on demand, with its current state."""
    store = ReviewStore(platform.database, platform.audit)
    states, edited = store.states(), {text.item: text for text in store.editor_texts()}
    rows = []
    for source, entry in stored_items.listed(platform):
        state = states.get(entry["item"])
        if state is None:
            continue
        edit = edited.get(entry["item"])
        changed = edit is not None and edit.edited
        made = edit.generated_sha256 if edit is not None and changed else state.sha256
        rows.append(
            {
                "item": entry["item"],
                "source": source,
                "modality": entry["modality"],
                "lang": entry["lang"],
                "state": state.state.value,
                "published": state.state is State.PUBLISHED and entry["sha256"] == made,
                "who": state.who,
                "why": state.why,
                "at": state.at.isoformat(timespec="seconds"),
                "changes": state.sequence + 1,
                "edited": changed,
                "text": edit.text if edit is not None else entry["text"],
                "sha256": state.sha256,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def decide(
    platform: Platform, item: str, state: State, *, who: str, why: str, text: str | None = None
) -> tuple[ReviewRow, State]:
    """Approve or reject an item; returns the new row and the state before.

    Args:
        text: an editor's wording of a text item, approved instead of the generated one.

    Raises:
        LookupError: no such item. ReviewError: the change is not allowed. TextRefused: the wording is not true.
    """
    store = ReviewStore(platform.database, platform.audit)
    before = store.history(item)[-1]
    if state is not State.APPROVED:
        return store.decide(item, state, who=who, why=why), before.state
    known = stored_items.find(platform, item)
    if known.modality != "text":
        if text is not None:
            raise TextRefused(f"{item} is a {known.modality}: only a text can be changed by an editor")
        return store.decide(item, state, who=who, why=why), before.state
    facts, lang = fact_set(known.record.facts), known.record.lang or "en"
    wording = known.text or "" if text is None else checked_text(text, facts, lang)
    return store.approve_text(item, lang, facts, wording, who=who, why=why), before.state


def checked_text(text: str, facts: Any, lang: str) -> str:
    """The editor's text, cleaned; raises ``TextRefused`` when it contradicts the facts."""
    from ai_assets.content_generation.facts import clean
    from ai_assets.content_generation.text.checker import check

    cleaned = clean(text)
    faults = check(cleaned, facts, lang).faults
    if faults:
        found = "; ".join(f"{fault.check}: found {fault.found!r}, expected {fault.expected!r}" for fault in faults)
        raise TextRefused(f"the text is not true to the facts {json.dumps(facts.to_mapping())}: {found}")
    return cleaned
