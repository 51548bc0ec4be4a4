"""The marked forms of a text, JSON and HTML, and its explanation: where each fact stands, what was refused.

Here belongs what is shown of a finished text. Plain text itself cannot carry a durable mark; every form that the
product hands out around it does. The record is made in ``papers``.
"""

from __future__ import annotations

import html
from typing import Any

from ai_assets.content_generation.provenance import DIGITAL_SOURCE_TYPE, Provenance
from ai_assets.content_generation.text.decode import TextItem


def to_html(item: TextItem, record: Provenance) -> str:
    """A paragraph with the text escaped and marked as synthetic."""
    marks = f'data-ai-generated="true" data-digital-source-type="{DIGITAL_SOURCE_TYPE}"'
    return f'<p lang="{item.lang}" {marks} data-item="{html.escape(record.item)}">{html.escape(item.text)}</p>'


def explanation(item: TextItem) -> dict[str, Any]:
    """Where each fact stands in the text, and which candidates were refused and why."""
    facts = {
        name: {"start": start, "end": end, "text": item.text[start:end], "sentence": item.fact_sentences.get(name)}
        for name, (start, end) in sorted(item.fact_spans.items(), key=lambda entry: entry[1])
    }
    refused = [{"candidate": r.candidate, "check": r.check, "reason": r.reason} for r in item.rejections]
    return {"facts": facts, "rejected_candidates": refused}
