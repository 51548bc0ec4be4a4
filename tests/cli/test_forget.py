"""`forget` on a copied demo home: erased everywhere, cold afterwards, and no replay or backfill brings anything back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer

from ai_assets.data_processing.event_inbox import EventInbox
from ai_assets.home import prepare_home
from resources.settings import load_settings

pytestmark = pytest.mark.e2e


def files_with(home: Path, *words: str) -> list[str]:
    wanted = [word.encode() for word in words]
    paths = (path for path in home.rglob("*") if path.is_file())
    return sorted(str(path.relative_to(home)) for path in paths if any(word in path.read_bytes() for word in wanted))


def test_forget_erases_proves_it_and_nothing_brings_the_listener_back(
    copied: Path, say: Callable[..., Answer], tmp_path: Path
) -> None:
    events = copied / "landing" / "events"
    listener = a_listener(events)
    outside = tmp_path / "export"
    shutil.copytree(events, outside)
    before = say("recommend", listener, "--json", of=copied).json
    assert "cold" not in before or before["cold"] is False
    pseudonyms = {row["listener"] for row in say("table", "listening_events", "--json", of=copied).lines}

    done = say("forget", listener, "--json", of=copied)
    assert done.status == 0, done.err
    report = done.json
    assert report["clean"] and report["left"] == [] and report["rows"]["raw_events"] > 0
    pseudonym = report["pseudonym"]
    assert pseudonym in pseudonyms
    assert files_with(copied, listener, pseudonym) == ["audit/audit.jsonl"]
    assert listener.encode() not in (copied / "audit" / "audit.jsonl").read_bytes()
    assert say("audit", "verify", of=copied).status == 0

    after = say("recommend", listener, "--json", of=copied)
    assert after.status == 0 and after.json["cold"] is True
    assert files_with(copied, listener, pseudonym) == ["audit/audit.jsonl"], "asking writes nothing"

    inbox = EventInbox(prepare_home(load_settings(home=copied)))
    for file in sorted(outside.glob("*.jsonl"))[:3]:
        inbox.register(file)
    readings = inbox.ingest("replay")
    assert sum(item.accepted for item in readings) == 0 and sum(item.quarantined for item in readings) > 0
    assert say("backfill", "--asset", "listening_events", "--asset", "interactions", "--all", of=copied).status == 0
    for table in ("raw_events", "listening_events", "interactions"):
        rows = say("table", table, "--json", of=copied).lines
        assert rows and pseudonym not in {row["listener"] for row in rows}, table
    assert files_with(copied, listener, pseudonym) == ["audit/audit.jsonl"]
    assert say("recommend", listener, "--json", of=copied).json["cold"] is True


def a_listener(events: Path) -> str:
    lines = (line for file in sorted(events.glob("*.jsonl")) for line in file.read_text().splitlines())
    return str(next(json.loads(line)["listener"] for line in lines if line.startswith("{") and '"listener"' in line))


def test_an_empty_id_and_a_home_that_is_not_there_are_refused(say: Callable[..., Answer], tmp_path: Path) -> None:
    assert say("forget", " ").status == 2
    nowhere = say("forget", "x", of=tmp_path / "nowhere")
    assert nowhere.status == 1 and not (tmp_path / "nowhere").exists()
