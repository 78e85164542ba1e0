"""Appending from an event loop: the guarantees of the sync producer, and a loop that never waits."""

import asyncio
import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from redis.asyncio import Redis as AsyncRedis

from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.appending.producer import Producer
from playhead.streams.appending.spool import Spool
from playhead.streams.entries import RawEntry, decode
from playhead.streams.errors import (
    EventTooLarge,
    InvalidEvent,
    InvalidSetting,
    NotReplicated,
    PartitionsChanged,
    RedisUnavailable,
    SpoolFailed,
    StoreUnavailable,
)
from playhead.streams.events import new_event
from playhead.streams.names import ProducerVariable
from playhead.streams.partitions import Partition, partition_of
from playhead.streams.storage.blobs import Blobs
from tests.support.proxies import LossyProxy
from tests.support.servers import plain_client
from tests.support.topologies import Cluster, SentinelPair

JOBS = Partition("jobs", 0)
CONTENT = Partition("content", 0)
TRACED = """
import asyncio
import json
import sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from playhead.streams.appending.async_producer import AsyncProducer

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)


async def caller(producer, number):
    with trace.get_tracer("test").start_as_current_span(f"caller {number}"):
        await producer.append("job.completed", subject=f"job/{number}", data={}, id=str(number))


async def main():
    async with AsyncProducer(sys.argv[1]) as producer:
        await asyncio.gather(*(caller(producer, number) for number in range(3)))


asyncio.run(main())
spans = exporter.get_finished_spans()
ids = {span.name: span.context.span_id for span in spans}
print(json.dumps([
    [span.name, span.attributes.get("messaging.message.id"),
     f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-{span.context.trace_flags:02x}",
     next((name for name, id in ids.items() if span.parent and span.parent.span_id == id), None)]
    for span in spans
]))
"""
FORKED = """
import asyncio
import os
import sys
from playhead.streams.appending.async_producer import AsyncProducer

producer = AsyncProducer(sys.argv[1], spool=sys.argv[2])


async def append(name):
    for number in range(20):
        await producer.append("job.completed", subject=f"job/{name}", data={}, id=f"{name}-{number}")
    await producer.aclose()


asyncio.run(append("parent"))
pid = os.fork()
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
asyncio.run(append("child"))
"""


@pytest.fixture
def away(valkey):
    """The address of a server that is not there, until the test starts it."""
    valkey.kill()
    yield valkey
    valkey.start()


def entries(url, partition=JOBS):
    with plain_client(url) as client:
        return client.xrange(partition.key)


def recorded(url, partition=JOBS):
    return [
        decode(RawEntry(key, [part for pair in fields.items() for part in pair]))
        for key, fields in entries(url, partition)
    ]


def ids(url):
    return [fields[b"ce_id"].decode() for _, fields in entries(url)]


def event(number, subject="job/1", **attributes):
    return new_event("job.completed", subject=subject, data={"n": number}, id=f"id-{number}", **attributes)


async def append(producer, number, subject="job/1"):
    return await producer.append("job.completed", subject=subject, data={"n": number}, id=f"id-{number}")


def with_producer(use, *arguments, **options):
    """What an async function gives that is called with a producer."""

    async def run():
        async with AsyncProducer(*arguments, **options) as producer:
            return await use(producer)

    return asyncio.run(run())


async def until(condition):
    while not await asyncio.to_thread(condition):
        await asyncio.to_thread(lambda: None)


def test_the_same_id_twice_is_one_event_with_one_position(redis_server):
    async def use(producer):
        first = await append(producer, 1)
        between = await append(producer, 2)
        return first, between, await append(producer, 1)

    first, between, again = with_producer(use, redis_server.url)

    assert first == again < between
    assert ["id-1", "id-2"] == ids(redis_server.url)


def test_a_sync_and_an_async_producer_know_each_others_ids(redis_server):
    with Producer(redis_server.url) as producer:
        first = producer.append_events([event(1)])

    assert first == with_producer(lambda producer: producer.append_events([event(1)]), redis_server.url)
    assert ["id-1"] == ids(redis_server.url)


