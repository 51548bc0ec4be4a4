"""The API's own metrics: requests, answers, freshness. Labels are bounded: routes as patterns, never a path."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from ai_assets.serving.live_state import LiveState
from resources.metrics import PREFIX

BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class ApiMetrics:
    """Counters of one process, and gauges read from its state at each scrape."""

    def __init__(self, state: LiveState) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(f"{PREFIX}api_requests", "Requests.", ["route", "status"], registry=self.registry)
        self._seconds = Histogram(
            f"{PREFIX}api_seconds", "Time to answer.", ["route"], buckets=BUCKETS, registry=self.registry
        )
        self._answers = Counter(
            f"{PREFIX}api_recommendations", "Recommendations by listener.", ["listener"], registry=self.registry
        )
        self._events = Counter(f"{PREFIX}api_events", "Events taken in.", registry=self.registry)
        for kind in ("cold", "known"):
            self._answers.labels(kind)
        self.registry.register(_Freshness(state))

    def count(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def answered(self, *, cold: bool) -> None:
        self._answers.labels("cold" if cold else "known").inc()

    def took(self, events: int) -> None:
        self._events.inc(events)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class _Freshness(Collector):
    def __init__(self, state: LiveState) -> None:
        self._state = state

    def collect(self) -> Iterator[GaugeMetricFamily]:
        state, view = self._state, self._state.view
        yield _gauge("api_ready", "1 when there is something to answer from.", float(view is not None))
        yield _gauge("api_swaps", "Generations that were swapped in since the start.", float(state.swaps))
        oldest = min((fault.since for fault in state.faults.values()), default=time.time())
        yield _gauge(
            "api_not_up_to_date_seconds", "How long a part could not be brought up to date.", time.time() - oldest
        )
        if view is None:
            return
        age = state.age_seconds(view)
        if age is not None:
            yield _gauge("serving_generation_age_seconds", "Age of the generation that answers.", age)
        index = view.snapshot.sources.content_index
        rows = len(index.live.delta.touched) if index is not None else len(view.snapshot.touched)
        yield _gauge("index_delta_rows", "Tracks that changed since the index was built.", float(rows))


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    family = GaugeMetricFamily(PREFIX + name, text)
    family.add_metric([], value)
    return family
