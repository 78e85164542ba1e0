"""The number of partitions of a stream: recorded once, and the same for everybody."""

import asyncio

import pytest

from playhead import subscribe
from playhead.checks.consumers import check_status
from playhead.checks.status import read_status
from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.appending.producer import Producer
from playhead.streams.appending.spool import Spool
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import KeyDamaged, PartitionsChanged, RedisUnavailable
from playhead.streams.names import STREAMS
from playhead.streams.partitions import Partition, partition_of
from playhead.streams.redis.partition_counts import PartitionCounts
from tests.support.events import job
from tests.support.servers import plain_client


def jobs(*numbers: int):
    return [job(number) for number in numbers]


def placed(redis) -> dict[str, set[int]]:
    """The partitions in which each subject stands."""
    found: dict[str, set[int]] = {}
    for number in range(64):
        for _, fields in redis.xrange(Partition("jobs", number).key):
            found.setdefault(fields[b"ce_subject"].decode(), set()).add(number)
    return found


def right(*numbers: int, count: int) -> dict[str, set[int]]:
    return {one.subject: {partition_of("jobs", one.subject, count).number} for one in jobs(*numbers)}


def test_the_first_who_appends_records_the_number_and_everybody_else_takes_it(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as first, Producer(redis_server.url) as second:
        first.append_events(jobs(1, 2, 3))
        second.append_events(jobs(*range(4, 20)))

    assert {b"jobs": b"4"} == redis.hgetall(STREAMS)
    assert right(*range(1, 20), count=4) == placed(redis)


def test_nobody_needs_to_set_it(redis_server, redis):
    with Producer(redis_server.url) as producer:
        producer.append_events(jobs(1, 2, 3))

    assert {b"jobs": b"1"} == redis.hgetall(STREAMS)
    assert right(1, 2, 3, count=1) == placed(redis)


def test_each_stream_has_its_own_number(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as producer:
        producer.append_events(jobs(1))
    with Producer(redis_server.url, partitions=2) as producer:
        producer.append("note.submitted", subject="note/1", data={})
    with Producer(redis_server.url) as producer:
        producer.append_events(jobs(*range(1, 20)))
        for number in range(20):
            producer.append("note.submitted", subject=f"note/{number}", data={})

    assert {b"jobs": b"4", b"notes": b"2"} == redis.hgetall(STREAMS)
    assert right(*range(1, 20), count=4) == placed(redis)
    assert redis.exists(Partition("notes", 1).key)
    assert not redis.exists(Partition("notes", 2).key)


def test_a_producer_with_another_number_appends_nothing_to_partitions_that_nobody_reads(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as producer:
        producer.append_events(jobs(1))
    elsewhere = [one for one in jobs(*range(50)) if partition_of("jobs", one.subject, 8).number >= 4]

    with (
        Producer(redis_server.url, partitions=8) as other,
        pytest.raises(PartitionsChanged, match=r"jobs has 4 partitions.*is 8.*set it to 4"),
    ):
        other.append_events(elsewhere)

    async def use():
        async with AsyncProducer(redis_server.url, partitions=8) as other:
            return await asyncio.gather(*(other.append_events([one]) for one in elsewhere), return_exceptions=True)

    assert {PartitionsChanged} == {type(error) for error in asyncio.run(use())}
    assert right(1, count=4) == placed(redis)


def test_a_spool_of_a_producer_with_another_number_is_kept(redis_server, redis, tmp_path, wait_until, caplog):
    with Producer(redis_server.url, partitions=4) as producer:
        producer.append_events(jobs(1))
    Spool(tmp_path).add(jobs(*range(2, 20)))
    with Producer(redis_server.url, partitions=8, spool=tmp_path):
        wait_until(lambda: "set it to 4" in caplog.text)
    assert right(1, count=4) == placed(redis)

    with Producer(redis_server.url, spool=tmp_path):
        wait_until(lambda: not Spool(tmp_path).pending)

    assert right(*range(1, 20), count=4) == placed(redis)


def test_events_wait_in_the_spool_while_nobody_can_say_where_they_belong(module_redis, tmp_path, wait_until):
    with plain_client(module_redis.url) as client:
        client.flushall()
    with Producer(module_redis.url, partitions=4) as producer:
        producer.append_events(jobs(1))
    module_redis.stop()

    async def use():
        async with AsyncProducer(module_redis.url, spool=tmp_path) as other:
            return await asyncio.gather(*(other.append_events([one]) for one in jobs(*range(2, 10))))

    with Producer(module_redis.url, spool=tmp_path) as producer:
        assert [None] * 9 == producer.append_events(jobs(*range(10, 19)))
        assert [[None]] * 8 == asyncio.run(use())
        module_redis.start()
        wait_until(lambda: not Spool(tmp_path).pending)

    with plain_client(module_redis.url) as client:
        assert right(*range(1, 19), count=4) == placed(client)


def test_the_record_is_made_from_what_an_earlier_version_noted(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as producer:
        producer.append_events(jobs(1))
    redis.delete(STREAMS)
    with Producer(redis_server.url) as other:
        other.append_events(jobs(*range(2, 20)))

    assert {b"jobs": b"4"} == redis.hgetall(STREAMS)
    assert right(*range(1, 20), count=4) == placed(redis)


def test_a_producer_that_runs_on_records_its_number_again_when_redis_lost_everything(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as producer, Producer(redis_server.url) as second:
        producer.append_events(jobs(1))
        second.append_events(jobs(2))
        redis.flushall()
        second.append_events(jobs(*range(3, 20)))

    assert {b"jobs": b"4"} == redis.hgetall(STREAMS)
    assert right(*range(3, 20), count=4) == placed(redis)


def test_a_producer_that_started_with_nothing_to_ask_splits_no_stream(redis_server, redis):
    """Redis lost its state, and a producer that does not know the log records the default before anybody else."""
    with Producer(redis_server.url, partitions=4) as producer, Producer(redis_server.url) as running:
        producer.append_events(jobs(1))
        running.append_events(jobs(2))
    with Producer(redis_server.url) as running:
        running.append_events(jobs(3))
        redis.flushall()
        with Producer(redis_server.url) as new:
            new.append_events(jobs(4))
        for number in range(5, 20):
            with pytest.raises(PartitionsChanged, match=r"jobs had 4 partitions when this process started.*says 1"):
                running.append_events(jobs(number))

    assert right(4, count=1) == placed(redis)


def test_an_append_costs_one_round_trip(redis_server, redis):
    with Producer(redis_server.url) as producer:
        producer.append_events(jobs(1))
        before = redis.info("commandstats")
        for number in range(2, 12):
            producer.append_events(jobs(number))
        after = redis.info("commandstats")
    called = {
        name: stats["calls"] - before.get(name, {"calls": 0})["calls"]
        for name, stats in after.items()
        if name in {"cmdstat_evalsha", "cmdstat_hsetnx", "cmdstat_eval"}
    }

    assert 10 == called["cmdstat_evalsha"]
    assert 0 == called.get("cmdstat_hsetnx", 0)


META, IDS = Partition("jobs", 0).key + ":meta", Partition("jobs", 0).key + ":ids:"
DAMAGES = {
    "partitions that are no number": (META, lambda redis: redis.hset(META, "partitions", "many")),
    "no partitions at all": (META, lambda redis: redis.hset(META, "partitions", 0)),
    "a sequence that is no number": (META, lambda redis: redis.hset(META, "sequence", "x")),
    "a sequence that was set back": (META, lambda redis: redis.hset(META, "sequence", "1")),
    "a string in place of :meta": (META, lambda redis: (redis.delete(META), redis.set(META, "x"))),
    "a string in place of ids": (
        IDS,
        lambda redis: [(redis.delete(IDS + each), redis.set(IDS + each, "x")) for each in "01"],
    ),
    "a generation that is no number": (IDS, lambda redis: [redis.hset(IDS + each, "", "x") for each in "01"]),
    "an id without position": (
        IDS,
        lambda redis: [redis.hset(IDS + each, jobs(9)[0].id, "x") for each in "01" if redis.exists(IDS + each)],
    ),
    "a record that is no number": (STREAMS, lambda redis: redis.hset(STREAMS, "jobs", "x")),
    "a record out of range": (STREAMS, lambda redis: redis.hset(STREAMS, "jobs", "99999999999")),
    "a string in place of the record": (STREAMS, lambda redis: (redis.delete(STREAMS), redis.set(STREAMS, "x"))),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_append_refuses_to_go_on_with_a_damaged_key_and_names_it(redis_server, redis, damage):
    with Producer(redis_server.url) as producer:
        producer.append_events(jobs(1, 2, 3))
    key, make = DAMAGES[damage]
    make(redis)
    before = redis.xlen(Partition("jobs", 0).key)

    with Producer(redis_server.url) as other, pytest.raises(KeyDamaged) as error:
        other.append_events(jobs(9))

    assert isinstance(error.value, RedisUnavailable)  # a spool keeps events until somebody has mended it
    assert key in str(error.value)
    assert "`playhead doctor`" in str(error.value)
    assert before == redis.xlen(Partition("jobs", 0).key)


@pytest.mark.parametrize("damage", DAMAGES)
def test_doctor_and_status_name_a_damaged_key_and_what_to_do(redis_server, redis, damage):
    with Producer(redis_server.url) as producer:
        producer.append_events(jobs(9, 1, 2, 3))
    key, make = DAMAGES[damage]
    if damage == "an id without position":
        pytest.skip("only `append` of this id looks at it")
    make(redis)

    status = read_status(redis)
    found = [check for check in check_status(redis, status) if check.result == "fail"]

    assert not status.caught_up
    assert any(key in problem for problem in status.damaged)
    assert any(key in check.found and "`redis-cli" in check.advice for check in found)


def test_doctor_names_a_sequence_below_that_of_an_event_if_all_beside_it_was_removed(redis_server, redis):
    with Producer(redis_server.url) as producer:
        producer.append_events(jobs(1, 2, 3))
    redis.delete(META)
    (problem,) = read_status(redis).damaged

    assert f"sequence of {META} is 0, lower than that of an event in the stream" == problem


def test_doctor_names_events_in_partitions_that_there_are_not(redis_server, redis):
    with Producer(redis_server.url, partitions=8) as producer:
        producer.append_events(jobs(*range(20)))
    redis.hset(STREAMS, "jobs", 4)
    found = [check.found for check in check_status(redis, read_status(redis)) if check.result == "fail"]

    assert any("jobs:7} holds" in each and "jobs has 4" in each for each in found)


def test_status_asks_once_for_the_numbers_of_all_streams(redis_server, redis):
    for stream in installed().streams:
        redis.hset(STREAMS, stream, 1)
    before = redis.info("commandstats").get("cmdstat_hmget", {"calls": 0})["calls"]
    PartitionCounts(lambda: redis).read(installed().streams)

    assert before + 1 == redis.info("commandstats")["cmdstat_hmget"]["calls"]


def test_status_refuses_a_number_that_is_set_and_differs(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as producer:
        producer.append_events(jobs(1))

    assert {"jobs/0", "jobs/1", "jobs/2", "jobs/3"} == {
        one.partition for one in read_status(redis).consumers if one.partition.startswith("jobs/")
    }
    with pytest.raises(PartitionsChanged, match=r"jobs has 4 partitions.*is 8"):
        read_status(redis, 8)


def test_a_subscription_takes_the_number_from_the_record(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as producer:
        producer.append_events(jobs(*range(20)))
    with subscribe(redis_server.url, log=None, stream="jobs") as subscription:
        found = {next(subscription).event.subject for _ in range(20)}

    assert {f"job/{number}" for number in range(20)} == found
