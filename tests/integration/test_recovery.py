"""Lost Redis state: every event that the log has takes effect in every projection, and what nobody has is counted."""

import json
import threading
from contextlib import suppress
from traceback import format_exception

import psycopg
import pytest
from redis import Redis

from playhead.checks.consumers import check_consumers
from playhead.checks.status import read_status
from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.reading.unlogged import UNLOGGED
from playhead.embedded.servers import embedded_servers
from playhead.eventlog.errors import EventsMissing
from playhead.eventlog.gaps import GAPS
from playhead.eventlog.history import History
from playhead.eventlog.reader import read, verify
from playhead.eventlog.writer import LogWriter
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.projections.jobs.table.projection import Jobs
from playhead.projections.migrations import upgrade
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import RedisUnavailable
from playhead.streams.events import new_event
from playhead.streams.partitions import Partition
from tests.support.pipeline import Consumer
from tests.support.places import place_of

JOBS = Partition("jobs", 0)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with embedded_servers(tmp_path_factory.mktemp("servers")) as servers:
        upgrade(servers.database_url)
        yield servers


class System:
    """Log, files and table on one Redis and one Postgres."""

    def __init__(self, servers, directory, wait_until) -> None:
        self.url, self.database = servers.redis_url, servers.database_url
        self.directory = directory
        self.wait_until = wait_until
        self.redis = Redis.from_url(self.url)
        self.producer = Producer(self.url)
        self.consumers: dict[str, Consumer] = {}
        self.log_dir, self.output_dir = directory / "eventlog", directory / "outputs"
        self.redis.flushall()
        with psycopg.connect(self.database) as connection:
            connection.execute("TRUNCATE jobs, playhead_checkpoints")

    def start(self, *names, history=True):
        for name in names:
            sink = {
                "log": lambda: LogWriter(self.log_dir),
                "jobs": lambda: Jobs(place_of("jobs", self.database)),
                "json-files": lambda: JsonFiles(self.output_dir),
            }[name]()
            log_dir = self.log_dir if history else None
            settings = ProcessSettings(redis_url=self.url, reader=ReaderSettings(lease=1), event_log_dir=log_dir)
            self.consumers[name] = Consumer(sink, settings)
            self.consumers[name].start()

    def stop(self, *names):
        for name in names or list(self.consumers):
            self.consumers.pop(name).stop()

    def close(self):
        for consumer in self.consumers.values():
            assert consumer.failure is None
        self.stop()
        self.producer.close()
        self.redis.close()

    def append(self, *numbers, result="ok"):
        return self.producer.append_events([job(number, result) for number in numbers])

    def log(self):
        if not self.log_dir.exists():
            return []
        return [int(recorded.event.id) for _, recorded in read(self.log_dir)]

    def rows(self):
        with psycopg.connect(self.database) as connection:
            found = connection.execute("SELECT event_id FROM jobs").fetchall()
        return sorted(int(event_id) for (event_id,) in found)

    def files(self):
        paths = self.output_dir.glob("daily/*/processed/*.json")
        return sorted(int(json.loads(path.read_bytes())["event_id"]) for path in paths)

    def all_have(self, count):
        self.wait_until(lambda: self.log()[-1:] and len(set(self.log())) >= count)
        self.wait_until(lambda: len(self.rows()) >= count)
        self.wait_until(lambda: len(self.files()) >= count)
        expected = list(range(1, count + 1))
        assert expected == sorted(self.log())
        assert expected == self.rows()
        assert expected == self.files()


def job(number, result="ok"):
    data = {"job_id": str(number), "job": {"created_at": "2025-08-09T06:36:58Z"}, "result": result}
    return new_event("job.completed", subject=f"job/{number}", data=data, id=str(number))


@pytest.fixture
def system(servers, tmp_path, wait_until):
    system = System(servers, tmp_path, wait_until)
    yield system
    system.close()


def test_a_flush_under_load_loses_and_doubles_nothing_that_the_log_has(system):
    system.start("log", "jobs", "json-files")
    system.append(*range(1, 101))
    system.all_have(100)
    stop, appended = threading.Event(), []

    def produce():
        number = 100
        while not stop.is_set():
            number += 1
            with suppress(RedisUnavailable):
                system.producer.append_events([job(number)])
                appended.append(number)

    producing = threading.Thread(target=produce)
    producing.start()
    system.wait_until(lambda: len(appended) > 200)
    system.redis.flushall()
    after = len(appended)
    system.wait_until(lambda: len(appended) > after + 500)
    stop.set()
    producing.join()
    system.wait_until(lambda: appended[-1] in system.log())
    system.wait_until(lambda: appended[-1] in system.rows())
    system.wait_until(lambda: appended[-1] in system.files())

    log = system.log()
    gone = set(range(1, appended[-1] + 1)) - set(log)
    faults = [fault for fault in verify(system.log_dir).faults if fault.kind != "gap"]

    assert [] == faults
    assert len(log) == len(set(log))
    for applied in (system.rows(), system.files()):
        assert set(log) <= set(applied)
        assert set(applied) - set(log) <= gone  # applied, and flushed before the log read them
    assert gone <= set(range(appended[0], appended[after] + 50))


