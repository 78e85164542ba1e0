"""Appending, against every server there is."""

import json
import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from redis import Redis

from playhead.streams.appending.appender import Appender, AppendSettings
from playhead.streams.appending.producer import Producer
from playhead.streams.entries import RawEntry, decode
from playhead.streams.errors import InvalidEvent, PartitionsChanged, RedisUnavailable
from playhead.streams.events import new_event
from playhead.streams.partitions import Partition, partition_of

JOBS = Partition("jobs", 0)
HOSTILE = [
    "",
    " ",
    "NaN",
    "\x00 NUL \x1f",
    "\r\n * MULTI \r\n",
    "'; DROP TABLE jobs; --",
    "../../etc/passwd",
    "日本語 👩‍👩‍👧 e\u0301 \u202e right to left",
    "\ufeff\u2028\u2029\uffff",
    "%s {0} $(id) `id`",
    "9" * 5000,
    "x" * 300_000,
]


@pytest.fixture
def producer(redis_server):
    with Producer(redis_server.url) as producer:
        yield producer


def event(number, subject=None, **attributes):
    return new_event(
        "job.completed", subject=subject or f"job/{number}", data={"number": number}, id=f"id-{number}", **attributes
    )


def entries(redis, partition=JOBS):
    return redis.xrange(partition.key)


def sequences(redis, partition=JOBS):
    return [int(fields[b"ce_sequence"]) for _, fields in entries(redis, partition)]


def recorded(redis, partition=JOBS):
    return [decode(RawEntry(key, [part for pair in fields.items() for part in pair])) for key, fields in entries(redis)]


def test_the_same_id_twice_is_one_event_with_one_position(redis, producer):
    first = producer.append("job.completed", subject="job/1", data={"try": 1}, id="same")
    between = producer.append("job.completed", subject="job/2", data={})
    again = producer.append("job.completed", subject="job/1", data={"try": 2}, id="same")

    assert first == again < between
    assert [1, 2] == sequences(redis)
    assert b'{"try":1}' == entries(redis)[0][1][b"body"]


def test_ids_without_their_memory_would_be_appended_twice(redis, producer):
    """The control: it is the memory of ids, and nothing else, that keeps the second one out."""
    producer.append_events([event(1)])
    redis.delete(f"{JOBS.key}:ids:0", f"{JOBS.key}:ids:1")

    producer.append_events([event(1)])

    assert len(entries(redis)) == 2


def test_an_id_twice_within_a_batch_is_one_event(redis, producer):
    positions = producer.append_events([event(1), event(2), event(1), event(2), event(3)])

    assert positions[0] == positions[2] < positions[1] == positions[3] < positions[4]
    assert [1, 2, 3] == sequences(redis)


def test_any_iterable_of_events_is_a_batch(redis, producer):
    positions = producer.append_events(event(number) for number in range(700))

    assert [one.position for one in recorded(redis)] == positions
    assert [] == producer.append_events(iter(()))


def test_a_generator_is_appended_as_it_is_read_so_that_memory_is_bounded(redis, producer):
    seen: list[int] = []

    def events():
        for number in range(1200):
            seen.append(redis.xlen(JOBS.key))
            yield event(number)

    assert 1200 == len(producer.append_events(events()))
    assert [0] * 500 + [500] * 500 + [1000] * 200 == seen


def test_large_events_of_a_generator_are_appended_8_mib_at_once(redis, producer):
    seen: list[int] = []

    def events():
        for number in range(6):
            seen.append(redis.xlen(JOBS.key))
            yield new_event(
                "job.completed", subject="job/1", data={"job_id": "x" * (3 * 1024 * 1024)}, id=f"id-{number}"
            )

    producer.append_events(events())

    assert [0, 0, 0, 3, 3, 3] == seen


@pytest.mark.parametrize("number", [0, 3, 500, 777])
def test_a_generator_that_raises_or_gives_an_invalid_event_loses_nothing_before_it(redis, producer, number):
    def raising():
        yield from map(event, range(number))
        raise LookupError("source")

    def invalid():
        yield from map(event, range(number))
        yield event(number, subject="\ud800")
        yield event(number + 1)

    with pytest.raises(LookupError) as raised:
        producer.append_events(raising())
    with pytest.raises(InvalidEvent) as refused:
        producer.append_events(invalid())

    assert (
        [f"The first {number} events of the iterator are appended."]
        == raised.value.__notes__
        == refused.value.__notes__
    )
    assert [f"job/{one}" for one in range(number)] == [one.event.subject for one in recorded(redis)]


def test_a_collection_is_appended_whole_or_not_at_all(redis, producer):
    events = [*map(event, range(600)), event(600, subject="\ud800")]

    for batch in (events, tuple(events), dict.fromkeys(range(601), events[-1]).values()):
        with pytest.raises(InvalidEvent):
            producer.append_events(batch)

    assert [] == entries(redis)


