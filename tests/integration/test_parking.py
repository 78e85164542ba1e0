"""What is parked, by whom and why: what fails for good, and nothing else."""

import asyncio
import errno
from collections import Counter

import msgspec
import psycopg
import pytest
from redis.asyncio import Redis

from playhead.consumers.reading.group import Group
from playhead.consumers.reading.parked import Aside, parked_fields
from playhead.projections.jobs.table.projection import Jobs
from playhead.streams.entries import RawEntry
from playhead.streams.names import parked_key, presence_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from tests.support.events import job
from tests.support.pipeline import JOBS, SINKS, fields
from tests.support.places import place_of
from tests.support.processes import Playhead
from tests.support.servers import plain_client

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


class NoFsync(Jobs):
    """Once it is told to, fails in a way after which the process must end."""

    fails = False

    def apply(self, batch):
        if self.fails:
            raise OSError(errno.EIO, "no fsync")
        return super().apply(batch)

    def classify(self, error):
        return "fatal" if self.fails else super().classify(error)


class Forgetful(Jobs):
    """Does not say what became of a batch."""

    def apply(self, batch):
        if any(recorded.event.subject == "job/b" for recorded in batch.events):
            return None
        return super().apply(batch)


def test_an_event_of_which_a_sink_does_not_say_what_became_is_parked(pipeline):
    pipeline.append(job(1, "job/a"), job(2, "job/b"), job(3, "job/c"))
    pipeline.start(Forgetful(place_of("jobs", pipeline.database)))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"a": "e1", "c": "e3"} == pipeline.rows()
    assert 1 == len(pipeline.parked("jobs"))


class Leaving(Jobs):
    """Raises what is no error, at one event."""

    raised: type[BaseException] = SystemExit

    def apply(self, batch):
        if any(recorded.event.id == "e2" for recorded in batch.events):
            raise self.raised(2)
        return super().apply(batch)


def test_the_log_keeps_what_follows_an_entry_that_it_cannot_read(pipeline):
    good = [job(1, "job/a"), job(2, "job/a"), job(3, "job/b")]
    pipeline.append(good[0])
    pipeline.redis.xadd(JOBS.key, fields(job(9, "job/a"), body="{"))
    pipeline.append(*good[1:])
    pipeline.start("log")
    pipeline.caught_up("log")
    (bad,) = pipeline.parked("log")
    pipeline.retry("log", bad)
    pipeline.append(job(4, "job/a"))
    pipeline.caught_up("log")
    pipeline.wait_until(lambda: not pipeline.redis.keys(f"{JOBS.key}:retry:log"))
    pipeline.stop()

    assert ["e1", "e2", "e3", "e4"] == pipeline.logged()
    assert [bad] == pipeline.parked("log")


def test_a_consumer_that_starts_again_parks_nothing_twice(pipeline):
    pipeline.append(job(1, "job/a"), job(2, "job/b", job_id=None), job(3, "job/b"))
    pipeline.redis.xadd(JOBS.key, fields(job(9, "job/c"), body="{"))
    pipeline.start()
    pipeline.caught_up()
    before = {name: pipeline.parked(name) for name in SINKS}
    pipeline.stop()
    consumers = pipeline.start()
    pipeline.append(job(4, "job/b"))
    pipeline.caught_up()
    again = {name: pipeline.parked(name) for name in SINKS}
    pipeline.stop()

    assert {"log": 1, "json-files": 3, "jobs": 3} == {name: len(parked) for name, parked in before.items()}
    assert before == {name: parked[: len(before[name])] for name, parked in again.items()}
    assert {"log": 1, "json-files": 4, "jobs": 4} == {name: len(parked) for name, parked in again.items()}
    assert [Counter(), Counter(behind=1), Counter(behind=1)] == [one.watch.parked_events for one in consumers]


def test_what_was_dropped_stays_dropped_when_a_consumer_starts_again(pipeline):
    pipeline.append(job(1, "job/a"), job(2, "job/b", job_id=None), job(3, "job/b"))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    for parked in pipeline.parked("jobs"):
        pipeline.parked_events("jobs").drop(parked)
    pipeline.stop()
    pipeline.start("jobs")
    pipeline.append(job(4, "job/c"))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert [] == pipeline.parked("jobs")
    assert {"a": "e1", "c": "e4"} == pipeline.rows()


