"""Prometheus metrics and traces of a consumer process."""

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from consumers.reader import Observer
from projections.job_result import decode_job_result
from streams.names import Metric
from streams.partitions import CATALOGUE, Partition
from streams.sinks import Batch
from streams.telemetry import BatchSpans


class PrometheusObserver(Observer):
    """Counts what a reader does, and writes its spans.

    A gauge that only the holder of a partition can know is absent while another process holds it.
    """

    def __init__(self, projection: str, registry: CollectorRegistry) -> None:
        labels = ["projection", "partition"]
        self._name = projection
        self._spans = BatchSpans(projection)
        self._applied = Counter(Metric.EVENTS_APPLIED, "Events made durable in the sink", labels, registry=registry)
        self._skipped = Counter(Metric.EVENTS_SKIPPED, "Events of an unknown type", labels, registry=registry)
        self._parked = Counter(Metric.EVENTS_PARKED, "Events set aside", [*labels, "reason"], registry=registry)
        self._lost = Counter(Metric.EVENTS_LOST, "Events gone from the stream unread", labels, registry=registry)
        self._retries = Counter(Metric.RETRIES, "Batches tried again", labels, registry=registry)
        self._seconds = Histogram(Metric.BATCH_SECONDS, "Time to make a batch durable", labels, registry=registry)
        self._last = Gauge(Metric.LAST_APPLIED, "When the last batch became durable", labels, registry=registry)
        self._position = Gauge(
            Metric.LAST_POSITION, "When the newest event made durable was appended", labels, registry=registry
        )
        self._caught_up = Gauge(Metric.CAUGHT_UP, "1 while a read finds nothing more", labels, registry=registry)
        self._subjects = Gauge(
            Metric.PARKED_SUBJECTS, "Subjects that wait behind a parked event", labels, registry=registry
        )
        self._lease = Gauge(Metric.LEASE_HELD, "1 while this process holds the partition", labels, registry=registry)
        self._jobs = Counter(Metric.RECORDER_JOBS, "Finished jobs", ["scraper_id", "status"], registry=registry)

    def applied(self, batch: Batch, seconds: float) -> None:
        labels = self._labels(batch.source.partition)
        self._applied.labels(*labels).inc(len(batch.events))
        self._seconds.labels(*labels).observe(seconds)
        self._last.labels(*labels).set(time.time())
        if self._name != "log":
            known = CATALOGUE[batch.source.partition.stream]
            if skipped := sum(recorded.event.type not in known for recorded in batch.events):
                self._skipped.labels(*labels).inc(skipped)
        if batch.source.replay is None:
            self._position.labels(*labels).set(batch.last.milliseconds / 1000)
            if self._name == "json-files":
                self._count_jobs(batch)
        self._spans.processed(batch, seconds)

    def failed(self, batch: Batch, seconds: float, error: BaseException) -> None:
        self._spans.processed(batch, seconds, error)

    def settled(self, batch: Batch, seconds: float) -> None:
        self._spans.settled(batch, seconds)

    def parked(self, partition: Partition, reason_class: str) -> None:
        self._parked.labels(*self._labels(partition), reason_class).inc()

    def retried(self, partition: Partition) -> None:
        self._retries.labels(*self._labels(partition)).inc()

    def lost(self, partition: Partition, count: int) -> None:
        self._lost.labels(*self._labels(partition)).inc(count)

    def caught_up(self, partition: Partition, *, caught_up: bool) -> None:
        self._caught_up.labels(*self._labels(partition)).set(caught_up)

    def holding(self, partition: Partition, parked_subjects: int) -> None:
        labels = self._labels(partition)
        self._lease.labels(*labels).set(1)
        self._subjects.labels(*labels).set(parked_subjects)

    def let_go(self, partition: Partition) -> None:
        labels = self._labels(partition)
        self._lease.labels(*labels).set(0)
        for gauge in (self._caught_up, self._subjects, self._position):
            gauge.remove(*labels)

    def _count_jobs(self, batch: Batch) -> None:
        for recorded in batch.events:
            if recorded.event.type in {"job.completed", "job.failed"}:
                result = decode_job_result(recorded.event.data)
                self._jobs.labels(result.scraper_id or "unknown", result.status).inc()

    def _labels(self, partition: Partition) -> tuple[str, str]:
        return self._name, str(partition)
