"""Prometheus metrics of a worker process."""

import time
from collections.abc import Generator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from playhead.consumers.work.observer import Ending, WorkObserver
from playhead.streams.events import Recorded
from playhead.streams.names import Metric
from playhead.streams.partitions import Partition
from playhead.streams.telemetry import working


class PrometheusWorkObserver(WorkObserver):
    """Counts what a worker does, and writes its spans."""

    def __init__(self, worker: str, registry: CollectorRegistry) -> None:
        labels = ["projection", "partition"]
        self._name = worker
        self._ended = Counter(
            Metric.WORK, "Events that left this process's hands", [*labels, "outcome"], registry=registry
        )
        self._seconds = Histogram(
            Metric.WORK_SECONDS,
            "Time spent on an event, whatever came of it",
            labels,
            registry=registry,
            buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 1200, 3600),
        )
        self._in_hand = Gauge(Metric.WORK_IN_HAND, "Events being worked on", labels, registry=registry)
        self._lost = Counter(Metric.EVENTS_LOST, "Events gone from the stream unread", labels, registry=registry)

    @contextmanager
    def working(self, partition: Partition, cause: Recorded) -> Generator[None, None, None]:
        labels = self._labels(partition)
        started = time.perf_counter()
        with self._in_hand.labels(*labels).track_inprogress(), working(self._name, partition, cause):
            try:
                yield
            finally:
                self._seconds.labels(*labels).observe(time.perf_counter() - started)

    def ended(self, partition: Partition, how: Ending) -> None:
        self._ended.labels(*self._labels(partition), how).inc()

    def lost(self, partition: Partition) -> None:
        self._lost.labels(*self._labels(partition)).inc()

    def _labels(self, partition: Partition) -> tuple[str, str]:
        return self._name, str(partition)
