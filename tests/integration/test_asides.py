"""What is parked or dropped stays so when Redis loses its data, and in a replay; nothing is parked twice."""

import psycopg
import pytest

from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.eventlog.asides import read_asides
from playhead.eventlog.reader import read
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.eventlog.segments import partition_directory
from tests.support.events import job
from tests.support.pipeline import JOBS, SINKS, Consumer, Pipeline


@pytest.fixture
def system(valkey, postgres, tmp_path, wait_until):
    system = System(valkey, postgres, tmp_path, wait_until)
    yield system
    system.close()


class System(Pipeline):
    """Log, table and files, of which a and c have an event that cannot be applied, and a later one behind it."""

    def start(self, *sinks):
        settings = ProcessSettings(
            redis_url=self.server.url,
            partitions=1,
            reader=ReaderSettings(lease=1.0),
            event_log_dir=self.directory / "eventlog",
        )
        for name in sinks or SINKS:
            self._running.append(Consumer(self.make_sink(name), settings))
            self._running[-1].start()

    def begin(self):
        self.append(
            job(1, "job/a", job_id=None),
            job(2, "job/b"),
            job(3, "job/a"),
            job(4, "job/c", job_id=None),
            job(5, "job/c"),
        )
        self.start()
        self.caught_up()
        self.wait_until(lambda: self.noted("parked") == {"jobs": 4, "json-files": 4})

    def logged(self, *subjects):
        found = (recorded for _, recorded in read(self.directory / "eventlog"))
        return ((JOBS, recorded) for recorded in found if recorded.event.subject in subjects)

    def drop(self, name, subject):
        dropped = [parked for parked in self.parked(name) if parked.subject == subject]
        for parked in dropped:
            self.parked_events(name).drop(parked)
        self.wait_until(lambda: self.noted("dropped").get(name) == len(dropped))

    def noted(self, became):
        last = {(note.consumer, note.position): note.became for note in self.notes()}
        found = {}
        for (consumer, _), how in last.items():
            if how == became:
                found[consumer] = found.get(consumer, 0) + 1
        return found

    def notes(self):
        return read_asides(partition_directory(self.directory / "eventlog", JOBS))

    def shown(self, name):
        """What an operator sees of parked events, without the ids in Redis."""
        return [(one.subject, one.position, one.reason_class, one.reason, one.blocks) for one in self.parked(name)]

    def forget_tables(self):
        with psycopg.connect(self.database) as connection:
            connection.execute("TRUNCATE jobs, playhead_checkpoints")


def test_they_stay_so_when_redis_loses_its_data(system):
    system.begin()
    system.drop("jobs", "job/a")
    before = {name: system.shown(name) for name in ("jobs", "json-files")}
    system.redis.flushall()
    system.append(job(6, "job/b"), job(7, "job/a"), job(8, "job/c"))
    system.caught_up()
    system.wait_until(lambda: system.rows().get("b") == "e6")
    after = {name: system.shown(name) for name in ("jobs", "json-files")}

    assert [("job/c", "refused"), ("job/c", "behind")] == [(one[0], one[2]) for one in before["jobs"]]
    assert before["jobs"] == after["jobs"][:2]
    assert before["json-files"] == after["json-files"][:4]
    assert {"jobs": 3, "json-files": 6} == {name: len(shown) for name, shown in after.items()}
    assert {"a": "e7", "b": "e6"} == system.rows()


def test_they_stay_so_when_a_table_is_filled_again_after_that(system):
    system.begin()
    system.drop("jobs", "job/a")
    before = system.shown("jobs")
    system.stop()
    system.redis.flushall()
    system.forget_tables()
    system.start()
    system.wait_until(lambda: system.rows() == {"b": "e2"})
    system.caught_up()

    assert before == system.shown("jobs")


def test_an_older_copy_of_redis_learns_what_happened_since(system):
    system.begin()
    old = {key: system.redis.dump(key) for key in system.redis.scan_iter() if b":lease:" not in key}
    system.drop("jobs", "job/a")
    system.stop()
    system.redis.flushall()
    for key, content in old.items():
        system.redis.restore(key, 0, content)
    assert 4 == len(system.parked("jobs"))
    system.start("log")
    system.wait_until(lambda: len(system.parked("jobs")) == 2)
    system.append(job(6, "job/a"))
    system.start("jobs", "json-files")
    system.caught_up()

    assert ["job/c", "job/c"] == [parked.subject for parked in system.parked("jobs")]
    assert {"a": "e6", "b": "e2"} == system.rows()


