"""Metrics: Prometheus families computed from the Dagster instance at each scrape, and the exporter that serves them.

Stateless where it can be (runs, heartbeats, assets, partitions come from storage, so a restart changes nothing); only
step durations are counted here, from finished runs. Labels are bounded: never a run, a partition or a track. What the
graph looks like, and gauges of other rooms (index age, stream lag), are handed in.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import sqlalchemy as sa
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from resources import task_counts
from resources.alerts import Alerts
from resources.database import Database
from resources.quarantine import QUARANTINE

log = logging.getLogger(__name__)

PREFIX = "ai_assets_"
STEP_BUCKETS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0)
MEASURES = {
    "rows": ("rows", "dagster/row_count"),
    "bytes": ("bytes",),
    "seconds": ("seconds",),
    "cpu_seconds": ("cpu_seconds",),
    "peak_memory_bytes": ("peak_memory_bytes",),
    "rows_per_second": ("rows_per_second",),
}
MAX_LABELS = 1_000
LOOK_BACK = timedelta(hours=1)
OVERLAP = timedelta(seconds=60)


@dataclass(frozen=True)
class AssetNode:
    """What the exporter must know of one asset: its key, its partitions (empty when it has none), its checks' names."""

    key: str
    partitions: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reading:
    """One family of another room: name without prefix, help text, and its values by tuples of label values (few).

    A histogram's values are pairs: cumulative buckets with their upper bounds, and the sum.
    """

    name: str
    help: str
    values: Mapping[Any, Any]
    labels: tuple[str, ...] = ()
    kind: Literal["gauge", "counter", "histogram"] = "gauge"


Source = Callable[[], Iterable[Reading]]


