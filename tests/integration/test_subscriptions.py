"""Subscriptions on real servers: every event once and in order, from the log into the stream, whatever Redis loses."""

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from playhead import EventsGone, PayloadInvalid, Position, Subscription, SubscriptionInUse, subscribe
from playhead.consumers.subscriptions.kept import kept_names, read_cursor
from playhead.consumers.subscriptions.lag import lag_behind
from playhead.eventlog.log import EventLog
from playhead.eventlog.writer import LogWriter
from playhead.settings.urls import as_user
from playhead.streams.appending.producer import Producer
from playhead.streams.domains.event_types import Stream
from playhead.streams.errors import InvalidSetting, PartitionsChanged
from playhead.streams.events import Recorded, new_event
from playhead.streams.sinks import Batch, Source
from tests.support.events import job
from tests.support.pipeline import JOBS, Pipeline, fields
from tests.support.servers import make_server
from tests.support.users import nobody

SECURITY = Path(__file__).parents[2] / "docs" / "security.md"
PROGRAM = Path(__file__).with_name("subscriber_program.py")
jobs = Stream("jobs")


@jobs.event("job.completed", version=2, subject="job/{number}")
class Done(msgspec.Struct, frozen=True):
    number: int


@jobs.upcaster("job.completed", version=1)
def _(data):
    return {"number": int(data["job_id"])}


class Subscriber(threading.Thread):
    """Collects what a subscription gives, in a thread, until it is stopped."""

    def __init__(self, subscription: Subscription) -> None:
        super().__init__(daemon=True)
        self.subscription = subscription
        self.numbers: list[int] = []
        self.gone: list[EventsGone] = []
        self.failure: BaseException | None = None
        self.start()

    def run(self) -> None:
        while True:
            try:
                for received in self.subscription:
                    self.numbers.append(int(received.event.id[1:]))
            except EventsGone as gone:
                self.gone.append(gone)
            except BaseException as error:
                self.failure = error
                raise  # shown if the test waits in vain for what it would have given
            else:
                return

    def stop(self) -> list[int]:
        self.subscription.close()
        self.join(20)
        assert not self.is_alive()
        if self.failure is not None:
            raise self.failure
        return self.numbers


@pytest.fixture
def log_dir(pipeline):
    return pipeline.directory / "eventlog"


@pytest.fixture
def follow(pipeline, log_dir):
    """Start subscribers; whatever is still running at the end is stopped."""
    started = []

    def follow(**options):
        options = {"log": log_dir, "stream": "jobs"} | options
        started.append(Subscriber(subscribe(pipeline.server.url, **options)))
        return started[-1]

    yield follow
    for subscriber in started:
        subscriber.stop()


def append(pipeline, *numbers):
    return pipeline.append(*(job(number) for number in numbers))


def trim_all_that_is_logged(pipeline):
    groups = {group["name"]: group["last-delivered-id"] for group in pipeline.redis.xinfo_groups(JOBS.key)}
    pipeline.redis.xtrim(JOBS.key, minid=groups[b"log"].decode(), approximate=False)


def logged(pipeline, count):
    pipeline.wait_until(lambda: len(pipeline.logged()) >= count)


def test_it_starts_in_the_log_and_goes_on_in_the_stream(pipeline, follow):
    pipeline.start("log")
    append(pipeline, *range(1, 101))
    pipeline.caught_up("log")
    trim_all_that_is_logged(pipeline)
    subscriber = follow()
    pipeline.wait_until(lambda: len(subscriber.numbers) == 100)
    pipeline.stop()
    append(pipeline, *range(101, 111))  # nobody logs them
    pipeline.wait_until(lambda: len(subscriber.numbers) == 110)

    assert list(range(1, 111)) == subscriber.stop()