def test_a_projection_that_lagged_at_the_flush_gets_the_rest_from_the_log(system):
    system.start("log", "jobs", "json-files")
    system.append(*range(1, 51))
    system.all_have(50)
    system.stop("jobs", "json-files")
    system.append(*range(51, 101))
    system.wait_until(lambda: len(system.log()) == 100)
    system.redis.flushall()
    system.append(*range(101, 151))
    system.start("jobs", "json-files")

    system.all_have(150)
    assert {0} == {consumer.watch.lost_events for consumer in system.consumers.values()}
    assert [] == verify(system.log_dir).faults


def test_without_the_log_the_same_flush_shows_as_a_loss(system):
    system.start("log", "jobs")
    system.append(*range(1, 51))
    system.wait_until(lambda: len(system.log()) == 50 == len(system.rows()))
    system.stop("jobs")
    system.append(*range(51, 101))
    system.wait_until(lambda: len(system.log()) == 100)
    system.redis.flushall()
    system.append(*range(101, 151))
    system.wait_until(lambda: len(system.log()) == 150)
    system.start("jobs", history=False)
    system.wait_until(lambda: len(system.rows()) == 100)
    jobs = system.consumers["jobs"]

    assert jobs.watch.lost_events > 0
    assert not jobs.healthy
    assert "playhead replay --log --to jobs" in "".join(jobs.serving.problems())


def test_sequence_and_positions_go_on_behind_the_log_after_a_flush(system):
    system.start("log")
    *_, last = system.append(*range(1, 11))
    system.wait_until(lambda: len(system.log()) == 10)
    system.stop("log")
    system.redis.flushall()
    system.redis.xadd(JOBS.key, {"ce_id": "early"}, id="1-1")
    system.redis.xtrim(JOBS.key, maxlen=0)
    system.redis.delete(JOBS.key)
    system.start("log")
    system.wait_until(lambda: system.redis.hget(f"{JOBS.key}:meta", "compared") is not None)
    info = system.redis.xinfo_stream(JOBS.key)
    (position,) = system.append(11)

    assert str(last) == info["last-generated-id"].decode()
    assert position > last
    system.wait_until(lambda: len(system.log()) == 11)
    tail = History(system.log_dir).tail(JOBS)
    assert tail is not None
    assert 11 == tail.sequence


def test_events_below_the_logs_tail_go_behind_it_and_none_is_doubled(system):
    system.start("log", "jobs")
    system.append(*range(1, 11))
    system.wait_until(lambda: len(system.log()) == 10 == len(system.rows()))
    system.stop()
    system.redis.flushall()
    # A server whose clock is behind: its ids are below the log's tail. One event is appended a second time.
    for number in (10, 11, 12):
        system.append(number)
    for entry_id, fields in system.redis.xrange(JOBS.key):
        system.redis.xdel(JOBS.key, entry_id)
        low = dict(fields)
        system.redis.rpush("low", json.dumps([[k.decode(), v.decode()] for k, v in low.items()]))
    system.redis.delete(JOBS.key)
    for number, raw in enumerate(system.redis.lrange("low", 0, -1), 1):
        system.redis.xadd(JOBS.key, dict(json.loads(raw)), id=f"5-{number}")
    system.start("log", "jobs")
    system.wait_until(lambda: len(system.log()) == 12 == len(system.rows()))

    assert list(range(1, 13)) == system.log() == system.rows()
    assert [] == verify(system.log_dir).faults
    assert [b"0000000000000011", b"0000000000000012"] == [
        fields[b"ce_sequence"] for _, fields in system.redis.xrange(JOBS.key)
    ]


def test_an_entry_of_thousands_of_fields_goes_behind_the_log_and_is_parked(system):
    system.start("log", "jobs")
    system.append(1)
    system.wait_until(lambda: [1] == system.log() == system.rows())
    system.stop()
    system.redis.flushall()
    system.redis.xadd(JOBS.key, {f"f{number}": "x" for number in range(5000)}, id="5-1")
    system.append(2)
    system.start("log", "jobs")
    system.wait_until(lambda: [1, 2] == system.log() == system.rows())

    (parked,) = ParkedEvents(system.redis, "log", JOBS)
    moved = system.redis.xrange(JOBS.key)[0][1]
    assert "1100 is the limit; 1 of them are not kept here" in parked.reason
    assert (b"2000", 3001) == (moved[b"fields_left_out"], len(moved))


