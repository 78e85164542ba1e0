"""Real consumers on every server there is: each event takes effect once, in order, or is visibly parked."""

import asyncio
import errno
import threading
from collections import Counter

import psycopg
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from playhead.consumers.reading.ahead import ReadAhead
from playhead.consumers.reading.group import Group
from playhead.eventlog.writer import LogWriter
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import RedisUnavailable
from playhead.streams.names import presence_key
from playhead.streams.positions import Position
from tests.support.events import job
from tests.support.pipeline import JOBS, SINKS, fields
from tests.support.servers import answers, demoted, without_replicas

BAD = {
    "id": {"ce_id": None},
    "type": {"ce_type": None},
    "time": {"ce_time": None},
    "time: 'noon' is not an RFC 3339 time": {"ce_time": "noon"},
    "body": {"body": None},
    "data: not JSON": {"body": "{"},
    "UTF-8": {"ce_source": b"\xff"},
    "checksum": {"ce_crc32c": "00000000"},
    "fields; 1100 is the limit": {f"f{number}": "x" for number in range(5000)},
}


def test_a_backlog_from_before_the_group_existed_is_read(pipeline):
    events = [job(number) for number in range(1200)]
    pipeline.append(*events)

    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()

    pipeline.holds(events)


def test_bad_entries_are_parked_in_every_group_and_the_rest_flows(pipeline):
    good = [job(number) for number in range(len(BAD) + 1)]
    for number, change in enumerate(BAD.values()):
        pipeline.append(good[number])
        pipeline.redis.xadd(JOBS.key, fields(job(100 + number), **change))
    no_subject = fields(job(200), ce_subject=None)
    pipeline.redis.xadd(JOBS.key, no_subject)
    pipeline.append(good[-1])

    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()

    pipeline.holds(good)
    for name in SINKS:
        parked = pipeline.parked(name)
        assert [f"job/{100 + number}" for number in range(len(BAD))] + [""] == [one.subject for one in parked]
        assert {"undecodable"} == {one.reason_class for one in parked}
        for (word, _), one in zip(BAD.items(), parked, strict=False):
            assert word in one.reason


def test_what_follows_a_parked_event_of_its_subject_waits_and_a_retry_applies_both_in_order(pipeline):
    events = [job(1, "job/a"), job(2, "job/b"), job(3, "job/a"), job(4, "job/b")]
    jobs = Refusing(pipeline.make_sink("jobs"), "e1")
    pipeline.append(*events)
    (consumer,) = pipeline.start(jobs)
    pipeline.caught_up("jobs")

    assert {"b": "e4"} == pipeline.rows()
    assert ["refused", "behind"] == [one.reason_class for one in pipeline.parked("jobs")]

    pipeline.retry("jobs", pipeline.parked("jobs")[0])
    pipeline.wait_until(lambda: jobs.refused >= 2)
    assert ["refused", "behind"] == [one.reason_class for one in pipeline.parked("jobs")]

    jobs.refuse = None
    pipeline.retry("jobs", pipeline.parked("jobs")[0])
    pipeline.wait_until(lambda: not pipeline.parked("jobs"))
    pipeline.append(job(5, "job/a"))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"a": "e5", "b": "e4"} == pipeline.rows()
    assert ["e1", "e3", "e5"] == [id for id in jobs.applied if id in {"e1", "e3", "e5"}]
    assert Counter(refused=1, behind=1) == consumer.watch.parked_events


def test_dropping_a_parked_event_gives_it_up_and_lets_its_subject_flow(pipeline):
    jobs = Refusing(pipeline.make_sink("jobs"), "e1")
    pipeline.append(job(1, "job/a"), job(2, "job/a"))
    pipeline.start(jobs)
    pipeline.caught_up("jobs")
    refused, behind = pipeline.parked("jobs")

    pipeline.parked_events("jobs").drop(refused)
    pipeline.retry("jobs", behind)
    pipeline.wait_until(lambda: not pipeline.parked("jobs"))
    pipeline.append(job(3, "job/a"))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"a": "e3"} == pipeline.rows()
    assert ["e2", "e3"] == jobs.applied


def test_one_bad_event_of_five_hundred_is_isolated(pipeline):
    events = [job(number) for number in range(500)]
    bad = job(77, job_id=None)
    pipeline.append(*events[:77], bad, *events[78:])

    consumers = pipeline.start("json-files", "jobs")
    pipeline.caught_up("json-files", "jobs")
    pipeline.stop()

    expected = {str(number): f"e{number}" for number in range(500) if number != 77}
    assert expected == pipeline.rows() == pipeline.files()
    assert [Counter(refused=1)] * 2 == [consumer.watch.parked_events for consumer in consumers]