def test_an_entry_stands_where_it_is_whatever_it_says(pipeline):
    pipeline.append(job(1))
    pipeline.redis.xadd(JOBS.key, fields(job(2), ce_position="9999999999999-0", ce_replay="r"))
    pipeline.append(job(3))
    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()

    pipeline.holds([job(1), job(2), job(3)])


def test_a_fatal_failure_ends_the_process_also_if_it_is_an_error_of_the_system(pipeline):
    sink = NoFsync(place_of("jobs", pipeline.database))
    sink.fails = True
    pipeline.append(job(1))
    (consumer,) = pipeline.start(sink)
    pipeline.wait_until(lambda: not consumer.is_alive())
    pipeline.stop_all()

    assert "no fsync" in repr(consumer.failure)
    assert {} == pipeline.rows()


def test_a_fatal_failure_of_a_parked_event_that_is_tried_again_ends_the_process(pipeline):
    sink = NoFsync(place_of("jobs", pipeline.database))
    pipeline.append(job(1, job_id=None))
    (consumer,) = pipeline.start(sink)
    pipeline.caught_up("jobs")
    (parked,) = pipeline.parked("jobs")
    sink.fails = True
    pipeline.retry("jobs", parked)
    pipeline.wait_until(lambda: not consumer.is_alive())
    pipeline.stop_all()

    assert "no fsync" in repr(consumer.failure)
    assert [parked] == pipeline.parked("jobs")


class Unsettled(Jobs):
    """Has deferred work that fails, in a way that passes or does not."""

    error = None
    failed = 0

    def settle(self):
        if self.error is not None:
            self.failed += 1
            raise self.error

    def classify(self, error):
        return "fatal" if "fsync" in str(error) else super().classify(error)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "no room"), psycopg.OperationalError("gone"), ValueError("a bug")]
)
def test_deferred_work_that_fails_parks_nothing_and_is_done_when_it_can_be(pipeline, error):
    sink = Unsettled(place_of("jobs", pipeline.database))
    sink.error = error
    pipeline.append(job(1))
    (consumer,) = pipeline.start(sink)
    pipeline.wait_until(lambda: sink.failed > 1 and str(error) in " ".join(consumer.problems))
    sink.error = None
    pipeline.append(job(2))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"1": "e1", "2": "e2"} == pipeline.rows()
    assert not pipeline.parked("jobs")


def test_deferred_work_that_fails_for_good_ends_the_process(pipeline):
    sink = Unsettled(place_of("jobs", pipeline.database))
    sink.error = OSError(errno.EIO, "no fsync")
    pipeline.append(job(1))
    (consumer,) = pipeline.start(sink)
    pipeline.wait_until(lambda: not consumer.is_alive())
    pipeline.stop_all()

    assert "no fsync" in repr(consumer.failure)


@pytest.mark.parametrize("raised", [StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
def test_an_event_at_which_a_sink_exits_or_stops_is_parked_and_the_rest_flows(pipeline, raised):
    sink = Leaving(place_of("jobs", pipeline.database))
    sink.raised = raised
    pipeline.append(job(1), job(2), job(3))
    pipeline.start(sink)
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"1": "e1", "3": "e3"} == pipeline.rows()
    assert [f"RuntimeError: {raised.__name__} was raised: 2"] == [one.reason for one in pipeline.parked("jobs")]


def test_a_lease_lost_again_and_again_while_nothing_happens_is_nobodys_fault(pipeline):
    pipeline.append(job(0))
    pipeline.start("jobs", lease=0.3)
    pipeline.caught_up("jobs")
    for _ in range(DEATHS):
        before = pipeline.redis.get(LEASE)
        pipeline.redis.delete(LEASE)
        pipeline.wait_until(lambda before=before: pipeline.redis.get(LEASE) not in {None, before})
    pipeline.append(job(1))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"0": "e0", "1": "e1"} == pipeline.rows()
    assert not pipeline.parked("jobs")