def test_an_id_is_remembered_for_one_window_and_forgotten_after_two(redis_server, redis, wait_until):
    def generation():
        return redis.time()[0] // 1

    # Not a producer's to choose: one with another window would wipe what the others remember.
    short = Appender(lambda: Redis.from_url(redis_server.url), AppendSettings(1, 0, 10.0))

    def append(number):
        (position,) = short.append(JOBS, [event(number)])
        return position

    with closing(short):
        kept = None
        for number in range(20):  # a slow machine may miss the second in which the id is sure to be known
            start = generation()
            first = append(number)
            wait_until(lambda start=start: generation() > start)
            again = append(number)
            if generation() == start + 1:
                kept = first, again
                break
        assert kept is not None
        assert kept[0] == kept[1]

        now = generation()
        wait_until(lambda: generation() > now + 1)

        assert append(number) > first


def test_no_producer_chooses_for_how_long_ids_are_remembered(redis_server):
    with pytest.raises(TypeError, match="window"):
        Producer(redis_server.url, window=3600)


def test_threads_get_contiguous_sequences_and_their_own_positions(redis, producer):
    def append(thread):
        return [
            position
            for start in range(0, 200, 20)
            for position in producer.append_events(
                [event(f"{thread}-{number}", subject=f"job/{thread}") for number in range(start, start + 20)]
            )
        ]

    with ThreadPoolExecutor(4) as pool:
        positions = list(pool.map(append, range(4)))

    assert list(range(1, 801)) == sequences(redis)
    for thread, own in enumerate(positions):
        mine = [one for one in recorded(redis) if one.event.subject == f"job/{thread}"]
        assert own == [one.position for one in mine]
        assert [f"id-{thread}-{number}" for number in range(200)] == [one.event.id for one in mine]


def test_threads_that_append_the_same_events_append_each_once(redis, producer, seed):
    def append(thread):
        order = list(range(100))
        random.Random(seed + thread).shuffle(order)
        positions = {}
        for start in range(0, 100, 10):
            numbers = order[start : start + 10]
            positions.update(zip(numbers, producer.append_events([event(n) for n in numbers]), strict=True))
        return positions

    with ThreadPoolExecutor(4) as pool:
        first, *others = pool.map(append, range(4))

    assert [first] * 3 == others, f"seed {seed}"
    assert list(range(1, 101)) == sequences(redis)
    assert Counter(f"id-{number}" for number in range(100)) == Counter(one.event.id for one in recorded(redis))


def test_another_number_of_partitions_is_refused_and_nothing_appended(redis_server, redis, producer):
    producer.append_events([event(1)])
    subject = next(f"job/{n}" for n in range(99) if partition_of("jobs", f"job/{n}", 4) == JOBS)

    with Producer(redis_server.url, partitions=4) as other, pytest.raises(PartitionsChanged, match=r"has 1 .*is 4"):
        other.append("job.completed", subject=subject, data={})

    assert [1] == sequences(redis)


def test_a_subject_stays_in_its_partition(redis_server, redis):
    with Producer(redis_server.url, partitions=4) as producer:
        producer.append_events([event(number, subject=f"job/{number % 10}") for number in range(100)])

    found = {}
    for number in range(4):
        partition = Partition("jobs", number)
        mine = [fields[b"ce_subject"].decode() for _, fields in entries(redis, partition)]
        assert list(range(1, len(mine) + 1)) == sequences(redis, partition)
        found.update({subject: found.get(subject, set()) | {partition} for subject in mine})
    assert found == {f"job/{n}": {partition_of("jobs", f"job/{n}", 4)} for n in range(10)}


def test_a_server_out_of_memory_takes_all_of_a_batch_or_nothing(redis, producer):
    producer.append_events([event(number) for number in range(10)])
    kept = entries(redis)
    redis.config_set("maxmemory", 1)
    more = [event(number) for number in range(5, 30)]

    with pytest.raises(RedisUnavailable):
        producer.append_events(more)
    assert kept == entries(redis)

    redis.config_set("maxmemory", 0)
    producer.append_events(more)

    assert list(range(1, 31)) == sequences(redis)
    assert [f"id-{number}" for number in range(30)] == [one.event.id for one in recorded(redis)]


def test_memory_that_runs_out_between_batches_leaves_whole_batches(redis, producer):
    used = redis.info("memory")["used_memory"]
    redis.config_set("maxmemory", used + 4_000_000)
    batches = [
        [
            new_event("job.completed", subject="job/1", data={"x": "x" * 2000}, id=f"{batch}-{number}")
            for number in range(100)
        ]
        for batch in range(100)
    ]

    def append_until_refused():
        for batch in batches:
            producer.append_events(batch)

    with pytest.raises(RedisUnavailable):
        append_until_refused()
    assert 0 < len(entries(redis)) < 10_000
    assert len(entries(redis)) % 100 == 0

    redis.config_set("maxmemory", 0)
    for batch in batches:
        producer.append_events(batch)

    assert list(range(1, 10_001)) == sequences(redis)
    assert [f"{batch}-{number}" for batch in range(100) for number in range(100)] == [
        fields[b"ce_id"].decode() for _, fields in entries(redis)
    ]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value[:12]))
