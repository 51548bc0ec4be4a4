"""Erasing a listener: the order of the work, and the proof that nothing is left.

First the erasure list, so that nothing comes in any more; then files, stream, tables, logs and databases; then a search
over all bytes of the home. Every resource erases what it holds (`Platform.holders`); what no resource owns - Dagster's
databases, logs, caches - is overwritten in place.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds

from ai_assets.data_processing.event_erasure import EventFileErasure, FileErasure
from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.data_processing.raw_store import RAW, RawStore, Reading
from resources.erasures import digest_of
from resources.lake.fence import Attempt
from resources.platform import Platform
from resources.scrub import Found, Word, mask_tree, search_tree

TRIES = 3


@dataclass
class Erasure:
    """What was erased, and what is left (nothing, when `clean`)."""

    pseudonym: str
    erased_at: str
    rows: dict[str, int] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    outside: list[dict[str, Any]] = field(default_factory=list)
    masked: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    mentions: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.left

    @property
    def known(self) -> bool:
        """Whether anything of the listener was there."""
        return bool(self.rows or self.lines or self.outside or self.masked)


def forget_listener(platform: Platform, listener: str, *, actor: str) -> Erasure:
    """Erase a listener from a home.

    Args:
        listener: raw id, as in the events.
        actor: who asked, for the audit log.

    Raises sqlite3.OperationalError or TimeoutError when a database or the lake stays in use; run it again then.
    """
    listener = listener.strip()
    with platform.database.lock("upkeep"):
        run_id = f"erasure-{uuid.uuid4()}"
        attempt = platform.lake.attempt(run_id)
        pseudonym = platform.pseudonyms.of(listener)
        erased_at = platform.erasures.add(pseudonym, attempt.token)
        report = Erasure(pseudonym, erased_at.isoformat())
        home, files = platform.home, EventFileErasure(platform, listener)
        words = [Word(pseudonym, anywhere=True), Word(listener)]
        for _ in range(TRIES):  # a writer that was past its checks may have come in between
            _erase_lines(platform, files, report)
            erase_pseudonym(platform, pseudonym, attempt, report)
            _erase_truth(home.truth, listener)
            report.masked += [_name(platform, path) for path in mask_tree(home.root, words, skip=_own(platform))]
            report.left = _left(platform, files, words)
            if report.clean:
                break
        report.mentions = _mentions(platform, words[1])
        _audit(platform, report, actor, run_id)
    return report


def erase_pseudonym(platform: Platform, pseudonym: str, attempt: Attempt, report: Erasure) -> None:
    """Erase a pseudonym from every resource of the platform."""
    _release_rows(platform, pseudonym, attempt)
    with platform.database.lock(f"{RAW}:append"):
        for table, count in platform.lake.forget(pseudonym, attempt).items():
            report.rows[table] = report.rows.get(table, 0) + count
    EventInbox(platform).record_days(attempt)
    for name, holder in platform.holders().items():
        if name in ("lake", "database") or hasattr(holder, "FORGETS_NOTHING"):
            continue
        _count(report, name, holder.forget(pseudonym))
    _count(report, "platform database", platform.database.forget(pseudonym))


def enforce_list(platform: Platform, *, actor: str) -> list[Erasure]:
    """Erase again whoever stands on the erasure list and has come back (with a backup that is older than the list)."""
    raw = platform.lake.table(RAW)
    if not raw.exists:
        return []
    moments = platform.erasures.moments()
    table = raw.dataset().to_table(columns=["listener", "played_at"])
    first = table.group_by("listener").aggregate([("played_at", "min")]).to_pylist()
    back = [
        row["listener"]
        for row in first
        if (moment := moments.get(digest_of(row["listener"]))) is not None and row["played_at_min"] <= moment
    ]
    reports = []
    for pseudonym in sorted(back):
        run_id = f"erasure-{uuid.uuid4()}"
        attempt = platform.lake.attempt(run_id)
        report = Erasure(pseudonym, moments[digest_of(pseudonym)].isoformat())
        erase_pseudonym(platform, pseudonym, attempt, report)
        word = Word(pseudonym, anywhere=True)
        report.masked += [_name(platform, path) for path in mask_tree(platform.home.root, [word], skip=_own(platform))]
        _audit(platform, report, actor, run_id)
        reports.append(report)
    return reports


def _erase_lines(platform: Platform, files: EventFileErasure, report: Erasure) -> None:
    for found in files.erase():
        if found.rewritten:
            report.lines[found.source] = len(found.places)
        elif not any(item["file"] == str(found.path) for item in report.outside):
            report.outside.append({"file": str(found.path), "lines": len(found.places)})
        _accept(platform, found)


def _accept(platform: Platform, found: FileErasure) -> None:
    for table in (RAW, "listening_events"):
        platform.quarantine.accept(table, [f"{found.source}:{place}" for place in found.places])


def _release_rows(platform: Platform, pseudonym: str, attempt: Attempt) -> None:
    """Take the listener's accepted rows out of quarantine (their tracks may have been unknown) and out of the books:
    the inventory does not look for them any more."""
    raw = platform.lake.table(RAW)
    if not raw.exists:
        return
    held = raw.dataset().to_table(columns=["file", "line"], filter=ds.field("listener") == pseudonym).to_pylist()
    platform.quarantine.accept("listening_events", [f"{row['file']}:{row['line']}" for row in held])
    with platform.database.begin() as connection:
        for source, count in Counter(row["file"] for row in held).items():
            taken_out = Reading(source, read=-count, accepted=-count)
            RawStore.note(connection, f"{attempt.run_id}:{uuid.uuid4().hex[:8]}", taken_out)


def _erase_truth(folder: Path, listener: str) -> None:
    """The sample library's ground truth holds a line for each of its (simulated) listeners."""
    for path in sorted(folder.glob("*.jsonl")):
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if json.loads(line).get("listener") != listener]
        if len(kept) < len(lines):
            aside = path.with_name(f".{path.name}.erasing")
            aside.write_text("".join(kept))
            aside.replace(path)


