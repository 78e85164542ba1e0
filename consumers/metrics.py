"""Prometheus metrics of a consumer process."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from consumers.reader import Observer
from projections.job_result import decode_job_result
from streams.names import Metric
from streams.partitions import Partition
from streams.sinks import Batch


class PrometheusObserver(Observer):
    """Counts what a reader does."""

    def __init__(self, projection: str, registry: CollectorRegistry) -> None:
        labels = ["projection", "partition"]
        self._name = projection
        self._applied = Counter(Metric.EVENTS_APPLIED, "Events made durable in the sink", labels, registry=registry)
        self._parked = Counter(Metric.EVENTS_PARKED, "Events set aside", [*labels, "reason"], registry=registry)
        self._lost = Counter(Metric.EVENTS_LOST, "Events gone from the stream unread", labels, registry=registry)
        self._retries = Counter(Metric.RETRIES, "Batches tried again", labels, registry=registry)
        self._seconds = Histogram(Metric.BATCH_SECONDS, "Time to make a batch durable", labels, registry=registry)
        self._last = Gauge(Metric.LAST_APPLIED, "When the last batch became durable", labels, registry=registry)
        self._jobs = Counter(Metric.RECORDER_JOBS, "Finished jobs", ["scraper_id", "status"], registry=registry)

    def applied(self, batch: Batch, seconds: float) -> None:
        labels = (self._name, str(batch.source.partition))
        self._applied.labels(*labels).inc(len(batch.events))
        self._seconds.labels(*labels).observe(seconds)
        self._last.labels(*labels).set(time.time())
        if self._name == "json-files" and batch.source.replay is None:
            for recorded in batch.events:
                if recorded.event.type in {"job.completed", "job.failed"}:
                    result = decode_job_result(recorded.event.data)
                    self._jobs.labels(result.scraper_id or "unknown", result.status).inc()

    def parked(self, partition: Partition, reason_class: str) -> None:
        self._parked.labels(self._name, str(partition), reason_class).inc()

    def retried(self, partition: Partition) -> None:
        self._retries.labels(self._name, str(partition)).inc()

    def lost(self, partition: Partition, count: int) -> None:
        self._lost.labels(self._name, str(partition)).inc(count)