@dataclass(eq=False)
class InstanceMetrics(Collector):
    """Collects everything at each scrape. A source that fails costs its own families only, and is counted.

    Args:
        instance: the Dagster instance.
        graph: answers the assets of the loaded definitions (read at each scrape: dynamic partitions grow).
        sources: gauges of other rooms.
        registry: where the step counters live.
    """

    instance: Any
    graph: Callable[[], Sequence[AssetNode]]
    sources: Sequence[tuple[str, Source]] = ()
    registry: CollectorRegistry = field(default_factory=lambda: CollectorRegistry(auto_describe=False))

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[str, float] = {}
        self._since = datetime.now(UTC) - LOOK_BACK
        self.registry.register(self)  # first, so that the counters below are read after the steps were counted
        self._errors = Counter(f"{PREFIX}exporter_errors", "Sources that failed.", ["source"], registry=self.registry)
        self._steps = Counter(
            f"{PREFIX}steps", "Finished steps of finished runs.", ["step", "status"], registry=self.registry
        )
        self._durations = Histogram(
            f"{PREFIX}step_seconds", "Duration of steps.", ["step"], buckets=STEP_BUCKETS, registry=self.registry
        )
        self._own: tuple[tuple[str, Source], ...] = (
            ("runs", self._runs),
            ("daemons", self._daemons),
            ("assets", self._assets),
            ("checks", self._checks),
            ("partitions", self._partitions),
        )
        for name, _ in (*self._own, ("steps", None), *self.sources):
            self._errors.labels(name)  # a counter's first sample is no increase: it must exist before the first error

    def describe(self) -> list[Any]:
        return []

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            start = time.perf_counter()
            self._follow_steps()
            for name, source in (*self._own, *self.sources):
                yield from self._families(name, source)
            spent = GaugeMetricFamily(f"{PREFIX}exporter_collect_seconds", "Time this scrape took.")
            spent.add_metric([], time.perf_counter() - start)
            yield spent

    def _families(self, name: str, source: Source) -> list[Metric]:
        try:
            return [_family(reading) for reading in source()]
        except Exception as error:
            log.warning("metrics of %s are missing: %s", name, error)
            self._errors.labels(name).inc()
            return []

    def _runs(self) -> Iterator[Reading]:
        from dagster import DagsterRunStatus, RunsFilter

        counts = {
            (status.value.lower(),): float(self.instance.get_runs_count(RunsFilter(statuses=[status])))
            for status in DagsterRunStatus
        }
        yield Reading("runs", "Runs by status.", counts, ("status",))
        ages = {}
        for status in (DagsterRunStatus.QUEUED, DagsterRunStatus.STARTING, DagsterRunStatus.STARTED):
            oldest = self.instance.get_run_records(RunsFilter(statuses=[status]), limit=1, ascending=True)
            ages[(status.value.lower(),)] = _age(oldest[0].create_timestamp) if oldest else 0.0
        yield Reading("queue_age_seconds", "Age of the oldest queued run.", {(): ages[("queued",)]})
        yield Reading("run_age_seconds", "Age of the oldest unfinished run.", ages, ("status",))

    def _daemons(self) -> Iterator[Reading]:
        beats = self.instance.get_daemon_heartbeats()
        ages = {(name.lower(),): max(0.0, time.time() - beat.timestamp) for name, beat in beats.items()}
        yield Reading("daemon_heartbeat_age_seconds", "Seconds since a daemon's last heartbeat.", ages, ("daemon",))

    def _assets(self) -> Iterator[Reading]:
        from dagster import AssetKey

        keys = [AssetKey.from_user_string(node.key) for node in self.graph()[:MAX_LABELS]]
        ages: dict[tuple[str, ...], float] = {}
        values: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in MEASURES}
        for record in self.instance.get_asset_records(keys) if keys else ():
            event = record.asset_entry.last_materialization
            if event is None:
                continue
            label = (record.asset_entry.asset_key.to_user_string(),)
            ages[label] = max(0.0, time.time() - event.timestamp)
            metadata = event.asset_materialization.metadata
            for name, spellings in MEASURES.items():
                number = next((_number(metadata[one]) for one in spellings if one in metadata), None)
                if number is not None:
                    values[name][label] = number
        yield Reading("asset_age_seconds", "Seconds since an asset's last materialization.", ages, ("asset",))
        for name, found in values.items():
            yield Reading(f"asset_{name}", f"{name} of the asset's last materialization.", found, ("asset",))

    def _checks(self) -> Iterator[Reading]:
        from dagster import AssetCheckKey, AssetKey

        keys = [
            AssetCheckKey(AssetKey.from_user_string(node.key), check) for node in self.graph() for check in node.checks
        ][:MAX_LABELS]
        storage = self.instance.event_log_storage
        summaries = storage.get_asset_check_summary_records(keys) if keys else {}
        passed: dict[tuple[str, ...], float] = {}
        for key, summary in summaries.items():
            # The last completed one: a run that died before its check leaves a planned one behind.
            record = summary.last_completed_check_execution_record
            if record is not None:
                passed[(key.asset_key.to_user_string(), key.name)] = float(record.status.value == "SUCCEEDED")
        yield Reading("check_passed", "1 when an asset check last passed.", passed, ("asset", "check"))

    def _partitions(self) -> Iterator[Reading]:
        from dagster import AssetKey, DagsterRunStatus, RunsFilter

        storage = self.instance.event_log_storage
        missing: dict[tuple[str, ...], float] = {}
        failed: dict[tuple[str, ...], float] = {}
        for node in [one for one in self.graph() if one.partitions][:MAX_LABELS]:
            key = AssetKey.from_user_string(node.key)
            expected = set(node.partitions)
            missing[(node.key,)] = float(len(expected - set(storage.get_materialized_partitions(key))))
            attempts = storage.get_latest_asset_partition_materialization_attempts_without_materializations(key)
            runs = {run_id for partition, (run_id, _) in attempts.items() if partition in expected}
            broken: set[str] = set()
            if runs:
                wanted = RunsFilter(run_ids=sorted(runs), statuses=[DagsterRunStatus.FAILURE])
                broken = {one.dagster_run.run_id for one in self.instance.get_run_records(wanted)}
            failed[(node.key,)] = float(sum(p in expected and run in broken for p, (run, _) in attempts.items()))
        yield Reading("partitions_missing", "Partitions without a materialization.", missing, ("asset",))
        yield Reading("partitions_failed", "Partitions whose last attempt failed.", failed, ("asset",))

    def _follow_steps(self) -> None:
        """Count the steps of runs that finished since the last scrape, each run once."""
        from dagster import RunsFilter
        from dagster._core.storage.dagster_run import FINISHED_STATUSES

        try:
            wanted = RunsFilter(statuses=list(FINISHED_STATUSES), updated_after=self._since)
            records = self.instance.get_run_records(wanted, order_by="update_timestamp", ascending=True)
            known = {node.key.replace("/", "__") for node in self.graph()}
            for record in records:
                if record.dagster_run.run_id in self._counted:
                    continue
                self._counted[record.dagster_run.run_id] = record.update_timestamp.timestamp()
                self._count(record.dagster_run.run_id, known)
            if records:
                # Rows may become visible a little out of order: the last minute is looked at again.
                self._since = max(self._since, _utc(records[-1].update_timestamp) - OVERLAP)
            oldest = self._since.timestamp() - OVERLAP.total_seconds()
            self._counted = {run: stamp for run, stamp in self._counted.items() if stamp >= oldest}
        except Exception as error:
            log.warning("metrics of steps are missing: %s", error)
            self._errors.labels("steps").inc()

    def _count(self, run_id: str, known: set[str]) -> None:
        for stats in self.instance.get_run_step_stats(run_id):
            if stats.status is None or stats.status.value == "SKIPPED":
                continue
            step = stats.step_key if stats.step_key in known else "other"
            self._steps.labels(step, stats.status.value.lower()).inc()
            if stats.start_time is not None and stats.end_time is not None:
                self._durations.labels(step).observe(stats.end_time - stats.start_time)