def test_events_appended_logged_and_trimmed_at_once_come_each_once_and_in_order(pipeline, follow):
    pipeline.start("log")
    total, stop = 6000, threading.Event()

    def produce():
        producer = Producer(pipeline.server.url)
        for start in range(1, total, 20):
            producer.append_events([job(number) for number in range(start, start + 20)])
        producer.close()

    def trim():
        while not stop.is_set():
            trim_all_that_is_logged(pipeline)

    pipeline.wait_until(lambda: pipeline.redis.exists(JOBS.key))
    threads = [threading.Thread(target=produce), threading.Thread(target=trim)]
    for thread in threads:
        thread.start()
    subscribers = [follow()]
    for count in range(500, total, 1500):
        pipeline.wait_until(lambda count=count: len(subscribers[0].numbers) >= count)
        subscribers.append(follow())
    pipeline.wait_until(lambda: all(len(each.numbers) >= total for each in subscribers))
    stop.set()
    for thread in threads:
        thread.join()

    for subscriber in subscribers:
        assert list(range(1, total + 1)) == subscriber.stop()
        assert [] == subscriber.gone


def test_a_slow_subscriber_gets_from_the_log_what_was_trimmed_under_it(pipeline, log_dir):
    pipeline.start("log")
    append(pipeline, *range(1, 11))
    with subscribe(pipeline.server.url, log=log_dir, stream="jobs") as subscription:
        numbers = [next(subscription).sequence for _ in range(10)]
        for start in range(11, 2011, 200):
            append(pipeline, *range(start, start + 200))
            pipeline.caught_up("log")
            trim_all_that_is_logged(pipeline)
            numbers += [next(subscription).sequence for _ in range(100)]
        numbers += [next(subscription).sequence for _ in range(1000)]

    assert list(range(1, 2011)) == numbers


def test_a_subscription_holds_no_entry_in_the_stream_and_writes_nothing(pipeline, follow):
    append(pipeline, *range(1, 11))
    before = {key: pipeline.redis.dump(key) for key in pipeline.redis.keys("*")}
    subscriber = follow(log=None)
    pipeline.wait_until(lambda: len(subscriber.numbers) == 10)

    assert before == {key: pipeline.redis.dump(key) for key in pipeline.redis.keys("*")}
    assert [] == pipeline.redis.xinfo_groups(JOBS.key)


def test_the_caller_may_keep_the_cursor(pipeline, log_dir):
    pipeline.start("log")
    append(pipeline, *range(1, 21))
    pipeline.caught_up("log")
    numbers, cursor = [], ""
    for _ in range(5):
        with subscribe(pipeline.server.url, log=log_dir, stream="jobs", after=cursor) as subscription:
            for _ in range(4):
                received = next(subscription)
                numbers.append(received.sequence)
                cursor = str(received.cursor)
        trim_all_that_is_logged(pipeline)

    assert list(range(1, 21)) == numbers


def test_it_may_begin_behind_what_is_logged(pipeline, log_dir, follow):
    pipeline.start("log")
    append(pipeline, 1, 2, 3)
    pipeline.caught_up("log")
    subscriber = follow(after=EventLog.open(log_dir).end())
    append(pipeline, 4, 5)
    pipeline.wait_until(lambda: len(subscriber.numbers) == 2)

    assert [4, 5] == subscriber.stop()


def test_types_and_subjects_choose_and_payloads_are_read_and_upcast(pipeline, log_dir):
    pipeline.start("log")
    append(pipeline, 1, 2)
    pipeline.caught_up("log")
    pipeline.producer.append("job.failed", subject="job/2", data={"job_id": "2"})
    pipeline.redis.xadd(JOBS.key, fields(job(9), ce_dataschema="job.completed/2"))
    append(pipeline, 3)
    with subscribe(pipeline.server.url, log=log_dir, type=Done) as subscription:
        assert [Done(1), Done(2)] == [next(subscription).data, next(subscription).data]
        with pytest.raises(PayloadInvalid, match="is not a valid Done"):
            next(subscription)
        assert Done(3) == next(subscription).data
    with subscribe(pipeline.server.url, log=log_dir, subject="job/2", stream="jobs") as subscription:
        assert ["job.completed", "job.failed"] == [next(subscription).event.type for _ in range(2)]


@pytest.fixture
def four_partitions(redis_server, postgres, tmp_path, wait_until):
    pipeline = Pipeline(redis_server, postgres, tmp_path, wait_until, partitions=4)
    yield pipeline
    pipeline.close()


