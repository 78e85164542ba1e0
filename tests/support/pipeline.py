"""Real consumers in threads of the test, between a real Redis and real sinks, and what the sinks hold afterward."""

import json
from collections import Counter
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import psycopg
from prometheus_client import CollectorRegistry

from playhead.consumers.processes.metrics import PrometheusObserver
from playhead.consumers.processes.projection import ConsumerService, ProcessSettings
from playhead.consumers.reading.parked import Parked, ParkedEvents
from playhead.consumers.reading.reader import ReaderSettings
from playhead.eventlog.reader import read
from playhead.eventlog.writer import LogWriter
from playhead.projections.jobs.json_files.documents import read_event_id
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.table.projection import Jobs
from playhead.streams.appending.producer import Producer
from playhead.streams.events import Event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Sink
from playhead.testing import ConsumerThread
from tests.support.databases import make_database
from tests.support.places import place_of
from tests.support.servers import RedisServer, plain_client

SINKS = ("log", "json-files", "jobs")
JOBS = Partition("jobs", 0)


def fields(event: Event, **changes: str | bytes | None) -> dict[str, str | bytes]:
    """An event as a program without Playhead would add it with a bare XADD; a change of None leaves a field out."""
    plain: dict[str, str | bytes | None] = {
        "ce_specversion": "1.0",
        "ce_id": event.id,
        "ce_source": event.source,
        "ce_type": event.type,
        "ce_time": event.time,
        "ce_subject": event.subject,
        "body": event.data,
    }
    return {name: value for name, value in (plain | changes).items() if value is not None}


class Watch(PrometheusObserver):
    """Counts what an operator is told."""

    def __init__(self, projection: str) -> None:
        super().__init__(projection, CollectorRegistry())
        self.lost_events = 0
        self.parked_events: Counter[str] = Counter()

    def lost(self, partition: Partition, count: int) -> None:
        super().lost(partition, count)
        self.lost_events += count

    def parked(self, partition: Partition, reason_class: str) -> None:
        super().parked(partition, reason_class)
        self.parked_events[reason_class] += 1


class Consumer(ConsumerThread):
    """A consumer of a sink that a test made, and what an operator is told of it."""

    def __init__(self, sink: Sink, settings: ProcessSettings) -> None:
        self.sink, self.watch = sink, Watch(sink.name)
        super().__init__(
            sink.name, settings.redis_url, lambda client: ConsumerService(sink, settings, client, self.watch)
        )


@contextmanager
def running(*consumers: ConsumerThread) -> Generator[None, None, None]:
    """Consumers for a while; none has failed when they have stopped."""
    for consumer in consumers:
        consumer.start()
    try:
        yield
    finally:
        for consumer in consumers:
            consumer.stop()
    assert [None] * len(consumers) == [consumer.failure for consumer in consumers]


class Pipeline:
    """One Redis, one database and two directories, with the consumers that a test starts and stops."""

    def __init__(self, server: RedisServer, postgres: str, directory: Path, wait_until, partitions: int = 1) -> None:
        self.server, self.directory, self.partitions = server, directory, partitions
        self.wait_until = wait_until
        self.database = make_database(postgres)
        self.producer = Producer(server.url, partitions=partitions)
        self.redis = plain_client(server.url)
        self._running: list[Consumer] = []

    def make_sink(self, name: str) -> Sink:
        match name:
            case "log":
                return LogWriter(self.directory / "eventlog")
            case "json-files":
                return JsonFiles(self.directory / "outputs")
            case _:
                return Jobs(place_of("jobs", self.database))

    def start(self, *sinks: str | Sink, event_log_dir: Path | None = None, **reader: float) -> list[Consumer]:
        """Start consumers; those that are given the log can recover from it."""
        settings = ProcessSettings(
            redis_url=self.server.url,
            partitions=self.partitions,
            reader=ReaderSettings(**{"lease": 1.0, **reader}),
            event_log_dir=event_log_dir,
        )
        started = [
            Consumer(self.make_sink(sink) if isinstance(sink, str) else sink, settings) for sink in sinks or SINKS
        ]
        for consumer in started:
            consumer.start()
        self._running += started
        return started

    def stop(self) -> None:
        """Stop every consumer as SIGTERM does; one that failed fails the test."""
        for consumer in self.stop_all():
            if consumer.failure is not None:
                raise consumer.failure

    def stop_all(self) -> list[Consumer]:
        """Stop every consumer, also those that failed."""
        running, self._running = self._running, []
        for consumer in running:
            consumer.stop()
        return running

    def close(self) -> None:
        try:
            self.stop()
        finally:
            self.producer.close()
            self.redis.close()

    def append(self, *events: Event) -> list[Position]:
        return self.producer.append_events(events)

    def caught_up(self, *names: str, stream: str = "jobs") -> None:
        """Wait until every group stands at the last entry of the stream, as long as one of them moves."""
        while behind := self.behind(*names or SINKS, stream=stream):
            self.wait_until(lambda behind=behind: self.behind(*names or SINKS, stream=stream) != behind)

    def parked(self, name: str) -> list[Parked]:
        return list(self.parked_events(name))

    def parked_events(self, name: str) -> ParkedEvents:
        return ParkedEvents(self.redis, name, JOBS)

    def retry(self, name: str, parked: Parked) -> None:
        self.parked_events(name).request_retry(parked)

    def rows(self) -> dict[str, str]:
        """The event that each job's row was written by."""
        with psycopg.connect(self.database) as connection:
            return dict(connection.execute("SELECT job_id, event_id FROM jobs").fetchall())

    def files(self) -> dict[str, str]:
        """The event that each job's file was written by; a job with two files fails."""
        found: dict[str, str] = {}
        for path in self.directory.glob("outputs/daily/*/scrapers/*/*.json"):
            content = path.read_bytes()
            job_id = json.loads(content)["job_id"]
            assert job_id not in found, f"{job_id} has two files"
            found[job_id] = read_event_id(content) or ""
        return found

    def logged(self) -> list[str]:
        """Event ids in the order of the log."""
        return [recorded.event.id for _, recorded in read(self.directory / "eventlog")]

    def holds(self, events: Iterable[Event]) -> None:
        """Assert that every sink holds these events and no others, the last of each job standing."""
        latest = {event.subject.removeprefix("job/"): event.id for event in events}
        assert Counter(event.id for event in events) == Counter(self.logged())
        assert latest == self.files()
        assert latest == self.rows()

    def behind(self, *names: str, stream: str = "jobs") -> dict[tuple[str, str], bytes]:
        """Where groups stand that have not come to the last entry."""
        found: dict[tuple[str, str], bytes] = {}
        for number in range(self.partitions):
            key = Partition(stream, number).key
            if not self.redis.exists(key):
                continue
            last = Position.parse(self.redis.xinfo_stream(key)["last-generated-id"])
            groups = {group["name"].decode(): group["last-delivered-id"] for group in self.redis.xinfo_groups(key)}
            found |= {
                (key, name): position for name in names if Position.parse(position := groups.get(name, b"0-0")) < last
            }
        return found
