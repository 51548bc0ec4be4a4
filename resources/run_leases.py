"""Beats of the processes that lead runs, in the platform database: who stops beating is gone, with its machine.

Dagster's own launcher cannot tell a lost run worker from a slow one. A beat is a counter, and it is judged by the
clock of the one who watches it: no two machines' clocks are compared. What follows from a lost run (its end, a new
one) is Dagster's run monitoring and run retries.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert

RUN_BEATS = sa.Table(
    "run_beats",
    METADATA,
    sa.Column("run_id", sa.String(64), primary_key=True),
    sa.Column("beat", sa.BigInteger, nullable=False),
)

BEAT_SECONDS = 5.0
LOST_SECONDS = 45.0


class RunLeases:
    """Beating for runs, and watching others' beats.

    Args:
        database: the platform database.
        beat_seconds, lost_seconds: how often a leader beats, and after how long without one it is lost.
    """

    def __init__(
        self, database: Database, *, beat_seconds: float = BEAT_SECONDS, lost_seconds: float = LOST_SECONDS
    ) -> None:
        self._database = database
        self._beat_seconds = beat_seconds
        self._lost_seconds = lost_seconds
        self._seen: dict[str, tuple[int, float]] = {}

    @contextmanager
    def leading(self, run_id: str) -> Iterator[None]:
        """Beat for the run until the block ends. A database that is away is waited for in the background."""
        over = threading.Event()

        def beat() -> None:
            count = 0
            while not over.is_set():
                count += 1
                with suppress(sa.exc.SQLAlchemyError, OSError):
                    self._beat(run_id, count)
                over.wait(self._beat_seconds)

        thread = threading.Thread(target=beat, daemon=True, name=f"beat {run_id}")
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
            with suppress(sa.exc.SQLAlchemyError, OSError), self._database.begin() as connection:
                connection.execute(sa.delete(RUN_BEATS).where(RUN_BEATS.c.run_id == run_id))

    def _beat(self, run_id: str, count: int) -> None:
        with self._database.begin() as connection:
            upsert(connection, RUN_BEATS, [{"run_id": run_id, "beat": count}], update={"beat": RUN_BEATS.c.beat + 1})

    def is_lost(self, run_id: str) -> bool:
        """Whether the run's leader has stopped beating, as far as this watcher has seen; False while it is not sure.

        Raises sqlalchemy.exc.SQLAlchemyError while the database is away; what was seen before an outage is forgotten,
        because nobody could beat during it.
        """
        try:
            rows = self._database.query(sa.select(RUN_BEATS.c.beat).where(RUN_BEATS.c.run_id == run_id))
        except Exception:
            self._seen.clear()
            raise
        if not rows:
            self._seen.pop(run_id, None)
            return False
        now, beat = time.monotonic(), int(rows[0]["beat"])
        last, since = self._seen.setdefault(run_id, (beat, now))
        if last != beat:
            self._seen[run_id] = (beat, now)
            return False
        return now - since > self._lost_seconds

    def forget(self, run_id: str) -> None:
        """Drop a lost run's beat."""
        self._seen.pop(run_id, None)
        with self._database.begin() as connection:
            connection.execute(sa.delete(RUN_BEATS).where(RUN_BEATS.c.run_id == run_id))
