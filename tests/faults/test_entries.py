"""Streams that hold more, fewer or other entries than were appended: duplicated, deleted, replayed out of order."""

import random

import pytest

from playhead.consumers.reading.feed import Feed
from playhead.streams.entries import RawEntry, decode, encode
from playhead.streams.positions import Position
from tests.faults.naive import go_on
from tests.faults.reports import Harm, Report
from tests.support.events import job
from tests.support.pipeline import JOBS, fields

SINKS = ("log", "json-files", "jobs")


@pytest.mark.parametrize("sink", SINKS)
def test_an_event_that_stands_twice_in_the_stream_takes_effect_once(harness, report, count, seed, sink):
    total = count(400, 20_000)
    harm = duplicate(harness, sink, random.Random(seed), total)
    control_harm = duplicate(harness, sink, random.Random(seed), 400, "no event ids")

    report(
        Report(
            "one entry in five added again, with and without its sequence number, up to 30 entries later",
            sink,
            "the first counts",
            total,
            harm,
            "no memory of event ids",
            control_harm,
            None,
            seed,
            harness.name,
        )
    )


def duplicate(harness, sink, chance, count, control=None) -> Harm:
    pipeline = harness.begin()
    events = [job(number, f"job/{chance.randrange(50)}") for number in range(count)]
    for start in range(0, count, 20):
        positions = pipeline.append(*events[start : start + 20])
        for number in range(start, start + 20):
            if chance.random() < 0.2:
                earlier = max(0, number - chance.randrange(30))
                again = fields(events[earlier])
                if chance.random() < 0.5:
                    again["ce_sequence"] = f"{earlier + 1:016d}"
                pipeline.redis.xadd(JOBS.key, again)
        assert len(positions) == 20
    harness.drain(sink, control=control, batch=chance.randrange(3, 40))
    return harness.audit(sink, events, naive=control is not None)


@pytest.mark.parametrize("sink", ["json-files", "jobs"])
def test_events_replayed_out_of_order_reverse_nothing(harness, report, count, seed, sink):
    total = count(300, 20_000)
    pipeline = harness.begin()
    chance = random.Random(seed)
    events = [job(number, f"job/{chance.randrange(40)}") for number in range(total)]
    pipeline.append(*events)
    recorded = [
        decode(RawEntry(key, [part for pair in entry.items() for part in pair]))
        for key, entry in pipeline.redis.xrange(JOBS.key)
    ]
    harness.drain(sink)
    before = harness.audit(sink, events)
    shuffled = chance.sample(recorded, len(recorded))
    for one in shuffled:
        entry = encode(one.event, replay="r", position=one.position)
        pipeline.redis.execute_command("XADD", f"{JOBS.key}:replay:r", "*", *entry)
    pipeline.redis.hset(f"{JOBS.key}:replays", "r", sink)
    last = Position.parse(pipeline.redis.xinfo_stream(f"{JOBS.key}:replay:r")["last-generated-id"])

    def is_read():
        groups = pipeline.redis.xinfo_groups(f"{JOBS.key}:replay:r")
        return any(Position.parse(group["last-delivered-id"]) == last for group in groups)

    pipeline.redis.xgroup_create(f"{JOBS.key}:replay:r", sink, id="0")
    pid = harness.spawn(sink)
    pipeline.wait_until(is_read)
    assert harness.finish(pid, 15) == 0

    by_arrival = {one.event.subject: one.event.id for one in shuffled}
    latest = {event.subject: event.id for event in events}
    report(
        Report(
            "every event again, in a random order",
            sink,
            "an older event overwrites no newer one",
            total,
            before + harness.audit(sink, events),
            "the last to arrive wins",
            Harm(wrong=sum(by_arrival[subject] != latest[subject] for subject in latest)),
            None,
            seed,
            harness.name,
        )
    )


def test_every_deleted_entry_is_counted(harness, report, count, seed, monkeypatch):
    total = count(300, 5000)
    uncounted = delete(harness, random.Random(seed), total)
    monkeypatch.setattr(Feed, "_bridge", go_on)
    control = delete(harness, random.Random(seed), 300)

    report(
        Report(
            "one unread entry in ten deleted by a foreign client",
            "jobs",
            "each is counted as lost, all others apply",
            total,
            Harm(lost=uncounted),
            "no sequence numbers",
            Harm(lost=control),
            None,
            seed,
            harness.name,
        )
    )


def delete(harness, chance, count) -> int:
    """How many of the deleted entries nobody was told of."""
    pipeline = harness.begin()
    events = [job(number) for number in range(count)]
    positions = pipeline.append(*events)
    gone = chance.sample(range(count - 1), count // 10)
    pipeline.redis.xdel(JOBS.key, *(str(positions[number]) for number in gone))
    (consumer,) = pipeline.start("jobs")
    pipeline.caught_up("jobs")
    pipeline.stop()
    assert {str(number) for number in range(count)} - {str(number) for number in gone} == pipeline.rows().keys()
    return len(gone) - consumer.watch.lost_events
