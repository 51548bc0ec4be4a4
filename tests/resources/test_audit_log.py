import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from resources.audit_follower import follow_materializations
from resources.audit_log import AuditBroken, AuditEntry, AuditLog
from resources.redaction import Redactor


def log_of(tmp_path: Path) -> AuditLog:
    return AuditLog(tmp_path / "audit", tmp_path / "secrets")


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    audit = log_of(tmp_path)
    for number in range(6):
        audit.append("promote", "alice", {"model": "ranking_model", "version": number}, reason="better")
    return audit


def test_a_whole_log_is_verified_and_the_key_is_private(log: AuditLog, tmp_path: Path) -> None:
    result = log.verify()
    assert result.ok and (result.records, result.checkpoints) == (6, 6)
    key = tmp_path / "secrets" / "audit-signing-key.pem"
    assert key.stat().st_mode & 0o777 == 0o600 and log.path.stat().st_mode & 0o777 == 0o600
    first = next(log.records())
    assert (first["actor"], first["action"], first["subject"]["version"], first["details"]) == (
        "alice", "promote", 0, {"reason": "better"},
    )  # fmt: skip
    assert [one["seq"] for one in log.newest_first()] == [6, 5, 4, 3, 2, 1]
    assert log_of(tmp_path / "new").verify().ok


def edit(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("alice", "mallory"), *lines[2:]]


def rewrite(lines: list[str]) -> list[str]:
    """What an attacker with the log alone can do best: a log whose chain is right in itself."""
    import hashlib

    answer, head = [], "0" * 64
    for line in lines:
        record = json.loads(line.replace("alice", "mallory"))
        record.pop("hash")
        record["prev"] = head
        text = json.dumps(record, sort_keys=True, separators=(",", ":"))
        record["hash"] = head = hashlib.sha256((record["prev"] + text).encode()).hexdigest()
        answer.append(json.dumps(record, sort_keys=True, separators=(",", ":")))
    return answer


@pytest.mark.parametrize(
    ("tamper", "first_bad"),
    [
        (edit, 2), (lambda lines: [*lines[:2], *lines[3:]], 3), (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: lines[:4], 5), (rewrite, 1), (lambda lines: [lines[0].replace(",", ", "), *lines[1:]], 1),
        (lambda lines: [], 1), (lambda lines: [*lines[:3], lines[2], *lines[3:]], 4),
    ],
    ids=["edit", "delete", "reorder", "cut tail", "rewrite", "spaces", "empty", "repeat"],
)  # fmt: skip
def test_tampering_is_found_at_the_first_bad_record(log: AuditLog, tamper, first_bad: int) -> None:
    lines = log.path.read_text().splitlines()
    log.path.write_text("".join(line + "\n" for line in tamper(lines)))
    result = log.verify()
    assert not result.ok and result.first_bad == first_bad and result.problem


def test_forged_or_missing_checkpoints_are_found(log: AuditLog) -> None:
    kept = log.checkpoints_path.read_text()
    log.checkpoints_path.write_text(kept.replace('"seq":6', '"seq":5'))
    assert "signature" in log.verify().problem
    log.checkpoints_path.unlink()
    assert not log.verify().ok
    log.checkpoints_path.write_text(kept)
    assert log.verify().ok


def test_an_unfinished_last_line_is_dropped_by_the_next_append(log: AuditLog) -> None:
    with log.path.open("a") as file:
        file.write('{"action":"promo' + "x" * 100_000)
    assert log.verify().ok and log.verify().unfinished and len(list(log.records())) == 6
    assert log.append("forget", "bob", {"listener": "pseudonym"}) == 7
    assert log.verify().ok and not log.verify().unfinished
    with log.path.open("a") as file:
        file.write("not a record\n")
    with pytest.raises(AuditBroken, match="verify"):
        log.append("forget", "bob", {})


def test_secrets_and_forged_lines_do_not_get_in(tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "a", tmp_path / "s", redactor=Redactor(["canary-secret"]))
    audit.append(
        "login", 'x\n{"seq": 2}', {"url": "http://h/?q=canary-secret"}, password="hunter2", plain="canary-secret"
    )
    text = audit.path.read_text()
    assert len(text.splitlines()) == 1 and "canary-secret" not in text and "hunter2" not in text and audit.verify().ok


WRITER = (
    "import sys; from pathlib import Path; from resources.audit_log import AuditLog\n"
    "audit = AuditLog(Path(sys.argv[1]) / 'audit', Path(sys.argv[1]) / 'secrets')\n"
    "for n in range(int(sys.argv[2])): audit.append('write', sys.argv[3], {'n': n})"
)


def test_four_writers_at_once_keep_one_chain(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "100", str(n)]) for n in range(4)]
    assert [one.wait() for one in writers] == [0] * 4
    audit = log_of(tmp_path)
    result = audit.verify()
    assert result.ok and result.records == 400
    assert Counter(one["actor"] for one in audit.records()) == {str(n): 100 for n in range(4)}


def test_killed_writers_leave_a_whole_chain(tmp_path: Path) -> None:
    audit, rng = log_of(tmp_path), random.Random(7)
    audit.append("begin", "test", {})
    for number in range(8):
        before = audit.path.stat().st_size
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), "100000", str(number)])
        while audit.path.stat().st_size == before:
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        assert audit.verify().ok
    audit.append("end", "test", {})
    assert audit.verify().ok and len({one["actor"] for one in audit.records()}) == 9


