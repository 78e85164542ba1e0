"""A Redis whose replies are lost, that is away for a while, or whose disk is full."""

import os
import random
import signal
from collections import Counter
from contextlib import contextmanager, suppress

import pytest
from redis import Redis
from redis.exceptions import RedisError

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import RedisUnavailable
from playhead.streams.events import new_event
from playhead.streams.partitions import Partition
from tests.faults.consumer_process import WORKER
from tests.faults.effects import KINDS
from tests.faults.harness import Stopwatch
from tests.faults.reports import Harm, Report
from tests.support.disks import small_disk
from tests.support.events import job
from tests.support.pipeline import JOBS
from tests.support.proxies import LossyProxy
from tests.support.servers import answers, make_server, plain_client

SHARE = 0.02
CONTROL_SHARE, CALM = 0.1, 10
NOTES = Partition("notes", 0)
TOGETHER = ("log", "json-files", "jobs")


@contextmanager
def lossy(harness, seed, share=SHARE, calm=0):
    """A proxy that loses replies, with its URL."""
    at = harness.pipeline.redis.connection_pool.connection_kwargs
    with LossyProxy(harness.pipeline.server.url, share, seed, calm) as proxy:
        proxy.url = f"redis://:{at.get('password') or ''}@127.0.0.1:{proxy.port}/0"
        proxy.client = Redis(port=proxy.port, password=at.get("password"))  # sends again by itself, as it comes
        yield proxy


def harm_of(found: Counter[str], expected: list[str]) -> Harm:
    return Harm(
        len(set(expected) - found.keys()), sum(n - 1 for n in found.values()), len(found.keys() - set(expected))
    )


def test_replies_lost_to_a_consumer(harness, report, count, seed, any_sink):
    sink = any_sink
    total = count(300, 3_000)
    lost, harm = consume_without_some_replies(harness, sink, seed, total)
    control_harm = read_as_a_plain_group(harness, seed, 300)

    report(
        Report(
            f"one in {1 / SHARE:.0f} replies of Redis lost to a consumer: of reads, acknowledgements, leases",
            sink,
            "what Redis did unseen is done once",
            lost,
            harm,
            "XREADGROUP and XACK sent again by the client",
            control_harm,
            None,
            seed,
            harness.name,
        )
    )


def consume_without_some_replies(harness, sink, seed, total) -> tuple[int, Harm]:
    pipeline, chance = harness.begin(), random.Random(seed)
    events = [KINDS[sink].make(number, str(chance.randrange(100))) for number in range(total)]
    with lossy(harness, seed) as proxy:
        pid = harness.spawn(sink, redis=proxy.url, batch=5, lease=1.0)
        for start in range(0, total, 50):
            pipeline.append(*events[start : start + 50])
        harness.caught_up(sink)
        assert harness.finish(pid, signal.SIGTERM) == 0
    return proxy.lost, harness.audit(sink, events)


def read_as_a_plain_group(harness, seed, total) -> Harm:
    """What a consumer makes of it that never looks at what is pending for it."""
    pipeline = harness.begin()
    pipeline.append(*[job(number) for number in range(total)])
    pipeline.redis.xgroup_create(JOBS.key, "plain", "0")
    found: Counter[str] = Counter()
    with lossy(harness, seed, CONTROL_SHARE, CALM) as proxy, proxy.client as client:
        while reply := client.xreadgroup("plain", "one", {JOBS.key: ">"}, count=2):
            for entry_id, entry in dict(reply)[JOBS.key.encode()]:
                found[entry[b"ce_id"].decode()] += 1
                client.xack(JOBS.key, "plain", entry_id)
    return harm_of(found, [f"e{number}" for number in range(total)])