def test_processes_stopped_while_the_disk_was_full_did_not_die_of_the_event(pipeline):
    pipeline.append(job(0))
    for _ in range(DEATHS):
        sink = FullDisk(place_of("jobs", pipeline.database))
        pipeline.start(sink)
        pipeline.wait_until(lambda sink=sink: sink.failed)
        pipeline.stop()
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"0": "e0"} == pipeline.rows()
    assert not pipeline.parked("jobs")


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


def test_an_event_that_killed_its_processes_is_parked_and_not_counted_as_lost(pipeline):
    async def die_of_what_follows(position):
        async with Redis.from_url(pipeline.server.url) as client:
            for number in range(DEATHS):
                group = Group(client, "jobs", JOBS, owner=f"host/{number}/a", lease=1)
                await group.note_attempt(JOBS.key, position)

    (position,) = pipeline.append(job(0))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    pipeline.stop()
    pipeline.append(job(1), job(2), job(3))
    asyncio.run(die_of_what_follows(position))
    (consumer,) = pipeline.start("jobs")
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"0": "e0", "2": "e2", "3": "e3"} == pipeline.rows()
    assert Counter(killed=1) == consumer.watch.parked_events
    assert 0 == consumer.watch.lost_events


def test_an_event_does_not_wait_behind_one_that_was_dropped_just_now(pipeline, monkeypatch):
    pipeline.redis.xadd(JOBS.key, fields(job(1, "job/a"), body="{"))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")

    async def as_it_was(self):
        return {"job/a"}

    monkeypatch.setattr(Group, "parked_subjects", as_it_was)
    pipeline.parked_events("jobs").drop(pipeline.parked("jobs")[0])
    pipeline.append(job(2, "job/a"))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"a": "e2"} == pipeline.rows()
    assert not pipeline.parked("jobs")


@pytest.mark.parametrize("field", ["ce_time", "ce_subject", "ce_id"])
def test_an_entry_of_another_client_with_an_endless_attribute_does_not_fill_redis(pipeline, field):
    endless = "9" * 10_000_000
    pipeline.append(job(1, "job/a"))
    pipeline.redis.xadd(JOBS.key, fields(job(9, "job/b"), **{field: endless}))
    pipeline.append(job(2, "job/c"))
    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()
    parked = {name: pipeline.parked(name)[0] for name in SINKS}
    kept = {name: pipeline.parked_events(name).show(one.id) for name, one in parked.items()}

    assert {"a": "e1", "c": "e2"} == pipeline.rows()
    assert 1_100 > max(len(one.reason) for one in parked.values())
    assert [endless] == [shown[field] for name, shown in kept.items() if name == "log"]
    assert all(20_000 > len(shown[field]) for name, shown in kept.items() if name != "log")
    assert {"0"} == {pipeline.redis.hget(f"{JOBS.key}:parked-subjects:{name}", endless) or "0" for name in SINKS}


@pytest.mark.parametrize("hostile", ["position", "blocks", "class", "reason", "field_position"])
def test_a_field_of_an_event_is_not_taken_for_one_of_the_parked_entry(pipeline, hostile):
    bad = msgspec.structs.replace(job(1, "job/a", job_id=None), extensions={f"field_parked_{hostile}": "é"})
    pipeline.append(bad, job(2, "job/a"))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    first, second = pipeline.parked("jobs")
    shown = pipeline.parked_events("jobs").show(first.id)
    pipeline.stop()
    pipeline.start("jobs")
    pipeline.append(job(3, "job/b"))
    pipeline.caught_up("jobs")
    pipeline.parked_events("jobs").drop(first)
    pipeline.retry("jobs", second)
    pipeline.wait_until(lambda: not pipeline.parked("jobs"))
    pipeline.append(job(4, "job/a"))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert ("refused", True, first.appended) == (first.reason_class, first.blocks, first.position)
    assert "é" == shown[f"parked_{hostile}"]
    assert {"a": "e4", "b": "e3"} == pipeline.rows()