def database_readings(database: Database) -> list[Reading]:
    """Quarantined rows by table and code, the state of the alert outbox, and the calls of tasks."""
    count = sa.func.count().label("count")
    columns = (QUARANTINE.c.table, QUARANTINE.c.code)
    rows = database.query(sa.select(*columns, count).group_by(*columns).limit(MAX_LABELS))
    alerts = Alerts(database)
    firing = {("firing",): float(len(alerts.list_alerts(state="firing")))}
    return [
        Reading(
            "quarantine_rows",
            "Rows and files in quarantine.",
            {(row["table"], row["code"]): float(row["count"]) for row in rows},
            ("table", "code"),
        ),
        Reading("alerts", "Alerts by state.", firing, ("state",)),
        Reading("alert_outbox_age_seconds", "Age of the oldest undelivered alert.", {(): alerts.lag_seconds()}),
        Reading(
            "task_requests",
            "Calls of the platform's tasks by how they ended.",
            task_counts.requests(database),
            ("task", "status"),
            "counter",
        ),
        Reading("task_seconds", "Duration of task calls.", task_counts.durations(database), ("task",), "histogram"),
    ]


def serve_metrics(
    metrics: InstanceMetrics, *, host: str = "127.0.0.1", port: int = 9464
) -> tuple[Any, threading.Thread]:
    """Serve `/metrics`; returns the server (`shutdown()`, `server_port`) and its thread. OSError: port in use."""
    return start_http_server(port, addr=host, registry=metrics.registry)


def _family(reading: Reading) -> Metric:
    name, chosen = PREFIX + reading.name, sorted(reading.values)[:MAX_LABELS]
    if reading.kind == "histogram":
        histogram = HistogramMetricFamily(name, reading.help, labels=reading.labels)
        for labels in chosen:
            buckets, total = reading.values[labels]
            histogram.add_metric(list(labels), buckets=buckets, sum_value=total)
        return histogram
    make = CounterMetricFamily if reading.kind == "counter" else GaugeMetricFamily
    family: Any = make(name, reading.help, labels=reading.labels)
    for labels in chosen:
        family.add_metric(list(labels), reading.values[labels])
    return family


def _number(value: Any) -> float | None:
    number = getattr(value, "value", value)
    return float(number) if isinstance(number, int | float) and not isinstance(number, bool) else None


def _utc(stamp: datetime) -> datetime:
    return stamp.replace(tzinfo=UTC) if stamp.tzinfo is None else stamp


def _age(stamp: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - _utc(stamp)).total_seconds())