def test_an_event_that_the_log_has_is_not_taken_again_after_a_flush(system):
    system.start("log", "jobs")
    first = system.append(1, 2, 3)
    system.wait_until(lambda: len(system.log()) == 3 == len(system.rows()))
    system.redis.flushall()
    system.wait_until(lambda: system.redis.hget(f"{JOBS.key}:meta", "compared") is not None)

    assert first == system.append(1, 2, 3)
    system.append(4)
    system.wait_until(lambda: system.log() == [1, 2, 3, 4])
    system.wait_until(lambda: system.rows() == [1, 2, 3, 4])


@pytest.mark.parametrize("projection_first", [False, True])
def test_a_redis_set_back_to_an_old_state_goes_on_and_nothing_is_skipped(system, projection_first):
    system.start("log", "jobs", "json-files")
    system.append(*range(1, 31))
    system.all_have(30)
    system.stop("jobs")
    old = {key: system.redis.dump(key) for key in system.redis.scan_iter() if b":lease:" not in key}
    system.append(*range(31, 61))
    system.wait_until(lambda: len(system.log()) == 60 == len(system.files()))
    system.stop()
    system.redis.flushall()
    for key, content in old.items():
        system.redis.restore(key, 0, content)
    # Producers go on before anybody notices; the numbers of the new events are those of the lost ones.
    system.append(*range(61, 71))
    if projection_first:
        system.start("jobs")  # its own position is in the stream: it reads on, and hears of the rest later
        system.wait_until(lambda: system.rows()[-1:] == [70])
    system.start("log", "json-files", *(() if projection_first else ("jobs",)))

    system.all_have(70)
    assert {0} == {consumer.watch.lost_events for consumer in system.consumers.values()}
    assert [] == verify(system.log_dir).faults


def test_an_event_appended_again_before_the_repair_leaves_everybody_caught_up(system):
    system.start("log", "jobs")
    system.append(1, 2)
    system.wait_until(lambda: len(system.log()) == 2 == len(system.rows()))
    system.stop()
    system.redis.flushall()
    system.append(2)
    system.start("log", "jobs")

    last = system.redis.xinfo_stream(JOBS.key)["last-generated-id"]
    system.wait_until(lambda: {last} == {g["last-delivered-id"] for g in system.redis.xinfo_groups(JOBS.key)})
    assert [1, 2] == system.log() == system.rows()


def test_a_foreign_trim_is_healed_from_the_log(system):
    system.start("log", "jobs", "json-files")
    system.append(*range(1, 51))
    system.all_have(50)
    system.stop("jobs", "json-files")
    system.append(*range(51, 151))
    system.wait_until(lambda: len(system.log()) == 150)
    system.redis.xtrim(JOBS.key, maxlen=20, approximate=False)
    system.start("jobs", "json-files")

    system.all_have(150)
    assert {0} == {consumer.watch.lost_events for consumer in system.consumers.values()}


def test_deleted_entries_behind_the_cursor_are_read_from_the_log_before_anything_follows_them(system):
    system.start("log", "json-files", "jobs")
    system.append(*range(1, 11))
    system.all_have(10)
    system.stop("json-files", "jobs")
    deleted = system.append(*range(11, 16))
    system.wait_until(lambda: len(system.log()) == 15)
    system.redis.xdel(JOBS.key, *map(str, deleted))

    system.start("json-files", "jobs")
    system.all_have(15)
    system.append(16)
    system.all_have(16)
    assert {0} == {consumer.watch.lost_events for consumer in system.consumers.values()}


def test_a_foreign_trim_before_the_log_read_is_counted_everywhere(system):
    system.start("log", "jobs")
    system.append(*range(1, 51))
    system.wait_until(lambda: len(system.log()) == 50 == len(system.rows()))
    system.stop()
    system.append(*range(51, 101))
    system.redis.xtrim(JOBS.key, maxlen=20, approximate=False)
    system.start("log", "jobs")
    system.wait_until(lambda: len(system.log()) == 70 == len(system.rows()))

    assert [30, 30] == [consumer.watch.lost_events for consumer in system.consumers.values()]
    assert ["gap"] == [fault.kind for fault in verify(system.log_dir).faults]
    assert 2 == system.redis.llen(f"{JOBS.key}:lost")


def test_a_table_emptied_with_its_checkpoint_after_trimming_comes_back_by_itself(system):
    system.start("log", "jobs")
    system.append(*range(1, 101))
    system.wait_until(lambda: len(system.log()) == 100 == len(system.rows()))
    system.stop("jobs")
    system.redis.xtrim(JOBS.key, maxlen=0, approximate=False)
    with psycopg.connect(system.database) as connection:
        connection.execute("TRUNCATE jobs, playhead_checkpoints")
    system.start("jobs")

    system.wait_until(lambda: system.rows() == list(range(1, 101)))
    assert 0 == system.consumers["jobs"].watch.lost_events


