"""Items for subjects, in one batch: sampled, checked, compared with each other, documented, submitted to review.

Here belongs the way from subjects to the rows of a content table, alike for texts, covers and tunes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ai_assets.content_generation.duplicates import doubts
from ai_assets.content_generation.papers import Source, files, record_of, row_of, sample
from ai_assets.content_generation.provenance import item_seed
from ai_assets.content_generation.review_store import ReviewStore, Submitted
from ai_assets.content_generation.subjects import Subject
from ai_assets.content_generation.text.lexicon import LANGUAGES
from resources.blobs import Blobs


@dataclass(frozen=True)
class Desk:
    """Where finished items go: the reviews, the policy of the home, and the blobs."""

    reviews: ReviewStore
    policy: str
    blobs: Blobs


def make_rows(
    modality: str, kind: str, subjects: Sequence[Subject], source: Source, desk: Desk, **options: Any
) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Rows of a content table, and the pictures of the items in order.

    Args:
        modality: `text`, `cover` or `music`; kind: the beginning of the item ids.
        subjects: what the items are about; a text is made in each language.
        options: of the generator's `sample`.
    """
    wanted = [(subject, lang) for subject in subjects for lang in (LANGUAGES if modality == "text" else (None,))]
    ids = [":".join(part for part in (kind, subject.name, lang) if part) for subject, lang in wanted]
    seeds = [item_seed(item, modality, source.generator.version) for item in ids]
    facts = [subject.facts_in(lang) for subject, lang in wanted]
    items = sample(modality, source.generator, facts, seeds, [lang for _, lang in wanted], **options) if ids else []
    records = [record_of(modality, item, name, source) for name, item in zip(ids, items, strict=True)]
    submitted = [
        Submitted(record.item, record.content_sha256, bool(record.checks["passed"]), doubt)
        for record, doubt in zip(records, doubts(modality, ids, items), strict=True)
    ]
    states = desk.reviews.submit(submitted, policy=desk.policy, who=f"asset:{kind}")
    rows, pictures = [], []
    for (subject, _), item, record, entry in zip(wanted, items, records, submitted, strict=True):
        contents = files(modality, item)
        pictures += [data for name, (data, _) in contents.items() if name in ("png", "picture")]
        stored = {name: desk.blobs.put(data, suffix) for name, (data, suffix) in contents.items()}
        notes = [*record.notes, entry.doubt] if entry.doubt else record.notes
        record = replace(record, review_state=states[record.item].value, notes=notes)
        rows.append(row_of(record, subject.name, stored, text=item.text if modality == "text" else None))
    return rows, pictures