def test_many_tasks_share_a_few_round_trips_and_get_their_own_positions(redis_server, redis):
    async def use(producer):
        await append(producer, -1)
        redis.config_resetstat()
        return await asyncio.gather(*(append(producer, n, subject=f"job/{n % 7}") for n in range(1000)))

    positions = with_producer(use, redis_server.url)
    found = recorded(redis_server.url)

    assert [one.position for one in found[1:]] == positions
    assert [f"id-{n}" for n in range(-1, 1000)] == [one.event.id for one in found]
    assert list(range(1, 1002)) == [one.sequence for one in found]
    assert redis.info("commandstats")["cmdstat_evalsha"]["calls"] < 50


def test_tasks_that_append_the_same_events_append_each_once(redis_server):
    async def use(producer):
        return await asyncio.gather(
            *(producer.append_events([event(n) for n in range(start, start + 20)]) for start in range(0, 100, 10)),
        )

    batches = with_producer(use, redis_server.url)

    assert Counter({f"id-{n}": 1 for n in range(110)}) == Counter(ids(redis_server.url))
    for earlier, later in pairwise(batches):
        assert earlier[10:] == later[:10]


def test_events_go_to_the_partitions_of_their_subjects_in_their_order(valkey):
    events = [event(n, subject=f"job/{n % 10}") for n in range(2000)]

    positions = with_producer(lambda producer: producer.append_events(events), valkey.url, partitions=4)

    for number in range(4):
        found = recorded(valkey.url, Partition("jobs", number))
        mine = [n for n, one in enumerate(events) if partition_of("jobs", one.subject, 4).number == number]
        assert [events[n].id for n in mine] == [one.event.id for one in found]
        assert [positions[n] for n in mine] == [one.position for one in found]


def test_any_iterable_of_events_is_a_batch(valkey):
    async def use(producer):
        return (
            await producer.append_events({n: event(n) for n in range(600)}.values()),
            await producer.append_events(event(n) for n in range(600, 1300)),
            await producer.append_events(iter(())),
        )

    assert [600, 700, 0] == [len(positions) for positions in with_producer(use, valkey.url)]
    assert [f"id-{n}" for n in range(1300)] == ids(valkey.url)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_generator_is_appended_as_it_is_read_and_loses_nothing_before_it_raises(valkey, asynchronous):
    seen: list[int] = []

    def events():
        with plain_client(valkey.url) as redis:
            for number in range(700):
                seen.append(redis.xlen(JOBS.key))
                yield event(number)
        raise LookupError("source")

    async def async_events():
        for one in events():
            yield one

    async def use(producer):
        with pytest.raises(LookupError) as raised:
            await producer.append_events(async_events() if asynchronous else events())
        return raised.value.__notes__

    assert ["The first 700 events of the iterator are appended."] == with_producer(use, valkey.url)
    assert [0] * 500 + [500] * 200 == seen
    assert [f"id-{n}" for n in range(700)] == ids(valkey.url)


def test_a_bad_event_of_one_task_fails_that_task_alone(valkey):
    bad = {3: {"subject": ""}, 5: {"data": float("nan")}, 7: {"data": "x" * 200_000}, 9: {"data": b"{"}}

    async def use(producer):
        calls = [
            {"type": "job.completed", "subject": "job/1", "data": {}, "id": f"id-{n}"} | bad.get(n, {})
            for n in range(12)
        ]
        return await asyncio.gather(*(producer.append(**call) for call in calls), return_exceptions=True)

    found = with_producer(use, valkey.url, size_limit=100_000)

    assert {3: InvalidEvent, 5: InvalidEvent, 7: EventTooLarge, 9: InvalidEvent} == {
        n: type(one) for n, one in enumerate(found) if isinstance(one, Exception)
    }
    assert {f"id-{n}" for n in range(12) if n not in bad} == set(ids(valkey.url))


def test_of_a_batch_with_a_bad_event_nothing_is_sent(valkey):
    events = [*(event(n) for n in range(100)), event(100, subject="")]

    with pytest.raises(InvalidEvent, match="subject"):
        with_producer(lambda producer: producer.append_events(events), valkey.url)

    assert [] == ids(valkey.url)