def test_every_partition_is_read_and_another_number_of_them_refused(four_partitions, redis_server, tmp_path):
    pipeline = four_partitions
    pipeline.start("log")
    append(pipeline, *range(1, 101))
    pipeline.caught_up("log")
    append(pipeline, *(100 + n for n in range(1, 101)))
    options = {"log": tmp_path / "eventlog", "stream": "jobs"}
    with subscribe(redis_server.url, **options) as subscription:
        received = [next(subscription) for _ in range(200)]
    for partitions in (1, 3, 8):
        with pytest.raises(PartitionsChanged, match=f"jobs has 4 partitions.*is {partitions}.*set it to 4"):
            subscribe(redis_server.url, partitions=partitions, **options)

    assert set(range(1, 201)) == {int(each.event.id[1:]) for each in received}
    for number in range(4):
        sequences = [each.sequence for each in received if each.partition.number == number]
        assert list(range(1, len(sequences) + 1)) == sequences


def test_an_async_for_gives_the_same_and_blocks_nothing(pipeline, log_dir):
    pipeline.start("log")
    append(pipeline, *range(1, 51))
    pipeline.caught_up("log")
    trim_all_that_is_logged(pipeline)
    numbers = []

    async def read():
        async with subscribe(pipeline.server.url, log=log_dir, stream="jobs") as subscription:
            async for received in subscription:
                numbers.append(received.sequence)
                if received.sequence == 60:
                    return

    async def main():
        reading, beats = asyncio.create_task(read()), 0
        while len(numbers) < 50:
            await asyncio.sleep(0.005)
            beats += 1
        await asyncio.to_thread(append, pipeline, *range(51, 61))
        await asyncio.wait_for(reading, 60)
        return beats

    assert asyncio.run(main()) > 0
    assert list(range(1, 61)) == numbers


def test_an_async_wait_that_is_canceled_loses_nothing(pipeline):
    async def main():
        numbers = []
        async with subscribe(pipeline.server.url, log=None, stream="jobs") as subscription:
            for number in range(1, 6):
                waiting = asyncio.create_task(anext(subscription))
                await asyncio.sleep(0.05)
                waiting.cancel()
                await asyncio.to_thread(append, pipeline, number)
                numbers.append((await asyncio.wait_for(anext(subscription), 60)).sequence)
        return numbers

    assert [1, 2, 3, 4, 5] == asyncio.run(main())


def test_a_name_continues_behind_what_was_done(pipeline, log_dir, tmp_path):
    append(pipeline, *range(1, 7))
    options = {"log": log_dir, "stream": "jobs", "name": "billing", "cursors": tmp_path / "cursors"}
    with subscribe(pipeline.server.url, **options) as subscription:
        first = [next(subscription).sequence for _ in range(3)]
        with pytest.raises(SubscriptionInUse, match="stop it first"):
            subscribe(pipeline.server.url, **options)
    with subscribe(pipeline.server.url, **options) as subscription:
        second = [next(subscription).sequence for _ in range(2)]
        subscription.acknowledge()
    with subscribe(pipeline.server.url, **options) as subscription:
        third = [next(subscription).sequence for _ in range(2)]

    assert [1, 2, 3] == first
    assert [3, 4] == second, "the event at which the loop was left is not done"
    assert [5, 6] == third


def test_a_name_needs_a_directory_and_a_file_that_is_a_cursor(pipeline, tmp_path):
    with pytest.raises(InvalidSetting, match="needs a directory for its cursor"):
        subscribe(pipeline.server.url, log=None, name="billing")
    (tmp_path / "billing.cursor").write_text("jobs/0@x\n")
    with pytest.raises(InvalidSetting, match=r"billing.cursor is not a cursor.*restore or remove it"):
        subscribe(pipeline.server.url, log=None, name="billing", cursors=tmp_path)
    with pytest.raises(InvalidSetting, match="has letters"):
        subscribe(pipeline.server.url, log=None, name="../billing", cursors=tmp_path)


