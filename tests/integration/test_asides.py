"""What is parked or dropped stays so when Redis loses its data, and in a replay; nothing is parked twice."""

import psycopg
import pytest

from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.reader import ReaderSettings
from playhead.eventlog.asides import ASIDES, read_asides
from playhead.eventlog.reader import read
from playhead.eventlog.replay.replay import Replay, new_run
from playhead.eventlog.segments import partition_directory
from playhead.streams.failpoints import Point
from playhead.streams.names import replays_key
from tests.support.events import job
from tests.support.pipeline import JOBS, SINKS, Consumer, Pipeline
from tests.support.processes import Playhead


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
        return read_asides(partition_directory(self.directory / "eventlog", JOBS)).notes

    @property
    def file(self):
        return partition_directory(self.directory / "eventlog", JOBS) / ASIDES

    def damage_first(self):
        """Make the first note unreadable; gives what it was."""
        first, *lines = self.file.read_bytes().splitlines(keepends=True)
        self.file.write_bytes(b"".join([b"{" + first, *lines]))
        return first

    def shown(self, name):
        """What an operator sees of parked events, without the ids in Redis."""
        return [(one.subject, one.position, one.reason_class, one.reason, one.blocks) for one in self.parked(name)]

    def calls(self, *commands):
        """How often a command was sent since the counts were reset."""
        counts = self.redis.info("commandstats")
        return sum(counts.get(f"cmdstat_{command}", {"calls": 0})["calls"] for command in commands)

    def replays(self):
        """The streams of replays that have not ended."""
        return list(self.redis.scan_iter(match=f"{JOBS.key}:replay:*", _type="STREAM"))

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


def test_many_are_noted_and_given_back_in_few_round_trips(system):
    system.append(*(job(number, job_id=None) for number in range(400)))
    system.redis.config_resetstat()
    system.start()
    system.wait_until(lambda: system.noted("parked") == {"jobs": 400, "json-files": 400})
    noted = system.calls("xrange")
    for each in system.parked("jobs")[::2]:
        system.parked_events("jobs").drop(each)
    system.wait_until(lambda: system.noted("dropped") == {"jobs": 200})
    before = {name: system.shown(name) for name in ("jobs", "json-files")}
    system.stop()
    system.redis.flushall()
    system.redis.config_resetstat()
    system.start("log")
    system.wait_until(lambda: system.redis.xlen(f"{JOBS.key}:parked:json-files") == 400)
    system.stop()
    given = system.calls("evalsha", "hget", "xrange")

    assert before == {name: system.shown(name) for name in before}
    assert 400 == len(system.parked_events("jobs").positions())
    assert noted < 200
    assert given < 1000, "one or two for each of 600, were they given back one by one, beside those of all partitions"


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


def test_a_replay_that_was_cut_short_at_its_end_goes_on(system):
    system.append(job(1, "job/a"))
    system.start()
    system.caught_up()
    run = new_run()
    Replay(system.redis, run, {"jobs": ("jobs",)}).send(system.logged("job/a"))
    system.redis.hdel(replays_key(JOBS.key), run)  # the first thing that its end does
    system.append(job(2, "job/b"))
    system.caught_up()
    replay = Replay(system.redis, run, {"jobs": ("jobs",)})
    replay.resume([JOBS])
    sent = replay.send(system.logged("job/b"))
    failed = replay.finish()

    assert (1, 1, 0) == (replay.sent_before, sent, failed)
    assert [] == system.replays()


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


def test_a_note_that_cannot_be_read_is_noted_again_as_long_as_redis_knows_it(system):
    system.begin()
    before = system.shown("jobs")
    system.stop()
    system.damage_first()
    lost = len(before) + len(system.shown("json-files")) - len(system.notes())
    system.start()
    system.append(job(6, "job/b"))
    system.caught_up()
    system.wait_until(lambda: system.noted("parked") == {"jobs": 4, "json-files": 4})

    assert 1 == lost
    assert before == system.shown("jobs")
    assert len({one.number for one in system.notes()}) == len(system.notes())


@pytest.mark.parametrize("mended", ["restored", "removed"])
def test_nothing_goes_on_while_a_note_cannot_be_read_that_redis_lost(system, mended):
    system.begin()
    before = {name: system.shown(name) for name in ("jobs", "json-files")}
    system.stop()
    whole = system.file.read_bytes()
    system.damage_first()
    damaged = system.notes()
    system.redis.flushall()
    system.start()
    log = system._running[0]  # noqa: SLF001  # the test's own
    system.wait_until(lambda: any("asides.ndjson, line 1" in problem for problem in log.problems))
    assert {} == system.redis.hgetall(f"{JOBS.key}:parked-positions:jobs")

    system.append(job(6, "job/b"), job(7, "job/c"))
    assert {"b": "e2"} == system.rows()
    system.file.write_bytes(whole if mended == "restored" else whole.split(b"\n", 1)[1])
    system.wait_until(lambda: system.rows().get("b") == "e6")
    system.caught_up()

    after = {name: system.shown(name) for name in before}
    assert sum(map(len, before.values())) == len(damaged) + 1
    lost = 0 if mended == "restored" else 1
    assert sum(map(len, before.values())) + 2 == sum(map(len, after.values())) + lost
    assert mended != "restored" or before == {name: shown[:4] for name, shown in after.items()}
    assert {"b": "e6"} == system.rows(), "what stands behind a parked event waits"


def test_what_took_effect_while_the_log_was_dead_between_a_note_and_its_mark_is_not_parked_again(system):
    system.append(job(4, "job/c", job_id=None), job(5, "job/c"))
    system.start("jobs")
    system.wait_until(lambda: len(system.parked("jobs")) == 2)
    Playhead(system.directory, system.server.url, DATABASE_URL=system.database).killed_at(Point.BEFORE_MARK, "log")
    noted = system.noted("parked")
    bad, behind = system.parked("jobs")
    system.parked_events("jobs").drop(bad)
    system.retry("jobs", behind)
    system.wait_until(lambda: system.rows() == {"c": "e5"})
    system.wait_until(lambda: not system.parked("jobs"))
    system.start("log")
    system.wait_until(lambda: system.noted("applied") == system.noted("dropped") == {"jobs": 1})

    assert {"jobs": 2} == noted
    assert [] == system.parked("jobs")


def test_nothing_is_noted_that_the_log_does_not_have(system):
    """It would be said to be gone with Redis when the log begins again."""
    system.append(job(1, job_id=None))
    system.start()
    system.wait_until(lambda: system.noted("parked") == {"jobs": 1, "json-files": 1})
    system.redis.hset(f"{JOBS.key}:parked-positions:jobs", "9999999999999-0", "dropped")
    system.append(job(2, job_id=None))
    system.wait_until(lambda: system.noted("parked") == {"jobs": 2, "json-files": 2})

    assert {} == system.noted("dropped")


def test_a_replay_passes_over_what_is_parked_after_it_began(system):
    system.append(job(1, "job/b"))
    system.start()
    system.caught_up()
    replay = Replay(system.redis, new_run(), {"jobs": ["jobs"]})
    replay.send(system.logged("job/b"))
    system.wait_until(lambda: all(not group["lag"] for group in system.redis.xinfo_groups(*system.replays())))
    system.append(job(2, "job/a", job_id=None), job(3, "job/a"))
    system.caught_up()
    before = system.parked("jobs")
    replay.send(system.logged("job/a"))
    parked = replay.finish()

    assert 2 == parked
    assert before == system.parked("jobs")
    assert {"b": "e1"} == system.rows()