def test_a_full_disk_keeps_nothing_of_a_record(log: AuditLog) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; from resources.audit_log import AuditLog\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "audit = AuditLog(Path(sys.argv[1]), Path(sys.argv[2])); size = audit.path.stat().st_size\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, size + 50))\n"
        "try: audit.append('big', 'x', {'text': 'y' * 1000})\n"
        "except OSError: sys.exit(0 if audit.path.stat().st_size == size else 2)\n"
        "sys.exit(3)"
    )
    folder = log.path.parent
    answer = subprocess.run([sys.executable, "-c", code, str(folder), str(folder.parent / "secrets")])
    assert answer.returncode == 0 and log.verify().ok


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["a", "b"]), code_version="7")
def parts() -> None:
    pass


@dg.asset(deps=[parts])
def whole() -> dg.MaterializeResult:
    return dg.MaterializeResult(data_version=dg.DataVersion("v1"))


def materialize(instance: dg.DagsterInstance, times: int = 1) -> None:
    for _ in range(times):
        dg.materialize([parts], instance=instance, partition_key="a", tags={"user": "alice"})
        dg.materialize([parts, whole], instance=instance, selection=[whole])


def test_each_materialization_is_one_record_with_who_what_and_versions(tmp_path: Path) -> None:
    audit = log_of(tmp_path)
    with dg.instance_for_test() as instance:
        materialize(instance)
        audit.append("promote", "alice", {"model": "m"})
        assert [follow_materializations(instance, audit) for _ in range(2)] == [2, 0]
        materialize(instance)
        audit.append("promote", "alice", {"model": "m"})
        assert [follow_materializations(instance, audit) for _ in range(2)] == [2, 0]
    first, second = [one for one in audit.records() if one["action"] == "materialize"][:2]
    assert first["actor"] == "alice" and first["subject"] == {"asset": "parts", "partition": "a"}
    assert first["details"]["code_version"] == "7" and len(first["trace_id"]) == 32
    assert second["details"]["data_version"] == "v1" and "parts" in second["details"]["inputs"]
    assert audit.verify().ok


def test_a_new_dagster_storage_over_an_old_log_is_read_from_its_start(tmp_path: Path) -> None:
    audit = log_of(tmp_path)
    for runs in (2, 1, 3):
        with dg.instance_for_test() as instance:
            materialize(instance, runs)
            assert follow_materializations(instance, audit) == 2 * runs
            assert follow_materializations(instance, audit) == 0
    assert audit.verify().ok


def test_a_late_event_with_a_lower_id_is_not_lost(tmp_path: Path) -> None:
    """PostgreSQL can show event 5 before event 4: the record of 4 is removed here, as if it had not been seen."""
    audit, seen = log_of(tmp_path / "one"), log_of(tmp_path / "two")
    (tmp_path / "events").mkdir()
    storage = {
        "module": "dagster._core.storage.event_log", "class": "ConsolidatedSqliteEventLogStorage",
        "config": {"base_dir": str(tmp_path / "events")},
    }  # fmt: skip
    with dg.instance_for_test(overrides={"event_log_storage": storage}) as instance:
        materialize(instance, 2)
        follow_materializations(instance, audit)
        records = list(audit.records())
        for one in (*records[:1], *records[2:]):
            entry = {key: one[key] for key in ("action", "actor", "subject", "run_id", "trace_id", "event_id")}
            seen.append_all([AuditEntry(**entry)])
        assert follow_materializations(instance, seen) == 1
        assert follow_materializations(instance, seen) == 0
    assert sorted(one["event_id"] for one in seen.records()) == [one["event_id"] for one in records]


FOLLOWER = (
    "import sys, os; from pathlib import Path; import dagster as dg; from resources import audit_follower, audit_log\n"
    "audit_follower.BATCH = 1; audit = audit_log.AuditLog(Path(sys.argv[1]) / 'audit', Path(sys.argv[1]) / 'secrets')\n"
    "instance = dg.DagsterInstance.get(); print('ready', flush=True)\n"
    "while True:\n"
    "    audit_follower.follow_materializations(instance, audit)"
)


def test_a_follower_killed_again_and_again_records_each_materialization_exactly_once(tmp_path: Path) -> None:
    audit, rng, kills = log_of(tmp_path), random.Random(3), 5
    home = tmp_path / "dagster"
    home.mkdir()
    with dg.instance_for_test(temp_dir=str(home)) as instance:
        for _ in range(kills):
            for _ in range(20):
                instance.report_runless_asset_event(dg.AssetMaterialization("parts", partition="a"))
            follower = subprocess.Popen(
                [sys.executable, "-c", FOLLOWER, str(tmp_path)], env={**os.environ, "DAGSTER_HOME": str(home)},
                stdout=subprocess.PIPE,
            )  # fmt: skip
            follower.stdout.readline()
            time.sleep(rng.random() * 0.06)
            os.kill(follower.pid, signal.SIGKILL)
            follower.wait()
        follow_materializations(instance, audit)
        expected = [
            one.storage_id
            for one in instance.fetch_materializations(dg.AssetKey("parts"), limit=1000, ascending=True).records
        ]
    assert [one["event_id"] for one in audit.records()] == expected and len(expected) == 20 * kills
    assert audit.verify().ok
    shutil.rmtree(home)
