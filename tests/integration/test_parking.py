"""What is parked, by whom and why: what fails for good, and nothing else."""

import asyncio
import errno
from collections import Counter

import pytest
from redis.asyncio import Redis

from playhead.consumers.reading.group import Group
from playhead.projections.jobs.table.projection import Jobs
from playhead.streams.names import presence_key
from playhead.streams.positions import Position
from tests.documents import job
from tests.integration.stage import JOBS, SINKS, fields

LEASE = presence_key(JOBS.key, "jobs")
DEATHS = 8
"""More than an entry is handed over at most."""


@pytest.fixture
def redis_server(valkey):
    return valkey


class FullDisk(Jobs):
    """Fails as long as it is told to, in a way that passes."""

    full = True
    failed = 0

    def apply(self, batch):
        if self.full:
            self.failed += 1
            raise OSError(errno.ENOSPC, "no room")
        return super().apply(batch)


def test_the_log_keeps_what_follows_an_entry_that_it_cannot_read(stage):
    good = [job(1, "job/a"), job(2, "job/a"), job(3, "job/b")]
    stage.append(good[0])
    stage.redis.xadd(JOBS.key, fields(job(9, "job/a"), body="{"))
    stage.append(*good[1:])
    stage.start("log")
    stage.caught_up("log")
    (bad,) = stage.parked("log")
    stage.retry("log", bad)
    stage.append(job(4, "job/a"))
    stage.caught_up("log")
    stage.wait_until(lambda: not stage.redis.keys(f"{JOBS.key}:retry:log"))
    stage.stop()

    assert ["e1", "e2", "e3", "e4"] == stage.logged()
    assert [bad] == stage.parked("log")


def test_a_consumer_that_starts_again_parks_nothing_twice(stage):
    stage.append(job(1, "job/a"), job(2, "job/b", job_id=None), job(3, "job/b"))
    stage.redis.xadd(JOBS.key, fields(job(9, "job/c"), body="{"))
    stage.start()
    stage.caught_up()
    before = {name: stage.parked(name) for name in SINKS}
    stage.stop()
    consumers = stage.start()
    stage.append(job(4, "job/b"))
    stage.caught_up()
    again = {name: stage.parked(name) for name in SINKS}
    stage.stop()

    assert {"log": 1, "json-files": 3, "jobs": 3} == {name: len(parked) for name, parked in before.items()}
    assert before == {name: parked[: len(before[name])] for name, parked in again.items()}
    assert {"log": 1, "json-files": 4, "jobs": 4} == {name: len(parked) for name, parked in again.items()}
    assert [Counter(), Counter(behind=1), Counter(behind=1)] == [one.watch.parked_events for one in consumers]


def test_what_was_dropped_stays_dropped_when_a_consumer_starts_again(stage):
    stage.append(job(1, "job/a"), job(2, "job/b", job_id=None), job(3, "job/b"))
    stage.start("jobs")
    stage.caught_up("jobs")
    for parked in stage.parked("jobs"):
        stage.parked_events("jobs").drop(parked)
    stage.stop()
    stage.start("jobs")
    stage.append(job(4, "job/c"))
    stage.caught_up("jobs")
    stage.stop()

    assert [] == stage.parked("jobs")
    assert {"a": "e1", "c": "e4"} == stage.rows()


def test_an_entry_stands_where_it_is_whatever_it_says(stage):
    stage.append(job(1))
    stage.redis.xadd(JOBS.key, fields(job(2), ce_position="9999999999999-0", ce_replay="r"))
    stage.append(job(3))
    stage.start()
    stage.caught_up()
    stage.stop()

    stage.holds([job(1), job(2), job(3)])


def test_a_lease_lost_again_and_again_while_nothing_happens_is_nobodys_fault(stage):
    stage.append(job(0))
    stage.start("jobs", lease=0.3)
    stage.caught_up("jobs")
    for _ in range(DEATHS):
        before = stage.redis.get(LEASE)
        stage.redis.delete(LEASE)
        stage.wait_until(lambda before=before: stage.redis.get(LEASE) not in {None, before})
    stage.append(job(1))
    stage.caught_up("jobs")
    stage.stop()

    assert {"0": "e0", "1": "e1"} == stage.rows()
    assert not stage.parked("jobs")


def test_processes_stopped_while_the_disk_was_full_did_not_die_of_the_event(stage):
    stage.append(job(0))
    for _ in range(DEATHS):
        sink = FullDisk(stage.database)
        stage.start(sink)
        stage.wait_until(lambda sink=sink: sink.failed)
        stage.stop()
    stage.start("jobs")
    stage.caught_up("jobs")
    stage.stop()

    assert {"0": "e0"} == stage.rows()
    assert not stage.parked("jobs")


def test_deaths_are_counted_for_each_stream_a_process_each(valkey):
    async def count():
        async with Redis.from_url(valkey.url) as client:
            groups = [Group(client, "jobs", JOBS, owner=f"host/{number}/a", lease=1) for number in range(3)]
            return [
                await group.note_attempt(key, Position(1, 0))
                for group in groups
                for key in ("live", "replay", "live", "replay")
            ]

    assert [1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3] == asyncio.run(count())


def test_an_event_that_killed_its_processes_is_parked_and_not_counted_as_lost(stage):
    async def die_of_what_follows(position):
        async with Redis.from_url(stage.server.url) as client:
            for number in range(DEATHS):
                group = Group(client, "jobs", JOBS, owner=f"host/{number}/a", lease=1)
                await group.note_attempt(JOBS.key, position)

    (position,) = stage.append(job(0))
    stage.start("jobs")
    stage.caught_up("jobs")
    stage.stop()
    stage.append(job(1), job(2), job(3))
    asyncio.run(die_of_what_follows(position))
    (consumer,) = stage.start("jobs")
    stage.caught_up("jobs")
    stage.stop()

    assert {"0": "e0", "2": "e2", "3": "e3"} == stage.rows()
    assert Counter(killed=1) == consumer.watch.parked_events
    assert 0 == consumer.watch.lost_events


def test_an_event_does_not_wait_behind_one_that_was_dropped_just_now(stage, monkeypatch):
    stage.redis.xadd(JOBS.key, fields(job(1, "job/a"), body="{"))
    stage.start("jobs")
    stage.caught_up("jobs")

    async def as_it_was(self):
        return {"job/a"}

    monkeypatch.setattr(Group, "parked_subjects", as_it_was)
    stage.parked_events("jobs").drop(stage.parked("jobs")[0])
    stage.append(job(2, "job/a"))
    stage.caught_up("jobs")
    stage.stop()

    assert {"a": "e2"} == stage.rows()
    assert not stage.parked("jobs")