def test_replies_lost_to_a_worker(harness, report, count, seed):
    total = count(150, 3_000)
    expected = [f"n{number}" for number in range(total)]
    pipeline = harness.begin()
    with lossy(harness, seed) as proxy:
        pid = harness.spawn(WORKER, redis=proxy.url, lease=1.0)
        pipeline.append(*[new_event("note.submitted", subject=f"note/{one}", data={}, id=one) for one in expected])
        while left := left_to_work_on(pipeline.redis):
            pipeline.wait_until(lambda left=left: left_to_work_on(pipeline.redis) != left)
        assert harness.finish(pid, signal.SIGTERM) == 0
    harm = harm_of(outcomes(pipeline.redis), expected)
    control_harm = work_naively(harness, seed, 200)

    report(
        Report(
            f"one in {1 / SHARE:.0f} replies of Redis lost to a worker: of takes, renewals, outcomes",
            "outcomes",
            "one outcome of each event",
            proxy.lost,
            harm,
            "XREADGROUP, XADD and XACK sent again by the client",
            control_harm,
            None,
            seed,
            harness.name,
        )
    )


def outcomes(redis) -> Counter[str]:
    found = (entry for _, entry in redis.xrange(NOTES.key) if entry[b"ce_type"] == b"note.enriched")
    return Counter(entry[b"ce_causationid"].decode() for entry in found)


def left_to_work_on(redis) -> list[object]:
    """How far the worker is, empty once it has taken and finished every entry."""
    stream = redis.xinfo_stream(NOTES.key)
    groups = redis.xinfo_groups(NOTES.key)
    if groups and all((one["pending"], one["last-delivered-id"]) == (0, stream["last-generated-id"]) for one in groups):
        return []
    return [stream["entries-added"], *((one["pending"], one["last-delivered-id"]) for one in groups)]


def work_naively(harness, seed, total) -> Harm:
    pipeline = harness.begin()
    expected = [f"n{number}" for number in range(total)]
    pipeline.append(*[new_event("note.submitted", subject="note/1", data={}, id=one) for one in expected])
    pipeline.redis.xgroup_create(NOTES.key, "plain", "0")
    with lossy(harness, seed, CONTROL_SHARE, CALM) as proxy, proxy.client as client:
        for _ in range(total):
            for _, entries in client.xreadgroup("plain", "one", {NOTES.key: ">"}, count=1):
                for entry_id, entry in entries:
                    if entry[b"ce_type"] == b"note.submitted":
                        client.xadd(NOTES.key, {"ce_type": "note.enriched", "ce_causationid": entry[b"ce_id"]})
                    client.xack(NOTES.key, "plain", entry_id)
    return harm_of(outcomes(pipeline.redis), expected)


def test_replies_lost_to_a_producer(harness, report, count, seed):
    total = count(500, 5_000)
    expected = [f"id-{number}" for number in range(total)]
    pipeline = harness.begin()
    with lossy(harness, seed) as proxy, Producer(proxy.url) as producer:
        for one in expected:
            producer.append("job.completed", subject=f"job/{one[-1]}", data={}, id=one)
    harm = harm_of(in_stream(pipeline.redis), expected)
    pipeline = harness.begin()
    with lossy(harness, seed, CONTROL_SHARE, CALM) as other, other.client as client:
        for one in expected[:500]:
            client.xadd(JOBS.key, {"ce_id": one})

    assert proxy.lost > 0
    report(
        Report(
            f"one in {1 / SHARE:.0f} replies of Redis lost to a producer",
            "stream",
            "each event once",
            proxy.lost,
            harm,
            "XADD sent again by the client",
            harm_of(in_stream(pipeline.redis), expected[:500]),
            None,
            seed,
            harness.name,
        )
    )


def in_stream(redis) -> Counter[str]:
    return Counter(entry[b"ce_id"].decode() for _, entry in redis.xrange(JOBS.key))