def test_a_hostile_value_comes_back_as_it_was(redis, producer, value):
    attribute = value[:4096] or "x"
    event = new_event(
        "job.completed", subject=attribute, source=attribute, id=attribute, data={"v": value}, correlationid=attribute
    )

    producer.append_events([event])

    assert [event] == [one.event for one in recorded(redis)]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"id": "\ud800"}, "id"),
        ({"subject": "\udfff"}, "subject"),
        ({"correlationid": "\ud800"}, "correlationid"),
        ({"extensions": {"a": "\ud800"}}, "extensions"),
        ({"extensions": {"\ud800": "a"}}, "extensions"),
        ({"extensions": {"id": "another"}}, "extensions"),
        ({"extensions": {"sequence": "7"}}, "extensions"),
        ({"extensions": {"field_body": "{}"}}, "extensions"),
        ({"extensions": {"field_ce_id": "another"}}, "extensions"),
        ({"extensions": {f"a{number}": "x" for number in range(4100)}}, "extensions"),
        ({"id": ""}, "id"),
        ({"id": "x" * 5000}, "id"),
        ({"time": "9999-99-99T00:00:00Z"}, "time"),
        ({"data": b"{"}, "data"),
        ({"data": b"\xff"}, "data"),
        ({"data": b"NaN"}, "data"),
        ({"data": b"[" * 200_000}, "data"),
    ],
    ids=lambda value: str(value)[:24] if isinstance(value, dict) else value,
)
def test_an_event_that_cannot_be_kept_is_refused_with_its_whole_batch(redis, producer, change, field):
    import msgspec

    with pytest.raises(InvalidEvent) as refused:
        producer.append_events([event(1), msgspec.structs.replace(event(2), **change)])

    assert refused.value.field == field
    assert entries(redis) == []


def test_a_large_batch_with_many_fields_keeps_order(redis, producer):
    events = [event(n, extensions={f"ext{i}": f"{n}-{i}" for i in range(40)}) for n in range(5000)]

    positions = producer.append_events(events)

    assert positions == sorted(set(positions))
    found = recorded(redis)
    assert positions == [one.position for one in found]
    assert events == [one.event for one in found]
    assert list(range(1, 5001)) == [one.sequence for one in found]


def test_positions_come_in_the_order_of_the_events_over_streams_and_batches(redis, producer):
    types = ["job.completed", "note.submitted", "document.saved"]
    data = {"x": "x" * 3_000_000}
    events = [new_event(types[n % 3], subject=f"s/{n}", data=data, id=f"id-{n}") for n in range(12)]

    positions = producer.append_events(events)

    for stream, offset in (("jobs", 0), ("notes", 1), ("documents", 2)):
        own = [(f"id-{n}", str(positions[n])) for n in range(offset, 12, 3)]
        assert own == [
            (fields[b"ce_id"].decode(), key.decode()) for key, fields in entries(redis, Partition(stream, 0))
        ]


def test_anybody_can_read_an_entry_with_plain_commands(redis, producer):
    producer.append("job.completed", subject="job/1", data={"a": [1, "ü"]}, id="one", time="2025-08-09T06:36:58.2Z")

    ((_, fields),) = redis.xrange(JOBS.key)

    assert json.loads(fields.pop(b"body")) == {"a": [1, "ü"]}
    fields.pop(b"ce_crc32c")
    assert fields == {
        b"ce_sequence": b"0000000000000001",
        b"ce_specversion": b"1.0",
        b"ce_id": b"one",
        b"ce_source": b"playhead",
        b"ce_type": b"job.completed",
        b"ce_time": b"2025-08-09T06:36:58.200000Z",
        b"ce_subject": b"job/1",
    }


def test_a_sequence_goes_on_after_an_entry_that_somebody_else_added(redis, producer):
    producer.append_events([event(1)])
    redis.xadd(JOBS.key, {"ce_id": "f", "ce_source": "s", "ce_type": "t", "ce_time": "2025-01-01T00:00:00Z",
                          "ce_subject": "job/f", "body": "{}"})  # fmt: skip
    producer.append_events([event(2)])

    assert [(1, "id-1"), (None, "f"), (2, "id-2")] == [(one.sequence, one.event.id) for one in recorded(redis)]


def test_a_server_that_is_gone_is_a_typed_error_and_again_is_safe(redis_server, redis):
    with Producer(plain := redis) as producer:
        producer.append_events([event(1)])
        redis_server.kill()
        with pytest.raises(RedisUnavailable):
            producer.append_events([event(1), event(2)])
        redis_server.start()
        producer.append_events([event(1), event(2)])

        assert [1, 2] == sequences(plain)


def test_events_with_different_fields_share_a_batch_and_keep_order_and_fields(redis, producer):
    events = [
        event(0),
        event(1, dataschema="job.completed/1"),
        event(2, dataschema="https://example.org/schema"),
        event(1, dataschema="job.completed/1"),
        event(3),
        event(4, correlationid="c", causationid="d"),
    ]

    positions = producer.append_events(events)

    found = recorded(redis)
    assert [events[n] for n in (0, 1, 2, 4, 5)] == [each.event for each in found]
    assert positions[1] == positions[3]
    assert [each.position for each in found] == [positions[n] for n in (0, 1, 2, 4, 5)]
