"""The number of partitions when Redis lost its state, and somebody appends before the log writer is back."""

from collections import Counter, defaultdict
from contextlib import contextmanager, suppress

import pytest
from structlog.testing import capture_logs

from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.eventlog.reader import partitions as logged_partitions
from playhead.eventlog.reader import read
from playhead.eventlog.writer import LogWriter
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import PartitionsChanged, RedisUnavailable
from playhead.streams.names import STREAMS, meta_key
from playhead.streams.partitions import Partition, partition_of
from tests.support.events import job
from tests.support.pipeline import Consumer

COUNT = 4


class System:
    """A log and a projection of files, without a number that anybody set."""

    def __init__(self, server, redis, directory, wait_until) -> None:
        self.server, self.redis, self.directory, self.wait_until = server, redis, directory, wait_until
        self.log = directory / "eventlog"

    def append(self, *numbers: int, partitions: int | None = None) -> None:
        """Append once Redis takes it: a partition may not be corrected yet."""

        def append() -> bool:
            with suppress(RedisUnavailable), Producer(self.server.url, partitions=partitions) as producer:
                producer.append_events([job(number) for number in numbers])
                return True
            return False

        self.wait_until(append)

    @contextmanager
    def running(self, partitions: int | None = None, *, log: bool = True, files: bool = True):
        """Run both; one that ends because the number changed is started again, as a supervisor does."""
        made = []
        if log:
            made.append(lambda: LogWriter(self.log, streams=["jobs"]))
        if files:
            made.append(lambda: JsonFiles(self.directory / "outputs"))
        self.consumers = [(make, self._start(make(), partitions)) for make in made]
        try:
            yield
        finally:
            for _, consumer in self.consumers:
                consumer.stop()

    def revive(self) -> None:
        """Start again what ended."""
        for index, (make, consumer) in enumerate(self.consumers):
            if consumer.failure is not None:
                assert isinstance(consumer.failure, PartitionsChanged), consumer.failure
                consumer.stop()
                self.consumers[index] = (make, self._start(make(), None))

    def wait_for(self, *numbers: int) -> None:
        """Wait until the log and the files have these events."""

        def is_done() -> bool:
            self.revive()
            return {f"job/{number}" for number in numbers} <= set(self.logged()) and {
                f"{number}.json" for number in numbers
            } <= {path.name for path in (self.directory / "outputs").glob("daily/*/scrapers/*/*.json")}

        self.wait_until(is_done)

    def logged(self) -> dict[str, list[Partition]]:
        """Where the log has each subject, as often as it has it."""
        found: defaultdict[str, list[Partition]] = defaultdict(list)
        for partition, recorded in read(self.log) if self.log.exists() else ():
            found[recorded.event.subject].append(partition)
        return found

    def lost(self) -> int:
        return sum(self.redis.llen(f"{Partition('jobs', number).key}:lost") for number in range(8))

    def _start(self, sink, partitions: int | None) -> Consumer:
        settings = ProcessSettings(
            redis_url=self.server.url,
            partitions=partitions,
            reader=ReaderSettings(lease=1.0),
            event_log_dir=self.log,
        )
        consumer = Consumer(sink, settings)
        consumer.start()
        return consumer


@pytest.fixture
def system(redis_server, redis, tmp_path, wait_until):
    return System(redis_server, redis, tmp_path, wait_until)


def right(*numbers: int, count: int = COUNT) -> dict[str, list[Partition]]:
    """Each subject once, in its partition."""
    return {f"job/{number}": [partition_of("jobs", f"job/{number}", count)] for number in numbers}


def test_consumers_take_the_number_from_the_record_and_the_log_has_a_directory_for_each(system):
    system.append(1, partitions=COUNT)
    with system.running():
        system.wait_for(1)
        system.append(*range(2, 20))
        system.wait_for(*range(1, 20))

    assert right(*range(1, 20)) == system.logged()
    assert [Partition("jobs", number) for number in range(COUNT)] == logged_partitions(system.log)


def test_a_consumer_that_starts_first_records_the_number_that_is_set(system, wait_until):
    with system.running(COUNT):
        wait_until(lambda: system.redis.hget(STREAMS, "jobs") == b"4")
        system.append(*range(1, 20))
        system.wait_for(*range(1, 20))

    assert right(*range(1, 20)) == system.logged()


def test_a_consumer_with_another_number_ends_and_says_both(system, wait_until):
    system.append(1, partitions=COUNT)
    with system.running(8):
        wait_until(lambda: all(consumer.failure for _, consumer in system.consumers))
        said = {str(consumer.failure) for _, consumer in system.consumers}

    assert all("jobs has 4 partitions" in each and "is 8" in each for each in said)
    assert not system.log.exists()