def _own(platform: Platform) -> list[Path]:
    """Folders that are not overwritten: tables and event lines were erased, sounds are nobody's data, the audit log
    is the proof, and locks and keys hold no names."""
    home = platform.home
    return [home.lake, home.root / "landing", home.audit, home.secrets, home.locks]


def _left(platform: Platform, files: EventFileErasure, words: list[Word]) -> list[str]:
    """Places in the home where the listener still stands."""
    home = platform.home
    pseudonym, raw = words
    sounds = [home.landing_audio, home.landing_scores]
    found = search_tree(home.root, [pseudonym], skip=[home.audit, *sounds])
    found += search_tree(home.root, [raw], skip=[*sounds, home.landing_events, home.lake])
    lines = [f"{item.source}: {len(item.places)} lines" for item in files.remaining()]
    return sorted({_place(platform, item) for item in found}) + lines


def _mentions(platform: Platform, raw: Word) -> list[str]:
    """Event files and tables in which the raw word stands in what is another listener's: a title, a device's name.

    The listener's own lines and rows are found by his id, not by this search.
    """
    found = [
        item for folder in (platform.home.landing_events, platform.home.lake) for item in search_tree(folder, [raw])
    ]
    return sorted(_name(platform, item.path) for item in found)


def _place(platform: Platform, found: Found) -> str:
    return f"{_name(platform, found.path)}: {'pseudonym' if found.word.anywhere else 'raw id'}"


def _name(platform: Platform, path: Path) -> str:
    return str(path.relative_to(platform.home.root))


def _count(report: Erasure, name: str, count: int) -> None:
    if count:
        report.rows[name] = report.rows.get(name, 0) + count


def _audit(platform: Platform, report: Erasure, actor: str, run_id: str) -> None:
    platform.audit.append(
        "forget", actor, {"listener": report.pseudonym}, run_id=run_id,
        rows=report.rows, lines=sum(report.lines.values()), files=len(report.lines), masked=len(report.masked),
        outside=len(report.outside), left=len(report.left), clean=report.clean,
    )  # fmt: skip