def test_another_number_of_partitions_is_told_to_each_task(redis_server):
    subject = next(f"job/{n}" for n in range(99) if partition_of("jobs", f"job/{n}", 4) == JOBS)
    with Producer(redis_server.url) as producer:
        producer.append_events([event(0)])

    async def use(producer):
        return await asyncio.gather(*(append(producer, n, subject) for n in range(1, 5)), return_exceptions=True)

    found = with_producer(use, redis_server.url, partitions=4)

    assert [PartitionsChanged] * 4 == [type(error) for error in found]
    assert all("jobs has 1 partitions" in str(error) for error in found)
    assert ["id-0"] == ids(redis_server.url)


def test_without_a_spool_each_task_is_told_and_a_later_append_finds_the_server_again(valkey):
    async def use(producer):
        await append(producer, 0)
        valkey.kill()
        try:
            away = await asyncio.gather(*(append(producer, n) for n in range(1, 4)), return_exceptions=True)
        finally:
            valkey.start()  # in this thread: an embedded server ends with the one that started it
        return away, await asyncio.gather(*(append(producer, n) for n in range(1, 4)))

    away, positions = with_producer(use, valkey.url)

    assert [RedisUnavailable] * 3 == [type(error) for error in away]
    assert sorted(positions) == positions
    assert [f"id-{n}" for n in range(4)] == ids(valkey.url)


def test_a_task_that_is_canceled_neither_loses_nor_doubles_anything(redis_server, redis):
    async def use(producer):
        await append(producer, 0)
        blocked = redis.client_id()
        redis.client_pause(600_000, all=False)  # writes wait
        try:
            sent = asyncio.create_task(append(producer, 1))
            await until(lambda: any(one["cmd"].startswith("eval") for one in clients(redis, blocked)))
            queued, other = asyncio.create_task(append(producer, 2)), asyncio.create_task(append(producer, 3))
            await asyncio.sleep(0)
            sent.cancel()
            queued.cancel()
            await asyncio.wait([sent, queued])
        finally:
            redis.client_unpause()
        return await other, await append(producer, 1)

    after, again = with_producer(use, redis_server.url)

    assert again < after
    assert ["id-0", "id-1", "id-3"] == ids(redis_server.url)


def clients(redis, own):
    return [one for one in redis.client_list() if int(one["id"]) != own]


def test_replies_that_are_lost_double_nothing(redis_server, redis):
    at = redis.connection_pool.connection_kwargs
    with LossyProxy(redis_server.url, 0.03, 7) as proxy:
        url = f"redis://:{at.get('password') or ''}@127.0.0.1:{proxy.port}/0"

        async def use(producer):
            async def task(number):
                for n in range(20):
                    await append(producer, f"{number}-{n}", subject=f"job/{number}")
                    await asyncio.sleep(0)

            await asyncio.gather(*(task(number) for number in range(20)))
            for n in range(300):
                await append(producer, n)

        with_producer(use, url)

        assert proxy.lost > 2
    expected = [*(f"id-{number}-{n}" for number in range(20) for n in range(20)), *(f"id-{n}" for n in range(300))]
    assert Counter(dict.fromkeys(expected, 1)) == Counter(ids(redis_server.url))


def test_an_append_that_no_replica_confirmed_is_an_error(redis_server):
    async def use(producer):
        with pytest.raises(NotReplicated, match="0 of 1"):
            await append(producer, 1)

    with_producer(use, redis_server.url, durability="replicas:1", timeout=0.5)

    assert ["id-1"] == ids(redis_server.url)


@pytest.fixture(params=[Cluster, SentinelPair])
def topology(request, tmp_path):
    servers = request.param(tmp_path / "redis")
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


def test_a_cluster_and_a_sentinel_are_reached_by_their_urls_and_replicas_confirm(topology):
    replicas = isinstance(topology, SentinelPair)

    async def use(producer):
        return await asyncio.gather(*(append(producer, n, subject=f"job/{n}") for n in range(200)))

    positions = with_producer(
        use, topology.url, partitions=6, durability="replicas:1" if replicas else "server", timeout=10
    )

    assert 200 == len(positions)
    with Producer(topology.url, partitions=6) as producer:
        assert positions == producer.append_events(event(n, subject=f"job/{n}") for n in range(200))


