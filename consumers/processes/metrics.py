"""Prometheus metrics and traces of a consumer process."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from playhead.consumers.halts import Halt
from playhead.consumers.reading.lag import Lag
from playhead.consumers.reading.observer import REASONS, Observer
from playhead.consumers.reading.trimming import Floor
from playhead.streams.domains.discovery import installed
from playhead.streams.names import Metric
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.sinks import Batch
from playhead.streams.storage import disk
from playhead.streams.telemetry import BatchSpans


def make_registry(projection: str, directory: Path | None) -> CollectorRegistry:
    """A registry with what every process says of itself; `directory` is where its sink writes files, if it does."""
    disable_created_metrics()
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    Gauge(Metric.BUILD, "1, with the version that runs", ["version"], registry=registry).labels(
        version("playhead")
    ).set(1)
    if directory is not None:
        registry.register(_FreeSpace(projection, directory))
    return registry


class _FreeSpace(Collector):
    def __init__(self, projection: str, directory: Path) -> None:
        self._projection, self._directory = projection, directory

    def collect(self) -> Iterator[GaugeMetricFamily]:
        gauge = GaugeMetricFamily(Metric.FREE_BYTES, "Room left where the sink writes files", labels=["projection"])
        try:
            gauge.add_metric([self._projection], disk.free_bytes(self._directory))
        except OSError:
            return  # not there yet, or no more: not known
        yield gauge


class PrometheusObserver(Observer):
    """Counts what a reader does, and writes its spans; `others` see each batch that was applied.

    A gauge that only the holder of a partition can know is absent while another process holds it.
    """

    def __init__(
        self, projection: str, registry: CollectorRegistry, others: Sequence[Callable[[Batch], None]] = ()
    ) -> None:
        self._others = others
        labels = ["projection", "partition"]
        self._name = projection
        self._spans = BatchSpans(projection)
        self._applied = Counter(
            Metric.EVENTS_APPLIED, "Events made durable in the sink, replays included", labels, registry=registry
        )
        self._skipped = Counter(Metric.EVENTS_SKIPPED, "Events of an unknown type", labels, registry=registry)
        self._parked = Counter(Metric.EVENTS_PARKED, "Events set aside", [*labels, "reason"], registry=registry)
        self._lost = Counter(Metric.EVENTS_LOST, "Events gone from the stream unread", labels, registry=registry)
        self._retries = Counter(Metric.RETRIES, "Batches tried again", labels, registry=registry)
        self._seconds = Histogram(Metric.BATCH_SECONDS, "Time to make a batch durable", labels, registry=registry)
        self._last = Gauge(Metric.LAST_APPLIED, "When the last batch became durable", labels, registry=registry)
        self._position = Gauge(
            Metric.LAST_POSITION, "When the newest event made durable was appended", labels, registry=registry
        )
        self._newest = Gauge(
            Metric.STREAM_LAST, "When the newest event of the partition was appended", labels, registry=registry
        )
        self._lag = Gauge(Metric.LAG_EVENTS, "Events not yet durable in the sink", labels, registry=registry)
        self._caught_up = Gauge(Metric.CAUGHT_UP, "1 while a read finds nothing more", labels, registry=registry)
        self._parked_now = Gauge(Metric.PARKED_EVENTS, "Events that are parked now", labels, registry=registry)
        self._subjects = Gauge(
            Metric.PARKED_SUBJECTS, "Subjects that wait behind a parked event", labels, registry=registry
        )
        self._lease = Gauge(Metric.LEASE_HELD, "1 while this process holds the partition", labels, registry=registry)

    def applied(self, batch: Batch, seconds: float) -> None:
        labels = self._labels(batch.source.partition)
        self._applied.labels(*labels).inc(len(batch.events))
        self._seconds.labels(*labels).observe(seconds)
        self._last.labels(*labels).set(time.time())
        if self._name != "log":
            declared = installed().streams.get(batch.source.partition.stream)  # None if nobody says what its types are
            known = None if declared is None else declared.types
            skipped = 0 if known is None else sum(recorded.event.type not in known for recorded in batch.events)
            self._skipped.labels(*labels).inc(skipped)
        for observe in self._others:
            observe(batch)
        if batch.source.replay is None:
            self._position.labels(*labels).set(batch.last.milliseconds / 1000)
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
        for gauge in (self._caught_up, self._subjects, self._position, self._newest, self._lag, self._parked_now):
            gauge.remove(*labels)

    def standing_by(self, partition: Partition) -> None:
        """Show every counter from 0 on: Prometheus sees no increase in one that begins with 1."""
        labels = self._labels(partition)
        for metric in (self._applied, self._skipped, self._lost, self._retries, self._seconds, self._lease):
            metric.labels(*labels)
        for reason in REASONS:
            self._parked.labels(*labels, reason)

    def lag(self, partition: Partition, lag: Lag | None) -> None:
        """What Redis says of a partition that we hold; None if it does not answer."""
        labels = self._labels(partition)
        newest = position = events = parked = None
        if lag is not None:
            newest, position, events, parked = _seconds(lag.newest), _seconds(lag.position), lag.events, lag.parked
        for gauge, value in (
            (self._newest, newest),
            (self._position, position),
            (self._lag, events),
            (self._parked_now, parked),
        ):
            if value is None:
                gauge.remove(*labels)
            else:
                gauge.labels(*labels).set(value)

    def _labels(self, partition: Partition) -> tuple[str, str]:
        return self._name, str(partition)


class TrimMetrics:
    """What the log writer removes from the streams, who holds the rest, and who is not waited for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._trimmed = Counter(Metric.TRIMMED, "Entries removed from the stream", ["partition"], registry=registry)
        self._floor = Gauge(
            Metric.TRIM_FLOOR,
            "When the newest entry that no group lacks was appended, 0 for none",
            ["partition"],
            registry=registry,
        )
        self._held_by = Gauge(
            Metric.TRIM_HELD_BY, "1 for the group that is least far", ["partition", "group"], registry=registry
        )
        self._halted = Gauge(
            Metric.HALTED,
            "1 for a consumer that an operator paused or retired",
            ["projection", "state"],
            registry=registry,
        )

    def trimmed(self, partition: Partition, floor: Floor, removed: int) -> None:
        """A look at the floor of a partition."""
        name = str(partition)
        self._trimmed.labels(name).inc(removed)
        self._floor.labels(name).set(floor.position.milliseconds / 1000)
        self._held_by.remove_by_labels({"partition": name})
        self._held_by.labels(name, floor.held_by).set(1)

    def halted(self, halts: Mapping[str, Halt]) -> None:
        """Every consumer that is paused or retired."""
        self._halted.clear()
        for name, halt in halts.items():
            self._halted.labels(name, halt.state).set(1)


def _seconds(position: Position) -> float | None:
    return position.milliseconds / 1000 if position > START else None
