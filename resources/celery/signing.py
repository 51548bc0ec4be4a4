"""Messages to workers carry an HMAC over the task's name, id and arguments; a worker refuses every other message.

Whoever can write to the broker could otherwise have any job executed. The key is a setting, or lies in the home's
secrets. What a refusal leads to (an audit record, an error for the sender) is the app's business.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from resources.settings import Settings

HEADER = "ai_assets_signature"
KEY_FILE = "worker-key"


def worker_key(settings: Settings) -> bytes:
    """The key that all machines of one team share. Raises OSError where it can neither be read nor made."""
    if settings.worker_key is not None:
        return settings.worker_key.get_secret_value().encode()
    from resources.guard.identity import kept_secret

    return kept_secret(settings.places.secrets / KEY_FILE).encode()


def sign(key: bytes, name: str, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """HMAC-SHA-256 (hex) over the JSON list `[name, task id, positional, named arguments]`, keys sorted, no spaces."""
    from kombu.utils import json  # writes what Celery writes: dates and UUIDs too

    text = json.dumps([name, task_id, list(args), dict(kwargs)], sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def is_signed(
    key: bytes, name: str, task_id: str, args: Sequence[Any], kwargs: Mapping[str, Any], signature: object
) -> bool:
    """Whether `signature` is this message's; compared in constant time."""
    return isinstance(signature, str) and hmac.compare_digest(
        sign(key, name, task_id, args, kwargs).encode(), signature.encode("utf-8", "replace")
    )


def fingerprint(key: bytes) -> str:
    """Eight hexadecimal digits that tell one team's queues and leases from another's on the same broker."""
    return hashlib.sha256(b"fingerprint" + key).hexdigest()[:8]
