"""What was shown to whom, at which place, under which experiment: rows of the platform database.

Without this log nobody can tell a track that was not wanted from one that was not seen. Writing waits for no disk while
an answer is under way: rows are kept for at most half a second and lost with a killed process, which is documented.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert

if TYPE_CHECKING:
    import pandas as pd

IMPRESSIONS = sa.Table(
    "impressions",
    METADATA,
    sa.Column("list_id", sa.String(64), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("listener", sa.String(32), nullable=False),
    sa.Column("track", sa.String(64), nullable=False),
    sa.Column("generation", sa.String(64), nullable=False),
    sa.Column("experiment", sa.String(64), nullable=False),
    sa.Column("arm", sa.String(32), nullable=False),
    sa.Column("shown_at", sa.Float, nullable=False, index=True),
)
FLUSH_SECONDS = 0.5
MOST_WAITING = 100_000
KEPT_DAYS = 90.0


class ImpressionLog:
    """The log of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MOST_WAITING)
        self._started = threading.Lock()
        self._thread: threading.Thread | None = None

    def shown(self, answer: Mapping[str, Any], listener: str, *, experiment: str = "", arm: str = "") -> None:
        """Note an answer of `recommend`; `listener` is the pseudonym.

        Of cold listeners nothing is kept: asking must not bring back the pseudonym of somebody who was forgotten.
        """
        if answer.get("cold"):
            return
        common = {
            "list_id": answer["list_id"], "listener": listener, "generation": answer["generation"],
            "experiment": experiment, "arm": arm, "shown_at": time.time(),
        }  # fmt: skip
        for position, row in enumerate(answer["recommendations"], start=1):
            self._waiting.append({**common, "position": position, "track": row["track"]})
        with self._started:
            if self._thread is None:
                self._thread = threading.Thread(target=self._flush_always, name="impressions", daemon=True)
                self._thread.start()
                atexit.register(self.flush)

    def flush(self) -> int:
        """Write what waits; returns how many rows."""
        rows = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if rows:
            with self._database.begin() as connection:
                upsert(connection, IMPRESSIONS, rows, update={})
        return len(rows)

    def _flush_always(self) -> None:
        while True:
            time.sleep(FLUSH_SECONDS)
            try:
                self.flush()
            except sa.exc.SQLAlchemyError:  # a locked or absent database must not stop the log; these rows are lost
                continue


def impressions(database: Database, *, experiment: str | None = None) -> pd.DataFrame:
    """The log as a frame, oldest first; of one experiment, or all."""
    import pandas as pd

    chosen = sa.select(IMPRESSIONS).order_by(IMPRESSIONS.c.shown_at, IMPRESSIONS.c.position)
    if experiment is not None:
        chosen = chosen.where(IMPRESSIONS.c.experiment == experiment)
    return pd.DataFrame(database.query(chosen), columns=[column.name for column in IMPRESSIONS.columns])


def old_impressions(database: Database, *, drop: bool, now: float | None = None) -> int:
    """How many rows are older than 90 days; with `drop` they are dropped."""
    old = IMPRESSIONS.c.shown_at < (time.time() if now is None else now) - KEPT_DAYS * 86_400
    if not drop:
        return int(database.query(sa.select(sa.func.count().label("rows")).where(old))[0]["rows"])
    with database.begin() as connection:
        return int(connection.execute(sa.delete(IMPRESSIONS).where(old)).rowcount)