def test_a_subject_that_is_not_utf_8_stops_nobody(pipeline):
    pipeline.redis.xadd(JOBS.key, fields(job(1), ce_subject=b"job/\xff"))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    pipeline.stop()
    pipeline.start("jobs")
    pipeline.append(job(2))
    pipeline.caught_up("jobs")
    (parked,) = pipeline.parked("jobs")
    pipeline.parked_events("jobs").drop(parked)
    pipeline.stop()

    assert {"2": "e2"} == pipeline.rows()
    assert not pipeline.redis.exists(f"{JOBS.key}:parked-subjects:jobs")


def test_of_two_subjects_in_an_entry_the_last_one_counts(pipeline):
    twice = [part for pair in fields(job(1, "job/a", job_id=None)).items() for part in pair]
    pipeline.redis.execute_command("XADD", JOBS.key, "*", *twice, "ce_subject", "job/b")
    pipeline.append(job(2, "job/b"), job(3, "job/a"))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    before = [(one.subject, one.reason_class) for one in pipeline.parked("jobs")]
    pipeline.parked_events("jobs").drop(pipeline.parked("jobs")[0])
    pipeline.retry("jobs", pipeline.parked("jobs")[0])
    pipeline.wait_until(lambda: not pipeline.parked("jobs"))
    pipeline.stop()

    assert [("job/b", "refused"), ("job/b", "behind")] == before
    assert {"a": "e3", "b": "e2"} == pipeline.rows()
    assert not pipeline.redis.exists(f"{JOBS.key}:parked-subjects:jobs")


def test_an_operator_who_drops_what_has_taken_effect_since_is_told_so(pipeline):
    pipeline.append(job(1, "job/a", job_id=None), job(2, "job/a"))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    first, second = pipeline.parked("jobs")
    pipeline.parked_events("jobs").drop(first)
    pipeline.retry("jobs", second)
    pipeline.wait_until(lambda: not pipeline.parked("jobs"))
    was_there = pipeline.parked_events("jobs").drop(second)
    pipeline.stop()

    assert not was_there
    assert {"a": "e2"} == pipeline.rows()
    assert {first.position} == pipeline.parked_events("jobs").positions()


class Dropping(Jobs):
    """Has an operator drop what it is about to apply."""

    drop = None

    def apply(self, batch):
        if self.drop is not None:
            self.drop()
        return super().apply(batch)


def test_what_is_dropped_while_it_is_applied_has_taken_effect(pipeline):
    sink = Dropping(place_of("jobs", pipeline.database))
    pipeline.append(job(1, "job/a", job_id=None), job(2, "job/a"))
    pipeline.start(sink)
    pipeline.caught_up("jobs")
    first, second = pipeline.parked("jobs")
    pipeline.parked_events("jobs").drop(first)
    sink.drop = lambda: pipeline.parked_events("jobs").drop(second)
    pipeline.retry("jobs", second)
    pipeline.wait_until(pipeline.rows)
    pipeline.stop()

    assert {first.position} == pipeline.parked_events("jobs").positions()


def test_an_id_that_two_partitions_have_drops_neither_of_two_events(redis_server, tmp_path):
    partitions = [Partition("jobs", number) for number in range(2)]
    playhead = Playhead(tmp_path / "data", redis_server.url)
    with plain_client(redis_server.url) as redis:
        for partition in partitions:
            aside = Aside(RawEntry(b"7-0", [b"ce_subject", b"job/1"]), "no", "refused")
            flat = parked_fields(aside, "jobs", blocks=False)
            redis.execute_command("XADD", parked_key(partition.key, "jobs"), "9-0", *flat)
        refused = playhead("parked", "drop", "jobs", "9-0", check=False)
        shown = playhead("parked", "show", "jobs", "9-0", check=False)
        playhead("parked", "drop", "jobs", "jobs/1/9-0")
        again = playhead("parked", "drop", "jobs", "jobs/1/9-0", check=False)
        left = [redis.xlen(parked_key(partition.key, "jobs")) for partition in partitions]

    assert [2, 2, 1] == [one.returncode for one in (refused, shown, again)]
    assert b"write one of jobs/0/9-0, jobs/1/9-0" in refused.stderr
    assert [1, 0] == left
