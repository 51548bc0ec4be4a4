"""What stands still or does not fit: a stuck queue, stale products, a broken audit chain, blocking checks that failed.

Each is an alert that resolves itself once the thing is well again. A daemon that is dead looks at nothing: that, and
the rest of the machinery, is watched from outside (`resources/instance/monitoring/alerts.yaml`).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from dagster._core.definitions.freshness import TimeWindowFreshnessPolicy

from ai_assets.canary import Canary
from ai_assets.freshness import POLICIES
from resources.alerts import Alert
from resources.platform import Platform
from sensors.described import sensor

QUEUE_PATIENCE = timedelta(minutes=10)
AUDIT_EVERY = timedelta(hours=1)
CHECK = "check:"


def watch_sensors(seconds: int) -> list[dg.SensorDefinition]:
    """The sensors of this module."""

    @sensor(minimum_interval_seconds=max(60, seconds))
    def watch(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
        """Alerts when runs wait too long, end products are too old, the audit chain is broken; says when it is over."""
        cursor = look_around(context.instance, platform, context.cursor, now=datetime.now(UTC))
        return dg.SensorResult(cursor=cursor, skip_reason=dg.SkipReason("looked around"))

    return [watch]


def look_around(instance: dg.DagsterInstance, platform: Platform, cursor: str | None, *, now: datetime) -> str:
    """Raise and resolve the alerts of this module; returns when the audit log was last verified (ISO time)."""
    if platform.settings.canary:
        Canary(platform).follow(now)
    told(platform, "queue", queue_stuck(instance, now), now)
    for asset in POLICIES:
        told(platform, f"stale:{asset}", stale(platform, asset, now), now)
    for row in platform.alerts.list_alerts(state="firing"):
        if row["dedup_key"].startswith(CHECK) and check_passes(instance, row["dedup_key"].removeprefix(CHECK)):
            platform.alerts.resolve(row["dedup_key"], now=now)
    verified = datetime.fromisoformat(cursor) if cursor else None
    if verified is not None and now - verified < AUDIT_EVERY:
        return verified.isoformat()
    told(platform, "audit", audit_broken(platform), now)
    return now.isoformat()


def told(platform: Platform, key: str, found: Alert | None, now: datetime) -> None:
    """The alert while there is a reason for it, its resolution afterwards."""
    if found is not None:
        platform.alerts.raise_alert(found, now=now)
    else:
        platform.alerts.resolve(key, now=now)


def queue_stuck(instance: dg.DagsterInstance, now: datetime) -> Alert | None:
    """An alert when the oldest queued run has waited for more than ten minutes."""
    queued = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    oldest = instance.get_run_records(queued, limit=1, ascending=True)
    if not oldest or now - oldest[0].create_timestamp < QUEUE_PATIENCE:
        return None
    run = oldest[0].dagster_run
    waited = (now - oldest[0].create_timestamp) // timedelta(minutes=1)
    return Alert("queue", "queue_stuck", f"run {run.run_id} of {run.job_name} has waited for {waited} minutes")


def stale(platform: Platform, asset: str, now: datetime) -> Alert | None:
    """An alert when an end product that was once made is older than its policy allows."""
    policy = POLICIES[asset]
    entry = platform.lake.ledger.entry(asset)
    if entry is None or not entry.written_at or not isinstance(policy, TimeWindowFreshnessPolicy):
        return None
    age = now - datetime.fromisoformat(entry.written_at)
    if age <= policy.fail_window.to_timedelta():
        return None
    return Alert(f"stale:{asset}", "stale", f"{asset} was last made {age // timedelta(hours=1)} hours ago")


def audit_broken(platform: Platform) -> Alert | None:
    """An alert when a record of the audit log, its chain or a signed checkpoint does not fit."""
    found = platform.audit.verify()
    return None if found.ok else Alert("audit", "audit_broken", f"audit log: {found.problem}", severity="critical")


def failed_checks(instance: dg.DagsterInstance, run_id: str) -> Iterator[Alert]:
    """An alert for each check of a run that blocked what comes after it."""
    for record in instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION).records:
        event = record.event_log_entry.dagster_event
        check = event.asset_check_evaluation_data if event is not None else None
        if check is None or check.passed or check.severity != dg.AssetCheckSeverity.ERROR:
            continue
        name = f"{check.asset_key.to_user_string()}:{check.check_name}"
        yield Alert(f"{CHECK}{name}", "check_failed", f"check {name} failed in run {run_id} and blocks what follows")


def check_passes(instance: dg.DagsterInstance, name: str) -> bool:
    """Whether the last finished evaluation of `ASSET:CHECK` passed."""
    asset, _, check = name.rpartition(":")
    key = dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), check)
    summary = instance.event_log_storage.get_asset_check_summary_records([key]).get(key)
    record = summary.last_completed_check_execution_record if summary is not None else None
    return record is not None and record.status.value == "SUCCEEDED"