def test_trouble_of_a_sink_is_waited_for_and_blamed_on_no_event(pipeline, monkeypatch):
    monkeypatch.setattr("playhead.consumers.reading.health._LASTING_DELAY", 0.2)
    early = {"created_at": "2025-08-08T06:36:58Z", "metadata": {"scraper_id": "s"}}
    events = [job(0, job=early), job(1)]
    pipeline.append(*events)
    pipeline.start("json-files")
    pipeline.caught_up("json-files")
    pipeline.stop()
    consumers = pipeline.start(LogWriter(pipeline.directory / "eventlog", segment_bytes=1000), "json-files", "jobs")
    pipeline.caught_up()
    summary = pipeline.directory / "outputs/daily/2025-08-08/summary.json"
    (segment,) = pipeline.directory.glob("eventlog/jobs/0/*.jsonl")
    whole, line = summary.read_bytes(), segment.read_bytes()
    assert len(line) < 1000
    summary.write_bytes(whole[:-20])
    with segment.open("r+b") as file:
        file.write(line.replace(b'"e0"', b'"e9"'))
    with psycopg.connect(pipeline.database) as connection:
        connection.execute("ALTER TABLE jobs RENAME TO jobs_elsewhere")

    events += [job(number, job=early) for number in range(2, 8)]
    pipeline.append(*events[2:])
    problems = ("playhead log verify", "summary.json", '"jobs" does not exist')
    for consumer, problem in zip(consumers, problems, strict=True):
        pipeline.wait_until(lambda consumer=consumer, problem=problem: problem in "".join(consumer.serving.problems()))
    with psycopg.connect(pipeline.database) as connection:
        connection.execute("ALTER TABLE jobs_elsewhere RENAME TO jobs")
    summary.write_bytes(whole)
    with segment.open("r+b") as file:
        file.write(line)
    pipeline.caught_up()
    pipeline.wait_until(lambda: all(consumer.healthy for consumer in consumers))
    pipeline.stop()

    pipeline.holds(events)
    assert [[], [], []] == [pipeline.parked(name) for name in SINKS]


def test_deleted_entries_are_counted_as_lost(pipeline):
    events = [job(number) for number in range(30)]
    positions = pipeline.append(*events[:10])
    pipeline.start()
    pipeline.caught_up()
    pipeline.stop()
    positions += pipeline.append(*events[10:])
    pipeline.redis.xdel(JOBS.key, *map(str, positions[10:15] + positions[20:23]))

    consumers = pipeline.start()
    pipeline.caught_up()
    pipeline.stop()

    pipeline.holds(events[:10] + events[15:20] + events[23:])
    assert [8, 8, 8] == [consumer.watch.lost_events for consumer in consumers]


def test_what_a_foreign_client_trims_before_a_slow_consumer_read_it_is_counted_as_lost(pipeline):
    slow = Slow(pipeline.make_sink("jobs"))
    (consumer,) = pipeline.start(slow, batch=10)
    pipeline.append(*(job(number) for number in range(10)))
    assert slow.started.wait(60)
    positions = pipeline.append(*(job(number) for number in range(10, 50)))
    pipeline.redis.xtrim(JOBS.key, minid=str(positions[25]), approximate=False)
    slow.go.set()
    pipeline.caught_up("jobs")
    pipeline.stop()

    applied = pipeline.rows().keys()
    assert 50 == consumer.watch.lost_events + len(applied)
    assert consumer.watch.lost_events >= 15, "a batch of ten may have been read ahead"
    assert {str(number) for number in [*range(10), *range(35, 50)]} <= applied


def test_without_a_loss_none_is_counted(pipeline):
    """The control of the gap check."""
    pipeline.append(*(job(number) for number in range(20)))
    first = pipeline.start()
    pipeline.caught_up()
    pipeline.stop()
    pipeline.append(*(job(number) for number in range(20, 40)))
    second = pipeline.start()
    pipeline.caught_up()
    pipeline.stop()

    assert [0] * 6 == [consumer.watch.lost_events for consumer in first + second]


