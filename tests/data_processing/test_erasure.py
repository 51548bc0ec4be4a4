"""Erasing a listener: from files, tables, databases and logs, for good, with everybody else untouched."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from event_lines import event, old, raw_ids, write

from ai_assets.data_processing.erasure import Erasure, enforce_list, erase_pseudonym, forget_listener
from ai_assets.data_processing.event_inbox import EventInbox
from resources.database import METADATA
from resources.erasures import ERASURES, digest_of
from resources.lake.fence import Fenced
from resources.platform import Platform
from resources.scrub import Word, search_tree

ANNA, BERT = "anna-4711@example", "bert"


def forget(platform: Platform, listener: str = ANNA) -> Erasure:
    return forget_listener(platform, listener, actor="tester")


def taken(platform: Platform) -> Platform:
    """Two listeners over two days, one line that cannot be read, one event of the far future."""
    inbox = EventInbox(platform)
    write(
        platform, "a.jsonl",
        [
            event("1", listener=ANNA), event("2", listener=BERT), f'{{"listener": "{ANNA}", "tr', "rubbish",
            event("3", listener=ANNA, day=2), event("4", listener=BERT, day=2, device=f"was {ANNA} here"),
            event("5", listener=ANNA, played_at="2099-01-01T00:00:00Z"),
        ],
    )  # fmt: skip
    inbox.ingest("r1")
    return platform


def everything(platform: Platform) -> bytes:
    return b"".join(
        path.read_bytes() for path in platform.home.root.rglob("*") if path.is_file() and "audit" not in path.parts
    )


def test_every_resource_erases_or_says_why_it_holds_nothing(platform: Platform) -> None:
    holders = platform.holders()
    assert {"database", "lake", "event_stream", "tracing", "tracking", "registry", "audit"} <= set(holders)
    for name, holder in holders.items():
        reason = getattr(holder, "FORGETS_NOTHING", "")
        assert callable(getattr(holder, "forget", None)) != bool(reason), name


def test_no_table_of_the_platform_database_keeps_a_row_that_names_the_listener(platform: Platform) -> None:
    pseudonym = platform.pseudonyms.of(ANNA)
    planted = 0
    with platform.database.begin() as connection:
        for table in METADATA.sorted_tables:
            texts = [
                c for c in table.columns if isinstance(c.type, sa.String) and (c.type.length or 99) > len(pseudonym)
            ]
            if table is ERASURES or not texts or not sa.inspect(connection).has_table(table.name):
                continue
            row = {column.name: _value(column, pseudonym) for column in table.columns if column is not table.autoincrement_column}  # fmt: skip
            connection.execute(sa.insert(table).values(row))
            planted += 1
    assert planted > 15
    assert platform.database.forget(pseudonym) == planted
    assert pseudonym.encode() not in (platform.home.database).read_bytes()
    assert not list(platform.home.root.glob("platform.db-wal")) or not (platform.home.root / "platform.db-wal").stat().st_size  # fmt: skip


def _value(column: sa.Column, text: str) -> object:
    if isinstance(column.type, sa.String):
        return text if (column.type.length or 100) >= len(text) else text[: column.type.length]
    return b"" if isinstance(column.type, sa.LargeBinary) else False if isinstance(column.type, sa.Boolean) else 1


def test_lines_rows_and_quarantine_of_one_listener_go_and_all_others_stay(platform: Platform) -> None:
    taken(platform)
    report = forget(platform)
    assert report.clean and report.lines == {"landing/events/a.jsonl": 4} and report.rows["raw_events"] == 2
    assert raw_ids(platform) == ["2", "4"]
    lines = (platform.home.landing_events / "a.jsonl").read_text().split("\n")
    assert [bool(line) for line in lines] == [False, True, False, True, False, True, False, False]
    assert [row["source"] for row in platform.quarantine.rows()] == ["landing/events/a.jsonl:4"]
    assert platform.pseudonyms.of(ANNA).encode() not in everything(platform)
    assert ANNA in lines[5] and "landing/events/a.jsonl" in report.mentions, "what others wrote is named, not changed"
    assert EventInbox(platform).pending() == [], "a rewritten file is not read again"
    with (platform.home.landing_events / "a.jsonl").open("a") as file:
        file.write(event("6", listener=BERT) + "\n")
    (grown,) = EventInbox(platform).ingest("r2")
    assert (grown.read, grown.accepted) == (1, 1)


def test_only_the_audit_log_keeps_the_pseudonym_and_it_stays_whole(platform: Platform) -> None:
    forget(taken(platform))
    (record,) = platform.audit.records()
    assert record["action"] == "forget" and record["subject"] == {"listener": platform.pseudonyms.of(ANNA)}
    assert record["details"]["clean"] is True and ANNA not in json.dumps(record)
    assert platform.audit.verify().ok


def test_a_replayed_file_a_replayed_stream_and_a_copy_bring_nothing_back(platform: Platform, tmp_path: Path) -> None:
    taken(platform)
    original = (platform.home.landing_events / "a.jsonl").read_bytes()
    forget(platform)
    copy = tmp_path / "export.jsonl"
    copy.write_bytes(original)
    EventInbox(platform).register(copy)
    platform.event_stream.append([json.loads(event("9", listener=ANNA))])
    readings = {item.source: item for item in EventInbox(platform).ingest("r2")}
    assert raw_ids(platform) == ["2", "4"]
    assert {row["code"] for row in platform.quarantine.rows("raw_events") if row["run_id"] == "r2"} >= {
        "erased_listener"
    }
    for reading in readings.values():
        assert reading.read == reading.accepted + reading.quarantined + reading.duplicates
    again = forget(platform)
    assert again.outside == [{"file": str(copy), "lines": 4}] and copy.read_bytes() == original


def test_who_comes_back_later_begins_anew(platform: Platform) -> None:
    forget(taken(platform))
    later = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    platform.event_stream.append([json.loads(event("new", listener=ANNA, played_at=later))])
    EventInbox(platform).ingest("r2")
    assert "new" in raw_ids(platform)


def test_a_run_that_began_before_the_erasure_cannot_write_the_listener_back(platform: Platform) -> None:
    taken(platform)
    before = platform.lake.attempt("long run")
    forget(platform)
    rows = pa.table({"listener": [platform.pseudonyms.of(ANNA)], "n": [1]})
    with pytest.raises(Fenced, match="erased"):
        platform.lake.replace("listeners", rows, before)
    platform.lake.replace("listeners", rows, platform.lake.attempt("later run"))
    platform.lake.replace("no_listeners", rows.drop_columns(["listener"]), before)


def test_old_versions_of_tables_and_what_killed_writers_left_are_gone(platform: Platform) -> None:
    lake, pseudonym = platform.lake, platform.pseudonyms.of(ANNA)
    lake.replace("listeners", pa.table({"listener": [pseudonym, "l2"]}), lake.attempt("one"))
    lake.replace("listeners", pa.table({"listener": ["l2"]}), lake.attempt("two"))
    folder = Path(lake.uri("listeners"))
    pq.write_table(pa.table({"listener": [pseudonym]}), folder / "part-orphan.parquet")
    forget(platform)
    assert len(list(folder.glob("*.parquet"))) == 1 and lake.read("listeners").num_rows == 1
    assert search_tree(folder, [Word(pseudonym, anywhere=True)]) == []
    with pytest.raises(Fenced):
        lake.replace("listeners", pa.table({"listener": ["l3"]}), lake.attempt("one"))


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_tables_arrays_and_parquet_files_lose_the_listeners_rows_alone(platform: Platform, form: str) -> None:
    rows = [json.loads(event(str(number), listener=who)) for number, who in enumerate([ANNA, BERT, ANNA, BERT])]
    path = platform.home.landing_events / f"x.{form}"
    if form == "csv":
        path.write_text("\n".join([",".join(rows[0]), *(",".join(row.values()) for row in rows)]) + "\n")
    elif form == "json":
        path.write_text(json.dumps(rows))
    else:
        pq.write_table(pa.Table.from_pylist(rows), path)
    old(path)
    EventInbox(platform).ingest("r1")
    assert forget(platform).clean
    assert raw_ids(platform) == ["1", "3"]
    EventInbox(platform).register(path)
    (reading,) = EventInbox(platform).ingest("r2")
    assert (reading.read, reading.duplicates) == (2, 2)


def test_a_file_of_nobody_else_is_removed(platform: Platform) -> None:
    path = write(platform, f"{ANNA}.jsonl", [event("1", listener=ANNA), event("2", listener=ANNA)])
    EventInbox(platform).ingest("r1")
    assert forget(platform).clean and not path.exists() and EventInbox(platform).pending() == []


def test_logs_databases_archives_and_free_pages_are_overwritten(platform: Platform) -> None:
    import numpy as np

    pseudonym, home = platform.pseudonyms.of(ANNA), platform.home.root
    (home / "logs" / "x.err").write_text(f"before {pseudonym} after {ANNA}.\n")
    np.savez(home / "cache" / "who.npz", ids=np.array([pseudonym, "l2"]))
    np.savez_compressed(home / "cache" / "packed.npz", ids=np.array([pseudonym, "l2"]))
    with sqlite3.connect(home / "mlflow" / "mlflow.db") as connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("INSERT INTO t VALUES (?, ?), (?, ?)", (f"x{pseudonym}y", pseudonym.encode(), "gone", ANNA))
        connection.execute("DELETE FROM t WHERE a = 'gone'")
    report = forget(platform)
    assert report.clean
    assert {"cache/packed.npz", "cache/who.npz", "logs/x.err", "mlflow/mlflow.db"} <= {
        *report.masked, "mlflow/mlflow.db" if report.rows.get("tracking") else ""
    }  # fmt: skip
    assert (home / "logs" / "x.err").read_text().startswith("before 0000")
    assert np.load(home / "cache" / "packed.npz")["ids"].tolist()[1] == "l2", "the archive can still be read"
    assert search_tree(home, [Word(pseudonym, anywhere=True), Word(ANNA)], skip=[platform.home.audit]) == []


def test_the_search_finds_what_was_not_erased(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    taken(platform)
    monkeypatch.setattr(type(platform.lake), "forget", lambda *_: {})
    report = forget(platform)
    assert not report.clean and any("lake/raw_events/" in place for place in report.left)
    assert list(platform.audit.records())[-1]["details"]["clean"] is False


def test_a_number_or_a_common_word_as_id_overwrites_no_other_text(platform: Platform) -> None:
    log = platform.home.logs / "x.log"
    log.write_text('{"rows": 4711, "title": "midnight hour", "listener": "midnight"}')
    assert forget(platform, "4711").clean and '"rows": 4711' in log.read_text()
    assert forget(platform, "midnight").clean
    assert "midnight hour" in log.read_text() and '"midnight"' not in log.read_text()


def test_a_backup_older_than_the_list_is_erased_again(platform: Platform) -> None:
    taken(platform)
    row = {"digest": digest_of(platform.pseudonyms.of(ANNA)), "erased_at": datetime.now(UTC).isoformat(), "token": 1}
    platform.erasures.merge([row])
    (report,) = enforce_list(platform, actor="restore")
    assert report.rows["raw_events"] == 2 and raw_ids(platform) == ["2", "4"]
    assert enforce_list(platform, actor="restore") == []


def test_days_that_lost_rows_are_stale_even_when_their_number_is_what_it_was(platform: Platform) -> None:
    lake = platform.lake
    taken(platform)
    EventInbox(platform).record_days(lake.attempt("r1"))
    before = lake.ledger.entries("raw_events")["2026-05-01"]
    erase_pseudonym(platform, platform.pseudonyms.of(ANNA), lake.attempt("e"), Erasure("", ""))
    assert lake.ledger.entries("raw_events")["2026-05-01"].content_hash != before.content_hash
