"""Events that no retry mends, among many that are good."""

import random

import pytest

from playhead.projections.jobs.table.projection import Jobs
from playhead.streams.events import Event
from playhead.streams.failpoints import Point
from tests.faults.reports import Harm, Report
from tests.support.events import job
from tests.support.pipeline import JOBS, fields

POISON = (b'{"no": "job id"}', b'{"job_id": null, "job": []}', b'{"job_id": ""}', b"{}", b'{"job_id": "a\\u0000b"}')


def test_one_event_in_a_hundred_that_cannot_be_applied_is_parked_and_the_rest_flows(harness, report, count, seed):
    total = count(2000, 100_000)
    harm = poison(harness, random.Random(seed), total)
    control = stop_at_the_first(harness, random.Random(seed), 2000)

    report(
        Report(
            "one event in a hundred cannot be applied",
            "jobs",
            "each is parked with its reason, all others apply, nothing waits",
            total,
            harm,
            "the batch retried as a whole",
            control,
            None,
            seed,
            harness.name,
        )
    )


def mixed(chance: random.Random, total: int) -> tuple[list[Event], set[str]]:
    """Events, and the subjects of those that cannot be applied; each subject has one event."""
    bad = set(chance.sample(range(total), total // 100))
    events = []
    for number in range(total):
        event = job(number)
        if number in bad:
            members = {name: getattr(event, name) for name in event.__struct_fields__}
            event = Event(**members | {"data": chance.choice(POISON)})
        events.append(event)
    return events, {f"job/{number}" for number in bad}


def append(pipeline, events) -> None:
    for start in range(0, len(events), 500):
        pipeline.append(*events[start : start + 500])


def poison(harness, chance, total) -> Harm:
    pipeline = harness.begin()
    events, bad = mixed(chance, total)
    append(pipeline, events)
    harness.drain("jobs", batch=500)
    parked = pipeline.parked("jobs")
    expected = {event.subject.removeprefix("job/") for event in events if event.subject not in bad}
    rows = pipeline.rows().keys()
    return Harm(
        lost=len(expected - rows) + len(bad - {one.subject for one in parked}),
        duplicated=len(parked) - len({one.subject for one in parked}),
        wrong=len(rows - expected) + sum(one.reason_class != "refused" for one in parked),
    )


def stop_at_the_first(harness, chance, total) -> Harm:
    """What a consumer does that tries a batch again until it goes: nothing behind the first poison is ever applied."""
    pipeline = harness.begin()
    events, bad = mixed(chance, total)
    first = min(number for number, event in enumerate(events) if event.subject in bad)
    append(pipeline, events)
    sink = Unsplit(pipeline.make_sink("jobs"))
    pipeline.start(sink, batch=50)
    pipeline.wait_until(lambda: sink.failures > 3)
    pipeline.stop_all()
    return Harm(lost=len(events) - len(bad) - len(pipeline.rows())) if first < total else Harm()


class Unsplit:
    """Says of every failure that it will pass."""

    def __init__(self, sink: Jobs) -> None:
        self._sink, self.failures = sink, 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._sink, name)

    def apply(self, batch):
        try:
            return self._sink.apply(batch)
        except Exception as error:
            self.failures += 1
            raise ConnectionError("to be tried again") from error


@pytest.mark.parametrize("sink", ["jobs", "json-files", "log"])
def test_kill_9_while_events_are_parked_loses_doubles_and_unparks_none(harness, full, sink):
    pipeline = harness.begin()
    points = [Point.BEFORE_ACK, Point.AFTER_ACK]
    points += [Point.MID_TRANSACTION, Point.BEFORE_COMMIT, Point.AFTER_COMMIT] if sink == "jobs" else []
    parked, applied = [], []
    for number, point in enumerate(points * (20 if full else 2)):
        mixture = [
            (job(10 * number), None),
            *((job(10 * number + n, f"job/bad-{number}-{n}", job_id=None), "refused") for n in range(1, 4)),
            (None, "undecodable"),
            (job(10 * number + 5, f"job/bad-{number}-1"), "behind"),
            *((job(10 * number + n, f"job/bad-{number}-{n}", job_id=None), "refused") for n in range(6, 8)),
            (job(10 * number + 8), None),
        ]
        for event, reason_class in mixture:
            position = append_one(pipeline, event, number)
            if reason_class == "undecodable" or (reason_class and sink != "log"):
                parked.append((position, reason_class))
            else:
                applied.append(event.id)
        harness.killed(harness.spawn(sink, failpoint=f"{point}:{1 + number % 3}", batch=4))
        harness.expire(sink)
    harness.drain(sink, batch=4)

    held = {
        "log": pipeline.logged,
        "jobs": lambda: pipeline.rows().values(),
        "json-files": lambda: pipeline.files().values(),
    }
    assert parked == [(one.position, one.reason_class) for one in pipeline.parked(sink)]
    assert sorted(applied) == sorted(held[sink]())


def append_one(pipeline, event: Event | None, number: int) -> str:
    """Append an event, or an entry that cannot be decoded; gives its position."""
    if event is not None:
        return str(pipeline.append(event)[0])
    return pipeline.redis.xadd(JOBS.key, fields(job(0, f"job/torn-{number}"), body="{")).decode()
