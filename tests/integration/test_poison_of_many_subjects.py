"""Events of many subjects that cannot be applied: what one costs, and what a restart reads again."""

from collections import Counter

import psycopg
import pytest

from playhead.consumers.reading.group import Group
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.table.projection import Jobs
from playhead.projections.staging import read_checkpoints
from tests.support.events import job
from tests.support.pipeline import JOBS, fields
from tests.support.places import place_of

MANY = 1000
FEW = 12
FAR_FEWER = MANY // 10
"""Of what a consumer asks once a second, however few events there are."""
"""Round trips, and questions to a sink, that some batches may cost, however many events are in them."""


@pytest.fixture
def redis_server(valkey):
    return valkey


class Counting:
    """A sink that counts what it is asked."""

    applied = 0

    def apply(self, batch):
        self.applied += 1
        return super().apply(batch)


class CountingJobs(Counting, Jobs):
    pass


class CountingFiles(Counting, JsonFiles):
    pass


class Unexamined(CountingJobs):
    """Tells only by trying what it refuses, as a constraint of a table does."""

    refuses = True

    def apply(self, batch):
        if self.refuses and any("poison" in recorded.event.subject for recorded in batch.events):
            self.applied += 1
            raise ValueError("refused")
        return super().apply(batch)


SINKS = {
    "jobs": lambda pipeline: CountingJobs(place_of("jobs", pipeline.database)),
    "json-files": lambda pipeline: CountingFiles(pipeline.directory / "outputs"),
}


def poison(number):
    return job(number, f"job/poison-{number}", job_id=None)


def append(pipeline, events):
    positions = []
    for start in range(0, len(events), 500):
        positions += pipeline.append(*events[start : start + 500])
    return positions


def calls(pipeline):
    """How often each command was called, by clients and scripts."""
    found = pipeline.redis.info("commandstats")
    return Counter({name.removeprefix("cmdstat_"): about["calls"] for name, about in found.items()})


def checkpoint(pipeline, name):
    """Position and sequence number that a sink keeps."""
    if name == "json-files":
        found = read_checkpoints(pipeline.directory / "outputs")[str(JOBS)]
        return found.position, found.sequence
    with psycopg.connect(pipeline.database) as connection:
        return connection.execute("SELECT position, sequence FROM playhead_checkpoints").fetchone()


@pytest.mark.parametrize("name", SINKS)
def test_poison_that_comes_in_a_batch_costs_a_round_trip_a_batch(pipeline, name):
    positions = append(pipeline, [poison(number) for number in range(MANY)])
    pipeline.append(job(MANY, "job/good"))
    pipeline.redis.config_resetstat()
    sink = SINKS[name](pipeline)
    (consumer,) = pipeline.start(sink)
    pipeline.caught_up(name)
    found = calls(pipeline)
    pipeline.stop()

    assert [str(position) for position in positions] == [one.position for one in pipeline.parked(name)]
    assert {"good": f"e{MANY}"} == (pipeline.rows() if name == "jobs" else pipeline.files())
    assert Counter(refused=MANY) == consumer.watch.parked_events
    assert sink.applied <= FEW
    assert found["xgroup|setid"] <= FEW
    assert found["hkeys"] + found["hgetall"] <= FAR_FEWER


def test_poison_that_only_trying_tells_costs_two_attempts_and_a_round_trip_an_event(pipeline):
    total = 200
    append(pipeline, [poison(number) for number in range(total)])
    pipeline.append(job(total, "job/good"))
    pipeline.redis.config_resetstat()
    sink = Unexamined(place_of("jobs", pipeline.database))
    pipeline.start(sink)
    pipeline.caught_up("jobs")
    found = calls(pipeline)
    pipeline.stop()

    assert total == len(pipeline.parked("jobs"))
    assert {"good": f"e{total}"} == pipeline.rows()
    assert sink.applied <= 2 * total + FEW
    assert found["xgroup|setid"] <= total + FEW
    assert found["hkeys"] <= FAR_FEWER