def test_events_wait_in_the_spool_while_redis_is_away_and_go_in_order_when_it_is_back(away, tmp_path):
    spool = Spool(tmp_path)

    async def use(producer):
        positions = [await append(producer, n) for n in range(30)]
        with pytest.raises(RedisUnavailable):
            await producer.flush()
        away.start()
        await until(lambda: not spool.pending)
        return [*positions, await append(producer, 30)]

    *waited, after = with_producer(use, away.url, spool=tmp_path)

    assert [None] * 30 == waited
    assert after is not None
    assert [f"id-{n}" for n in range(31)] == ids(away.url)


def test_closing_sends_what_waits(away, tmp_path):
    async def use():
        producer = AsyncProducer(away.url, spool=tmp_path)
        await append(producer, 1)
        away.start()
        await producer.aclose(flush_seconds=30)

    asyncio.run(use())

    assert ["id-1"] == ids(away.url)


def test_a_spool_that_fails_while_redis_is_away_is_an_error(away, tmp_path):
    async def use(producer):
        (tmp_path / "spool").rename(tmp_path / "elsewhere")
        (tmp_path / "spool").write_text("")
        found = await asyncio.gather(*(append(producer, n) for n in range(3)), return_exceptions=True)
        (tmp_path / "spool").unlink()
        return found

    assert [SpoolFailed] * 3 == [type(error) for error in with_producer(use, away.url, spool=tmp_path / "spool")]


def test_content_is_archived_large_content_as_a_blob(valkey, tmp_path):
    large = "é" * 400_000

    async def use(producer):
        return await asyncio.gather(
            producer.archive("small", "https://example.org", {"scraper_id": "news"}, id="small"),
            producer.archive(large, None, id="large"),
            producer.archive(b"\xff\x00", None, scraper_id="pdf", id="bytes"),
        )

    positions = with_producer(use, valkey.url, blobs=tmp_path)
    found = {one.event.id: (one.position, json.loads(one.event.data)) for one in recorded(valkey.url, CONTENT)}

    assert positions == [found[id][0] for id in ("small", "large", "bytes")]
    assert ("small", "news") == (found["small"][1]["content"], found["small"][1]["scraper_id"])
    assert ("base64", "pdf") == (found["bytes"][1]["encoding"], found["bytes"][1]["scraper_id"])
    blob = found["large"][1]["content"]
    assert large.encode() == Blobs(tmp_path).get(blob["sha256"], blob["size"])


def test_large_content_without_a_blob_store_and_with_one_that_fails_is_an_error(valkey, tmp_path):
    (tmp_path / "file").write_text("")

    async def use(producer):
        await producer.archive("x" * 300_000, None)

    with pytest.raises(InvalidSetting, match="PLAYHEAD_BLOB_DIR"):
        with_producer(use, valkey.url)
    with pytest.raises(StoreUnavailable):
        with_producer(use, valkey.url, blobs=tmp_path / "file" / "blobs")
    assert [] == recorded(valkey.url, CONTENT)


def test_a_payload_of_50_megabytes_is_appended_as_it_is(valkey):
    data = {
        "text": "é\n" * 10_000_000,
        "numbers": list(range(1_000_000)),
        "more": [{"a": {"b": [n]}} for n in range(99)],
    }

    async def use(producer):
        made = await producer.append("job.completed", subject="job/1", data=data, id="made")
        (own,) = recorded(valkey.url)
        again = await producer.append_events([new_event("job.completed", subject="job/1", data=own.event.data, id="2")])
        return made, *again

    first, second = with_producer(use, valkey.url, timeout=60)

    assert first < second
    made, again = recorded(valkey.url)
    assert data == json.loads(made.event.data)
    assert made.event.data == again.event.data
    assert len(made.event.data) > 37_000_000


def test_a_producer_made_outside_of_a_loop_works_in_one_loop_after_the_other(valkey):
    producer = AsyncProducer(valkey.url)

    for number in range(3):
        asyncio.run(append(producer, number))
    asyncio.run(producer.aclose())
    asyncio.run(append(producer, 3))
    asyncio.run(producer.aclose())

    assert [f"id-{n}" for n in range(4)] == ids(valkey.url)


