"""Signed messages: what the page for foreign senders says is what workers check."""

from __future__ import annotations

import hashlib
import hmac
import json

import pytest

from resources.celery.signing import is_signed, sign

KEY, NAME, TASK, ARGUMENTS = b"key", "ai_tasks.process_data_task", "id-1", {"data_path": "é.jsonl", "params": None}


def test_a_sender_without_our_code_can_sign_as_documented() -> None:
    text = json.dumps([NAME, TASK, [], ARGUMENTS], sort_keys=True, separators=(",", ":"))
    own = hmac.new(KEY, text.encode(), hashlib.sha256).hexdigest()
    assert sign(KEY, NAME, TASK, (), ARGUMENTS) == own
    assert is_signed(KEY, NAME, TASK, [], ARGUMENTS, own)


@pytest.mark.parametrize(
    ("key", "name", "task", "arguments"),
    [
        (b"other", NAME, TASK, ARGUMENTS),
        (KEY, "ai_steps.run_step", TASK, ARGUMENTS),
        (KEY, NAME, "id-2", ARGUMENTS),
        (KEY, NAME, TASK, {**ARGUMENTS, "data_path": "/etc/passwd"}),
    ],
)
def test_a_signature_holds_for_nothing_else(key: bytes, name: str, task: str, arguments: dict) -> None:
    assert not is_signed(key, name, task, (), arguments, sign(KEY, NAME, TASK, (), ARGUMENTS))


@pytest.mark.parametrize("signature", [None, "", 5, "ä", b"x"])
def test_what_is_no_signature_is_refused(signature: object) -> None:
    assert not is_signed(KEY, NAME, TASK, (), ARGUMENTS, signature)