def test_a_start_that_fails_half_way_counts_nothing_as_lost_that_was_applied(pipeline, monkeypatch):
    (jobs,) = pipeline.start("jobs")
    pipeline.append(*(job(number) for number in range(10)))
    pipeline.caught_up("jobs")
    failures = {"advance": ResponseError("NOGROUP"), "parked_subjects": RedisConnectionError("away")}

    def fail_once(name, method):
        async def fail(group, *arguments):
            if error := failures.pop(name, None):
                pipeline.redis.delete(JOBS.key)
                raise error
            return await method(group, *arguments)

        monkeypatch.setattr(Group, name, fail)

    for name in failures:
        fail_once(name, getattr(Group, name))
    pipeline.append(*(job(number) for number in range(10, 20)))
    pipeline.wait_until(lambda: not failures)
    pipeline.append(*(job(number) for number in range(20, 30)))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {str(number) for number in range(30)} == pipeline.rows().keys()
    assert 0 == jobs.watch.lost_events


def test_kill_9_of_redis_under_load_loses_and_doubles_nothing(pipeline):
    events = [job(number, f"job/{number % 700}") for number in range(1400)]
    load = Load(pipeline, events)
    consumers = pipeline.start()
    load.start()
    for part in (400, 900):
        pipeline.wait_until(lambda part=part: load.appended >= part)
        pipeline.server.kill()
        pipeline.wait_until(lambda: not any(consumer.healthy for consumer in consumers))
        pipeline.server.start()
    load.join()
    pipeline.caught_up()
    pipeline.stop()

    pipeline.holds(events)


def test_a_redis_at_its_memory_limit_still_drains_and_parks(pipeline):
    events = [job(number) for number in range(300)]
    pipeline.append(*events[:150], job(999, job_id=None), *events[150:])
    pipeline.redis.config_set("maxmemory", 1)
    with pytest.raises(RedisUnavailable):
        pipeline.append(job(1000))

    pipeline.start("json-files", "jobs")
    pipeline.caught_up("json-files", "jobs")
    pipeline.stop()

    expected = {str(number): f"e{number}" for number in range(300)}
    assert expected == pipeline.rows() == pipeline.files()
    assert [1, 1] == [len(pipeline.parked(name)) for name in ("json-files", "jobs")]


def test_trouble_while_a_bad_event_is_isolated_applies_nothing_twice_and_nothing_out_of_order(pipeline):
    events = [job(number, "job/a" if number % 2 else f"job/{number}") for number in range(20)]
    sink = Refusing(pipeline.make_sink("jobs"), "e7")
    trouble, apply = {1, 3, 4, 6, 9}, sink.apply
    calls = []

    def stumble_and_apply(batch):
        calls.append(len(batch.events))
        if len(calls) in trouble:
            raise OSError(errno.ENOSPC, "no room")
        return apply(batch)

    sink.apply = stumble_and_apply
    positions = pipeline.append(*events)
    (consumer,) = pipeline.start(sink)
    pipeline.caught_up("jobs")
    pipeline.stop()

    behind = {f"e{number}" for number in range(9, 20, 2)}
    assert [event.id for event in events if event.id not in {"e7", *behind}] == sink.applied
    assert Counter(refused=1, behind=len(behind)) == consumer.watch.parked_events
    assert positions[7::2] == [Position.parse(parked.position) for parked in pipeline.parked("jobs")]
    assert [20, 20, 10, 10, 10, 5, 5, 5, 2, 2] == calls[:10]
    assert 0 == consumer.watch.lost_events


class Refusing:
    """A sink that refuses one event for good, and notes what it applied."""

    def __init__(self, sink, refuse):
        self._sink, self.refuse, self.refused = sink, refuse, 0
        self.applied = []

    def __getattr__(self, name):
        return getattr(self._sink, name)

    def apply(self, batch):
        if any(recorded.event.id == self.refuse for recorded in batch.events):
            self.refused += 1
            raise ValueError(self.refuse)
        outcome = self._sink.apply(batch)
        self.applied += [recorded.event.id for recorded in batch.events]
        return outcome


class Slow:
    """A sink that waits in its first batch until it is told to go on."""

    def __init__(self, sink):
        self._sink = sink
        self.started, self.go = threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self._sink, name)

    def apply(self, batch):
        self.started.set()
        assert self.go.wait(60)
        return self._sink.apply(batch)