def test_what_took_effect_at_last_is_not_parked_again(system):
    system.begin()
    system.drop("jobs", "job/a")
    behind = [one for one in system.parked("jobs") if one.reason_class == "behind"]
    system.parked_events("jobs").drop(system.parked("jobs")[0])
    system.retry("jobs", behind[0])
    system.wait_until(lambda: system.rows().get("c") == "e5")
    system.wait_until(lambda: system.noted("applied") == {"jobs": 1})
    system.redis.flushall()
    system.append(job(6, "job/c"))
    system.caught_up()

    assert [] == system.parked("jobs")
    assert {"b": "e2", "c": "e6"} == system.rows()


def test_what_stands_before_a_parked_event_takes_effect_when_only_the_log_is_left(system):
    system.append(job(0, "job/a", job_id="a"), job(10, "job/c", job_id="c"))
    system.begin()
    before = system.shown("jobs")
    rows = system.rows()
    system.stop()
    system.redis.flushall()
    system.forget_tables()
    system.start()
    system.caught_up()
    system.wait_until(lambda: system.rows() == rows)

    assert {"a": "e0", "b": "e2", "c": "e10"} == rows
    assert before == system.shown("jobs")


def test_a_restore_that_was_cut_short_is_done_again(system):
    system.begin()
    system.drop("jobs", "job/a")
    before = system.shown("jobs")
    dropped = [one.position for one in system.notes() if one.became == "dropped"]
    system.stop()
    system.redis.flushall()
    system.redis.hset(f"{JOBS.key}:parked-positions:jobs", mapping=dict.fromkeys(dropped, "dropped"))
    system.redis.hset(f"{JOBS.key}:asides", "number", "restoring it")
    system.start()
    system.append(job(6, "job/b"))
    system.wait_until(lambda: system.rows().get("b") == "e6")
    system.caught_up()

    assert before == system.shown("jobs")


def test_notes_that_are_an_older_copy_than_redis_are_numbered_on(system):
    system.begin()
    system.stop()
    system.redis.hset(f"{JOBS.key}:asides", "number", "50")
    system.start()
    system.append(job(6, "job/d", job_id=None))
    system.wait_until(lambda: system.noted("parked") == {"jobs": 5, "json-files": 5})

    assert [51, 52] == [one.number for one in system.notes()][-2:]


def test_a_replay_passes_over_them(system):
    system.begin()
    system.drop("jobs", "job/a")
    before = system.shown("jobs")
    system.forget_tables()
    replay = Replay(system.redis, new_run(), {"jobs": ("jobs",)})
    replay.send((JOBS, recorded) for _, recorded in read(system.directory / "eventlog"))
    parked = replay.finish()

    assert len(before) == parked
    assert before == system.shown("jobs")
    assert {"b": "e2"} == system.rows()


@pytest.mark.parametrize("resumed", [False, True])
def test_a_replay_counts_what_is_parked_of_it_whoever_parked_it_and_nothing_else(system, resumed):
    system.append(job(1, "job/a"))
    system.start()
    system.caught_up()
    run = new_run()
    replay = Replay(system.redis, run, {"jobs": ("jobs",)})
    replay.send(system.logged("job/a"))
    system.append(job(2, "job/b", job_id=None), job(3, "job/c", job_id=None), job(4, "job/d"))
    system.caught_up()
    system.wait_until(lambda: system.noted("parked").get("jobs") == 2)
    replay.send(system.logged("job/b", "job/d"))
    if resumed:
        replay = Replay(system.redis, run, {"jobs": ("jobs",)})
        replay.resume([JOBS])
    failed = replay.finish(lambda event: event.subject != "job/c")

    assert 1 == failed
    assert (3 if resumed else 0) == replay.sent_before


def test_nothing_is_noted_again_when_the_log_begins_again(system):
    system.begin()
    before = system.notes()
    system.stop()
    system.start()
    system.append(job(6, "job/b"))
    system.caught_up()
    system.drop("jobs", "job/a")

    assert before == system.notes()[: len(before)]
    assert 2 == len(system.notes()) - len(before)