def test_a_forked_child_goes_on_with_its_parents_producer(valkey, tmp_path):
    done = subprocess.run([sys.executable, "-c", FORKED, valkey.url, str(tmp_path)], check=False, timeout=60)

    assert 0 == done.returncode
    assert [f"{name}-{n}" for name in ("parent", "child") for n in range(20)] == ids(valkey.url)


def test_settings_come_from_the_environment(valkey, monkeypatch):
    monkeypatch.delenv(ProducerVariable.REDIS_URL, raising=False)
    with pytest.raises(InvalidSetting, match="REDIS_URL"):
        AsyncProducer.from_environment()
    monkeypatch.setenv(ProducerVariable.REDIS_URL, valkey.url)
    monkeypatch.setenv(ProducerVariable.PARTITIONS, "3")

    async def use():
        async with AsyncProducer.from_environment() as producer:
            await append(producer, 1)
            return producer.partitions

    assert 3 == asyncio.run(use())


def test_what_cannot_be_used_is_refused_at_once(valkey):
    with pytest.raises(InvalidSetting, match="without TLS"):
        AsyncProducer("redis://redis.example.org")
    with pytest.raises(InvalidSetting, match="pass the URL"):
        AsyncProducer(AsyncRedis())
    with pytest.raises(InvalidSetting, match="replicas:N"):
        AsyncProducer(valkey.url, durability="always")


def test_each_task_has_a_send_span_below_its_own_span(valkey):
    done = subprocess.run([sys.executable, "-c", TRACED, valkey.url], stdout=subprocess.PIPE, check=True, timeout=60)
    spans = json.loads(done.stdout)
    contexts = {one.event.id: one.event.traceparent for one in recorded(valkey.url)}

    assert {(str(n), f"caller {n}") for n in range(3)} == {
        (id, parent) for name, id, _, parent in spans if name == "send jobs"
    }
    assert contexts == {id: context for name, id, context, _ in spans if name == "send jobs"}


@pytest.mark.parametrize("spooled", [False, True])
def test_a_thousand_tasks_append_while_redis_stops_and_starts(redis_server, tmp_path, wait_until, spooled):
    """Nothing is lost, doubled or out of order, and no event loop is blocked for longer than 20 ms.

    That is told by what the thread of the loop computed between two looks at its sockets, and by what it did that may
    block: neither depends on what else the machine has to do.
    """
    command = [sys.executable, "-m", "tests.integration.appending_program", redis_server.url, str(tmp_path) * spooled]
    root = Path(__file__).parents[2]

    def length():
        with plain_client(redis_server.url) as client:
            return client.xlen(JOBS.key)

    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root) as program:
        wait_until(lambda: length() > 3000)
        redis_server.kill()
        assert "away" == program.stdout.readline().strip()
        redis_server.start()
        before = length()
        wait_until(lambda: length() > before + 3000)
        report = json.loads(program.communicate("", timeout=120)[0])

    found = recorded(redis_server.url)
    numbers = {f"job/{task}": [] for task in range(1000)}
    for one in found:
        numbers[one.event.subject].append(json.loads(one.event.data)["n"])
    assert {f"job/{task}": list(range(count)) for task, count in enumerate(report["acknowledged"])} == numbers
    assert list(range(1, len(found) + 1)) == [one.sequence for one in found]
    assert [] == report["blocking"]
    assert report["longest"] < 20


def test_a_program_that_ends_at_once_ends(valkey, tmp_path):
    """Whether it appended or not: no thread that reads the domains is cut short while it imports."""
    program = """
import asyncio, sys
from playhead import AsyncProducer
from redis.asyncio import Redis

async def main(use):
    redis = Redis.from_url(sys.argv[1])
    await redis.ping()
    producer = AsyncProducer(sys.argv[1], spool=sys.argv[2])
    if use == "canceled":
        task = asyncio.create_task(producer.append("job.completed", subject="job/1", data={}))
        await asyncio.sleep(0)
        task.cancel()
    elif use == "closed":
        await producer.aclose()

asyncio.run(main(sys.argv[3]))
"""
    for use in ("unused", "closed", "canceled"):
        command = [sys.executable, "-c", program, valkey.url, str(tmp_path), use]
        assert 0 == subprocess.run(command, check=False, timeout=60).returncode
