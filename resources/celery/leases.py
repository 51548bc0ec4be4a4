"""Who works on what, as short-lived keys in Redis: steps, runs and workers.

A lease is renewed while its holder lives and runs out by itself when it is gone. Leases only say what may be given up
or started again; that an old attempt never overwrites a newer one is the lake's fence, not theirs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

LEASE_SECONDS = 10
RENEW_SECONDS = 1.0
REMEMBERED_SECONDS = 24 * 3600


@dataclass(frozen=True)
class StepState:
    """What Redis knows of one attempt of a step. `ended` is the exit status of its process."""

    held: bool
    ended: int | None
    workers: int


class Leases:
    """Leases of one team.

    Args:
        url: of Redis.
        team: prefix that keeps two teams on one Redis apart.

    Every method raises redis.RedisError while Redis is away.
    """

    def __init__(self, url: str, team: str) -> None:
        import redis

        # No retries inside the client: every caller has a rule of its own for a Redis that is away.
        self._redis: Any = redis.Redis.from_url(
            url, socket_connect_timeout=2, socket_timeout=5, decode_responses=True, retry=None, health_check_interval=5
        )
        self._prefix = f"ai_assets:{team}"

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    # -- steps, seen by the worker -----------------------------------------------------------------------------

    def take(self, attempt: str, worker: str) -> bool:
        """Take an attempt; False when somebody holds it, or it has ended or was given up."""
        if not self._redis.set(self._key("step", attempt), worker, nx=True, ex=LEASE_SECONDS):
            return False
        if self._redis.exists(self._key("ended", attempt), self._key("stop", attempt)):
            self._redis.delete(self._key("step", attempt))
            return False
        return True

    def renew(self, attempt: str, worker: str) -> str | None:
        """Renew; returns why the attempt must stop (given up, cancelled), or None."""
        why = self._redis.get(self._key("stop", attempt))
        if why is None:
            self._redis.set(self._key("step", attempt), worker, ex=LEASE_SECONDS)
        return why

    def end(self, attempt: str, status: int) -> None:
        """Note that the attempt's process has ended."""
        self._redis.set(self._key("ended", attempt), status, ex=REMEMBERED_SECONDS)
        self._redis.delete(self._key("step", attempt))

    # -- steps, seen by the run --------------------------------------------------------------------------------

    def state(self, attempt: str, queue: str) -> StepState:
        """What is known of an attempt, and how many workers listen to its queue."""
        held, ended = self._redis.mget(self._key("step", attempt), self._key("ended", attempt))
        workers = sum(1 for _ in self._redis.scan_iter(self._key("worker", f"{queue}:*"), count=1000))
        return StepState(held is not None, None if ended is None else int(ended), workers)

    def stop(self, attempt: str, why: str) -> None:
        """Have the attempt's process ended, and never started again."""
        self._redis.set(self._key("stop", attempt), why, ex=REMEMBERED_SECONDS)

    # -- runs and workers --------------------------------------------------------------------------------------

    def has_owner(self, run_id: str) -> bool:
        """Whether the process that leads the run is alive."""
        return bool(self._redis.exists(self._key("run", run_id)))

    @contextmanager
    def leading(self, run_id: str) -> Iterator[None]:
        """Be the process that leads the run, until the block ends."""
        with self._renewed([self._key("run", run_id)], "1"):
            yield

    @contextmanager
    def listening(self, worker: str, queues: list[str]) -> Iterator[None]:
        """Be a worker of these queues, until the block ends."""
        with self._renewed([self._key("worker", f"{queue}:{worker}") for queue in queues], worker):
            yield

    @contextmanager
    def _renewed(self, keys: list[str], value: str) -> Iterator[None]:
        over = threading.Event()

        def renew() -> None:
            while not over.is_set():
                with suppress(Exception):  # away: it is renewed once Redis is back
                    for key in keys:
                        self._redis.set(key, value, ex=LEASE_SECONDS)
                over.wait(RENEW_SECONDS)

        thread = threading.Thread(target=renew, daemon=True, name="leases")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(LEASE_SECONDS)
            with suppress(Exception):
                self._redis.delete(*keys)