@pytest.mark.parametrize("name", SINKS)
def test_a_restart_reads_nothing_again_of_what_is_parked(pipeline, monkeypatch, name):
    read = []
    original = Group.read

    async def count(self, cursors, **options):
        found = await original(self, cursors, **options)
        read.extend(entry.entry_id for entries in found.values() for entry in entries)
        return found

    positions = append(pipeline, [job(0), *(poison(number) for number in range(1, 100))])
    pipeline.start(SINKS[name](pipeline))
    pipeline.caught_up(name)
    pipeline.stop()
    assert (str(positions[-1]), 100) == checkpoint(pipeline, name)

    monkeypatch.setattr(Group, "read", count)
    sink = SINKS[name](pipeline)
    (consumer,) = pipeline.start(sink)
    more = pipeline.append(job(100, "job/poison-7"), job(101, "job/good"))
    pipeline.caught_up(name)
    pipeline.stop()

    assert [str(position).encode() for position in more] == read
    assert 1 == sink.applied
    assert Counter(behind=1) == consumer.watch.parked_events
    assert 100 == len(pipeline.parked(name))


def test_a_number_that_the_log_cannot_have_is_not_that_of_a_checkpoint(pipeline):
    pipeline.append(job(1))
    bad = pipeline.redis.xadd(JOBS.key, fields(job(2), body="{", ce_sequence="0000000000000002"))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert (bad.decode(), 1) == checkpoint(pipeline, "jobs")


def test_parked_subjects_are_read_again_only_if_an_operator_dropped_one(pipeline):
    append(pipeline, [poison(number) for number in range(100)])
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    before = calls(pipeline)
    pipeline.wait_until(lambda: calls(pipeline)["hlen"] > before["hlen"] + 3)
    looked = calls(pipeline)["hkeys"]
    pipeline.parked_events("jobs").drop(pipeline.parked("jobs")[42])
    pipeline.wait_until(lambda: calls(pipeline)["hkeys"] > looked)
    pipeline.append(job(100, "job/poison-42"), job(101, "job/poison-43"))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert before["hkeys"] == looked
    assert {"poison-42": "e100"} == pipeline.rows()
    assert ["job/poison-43"] == [one.subject for one in pipeline.parked("jobs")][99:]


def test_a_retry_of_many_costs_a_round_trip_an_event(pipeline):
    total = 150
    sink = Unexamined(place_of("jobs", pipeline.database))
    append(pipeline, [job(number, f"job/poison-{number}") for number in range(total)])
    pipeline.start(sink)
    pipeline.caught_up("jobs")
    before = calls(pipeline)
    sink.refuses = False
    for parked in pipeline.parked("jobs"):
        pipeline.retry("jobs", parked)
    pipeline.wait_until(lambda: not pipeline.parked("jobs"))
    pipeline.stop()

    assert {f"poison-{number}": f"e{number}" for number in range(total)} == pipeline.rows()
    assert calls(pipeline)["hkeys"] == before["hkeys"]


def test_bad_entries_and_what_waits_behind_them_are_parked_in_the_order_of_the_stream(pipeline):
    expected = []
    for number in range(40):
        bad = pipeline.redis.xadd(JOBS.key, fields(job(number, f"job/{number % 20}"), body="{"))
        (behind,) = pipeline.append(job(100 + number, f"job/{number % 20}"))
        expected += [(bad.decode(), "undecodable"), (str(behind), "behind")]
    pipeline.redis.config_resetstat()
    pipeline.start("log", "jobs")
    pipeline.caught_up("log", "jobs")
    pipeline.stop()

    assert expected == [(one.position, one.reason_class) for one in pipeline.parked("jobs")]
    assert expected[::2] == [(one.position, one.reason_class) for one in pipeline.parked("log")]
    assert [f"e{100 + number}" for number in range(40)] == pipeline.logged()
    assert {} == pipeline.rows()