@pytest.mark.parametrize("way", ["frozen", "killed"])
def test_redis_is_away_for_a_while(harness, report, count, seed, way):
    seconds = count(1, 30)
    harm, recovery, _ = be_away(harness, way, seconds)
    _, _, control_harm = be_away(harness, way, 1, spool=False)

    report(
        Report(
            f"Redis {way} for up to 30 s under load, three consumers and a producer with a spool",
            "log, json-files, jobs",
            "no process ends, nothing is lost, the order is kept",
            1,
            harm,
            "no spool",
            control_harm,
            recovery,
            seed,
            harness.name,
        )
    )


def test_redis_is_killed_again_and_again(harness, report, count, seed):
    runs = count(2, 50)
    harm, recovery, _ = be_away(harness, "killed", 0, runs)
    _, _, control_harm = be_away(harness, "killed", 0, spool=False)

    report(
        Report(
            "kill -9 of Redis under load, three consumers and a producer with a spool",
            "log, json-files, jobs",
            "no process ends, nothing is lost, the order is kept",
            runs,
            harm,
            "no spool",
            control_harm,
            recovery,
            seed,
            harness.name,
        )
    )


def be_away(harness, way, seconds, times=1, *, spool=True) -> tuple[Harm, float, Harm]:
    """What the sinks lack, how long recovery took, and what the producer had to refuse."""
    pipeline, watch = harness.begin(), Stopwatch()
    pids = [harness.spawn(sink) for sink in TOGETHER]
    refused, kept = 0, []
    directory = pipeline.directory / "spool" if spool else None
    with Producer(harness.server.url, spool=directory, timeout=0.2) as producer:

        def append() -> None:
            nonlocal refused
            one = job(len(kept) + refused, f"job/{len(kept) % 20}")
            try:
                producer.append_events([one])
                kept.append(one)
            except RedisUnavailable:
                refused += 1

        for _ in range(times):
            for _ in range(50):
                append()
            stop, go_on = ways(harness, way)
            stop()
            watch.start()
            append()
            while watch.elapsed < seconds:
                append()
            go_on()
            watch.start()
            producer.flush()
            for _ in range(50):
                append()
            producer.flush()
            for sink in TOGETHER:
                harness.caught_up(sink)
            watch.stop()
    harness.stop(*pids)
    harm = sum((harness.audit(sink, kept) for sink in TOGETHER if spool), Harm())
    return harm, watch.longest, Harm(lost=refused)


def ways(harness, way):
    server = harness.server
    if way == "killed":
        return server.kill, server.start
    pid = plain_client(server.url).info("server")["process_id"]
    return lambda: os.kill(pid, signal.SIGSTOP), lambda: os.kill(pid, signal.SIGCONT)


def test_the_disk_of_redis_is_full(harness, report, seed, tmp_path):
    name = harness.name
    harm = fill_disk_of_redis(name, tmp_path / "disk", tmp_path / "spool")
    control_harm = fill_disk_of_redis(name, tmp_path / "other", None)

    report(
        Report(
            "the disk of Redis is full, and has room again",
            "stream",
            "what was acknowledged stays, the rest waits in the spool",
            1,
            harm,
            "no spool",
            control_harm,
            None,
            seed,
            name,
        )
    )


def fill_disk_of_redis(name, disk, spool) -> Harm:
    """Append until the disk is full and a while longer, make room, start what ended, and look what is there."""
    appended: list[str] = []
    with small_disk(disk, 12) as make_room:
        server = make_server(name, disk)
        server.start()
        try:
            with Producer(server.url, spool=spool, timeout=1) as producer:
                after = 0
                while after < 20:
                    event = job(len(appended), result="x" * 100_000)
                    appended.append(event.id)
                    with suppress(RedisUnavailable, RedisError):
                        producer.append_events([event])
                    after += after > 0 or not takes_writes(server.url)
                make_room()
                if not answers(server.url):
                    server.start()
                if spool:
                    producer.flush()
            with plain_client(server.url) as client:
                return harm_of(in_stream(client), appended)
        finally:
            server.stop()


def takes_writes(url) -> bool:
    with suppress(RedisError), plain_client(url) as client:
        return bool(client.set("probe", "x" * 1000))
    return False