def test_killed_at_random_a_name_loses_nothing_and_repeats_only_what_was_not_acknowledged(pipeline, log_dir, tmp_path):
    pipeline.start("log")
    chance, total, kills = random.Random(20), 3000, 0
    out = tmp_path / "received"
    stop = threading.Event()

    def produce():
        for start in range(1, total, 10):
            append(pipeline, *range(start, start + 10))
            while start + 10 > 600 * (kills + 1):
                stop.wait(0.005)

    producing = threading.Thread(target=produce, daemon=True)
    producing.start()
    command = [sys.executable, PROGRAM, pipeline.server.url, log_dir, tmp_path / "cursors", out]
    while not out.exists() or f"{total}\n" not in out.read_text().splitlines(keepends=True):
        lines = len(out.read_text().splitlines()) if out.exists() else 0
        with subprocess.Popen(command) as process:
            wanted = lines + chance.randrange(1, 600)
            pipeline.wait_until(
                lambda wanted=wanted: (
                    out.exists() and (len(text := out.read_text().splitlines()) >= wanted or str(total) in text)
                )
            )
            stop.wait(chance.random() / 50)
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        trim_all_that_is_logged(pipeline)
    producing.join()

    assert kills > 3
    done = acknowledged = 0
    for line in out.read_text().splitlines():
        if line.startswith("ack "):
            acknowledged = int(line[4:])
        elif line != "start":
            number = int(line)
            assert acknowledged < number <= done + 1, f"{number} after {done}, acknowledged {acknowledged}"
            done = max(done, number)
    assert total == done


def test_after_a_flush_it_continues_behind_the_log_without_a_gap_or_double(pipeline, follow):
    pipeline.start("log")
    append(pipeline, *range(1, 101))
    pipeline.caught_up("log")
    subscribers = [follow()]
    pipeline.wait_until(lambda: len(subscribers[0].numbers) == 100)
    pipeline.redis.flushall()
    append(pipeline, *range(101, 151))
    subscribers.append(follow())
    pipeline.wait_until(lambda: all(len(each.numbers) >= 150 for each in subscribers))

    for subscriber in subscribers:
        assert list(range(1, 151)) == subscriber.stop()
        assert [] == subscriber.gone


def test_flushed_under_load_it_gives_what_the_log_has_once_and_in_order(pipeline, follow):
    pipeline.start("log")
    stop, appended = threading.Event(), []

    def produce():
        while not stop.is_set():
            number = len(appended) + 1
            append(pipeline, number)
            appended.append(number)

    producing = threading.Thread(target=produce)
    producing.start()
    subscribers = [follow()]
    for flush in range(1, 4):
        pipeline.wait_until(lambda flush=flush: len(appended) > 250 * flush)
        subscribers.append(follow())
        pipeline.redis.flushall()
    pipeline.wait_until(lambda: len(appended) > 1200)
    stop.set()
    producing.join()
    pipeline.wait_until(lambda: f"e{appended[-1]}" in pipeline.logged())
    pipeline.wait_until(lambda: all(each.numbers[-1:] == appended[-1:] for each in subscribers))
    log = [int(event_id[1:]) for event_id in pipeline.logged()]

    for subscriber in subscribers:
        numbers = subscriber.stop()
        assert len(numbers) == len(set(numbers))
        assert numbers == sorted(numbers)
        assert set(log) <= set(numbers), "what it has beside the log was flushed before it was logged"
        assert [] == subscriber.gone


def test_a_named_one_that_was_away_during_a_flush_gets_what_it_lacks(pipeline, log_dir, tmp_path):
    pipeline.start("log")
    append(pipeline, *range(1, 31))
    pipeline.caught_up("log")
    options = {"log": log_dir, "stream": "jobs", "name": "billing", "cursors": tmp_path / "cursors"}
    with subscribe(pipeline.server.url, **options) as subscription:
        numbers = [next(subscription).sequence for _ in range(10)]
        subscription.acknowledge()
    pipeline.redis.flushall()
    append(pipeline, *range(31, 41))
    with subscribe(pipeline.server.url, **options) as subscription:
        numbers += [next(subscription).sequence for _ in range(30)]

    assert list(range(1, 41)) == numbers


