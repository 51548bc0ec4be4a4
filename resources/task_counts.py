"""How often each task was asked for, how it ended and how long it took: counts in the platform database.

A task may run in any process of any machine, so its counts live where all of them can add; the exporter reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict

import sqlalchemy as sa

from resources.database import METADATA, Database, upsert

BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0)

TASK_COUNTS = sa.Table(
    "task_counts",
    METADATA,
    sa.Column("task", sa.String(128), primary_key=True),
    sa.Column("status", sa.String(20), primary_key=True),  # done, failed, refused
    sa.Column("bucket", sa.Integer, primary_key=True),  # index into BUCKETS; len(BUCKETS) = longer than all
    sa.Column("count", sa.Integer, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)


def count_task(database: Database, task: str, status: str, seconds: float) -> None:
    """Add one call that took `seconds`."""
    row = {
        "task": task,
        "status": status,
        "bucket": bisect_left(BUCKETS, seconds),
        "count": 1,
        "seconds": seconds,
    }
    more = {"count": TASK_COUNTS.c.count + 1, "seconds": TASK_COUNTS.c.seconds + seconds}
    with database.begin() as connection:
        upsert(connection, TASK_COUNTS, [row], update=more)


def requests(database: Database) -> dict[tuple[str, str], float]:
    """Calls so far by task and status."""
    total = sa.func.sum(TASK_COUNTS.c.count).label("count")
    keys = (TASK_COUNTS.c.task, TASK_COUNTS.c.status)
    rows = database.query(sa.select(*keys, total).group_by(*keys))
    return {(row["task"], row["status"]): float(row["count"]) for row in rows}


def durations(database: Database) -> dict[tuple[str], tuple[list[tuple[str, float]], float]]:
    """By task: cumulative bucket counts with their upper bounds (the last is +Inf), and the sum of seconds."""
    counts: dict[str, list[float]] = defaultdict(lambda: [0.0] * (len(BUCKETS) + 1))
    sums: dict[str, float] = defaultdict(float)
    for row in database.query(sa.select(TASK_COUNTS)):
        counts[row["task"]][row["bucket"]] += row["count"]
        sums[row["task"]] += row["seconds"]
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    found = {}
    for task, own in counts.items():
        running, cumulative = 0.0, []
        for bound, count in zip(bounds, own, strict=True):
            running += count
            cumulative.append((bound, running))
        found[(task,)] = (cumulative, sums[task])
    return found
