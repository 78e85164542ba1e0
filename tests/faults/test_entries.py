"""Streams that hold more, fewer or other entries than were appended: duplicated, deleted, replayed out of order."""

import random

import pytest

from playhead.consumers.reading.feed import Feed
from playhead.streams.entries import RawEntry, decode, encode
from playhead.streams.positions import Position
from tests.documents import job
from tests.faults.naive import go_on
from tests.faults.reports import Harm, Report
from tests.integration.stage import JOBS, fields

SINKS = ("log", "json-files", "jobs")


@pytest.mark.parametrize("sink", SINKS)
def test_an_event_that_stands_twice_in_the_stream_takes_effect_once(theatre, report, count, seed, sink):
    total = count(400, 20_000)
    harm = duplicate(theatre, sink, random.Random(seed), total)
    control_harm = duplicate(theatre, sink, random.Random(seed), 400, "no event ids")

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
            theatre.name,
        )
    )


def duplicate(theatre, sink, chance, count, control=None) -> Harm:
    stage = theatre.begin()
    events = [job(number, f"job/{chance.randrange(50)}") for number in range(count)]
    for start in range(0, count, 20):
        positions = stage.append(*events[start : start + 20])
        for number in range(start, start + 20):
            if chance.random() < 0.2:
                earlier = max(0, number - chance.randrange(30))
                again = fields(events[earlier])
                if chance.random() < 0.5:
                    again["ce_sequence"] = f"{earlier + 1:016d}"
                stage.redis.xadd(JOBS.key, again)
        assert len(positions) == 20
    theatre.drain(sink, control=control, batch=chance.randrange(3, 40))
    return theatre.audit(sink, events, naive=control is not None)


@pytest.mark.parametrize("sink", ["json-files", "jobs"])
def test_events_replayed_out_of_order_reverse_nothing(theatre, report, count, seed, sink):
    total = count(300, 20_000)
    stage = theatre.begin()
    chance = random.Random(seed)
    events = [job(number, f"job/{chance.randrange(40)}") for number in range(total)]
    stage.append(*events)
    recorded = [
        decode(RawEntry(key, [part for pair in entry.items() for part in pair]))
        for key, entry in stage.redis.xrange(JOBS.key)
    ]
    theatre.drain(sink)
    before = theatre.audit(sink, events)
    shuffled = chance.sample(recorded, len(recorded))
    for one in shuffled:
        entry = encode(one.event, replay="r", position=one.position)
        stage.redis.execute_command("XADD", f"{JOBS.key}:replay:r", "*", *entry)
    stage.redis.hset(f"{JOBS.key}:replays", "r", sink)
    last = Position.parse(stage.redis.xinfo_stream(f"{JOBS.key}:replay:r")["last-generated-id"])

    def is_read():
        groups = stage.redis.xinfo_groups(f"{JOBS.key}:replay:r")
        return any(Position.parse(group["last-delivered-id"]) == last for group in groups)

    stage.redis.xgroup_create(f"{JOBS.key}:replay:r", sink, id="0")
    pid = theatre.spawn(sink)
    stage.wait_until(is_read)
    assert theatre.finish(pid, 15) == 0

    by_arrival = {one.event.subject: one.event.id for one in shuffled}
    latest = {event.subject: event.id for event in events}
    report(
        Report(
            "every event again, in a random order",
            sink,
            "an older event overwrites no newer one",
            total,
            before + theatre.audit(sink, events),
            "the last to arrive wins",
            Harm(wrong=sum(by_arrival[subject] != latest[subject] for subject in latest)),
            None,
            seed,
            theatre.name,
        )
    )


def test_every_deleted_entry_is_counted(theatre, report, count, seed, monkeypatch):
    total = count(300, 5000)
    uncounted = delete(theatre, random.Random(seed), total)
    monkeypatch.setattr(Feed, "_bridge", go_on)
    control = delete(theatre, random.Random(seed), 300)

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
            theatre.name,
        )
    )


def delete(theatre, chance, count) -> int:
    """How many of the deleted entries nobody was told of."""
    stage = theatre.begin()
    events = [job(number) for number in range(count)]
    positions = stage.append(*events)
    gone = chance.sample(range(count - 1), count // 10)
    stage.redis.xdel(JOBS.key, *(str(positions[number]) for number in gone))
    (consumer,) = stage.start("jobs")
    stage.caught_up("jobs")
    stage.stop()
    assert {str(number) for number in range(count)} - {str(number) for number in gone} == stage.rows().keys()
    return len(gone) - consumer.watch.lost_events