def test_what_was_flushed_before_it_was_logged_is_not_waited_for(pipeline, follow):
    pipeline.start("log")
    append(pipeline, *range(1, 11))
    pipeline.caught_up("log")
    pipeline.stop()
    append(pipeline, *range(11, 16))
    subscriber = follow()
    pipeline.wait_until(lambda: len(subscriber.numbers) == 15)
    pipeline.redis.flushall()
    append(pipeline, *range(16, 21))
    pipeline.start("log")
    pipeline.wait_until(lambda: subscriber.numbers[-1] == 20)

    assert list(range(1, 21)) == subscriber.stop(), "11 to 15 came before they were lost"


def test_while_redis_is_away_it_waits_and_then_goes_on(pipeline, follow):
    append(pipeline, 1, 2, 3)
    subscriber = follow()
    pipeline.wait_until(lambda: len(subscriber.numbers) == 3)
    pipeline.server.kill()
    pipeline.wait_until(lambda: subscriber.subscription.problem is not None)
    pipeline.server.start()
    append(pipeline, 4, 5)
    pipeline.wait_until(lambda: len(subscriber.numbers) == 5)

    assert [1, 2, 3, 4, 5] == subscriber.stop()


def test_without_the_log_a_trimmed_beginning_is_an_error_that_one_can_pass(pipeline):
    append(pipeline, *range(1, 11))
    pipeline.redis.xtrim(JOBS.key, maxlen=4, approximate=False)
    with subscribe(pipeline.server.url, log=None, stream="jobs") as subscription:
        with pytest.raises(EventsGone, match=r"6 events of jobs/0 .* cannot read the log: pass `log=`") as raised:
            next(subscription)
        assert [7, 8, 9, 10] == [next(subscription).sequence for _ in range(4)]

    assert 6 == raised.value.count


@pytest.fixture
def pipeline_on_a_port(postgres, tmp_path, wait_until):
    """One that a user who may not enter the directory of a socket can reach."""
    server = make_server("valkey", tmp_path / "valkey", tcp=True)
    server.start()
    pipeline = Pipeline(server, postgres, tmp_path, wait_until)
    yield pipeline
    pipeline.close()
    server.stop()


@pytest.mark.parametrize("log", ["missing", "forbidden"])
def test_a_log_that_cannot_be_read_is_as_none(pipeline_on_a_port, log, tmp_path):
    pipeline = pipeline_on_a_port
    directory = tmp_path / log
    if log == "forbidden":
        directory.mkdir(mode=0)
    append(pipeline, *range(1, 11))
    with nobody():
        with subscribe(pipeline.server.url, log=directory, stream="jobs") as subscription:
            assert 1 == next(subscription).sequence
        pipeline.redis.xtrim(JOBS.key, maxlen=4, approximate=False)
        with subscribe(pipeline.server.url, log=directory, stream="jobs") as subscription, pytest.raises(EventsGone):
            next(subscription)


def test_what_neither_stream_nor_log_has_is_an_error_once(pipeline, follow):
    pipeline.start("log")
    append(pipeline, *range(1, 6))
    pipeline.caught_up("log")
    pipeline.stop()
    subscriber = follow()
    pipeline.wait_until(lambda: len(subscriber.numbers) == 5)
    subscriber.stop()
    append(pipeline, *range(6, 11))
    pipeline.redis.xtrim(JOBS.key, maxlen=2, approximate=False)  # by somebody else
    subscriber = follow()
    pipeline.wait_until(lambda: subscriber.subscription.problem is not None)
    assert [1, 2, 3, 4, 5] == subscriber.numbers, "it waits for what the log may be about to write"
    pipeline.start("log")
    pipeline.wait_until(lambda: len(subscriber.numbers) == 7)

    assert [1, 2, 3, 4, 5, 9, 10] == subscriber.stop()
    assert [3] == [gone.count for gone in subscriber.gone]


def test_the_same_event_again_from_another_client_is_passed_over(pipeline, follow):
    pipeline.start("log")
    append(pipeline, 1, 2)
    pipeline.redis.xadd(JOBS.key, fields(job(1)))
    pipeline.redis.xadd(JOBS.key, {"no": "event"})
    pipeline.redis.xadd(JOBS.key, fields(job(3)))
    append(pipeline, 4)
    pipeline.caught_up("log")
    subscribers = [follow(), follow(log=None)]
    pipeline.wait_until(lambda: all(len(each.numbers) == 4 for each in subscribers))

    for subscriber in subscribers:
        assert [1, 2, 3, 4] == subscriber.stop()


