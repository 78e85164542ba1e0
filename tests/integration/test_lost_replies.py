"""A client that gets no reply sends again: with the append script that adds nothing."""

from collections import Counter
from contextlib import contextmanager

from redis import Redis

from playhead.streams.appending.producer import Producer
from playhead.streams.events import new_event
from playhead.streams.partitions import Partition
from tests.support.proxies import LossyProxy

JOBS = Partition("jobs", 0)
COUNT = 1000


@contextmanager
def lossy(redis_server, redis, seed, share, calm=0):
    password = redis.connection_pool.connection_kwargs.get("password") or ""
    with LossyProxy(redis_server.url, share, seed, calm) as proxy:
        proxy.url = f"redis://:{password}@127.0.0.1:{proxy.port}/0"
        yield proxy


def counts(redis):
    return Counter(fields[b"ce_id"].decode() for _, fields in redis.xrange(JOBS.key))


def test_no_event_is_lost_or_doubled_when_replies_are_lost(redis_server, redis, seed):
    with lossy(redis_server, redis, seed, 0.03) as proxy, Producer(proxy.url) as producer:
        for number in range(COUNT):
            producer.append("job.completed", subject=f"job/{number % 7}", data={}, id=f"id-{number}")
    found = counts(redis)

    assert proxy.lost > 5, f"seed {seed}"
    assert Counter({f"id-{number}": 1 for number in range(COUNT)}) == found, f"seed {seed}"


def test_no_event_is_lost_doubled_or_reordered_when_replies_to_batches_are_lost_and_a_spool_takes_over(
    redis_server, redis, seed, tmp_path
):
    spooled = 0
    with lossy(redis_server, redis, seed, 0.1) as proxy, Producer(proxy.url, spool=tmp_path) as producer:
        for start in range(0, COUNT * 5, 20):
            positions = producer.append_events(
                [new_event("job.completed", subject="job/1", data={}, id=f"id-{n}") for n in range(start, start + 20)]
            )
            spooled += positions.count(None)
        producer.flush()
    found = [fields[b"ce_id"].decode() for _, fields in redis.xrange(JOBS.key)]

    assert proxy.lost > 0 < spooled, f"seed {seed}"
    assert [f"id-{number}" for number in range(COUNT * 5)] == found, f"seed {seed}"


def test_the_control_a_bare_xadd_is_doubled_by_the_client(redis_server, redis, seed):
    password = redis.connection_pool.connection_kwargs.get("password")
    with lossy(redis_server, redis, seed, 0.03, calm=10) as proxy, Redis(port=proxy.port, password=password) as client:
        for number in range(COUNT):
            client.xadd(JOBS.key, {"ce_id": f"id-{number}"})
    found = counts(redis)

    assert sum(found.values()) > COUNT == len(found), f"seed {seed}"
