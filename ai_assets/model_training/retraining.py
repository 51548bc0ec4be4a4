"""When are the models trained anew? By the clock, by new events, by drift; asked for once, whoever notices it first.

Schedule and sensor decide here, under one lock and over one row of the platform database, so that two of them that
tick in the same moment ask for one training. A new file alone is never a reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from ai_assets.data_processing.drift import psi_of
from resources.database import METADATA, upsert
from resources.platform import Platform

PENDING_SECONDS = 300.0
"""A request that has become no run by then was lost (its daemon died), and is made again."""

TRAINING_REQUESTS = sa.Table(
    "training_requests",
    METADATA,
    sa.Column("models", sa.String(40), primary_key=True),
    sa.Column("trained_at", sa.String(40), nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("asked_at", sa.Float, nullable=False),
    sa.Column("asked_rows", sa.BigInteger, nullable=False),
)
MODELS = "models_job"


@dataclass(frozen=True)
class Training:
    """A training to ask for: `key` names the request, `reason` says what made it due."""

    key: str
    reason: str


@dataclass(frozen=True)
class NotNow:
    """No training, and why."""

    why: str


def decide(
    platform: Platform,
    *,
    busy: Callable[[], bool],
    run_since: Callable[[float], bool],
    scheduled: str = "",
    clock: Callable[[], float] = time.time,
) -> Training | NotNow:
    """Whether a training is due now; asking for it is noted, so that nobody else asks too.

    Args:
        busy: whether a training is queued or running.
        run_since: whether a training was submitted at or after a time (seconds since 1970).
        scheduled: the reason of a schedule, which needs no other; a sensor gives none.
    """
    with platform.database.lock("retraining"):
        state = _state(platform)
        now = clock()
        if state["asked_at"]:
            if run_since(state["asked_at"]):
                state["rows"] = max(state["rows"], state["asked_rows"])
            elif now - state["asked_at"] < PENDING_SECONDS:
                return NotNow("a training was asked for a moment ago")
            else:
                state["asked_at"] = 0.0
        _keep(platform, state)
        reason = scheduled or _reason(platform, state)
        if isinstance(reason, NotNow):
            return reason
        if busy():
            return NotNow("a training is still running")
        _keep(platform, state | {"asked_at": now, "asked_rows": raw_rows(platform)})
        return Training(f"retrain:{int(now * 1000)}", reason)


def _state(platform: Platform) -> dict[str, Any]:
    """What was noted; rows count anew from every training that has ended since, whoever asked for it."""
    entry = platform.lake.ledger.entry("collaborative_model")
    trained_at = entry.written_at if entry is not None else ""
    known = platform.database.query(sa.select(TRAINING_REQUESTS).where(TRAINING_REQUESTS.c.models == MODELS))
    state = known[0] if known else {"models": MODELS, "asked_at": 0.0, "asked_rows": 0, "trained_at": None}
    if state["trained_at"] != trained_at:
        state |= {"trained_at": trained_at, "rows": raw_rows(platform)}
    return state


def _keep(platform: Platform, state: dict[str, Any]) -> None:
    with platform.database.begin() as connection:
        upsert(connection, TRAINING_REQUESTS, [state], update={name: "new" for name in state if name != "models"})


def _reason(platform: Platform, state: dict[str, Any]) -> str | NotNow:
    """Why the events or the drift make a training due."""
    if not state["trained_at"]:
        return NotNow("models are first trained by a run")
    new, wanted = raw_rows(platform) - state["rows"], platform.settings.retrain_events
    if new >= wanted:
        return f"{new:,} new events since the last training"
    drifted = _drifted(platform, state)
    return drifted or NotNow(f"{wanted - new:,} more events until the next training; no drift")


def _drifted(platform: Platform, state: dict[str, Any]) -> str:
    """Which quantities have drifted since the last training; "" for none.

    A drift counts that was measured after the last training and after the last request, over days of which the model
    knows nothing: a training that fails or changes nothing is not asked for again until drift is measured anew.
    """
    entry, table = platform.lake.ledger.entry("listening_drift"), platform.lake.table("listening_drift")
    if entry is None or not table.exists:
        return ""
    measured_at = datetime.fromisoformat(entry.written_at)
    asked_at = datetime.fromtimestamp(state["asked_at"], UTC)
    if measured_at <= max(datetime.fromisoformat(state["trained_at"]), asked_at):
        return ""
    rows = table.frame()
    if "since" not in rows:  # written by an older release
        return ""
    rows = rows[rows["since"] > state["trained_at"][:10]]
    limit = platform.settings.retrain_drift
    found = {name: value for name, value in psi_of(rows, sorted(set(rows["quantity"]))).items() if value >= limit}
    if not found:
        return ""
    worst = ", ".join(f"{name} {value:.2f}" for name, value in sorted(found.items(), key=lambda item: -item[1]))
    return f"drift since the last training (PSI, limit {limit:g}): {worst}"


def raw_rows(platform: Platform) -> int:
    """Event rows ever appended."""
    return sum(entry.rows or 0 for entry in platform.lake.ledger.entries("raw_events").values())