def test_many_segments_are_subscribed_to_in_bounded_memory(pipeline, log_dir):
    log = LogWriter(log_dir, segment_bytes=4_000_000)
    log.open(JOBS, 1)
    for start in range(1, 1201, 20):
        events = [
            Recorded(
                new_event("job.completed", subject="job/1", data={"n": n, "text": "x" * 100_000}, id=f"e{n}"),
                Position(1_754_740_800_000 + n, 0),
                n,
            )
            for n in range(start, start + 20)
        ]
        log.apply(Batch(Source(JOBS), events, events[-1].position))
    log.close()
    program = (
        "import resource, sys; from playhead import subscribe\n"
        "with subscribe(sys.argv[1], log=sys.argv[2], stream='jobs') as subscription:\n"
        "    next(subscription)\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "    for _ in range(1199): next(subscription)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, pipeline.server.url, log_dir], capture_output=True, check=True, text=True
    )

    assert int(done.stdout) < 60_000, "KiB, of 120 MB that were read"


def test_ctrl_c_ends_a_loop_at_once(pipeline, log_dir, tmp_path):
    append(pipeline, 1)
    out = tmp_path / "received"
    command = [sys.executable, PROGRAM, pipeline.server.url, log_dir, tmp_path / "cursors", out]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        pipeline.wait_until(lambda: out.exists() and "1\n" in out.read_text().splitlines(keepends=True))
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)

    assert stderr.rstrip().endswith(b"KeyboardInterrupt")


def test_the_documented_user_of_readers_may_do_all_that_a_subscription_needs(pipeline, log_dir):
    pattern = r"^user playhead-reader (reset .* >(\S+) .*)$"
    (rules, password), *_ = re.findall(pattern, SECURITY.read_text(), re.MULTILINE)
    pipeline.redis.execute_command("ACL", "SETUSER", "playhead-reader", *rules.split())
    url = as_user(pipeline.server.url, "playhead-reader", password)
    pipeline.start("log")
    append(pipeline, *range(1, 11))
    pipeline.caught_up("log")
    trim_all_that_is_logged(pipeline)
    with subscribe(url, log=log_dir, stream="jobs") as subscription:
        numbers = [next(subscription).sequence for _ in range(10)]
        pipeline.redis.xadd(JOBS.key, fields(job(1)))
        append(pipeline, 11)
        numbers.append(next(subscription).sequence)
        pipeline.caught_up("log")
        pipeline.redis.flushall()
        append(pipeline, 12)
        numbers.append(next(subscription).sequence)

    assert list(range(1, 13)) == numbers
    assert [] == [
        one for one in pipeline.redis.execute_command("ACL", "LOG") if b"playhead-reader" in str(one).encode()
    ]


def test_how_far_a_name_is_behind_is_known_from_the_stream_or_the_log(pipeline, log_dir, tmp_path):
    def lag(log=log_dir):
        cursor = read_cursor(tmp_path, "billing")
        ((partition, position),) = cursor.positions.items()
        return lag_behind(pipeline.redis, log, partition, position)

    append(pipeline, *range(1, 7))
    with subscribe(pipeline.server.url, log=log_dir, stream="jobs", name="billing", cursors=tmp_path) as subscription:
        for _ in range(2):
            next(subscription)
        subscription.acknowledge()
    in_stream = lag()
    pipeline.start("log")
    pipeline.caught_up("log")
    pipeline.stop()
    pipeline.redis.xtrim(JOBS.key, maxlen=1, approximate=False)
    in_log, unknown = lag(), lag(tmp_path / "nowhere")
    with subscribe(pipeline.server.url, log=log_dir, stream="jobs", name="billing", cursors=tmp_path) as subscription:
        for _ in range(4):
            next(subscription)
        subscription.acknowledge()

    assert (4, 4, None) == (in_stream.events, in_log.events, unknown.events)
    assert 0 <= in_stream.seconds <= in_log.seconds
    assert unknown.seconds is None
    assert ["billing"] == kept_names(tmp_path)
    assert (0, 0.0) == (lag().events, lag().seconds)
