import asyncio

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis

from playhead.consumers.reading.trimming import trim
from playhead.embedded.servers import embedded_servers
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position

JOBS = Partition("jobs", 0)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with embedded_servers(tmp_path_factory.mktemp("servers"), postgres=False) as servers:
        yield servers.redis_url


@pytest.fixture
def redis(url):
    with Redis.from_url(url) as client:
        client.flushall()
        for number in range(1, 1001):
            client.xadd(JOBS.key, {"body": "x"}, id=f"1000-{number}")
        for group in ("log", "jobs"):
            client.xgroup_create(JOBS.key, group, id="0")
        yield client


def ask(url, function, groups):
    async def run():
        async with AsyncRedis.from_url(url) as client:
            return await function(client, JOBS, groups)

    return asyncio.run(run())


def test_the_group_that_is_least_far_holds_the_floor(redis, url):
    redis.xgroup_setid(JOBS.key, "log", "1000-9")
    redis.xgroup_setid(JOBS.key, "jobs", "1000-10")

    floor, _ = ask(url, trim, ["log", "jobs"])

    assert (floor.position, floor.held_by) == (Position(1000, 9), "log")


def test_a_pending_entry_holds_the_floor_below_what_was_delivered(redis, url):
    redis.xreadgroup("jobs", "worker", {JOBS.key: ">"}, count=500)
    redis.xgroup_setid(JOBS.key, "log", "1000-1000")

    floor, removed = ask(url, trim, ["log", "jobs"])

    assert (floor.position, removed) == (Position(1000, 1), 0)


def test_a_group_that_does_not_exist_yet_holds_everything(redis, url):
    redis.xgroup_setid(JOBS.key, "log", "1000-1000")
    redis.xgroup_setid(JOBS.key, "jobs", "1000-1000")

    floor, _ = ask(url, trim, ["log", "jobs", "json-files"])

    assert (floor.position, floor.held_by) == (START, "json-files")
    assert redis.xlen(JOBS.key) == 1000


def test_trimming_removes_only_what_every_group_has_and_keeps_the_entry_at_the_floor(redis, url):
    redis.xgroup_setid(JOBS.key, "log", "1000-1000")
    redis.xgroup_setid(JOBS.key, "jobs", "1000-900")

    ask(url, trim, ["log", "jobs"])

    left = [entry_id for entry_id, _ in redis.xrange(JOBS.key)]
    assert len(left) < 1000
    assert {f"1000-{number}".encode() for number in range(900, 1001)} <= set(left)
