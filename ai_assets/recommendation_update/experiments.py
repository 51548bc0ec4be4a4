"""A/B: which arm a listener is in (a stable hash, no table), which experiment runs, and what came of it.

Arms are ways to answer that the query knows: `ranker` is the platform as it serves, `retrieval` leaves the ranking
model out. One experiment runs at a time.
"""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from ai_assets.recommendation_update.impressions import impressions
from resources.database import METADATA, Database

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

EXPERIMENTS = sa.Table(
    "experiments",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("share", sa.Float, nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("stopped_at", sa.Float, nullable=True),
)
ARMS = ("ranker", "retrieval")
DRAWS = 2_000
FRESH_SECONDS = 2.0


@dataclass(frozen=True)
class Reading:
    """Plays per shown track in both arms, and their difference (first - second) with its 95 % interval."""

    listeners: dict[str, int]
    rates: dict[str, float]
    difference: float
    low: float
    high: float

    @property
    def decided(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def arm_of(experiment: str, listener: str, share: float = 0.5) -> str:
    """The arm of a listener (pseudonym): the same in every process, on every day; independent between experiments."""
    digest = hashlib.sha256(f"{experiment}\0{listener}".encode()).digest()
    return ARMS[0] if int.from_bytes(digest[:8], "big") < share * 2**64 else ARMS[1]


class Experiments:
    """The experiments of one home."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_at = -FRESH_SECONDS
        self._running: dict[str, Any] | None = None

    def start(self, name: str, share: float = 0.5) -> None:
        """Start an experiment that gives `share` of the listeners the first arm.

        Raises:
            ValueError: another one runs, the name was used before, or the share is not between 0 and 1.
        """
        if not 0 < share < 1:
            raise ValueError(f"share {share}: expected a number between 0 and 1")
        if not name or len(name) > 64:
            raise ValueError(f"name {name!r}: expected 1 to 64 characters")
        with self._database.begin() as connection:
            held = [dict(row) for row in connection.execute(sa.select(EXPERIMENTS)).mappings()]
            running = [row["name"] for row in held if row["stopped_at"] is None]
            if running:
                raise ValueError(f"experiment {running[0]!r} is running; stop it first")
            if name in {row["name"] for row in held}:
                raise ValueError(f"experiment {name!r} was run before; a new one needs a new name")
            connection.execute(sa.insert(EXPERIMENTS).values(name=name, share=share, started_at=time.time()))

    def stop(self, name: str) -> None:
        """Stop it; its listeners get the platform as it serves again. Raises LookupError where it does not run."""
        chosen = sa.and_(EXPERIMENTS.c.name == name, EXPERIMENTS.c.stopped_at.is_(None))
        with self._database.begin() as connection:
            if not connection.execute(sa.update(EXPERIMENTS).where(chosen).values(stopped_at=time.time())).rowcount:
                raise LookupError(f"no experiment called {name!r} is running")

    def rows(self) -> list[dict[str, Any]]:
        """All experiments, oldest first."""
        return self._database.query(sa.select(EXPERIMENTS).order_by(EXPERIMENTS.c.started_at))

    def assigned(self, listener: str) -> tuple[str, str]:
        """Running experiment and arm of a listener (pseudonym), both empty where none runs; read every two seconds."""
        if time.monotonic() - self._read_at >= FRESH_SECONDS:
            try:
                self._running = next((row for row in self.rows() if row["stopped_at"] is None), None)
            except sa.exc.SQLAlchemyError as error:  # an answer does not wait for the database of experiments
                log.warning("experiments cannot be read: %s", type(error).__name__)
            self._read_at = time.monotonic()
        if self._running is None:
            return "", ""
        return self._running["name"], arm_of(self._running["name"], listener, self._running["share"])

    def read(self, name: str, events: pd.DataFrame) -> Reading:
        """What came of it, from impressions and the plays that name their list.

        Args:
            events: `list_id track skipped` of `listening_events`.

        Raises LookupError for an unknown experiment.
        """
        if name not in {row["name"] for row in self.rows()}:
            raise LookupError(f"there is no experiment called {name!r}")
        return read_out(impressions(self._database, experiment=name), events)


def read_out(shown: pd.DataFrame, events: pd.DataFrame, *, seed: int = 0) -> Reading:
    """Share of shown tracks that were played and not skipped, per listener; arms differ in the mean over listeners.

    Bootstrap over listeners, for one listener's lists are not independent.
    """
    kept = events[events["list_id"].notna() & ~events["skipped"].fillna(False).astype(bool)]
    played = set(zip(kept["list_id"].astype(str), kept["track"].astype(str), strict=True))
    hit = [pair in played for pair in zip(shown["list_id"].astype(str), shown["track"].astype(str), strict=True)]
    each = shown.assign(hit=np.array(hit, float)).groupby(["arm", "listener"])["hit"].mean()
    values = {arm: each[arm].to_numpy(float) if arm in each.index.get_level_values(0) else np.empty(0) for arm in ARMS}
    rates = {arm: float(part.mean()) if len(part) else float("nan") for arm, part in values.items()}
    listeners = {arm: len(part) for arm, part in values.items()}
    if min(listeners.values()) < 2:
        return Reading(listeners, rates, float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    first, second = (rng.choice(values[arm], (DRAWS, len(values[arm]))).mean(1) for arm in ARMS)
    low, high = np.quantile(first - second, [0.025, 0.975])
    return Reading(listeners, rates, rates[ARMS[0]] - rates[ARMS[1]], float(low), float(high))