@pytest.mark.parametrize("other", [1, 8, 3])
def test_a_stream_is_not_split_by_a_producer_that_does_not_know_the_log(system, other):
    """FLUSHALL; then a producer records another number, and appends, before the log writer is there."""
    first, second, third = range(1, 20), range(20, 60), range(60, 80)
    system.append(*first, partitions=COUNT)
    with system.running():
        system.wait_for(*first)
    system.redis.flushall()
    system.append(*second, partitions=other)
    with system.running():
        system.wait_until(lambda: (system.revive(), system.redis.hget(STREAMS, "jobs") == b"4")[1])
        system.append(*second, *third)
        system.wait_for(*first, *second, *third)

    assert right(*first, *second, *third) == system.logged()
    assert 0 == system.lost()
    assert {b"4"} == {system.redis.hget(meta_key(Partition("jobs", n).key), "partitions") for n in range(COUNT)}


def test_what_is_moved_out_of_a_surplus_partition_is_not_lost(system):
    """Half of it is moved when a process comes that knows the number of before."""
    system.append(*range(20), partitions=8)
    surplus = Counter(
        partition.key for (partition,) in right(*range(20), count=8).values() if partition.number >= COUNT
    )
    key, count = surplus.most_common(1)[0]
    assert count > 1
    system.redis.hset(meta_key(key), "partitions", COUNT)
    system.redis.xdel(key, system.redis.xrange(key, count=1)[0][0])
    with capture_logs() as logs, system.running(log=False):
        system.wait_until(lambda: any("is none of the 4" in str(line.get("error")) for line in logs))

    assert 0 == system.lost()


@pytest.mark.parametrize("other", [1, 8, 3])
def test_a_stream_is_not_split_by_such_a_producer_while_everything_runs(system, other):
    """The same race, with consumers that notice and end, and are started again."""
    first, second, third = range(1, 20), range(20, 60), range(60, 80)
    system.append(*first, partitions=COUNT)
    with system.running():
        system.wait_for(*first)
        system.redis.flushall()
        for number in second:
            with (
                suppress(PartitionsChanged, RedisUnavailable),
                Producer(system.server.url, partitions=other) as new,
            ):
                new.append_events([job(number)])
        system.wait_until(lambda: (system.revive(), system.redis.hget(STREAMS, "jobs") == b"4")[1])
        system.append(*second, *third)
        system.wait_for(*first, *second, *third)

    assert right(*first, *second, *third) == system.logged()
    assert 0 == system.lost()


def test_a_flush_while_everything_runs_keeps_the_number(system):
    system.append(*range(1, 20), partitions=COUNT)
    with system.running():
        system.wait_for(*range(1, 20))
        system.redis.flushall()
        system.wait_until(lambda: system.redis.hget(STREAMS, "jobs") == b"4")
        system.append(*range(20, 40))
        system.wait_for(*range(1, 40))

    assert right(*range(1, 40)) == system.logged()


def test_a_set_number_that_differs_from_the_log_is_refused_even_if_redis_agrees_with_it(system, wait_until):
    system.append(*range(1, 20), partitions=COUNT)
    with system.running():
        system.wait_for(*range(1, 20))
    system.redis.flushall()
    system.append(20, partitions=8)
    with system.running(8):
        wait_until(lambda: system.consumers[0][1].failure is not None)
        said = str(system.consumers[0][1].failure)

    assert "jobs has 4 partitions" in said
    assert "is 8" in said


def test_what_an_earlier_version_appended_to_partitions_that_nobody_reads_is_brought_back(system):
    system.append(*range(1, 20), partitions=COUNT)
    with system.running():
        system.wait_for(*range(1, 20))
    system.redis.delete(STREAMS)  # an earlier version had no record, and took a producer with 8 for right in 4 to 7
    strays = [number for number in range(20, 60) if partition_of("jobs", f"job/{number}", 8).number >= COUNT]
    with Producer(system.server.url) as producer:
        producer.counts.confirm = lambda _: None
        producer.counts.of = lambda _: 8
        producer.append_events([job(number) for number in strays])
    assert any(system.redis.exists(Partition("jobs", number).key) for number in range(COUNT, 8))
    with system.running():
        system.wait_for(*range(1, 20), *strays)

    assert right(*range(1, 20), *strays) == system.logged()
    assert {0} == {system.redis.xlen(Partition("jobs", number).key) for number in range(COUNT, 8)}


@pytest.mark.parametrize("field", ["partitions", "sequence"])
def test_the_logs_consumer_mends_what_was_set_back_when_it_starts(system, field):
    system.append(*range(1, 20), partitions=1)
    with system.running():
        system.wait_for(*range(1, 20))
    system.redis.hset(meta_key(Partition("jobs", 0).key), field, 3)
    with system.running():
        key = meta_key(Partition("jobs", 0).key)
        system.wait_until(lambda: system.redis.hmget(key, "partitions", "sequence") == [b"1", b"19"])
        system.append(*range(20, 30))
        system.wait_for(*range(1, 30))

    assert right(*range(1, 30), count=1) == system.logged()
    assert 0 == system.lost()