class Load(threading.Thread):
    """A producer that appends in small batches and tries again while Redis is away."""

    def __init__(self, pipeline, events, batch=20):
        super().__init__(daemon=True)
        self._pipeline, self._events, self._batch = pipeline, events, batch
        self.appended = 0

    def run(self):
        while self.appended < len(self._events):
            try:
                self._pipeline.append(*self._events[self.appended : self.appended + self._batch])
            except RedisUnavailable:
                self._pipeline.wait_until(lambda: answers(self._pipeline.server.url))
                continue
            self.appended += self._batch


def test_a_reader_that_finds_its_lease_gone_twice_at_once_goes_on(pipeline, monkeypatch):
    forget = ReadAhead.forget

    async def forget_slowly(self):
        """Leave no sooner than the renewal has found out too."""
        await forget(self)
        renewals = [task for task in asyncio.all_tasks() if task.get_coro().__qualname__ == "keep_lease"]
        if renewals:  # none is left if it was the one to find out first
            await asyncio.wait(renewals, timeout=60)

    pipeline.append(job(0))
    pipeline.start("jobs")
    pipeline.caught_up("jobs")
    monkeypatch.setattr(ReadAhead, "forget", forget_slowly)
    pipeline.redis.set(presence_key(JOBS.key, "jobs"), "another/1", px=1000)
    pipeline.append(job(1))
    pipeline.caught_up("jobs")

    assert {"0": "e0", "1": "e1"} == pipeline.rows()
    monkeypatch.undo()


@pytest.mark.parametrize("trouble", [demoted, without_replicas])
def test_a_master_that_is_demoted_or_lacks_replicas_is_waited_for(pipeline, trouble):
    pipeline.append(job(0))
    (consumer,) = pipeline.start("jobs")
    pipeline.caught_up("jobs")
    with trouble(pipeline.redis), Producer(pipeline.server.url) as producer:
        pipeline.wait_until(lambda: "replica" in "".join(consumer.serving.problems()))
        with pytest.raises(RedisUnavailable):
            producer.append_events([job(1)])
    pipeline.append(job(1))
    pipeline.caught_up("jobs")
    pipeline.stop()

    assert {"0": "e0", "1": "e1"} == pipeline.rows()


def test_each_trouble_with_redis_is_waited_for_as_if_it_were_the_first(pipeline):
    with capture_logs() as logs:
        pipeline.start("jobs")
        for number in range(6):
            pipeline.append(job(number))
            pipeline.caught_up("jobs")
            pipeline.redis.client_kill_filter(_type="normal", skipme=True)
        pipeline.append(job(6))
        pipeline.caught_up("jobs")
    delays = [entry["retry_in_seconds"] for entry in logs if entry["event"] == "redis unavailable"]

    assert delays
    assert max(delays) < 1


class Stumbling(Slow):
    """A sink that fails once, in a way that passes, for each event but the second, and waits in that one."""

    def __init__(self, sink):
        super().__init__(sink)
        self._failed = {"e1"}

    def apply(self, batch):
        (recorded,) = batch.events
        if recorded.event.id not in self._failed:
            self._failed.add(recorded.event.id)
            raise OSError(errno.ENOSPC, "no room")
        return super().apply(batch) if recorded.event.id == "e1" else self._sink.apply(batch)


def test_each_trouble_of_a_sink_is_over_with_the_next_batch_that_it_takes(pipeline):
    events = [job(number) for number in range(7)]
    pipeline.append(*events)
    sink = Stumbling(pipeline.make_sink("jobs"))
    with capture_logs() as logs:
        (consumer,) = pipeline.start(sink, batch_bytes=1)
        assert sink.started.wait(60)
        pipeline.wait_until(lambda: consumer.healthy)
        sink.go.set()
        pipeline.caught_up("jobs")
    delays = [entry["retry_in_seconds"] for entry in logs if entry["event"] == "retrying"]

    assert [0.1] * (len(events) - 1) == delays


def test_a_consumer_is_healthy_again_once_the_event_that_it_tried_again_is_parked(pipeline):
    jobs = Refusing(pipeline.make_sink("jobs"), "e0")
    trouble = [OSError(errno.ENOSPC, "no room")]
    apply = jobs.apply

    def stumble_and_apply(batch):
        if trouble:
            raise trouble.pop()
        return apply(batch)

    jobs.apply = stumble_and_apply
    pipeline.append(job(0))
    (consumer,) = pipeline.start(jobs)
    pipeline.caught_up("jobs")

    pipeline.wait_until(lambda: consumer.healthy)
    assert [1, 0] == [jobs.refused, len(trouble)]
