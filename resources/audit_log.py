"""The audit log: append-only JSON Lines, each record chained to the one before, heads signed in another file.

A changed, removed or moved record breaks the chain; a cut tail or a rewrite contradicts the checkpoints (Ed25519).
Whoever can write both files and holds the key can still forge: ship the checkpoints elsewhere. What is recorded is the
callers' matter; materializations come from `audit_follower` alone.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from resources.redaction import REDACTOR, Redactor

GENESIS = "0" * 64
TAIL_BLOCK = 64 * 1024


class AuditBroken(RuntimeError):
    """The log's last record cannot be continued; `ai-assets audit verify` says where it is broken."""


@dataclass(frozen=True)
class AuditEntry:
    """What happened: `action` (such as `promote`) by `actor` on `subject`, with whatever explains it in `details`."""

    action: str
    actor: str
    subject: Mapping[str, Any]
    run_id: str = ""
    trace_id: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    event_id: int | None = None
    ts: str = ""


@dataclass(frozen=True)
class VerifyResult:
    """Whether the log is whole. `first_bad` is the number of the first record (counted from 1) that is wrong."""

    ok: bool
    records: int
    checkpoints: int
    head: str
    first_bad: int | None = None
    problem: str = ""
    unfinished: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class AuditLog:
    """One audit log.

    Args:
        folder: where `audit.jsonl` and `checkpoints.jsonl` lie.
        secrets: folder of the signing key (made once, 0600).
        checkpoints: another place for the checkpoints (another disk, a shipped folder).
    """

    FORGETS_NOTHING = "it may keep pseudonyms, never a raw id: it is the proof of an erasure, and cannot be changed"

    def __init__(
        self, folder: Path, secrets: Path, *, checkpoints: Path | None = None, redactor: Redactor = REDACTOR
    ) -> None:
        self.path = folder / "audit.jsonl"
        self.checkpoints_path = checkpoints or folder / "checkpoints.jsonl"
        self._folder = folder
        self._key_path = secrets / "audit-signing-key.pem"
        self._redactor = redactor
        self._key: Any = None

    def append(
        self,
        action: str,
        actor: str,
        subject: Mapping[str, Any],
        *,
        run_id: str = "",
        trace_id: str = "",
        **details: Any,
    ) -> int:
        """Append one record durably; returns its number. Raises AuditBroken, OSError (disk full: nothing is kept)."""
        return self.append_all([AuditEntry(action, actor, subject, run_id, trace_id, details)])

    def append_all(self, entries: Sequence[AuditEntry]) -> int:
        """Append records with one write, one fsync and one signed checkpoint; returns the last one's number."""
        with self.locked("append"):
            return self._append(entries)

    def records(self, start: int = 1) -> Iterator[dict[str, Any]]:
        """Records from number `start` on; an unfinished last line is left out. Does not verify."""
        for number, line in enumerate(_whole_lines(self.path), start=1):
            if number >= start:
                yield json.loads(line)

    def newest_first(self) -> Iterator[dict[str, Any]]:
        """Records from the last one back, reading no more of the file than is asked for."""
        for line in _lines_backwards(self.path):
            yield json.loads(line)

    def verify(self) -> VerifyResult:
        """Check every record, the chain and every signed checkpoint."""
        with self.locked("append"):
            try:
                heads = self._checkpoint_heads()
            except ValueError as error:
                return VerifyResult(False, 0, 0, GENESIS, None, f"checkpoints: {error}")
            return self._verify(heads)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold the lock `name` of this log across processes and threads; freed when its holder dies."""
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _append(self, entries: Sequence[AuditEntry]) -> int:
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = _finished_length(descriptor)
            os.ftruncate(descriptor, end)  # only an unfinished last line is ever dropped
            number, head = self._last()
            lines = []
            for entry in entries:
                number += 1
                body = self._body(entry, number, head)
                head = _hash(body)
                lines.append(_canonical({**body, "hash": head}) + "\n")
            _write_all(descriptor, "".join(lines).encode(), end)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if entries:
            self._write_checkpoint(number, head)
        return number

    def _body(self, entry: AuditEntry, number: int, head: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "action": entry.action,
            "actor": entry.actor,
            "details": dict(entry.details),
            "run_id": entry.run_id,
            "subject": dict(entry.subject),
            "trace_id": entry.trace_id,
            "ts": entry.ts or datetime.now(UTC).isoformat(timespec="microseconds"),
        }
        body = self._redactor.value(body)
        return {**body, "event_id": entry.event_id, "prev": head, "seq": number}

    def _last(self) -> tuple[int, str]:
        for line in _lines_backwards(self.path):
            try:
                record = json.loads(line)
                return int(record["seq"]), str(record["hash"])
            except (ValueError, KeyError, TypeError):
                raise AuditBroken(f"{self.path}: the last record is no record; see `ai-assets audit verify`") from None
        return 0, GENESIS

    def _write_checkpoint(self, number: int, head: str) -> None:
        stated = {"seq": number, "head": head, "ts": datetime.now(UTC).isoformat(timespec="seconds")}
        signature = base64.b64encode(self._signing_key().sign(_canonical(stated).encode())).decode()
        self.checkpoints_path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.checkpoints_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            end = _finished_length(descriptor)
            os.ftruncate(descriptor, end)
            _write_all(descriptor, (_canonical({**stated, "signature": signature}) + "\n").encode(), end)
        finally:
            os.close(descriptor)

    def _checkpoint_heads(self) -> dict[int, str]:
        from cryptography.exceptions import InvalidSignature

        heads: dict[int, str] = {}
        if not self.checkpoints_path.exists():
            return heads
        public = self._signing_key().public_key()
        for number, line in enumerate(_whole_lines(self.checkpoints_path), start=1):
            try:
                stated = json.loads(line)
                signature = base64.b64decode(stated.pop("signature"), validate=True)
                public.verify(signature, _canonical(stated).encode())
                seq, head = int(stated["seq"]), str(stated["head"])
            except (InvalidSignature, ValueError, KeyError, TypeError, AttributeError):
                raise ValueError(f"line {number} has no valid signature") from None
            if seq <= max(heads, default=0):
                raise ValueError(f"line {number} is out of order")
            heads[seq] = head
        return heads

    def _verify(self, heads: Mapping[int, str]) -> VerifyResult:
        number, head = 0, GENESIS

        def bad(problem: str) -> VerifyResult:
            return VerifyResult(False, number, len(heads), head, number, problem)

        for line in _whole_lines(self.path):
            number += 1
            try:
                record = json.loads(line)
                stated = record.pop("hash")
                well_formed = _canonical({**record, "hash": stated}) == line
            except (ValueError, KeyError, AttributeError, TypeError):
                return bad("no record")
            if record.get("seq") != number:
                return bad(f"numbered {record.get('seq')}: a record was removed, added or moved")
            if record.get("prev") != head:
                return bad("does not continue the record before it")
            if not well_formed or _hash(record) != stated:
                return bad("was changed after it was written")
            head = stated
            if heads.get(number, head) != head:
                return bad("differs from the signed checkpoint: the log was rewritten")
        last = max(heads, default=0)
        if last > number:
            number += 1
            return bad(f"is missing: {last} records were signed, {number - 1} are left")
        if number and not heads:
            number = 1
            return bad("no signed checkpoint exists for a log with records")
        unfinished = self.path.exists() and not _ends_whole(self.path)
        return VerifyResult(True, number, len(heads), head, unfinished=unfinished)

    def _signing_key(self) -> Any:
        if self._key is not None:
            return self._key
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        if not self._key_path.exists():
            if self.checkpoints_path.exists():
                raise ValueError(f"{self._key_path} is missing although checkpoints exist: restore it from the backup")
            self._key_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            data = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            aside = self._key_path.with_suffix(".new")
            aside.unlink(missing_ok=True)
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, data)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            aside.replace(self._key_path)  # only ever under the log's lock
        self._key = serialization.load_pem_private_key(self._key_path.read_bytes(), password=None)
        return self._key


def _canonical(value: Mapping[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _hash(body: Mapping[str, Any]) -> str:
    return hashlib.sha256((body["prev"] + _canonical(body)).encode()).hexdigest()


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    try:
        while view:
            written = os.pwrite(descriptor, view, offset)
            view, offset = view[written:], offset + written
    except OSError:
        os.ftruncate(descriptor, offset - (len(data) - len(view)))
        raise


def _finished_length(descriptor: int) -> int:
    """Length of the file up to and with its last line break."""
    end = os.fstat(descriptor).st_size
    while end > 0:
        start = max(0, end - TAIL_BLOCK)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        return _finished_length(file.fileno()) == os.fstat(file.fileno()).st_size


def _whole_lines(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1].decode("utf-8", "replace")


def _lines_backwards(path: Path) -> Iterator[str]:
    if not path.exists():
        return
    with path.open("rb") as file:
        end, rest = _finished_length(file.fileno()), b""
        while end > 0:
            start = max(0, end - TAIL_BLOCK)
            first, *lines = (os.pread(file.fileno(), end - start, start) + rest).split(b"\n")
            yield from (line.decode("utf-8", "replace") for line in reversed(lines) if line)
            end, rest = start, first
        if rest:
            yield rest.decode("utf-8", "replace")