def test_a_group_or_stream_deleted_under_a_running_consumer_comes_back(system):
    system.start("log", "jobs", "json-files")
    system.append(*range(1, 11))
    system.all_have(10)
    for group in ("log", "jobs", "json-files"):
        system.redis.xgroup_destroy(JOBS.key, group)
    system.append(*range(11, 21))
    system.all_have(20)
    system.redis.delete(JOBS.key)
    system.append(*range(21, 31))

    system.all_have(30)
    assert {0} == {consumer.watch.lost_events for consumer in system.consumers.values()}


def test_two_owners_after_a_flush_do_not_both_write(system):
    system.start("log", "jobs")
    system.append(*range(1, 11))
    system.wait_until(lambda: len(system.log()) == 10 == len(system.rows()))
    first = Jobs(place_of("jobs", system.database))
    first.open(JOBS, 2**62)
    system.append(11)
    system.wait_until(lambda: system.rows() == list(range(1, 12)))
    first.close()


def test_a_reader_that_waits_for_the_log_says_so(system):
    system.start("log", "jobs")
    system.append(*range(1, 11))
    system.wait_until(lambda: len(system.log()) == 10 == len(system.rows()))
    system.stop("log")
    system.redis.flushall()
    system.append(11)
    jobs = system.consumers["jobs"]
    system.wait_until(lambda: "playhead run log" in "".join(jobs.serving.problems()))

    assert not jobs.healthy
    assert list(range(1, 11)) == system.rows()

    system.start("log")
    system.wait_until(lambda: system.rows() == list(range(1, 12)))
    system.wait_until(lambda: jobs.healthy)


def test_a_damaged_log_is_said_and_nothing_is_read_past_it(system):
    system.start("log")
    system.append(*range(1, 11))
    system.wait_until(lambda: len(system.log()) == 10)
    system.stop()
    (segment,) = system.log_dir.glob("jobs/0/*.jsonl")
    good = segment.read_bytes()
    segment.write_bytes(good.replace(b'"job_id":"5"', b'"job_id":"6"'))
    system.append(11)
    system.start("log", "jobs")
    log = system.consumers["log"]
    system.wait_until(lambda: log.serving is not None and "playhead log verify" in "".join(log.serving.problems()))

    system.wait_until(
        lambda: read_status(system.redis, 1).consumers[0].state == "not ready"
    )  # it is said a moment later
    (status, *_) = read_status(system.redis, 1).consumers
    (check, *_) = check_consumers([status])

    assert log.failure is None
    assert segment.name in "".join(log.serving.problems())
    assert ("log", "not ready") == (status.name, status.state)
    assert segment.name in check.found
    assert "start it" not in check.advice
    assert segment.stat().st_size == len(good)


def test_a_gap_that_an_earlier_version_noted_only_in_redis_stops_no_reader(system):
    system.start("log")
    system.append(*range(1, 11))
    system.wait_until(lambda: len(system.log()) == 10)
    system.stop()
    system.append(*range(11, 21))
    system.redis.xtrim(JOBS.key, maxlen=5, approximate=False)
    system.start("log")
    system.wait_until(lambda: len(system.log()) == 15)
    system.stop()
    notes = system.log_dir / "jobs/0" / GAPS
    notes.unlink()
    with pytest.raises(EventsMissing):
        system.log()

    system.start("log", "jobs")
    system.wait_until(lambda: notes.exists() and notes.read_bytes().endswith(b"\n"))

    assert [*range(1, 11), *range(16, 21)] == system.log()
    system.wait_until(lambda: system.rows() == system.log())


def test_a_log_that_is_cut_while_it_is_written_ends_its_writer_which_then_counts_what_is_gone(system):
    system.start("log", "jobs")
    system.append(*range(1, 11))
    system.wait_until(lambda: len(system.log()) == 10 == len(system.rows()))
    system.redis.xtrim(JOBS.key, maxlen=0, approximate=False)
    (segment,) = system.log_dir.glob("jobs/0/*.jsonl")
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:6]))
    system.append(11)
    log = system.consumers.pop("log")
    system.wait_until(lambda: not log.is_alive())
    log.stop()
    assert "it was cut" in "".join(format_exception(log.failure))

    for _ in range(2):
        system.start("log")
        system.wait_until(lambda: system.log()[-1:] == [11])
        system.stop("log")

    (lost,) = map(json.loads, system.redis.lrange(f"{JOBS.key}:lost", 0, -1))
    assert ("log", 4, UNLOGGED) == (lost["projection"], lost["count"], lost["reason"])
    assert [*range(1, 7), 11] == system.log()
