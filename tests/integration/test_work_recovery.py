"""Workers after Redis lost its state: what was not finished is worked on again, what was finished is not."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis as AsyncRedis

from playhead.commands.consumers.retirement import remove_groups
from playhead.consumers.errors import Retry
from playhead.consumers.halts import Halt
from playhead.consumers.processes.projection import ProcessSettings
from playhead.consumers.reading.parked import ParkedEvents
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.reading.trimming import trim
from playhead.consumers.recordings.ffmpeg import Ffmpeg, find_ffmpeg
from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.promote import Promote, PromoteSettings
from playhead.consumers.recordings.promotion import Promoter
from playhead.consumers.recordings.transcode import Transcode
from playhead.consumers.work.holds import Holds
from playhead.consumers.work.recovery import WorkRecovery
from playhead.consumers.work.worker import WorkerSettings
from playhead.eventlog.following import Follower
from playhead.eventlog.history import History
from playhead.eventlog.writer import LogWriter
from playhead.projections.postgres import connect
from playhead.projections.recordings.projection import Recordings
from playhead.projections.recordings.rows import find_meetings
from playhead.streams.events import Recorded, new_event
from playhead.streams.failpoints import Point
from playhead.streams.names import HALTS, SCHEMA, again_key, parked_positions_key
from playhead.streams.partitions import Partition
from playhead.streams.positions import START
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.recordings.recorder import Recorder, RecorderSettings
from tests.support.audio import RECORDINGS, tone
from tests.support.conditions import until
from tests.support.databases import make_database
from tests.support.pipeline import Consumer
from tests.support.places import place_of
from tests.support.processes import Playhead
from tests.support.workers import NOTES, Enrich, nothing_left, parked, working

LATER = 3600
RETIRED = Halt("retired", 0.0)
READER = ReaderSettings(lease=1.0)


class Log:
    """The log of one stream, and its consumer while a test wants it."""

    def __init__(self, url: str, directory: Path, stream: str) -> None:
        self.url, self.directory, self.stream = url, directory, stream
        self.history = History(directory)
        self._follower = Follower(directory, Partition(stream, 0))
        self._read: list[Recorded] = []

    @contextmanager
    def served(self):
        sink = LogWriter(self.directory)
        sink.streams = (self.stream,)
        consumer = Consumer(sink, ProcessSettings(redis_url=self.url, reader=READER))
        consumer.start()
        try:
            yield
        finally:
            consumer.stop()
        assert consumer.failure is None

    def events(self, type: str):
        self._read += self._follower.behind(self._read[-1].position if self._read else START)
        return [each.event for each in self._read if each.event.type == type]

    def causes(self) -> Counter:
        return Counter(event.causationid for event in self.events("note.enriched"))


@pytest.fixture
def log(redis_server, redis, tmp_path):
    redis.xgroup_create(NOTES.key, "enrich", id="0", mkstream=True)  # else the log may be faster than the worker
    return Log(redis_server.url, tmp_path / "eventlog", "notes")


class Busy(Enrich):
    """Puts off the first so many notes, as long as it is told to."""

    def __init__(self, count: int) -> None:
        super().__init__(self.put_off)
        self.late = {f"note.submitted-{number}" for number in range(count)}

    async def put_off(self, task):
        if task.cause.event.id in self.late:
            raise Retry("the model is overloaded", after=LATER)


class Refusing(Enrich):
    """Refuses every note but the first."""

    def __init__(self) -> None:
        super().__init__(self.refuse)

    async def refuse(self, task):
        if task.cause.event.id != "note.submitted-0":
            raise ValueError("it is empty")


class Interrupted(AsyncRedis):
    """A client that lets something else happen before the command with a number."""

    sent, at = 0, 0

    async def execute_command(self, *args, **options):
        self.sent += 1
        if self.sent == self.at:
            await self.meanwhile()
        return await super().execute_command(*args, **options)


def expected(*numbers: int) -> Counter:
    return Counter(f"note.submitted-{number}" for number in numbers)


async def finish_but_eight(log, redis, handler) -> None:
    """Twenty notes, of which eight are deferred, and the log has all that happened."""
    await until(lambda: len(handler.seen) == 20 and redis.zcard(f"{NOTES.key}:due:enrich") == 8)
    await until(lambda: len(log.events("note.submitted")) == 20 and log.causes() == expected(*range(8, 20)))


@pytest.mark.parametrize("with_log", [True, False])
def test_a_flush_gives_back_what_was_not_finished_and_nothing_else(log, redis, producer, submit, with_log):
    """Without the log, the control, what was not finished is gone."""
    handler = Busy(8)
    submit(20)
    new = [new_event("note.submitted", subject=f"note/{n}", data={}, id=f"note.submitted-{n}") for n in range(20, 25)]
    done = expected(*range(0 if with_log else 8, 25))

    async def run():
        with log.served():
            async with working(log.url, handler, history=log.history if with_log else None):
                await finish_but_eight(log, redis, handler)
                handler.late = set()
                redis.flushall()
                producer.append_events(new)
                await until(lambda: log.causes() == done)

    asyncio.run(run())

    assert done == log.causes()
    if with_log:
        assert 33 == len(handler.seen)


def test_what_is_parked_or_dropped_stays_so_after_a_flush(log, redis, submit):
    handler = Refusing()
    submit(3)

    def noted():
        return {note.position: note.became for note in log.history.asides(NOTES).notes}

    async def run():
        with log.served():
            async with working(log.url, handler, history=log.history):
                await until(lambda: len(parked(redis)) == 2 == len(noted()))
                dropped, left = parked(redis)
                ParkedEvents(redis, "enrich", NOTES).drop(dropped)
                await until(lambda: noted() == {dropped.position: "dropped", left.position: "parked"})
                seen = len(handler.seen)
                redis.flushall()
                await until(lambda: [one.position for one in parked(redis)] == [left.position])
                submit(4)
                await until(lambda: len(parked(redis)) == 2)
                ParkedEvents(redis, "enrich", NOTES).request_retry(parked(redis)[0])
                await until(lambda: len(handler.seen) == seen + 2 and len(parked(redis)) == 2)
                await until(lambda: len(noted()) == 3)
                assert {dropped.position: "dropped", left.position: "parked"}.items() <= noted().items()

    asyncio.run(run())

    assert {"note.submitted-0": 1, "note.submitted-3": 1} == {
        one: count for one, count in Counter(handler.seen).items() if one[-1] in "03"
    }
    assert [1, 2] == sorted(Counter(handler.seen)[f"note.submitted-{number}"] for number in (1, 2))


@pytest.mark.parametrize("flushed", [False, True])
def test_what_was_finished_while_the_log_was_dead_before_its_mark_is_not_parked_again(log, redis, submit, flushed):
    """It dies between its notes and the mark; `flushed`: between what it gave back to Redis and the mark."""
    handler = Enrich()
    submit(3)

    def noted():
        return {note.position: note.became for note in log.history.asides(NOTES).notes}

    async def run():
        async with working(log.url, Refusing(), history=log.history):
            await until(lambda: len(parked(redis)) == 2)
        if flushed:
            with log.served():
                await until(lambda: len(noted()) == 2)
            redis.flushall()
        await asyncio.to_thread(Playhead(log.directory.parent, log.url).killed_at, Point.BEFORE_MARK, "log")
        assert {"parked"} == set(noted().values())
        assert 2 == len(parked(redis)) == len(noted())
        first, second = parked(redis)
        ParkedEvents(redis, "enrich", NOTES).request_retry(first)
        async with working(log.url, handler, history=log.history):
            await until(lambda: [one.position for one in parked(redis)] == [second.position])
            await until(
                lambda: redis.exists(again_key(NOTES.key, "enrich")) and not redis.xlen(again_key(NOTES.key, "enrich"))
            )
            with log.served():
                await until(lambda: noted()[first.position] == "applied")
        assert [second.position] == [one.position for one in parked(redis)]

    asyncio.run(run())

    assert 1 == len(handler.seen)


@pytest.mark.parametrize("flushed", [True, False])
def test_a_parked_event_that_was_given_again_and_deferred_is_not_forgotten(log, redis, submit, flushed):
    """The event that says that it failed is no end of the retry."""
    handler = Enrich()
    late = Busy(3)

    def noted():
        return {note.position: note.became for note in log.history.asides(NOTES).notes}

    async def run():
        submit(2)
        with log.served():
            async with working(log.url, Refusing(), history=log.history):
                await until(lambda: len(parked(redis)) == 1 == len(noted()))
            (one,) = parked(redis)
            ParkedEvents(redis, "enrich", NOTES).request_retry(one)
            async with working(log.url, late, history=log.history):
                await until(lambda: late.seen == ["note.submitted-1"])
                await until(lambda: noted() == {one.position: "again"})
        if flushed:
            redis.flushall()
        with log.served():
            async with working(log.url, handler, history=log.history):
                if not flushed:
                    redis.zadd(f"{again_key(NOTES.key, 'enrich')}:due:enrich", due_now(redis))
                await until(lambda: handler.seen == ["note.submitted-1"])
                await until(lambda: noted() == {one.position: "applied"})
                await until(lambda: log.causes() == expected(0, 1))

    asyncio.run(run())

    assert [] == parked(redis)
    assert {} == redis.hgetall(parked_positions_key(NOTES.key, "enrich"))
    assert 1 == len(log.events("note.enrichment_failed"))


def due_now(redis):
    return dict.fromkeys(redis.zrange(f"{again_key(NOTES.key, 'enrich')}:due:enrich", 0, -1), 0)


def test_three_processes_take_what_was_not_finished_once(log, redis, submit):
    first = Busy(8)
    submit(20)
    handlers = [Enrich() for _ in range(3)]

    async def run():
        with log.served():
            async with working(log.url, first, history=log.history):
                await finish_but_eight(log, redis, first)
            redis.flushall()
            async with AsyncExitStack() as stack:
                for number, handler in enumerate(handlers):
                    await stack.enter_async_context(working(log.url, handler, owner=str(number), history=log.history))
                await until(lambda: log.causes() == expected(*range(20)))

    asyncio.run(run())

    assert expected(*range(8)) == Counter(one for handler in handlers for one in handler.seen)


def test_a_worker_waits_until_the_log_was_compared_and_says_so(log, redis, submit):
    handler = Busy(8)
    submit(20)

    async def run():
        with log.served():
            async with working(log.url, handler, history=log.history):
                await finish_but_eight(log, redis, handler)
        handler.late = set()
        redis.flushall()
        submit(25)
        async with working(log.url, handler, history=log.history) as worker:
            await until(lambda: "playhead run log" in (worker.problem or ""))
            waited = len(handler.seen)
            with log.served():
                await until(lambda: log.causes() == expected(*range(25)))
                await until(lambda: worker.problem is None)
        return waited

    assert 20 == asyncio.run(run())
    assert 33 == len(handler.seen)


def test_a_group_deleted_by_hand_comes_back_without_what_was_finished(log, redis, submit):
    handler = Busy(8)
    submit(20)

    async def run():
        with log.served():
            async with working(log.url, handler, history=log.history):
                await finish_but_eight(log, redis, handler)
                handler.late = set()
                redis.xgroup_destroy(NOTES.key, "enrich")
                await until(lambda: log.causes() == expected(*range(20)))

    asyncio.run(run())

    assert 28 == len(handler.seen)


def test_a_redis_set_back_to_an_old_state_has_no_finished_work_done_again(log, redis, submit):
    handler = Busy(8)
    submit(20)

    async def run():
        with log.served():
            async with working(log.url, handler, history=log.history):
                await until(lambda: len(handler.seen) == 20 and redis.zcard(f"{NOTES.key}:due:enrich") == 8)
                old = {key: redis.dump(key) for key in redis.scan_iter() if b":lease:" not in key}
                handler.late = {"note.submitted-1", "note.submitted-2"}
                redis.zadd(f"{NOTES.key}:due:enrich", dict.fromkeys(redis.zrange(f"{NOTES.key}:due:enrich", 0, -1), 0))
                await until(lambda: log.causes() == expected(0, *range(3, 20)))
        redis.flushall()
        for key, content in old.items():
            redis.restore(key, 0, content)
        handler.late, handler.seen = set(), []
        with log.served():
            await until(lambda: redis.hget(f"{NOTES.key}:restarts", "count") is not None)
            async with working(log.url, handler, history=log.history):
                await until(lambda: log.causes() == expected(*range(20)))
                await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert expected(1, 2) == Counter(handler.seen)


def test_a_meeting_half_transcoded_at_the_flush_is_promoted_whole(
    redis_server,
    redis,
    postgres,
    tmp_path,
    producer,
):
    """FLUSHALL, and nothing else done by hand."""
    log = Log(redis_server.url, tmp_path / "eventlog", "recordings")
    database = make_database(postgres)
    files = RecordingFiles(tmp_path / "recordings")
    settings = ProcessSettings(redis_url=log.url, reader=READER, event_log_dir=log.directory)
    one_by_one = WorkerSettings(concurrency=1, hold=2.0, max_attempts=20, first_delay=0.05, grace=5)

    class Slow(Transcode):
        """Does one chunk, and no more before it is told to."""

        done = refused = 0
        limit = 1

        async def handle(self, task):
            if self.done >= self.limit:
                self.refused += 1
                raise Retry("enough for today", after=LATER)
            outcome = await super().handle(task)
            self.done += 1
            return outcome

    def status():
        connection = connect(database, "test", schema=SCHEMA)
        try:
            found = find_meetings(connection, ["m"])
            return found[0].status if found else None
        finally:
            connection.close()

    async def run():
        ffmpeg = Ffmpeg(find_ffmpeg(None), 60)
        transcode = Slow(files, ffmpeg)
        promote = Promote(files, Promoter(files, ffmpeg), database, Progress(redis), PromoteSettings())
        projection = Consumer(Recordings(place_of("recordings", database)), settings)
        projection.start()
        with log.served():
            recorder = Recorder(producer, files.directory, RecorderSettings(flush_seconds=0.5))
            async with recorder.session("m", "g", "c", "hybrid") as session:
                for number in range(4):
                    session.write("u", tone(0.5), at=number * 0.5)
            async with AsyncExitStack() as stack:
                for handler in (transcode, promote):
                    await stack.enter_async_context(
                        working(log.url, handler, one_by_one, partition=RECORDINGS, history=log.history)
                    )
                await until(lambda: transcode.done == 1 and transcode.refused == 3)
                await until(lambda: log.events("chunk.cleaned") and log.events("meeting.stopped"))
                await until(lambda: status() == "STOPPED")
                transcode.limit = 4
                redis.flushall()
                await until(lambda: status() == "PROMOTED", 60)
                await until(lambda: log.events("recording.promoted"))
        await asyncio.to_thread(projection.stop)
        assert projection.failure is None
        return transcode.done

    assert 4 == asyncio.run(run())
    assert 4 == len(log.events("chunk.cleaned")) == len(log.events("transcode.started"))
    assert 2 == len(log.events("recording.promoted"))


async def retire(log, redis, submit, handler) -> None:
    """A worker that has done one note is retired, and the log has 400 more."""
    submit(1)
    async with working(log.url, handler, history=log.history):
        await until(lambda: log.causes() == expected(0))
    redis.hset(HALTS, "enrich", msgspec.json.encode(RETIRED))
    await asyncio.to_thread(remove_groups, redis, "enrich", RETIRED, [NOTES])
    redis.hdel(HALTS, "enrich")
    submit(400)
    await until(lambda: len(log.events("note.submitted")) == 400)
    await until(lambda: redis.xinfo_groups(NOTES.key)[0]["last-delivered-id"] == redis.xrevrange(NOTES.key)[0][0])


def recovery(client, handler, log) -> WorkRecovery:
    return WorkRecovery(handler, Holds(client, "enrich", NOTES, handler.types, owner="one", hold=1.0), log.history)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_retired_worker_that_begins_while_the_stream_is_trimmed_misses_nothing(log, redis, submit, at):
    handler = Enrich()

    async def run():
        with log.served():
            await retire(log, redis, submit, handler)
            async with AsyncRedis.from_url(log.url) as other, Interrupted.from_url(log.url) as client:
                client.at, client.meanwhile = at, recovery(other, handler, log).begin
                await trim(client, NOTES, ["log"])
            async with working(log.url, handler, history=log.history):
                await until(lambda: log.causes() == expected(*range(400)))
                await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert set(expected(*range(400))) == set(handler.seen)  # a slow machine may work on one again


@pytest.mark.parametrize("at", range(1, 6))
@pytest.mark.parametrize("trimmed", [True, False])
def test_a_retired_worker_whose_stream_is_trimmed_while_it_begins_misses_nothing(log, redis, submit, at, trimmed):
    """The log goes on meanwhile; `trimmed`: some was trimmed before, so the worker reads the log."""
    handler = Enrich()

    async def trim_all():
        submit(420)
        await until(lambda: len(log.events("note.submitted")) == 420)
        redis.xtrim(NOTES.key, maxlen=1, approximate=False)

    async def run():
        with log.served():
            await retire(log, redis, submit, handler)
            if trimmed:
                redis.xtrim(NOTES.key, maxlen=1, approximate=False)
            async with Interrupted.from_url(log.url) as client:
                client.at, client.meanwhile = at, trim_all
                await recovery(client, handler, log).begin()
            submit(430)
            async with working(log.url, handler, history=log.history):
                await until(lambda: log.causes() >= expected(*range(400)))
                await until(lambda: log.causes() == expected(*range(430)))
                await until(lambda: nothing_left(redis))

    asyncio.run(run())

    assert set(expected(*range(430))) == set(handler.seen)  # a slow machine may work on one again


def test_a_gap_that_the_log_has_no_more_of_does_not_keep_a_worker_from_beginning(log, redis, submit):
    handler = Enrich()

    async def run():
        with log.served():
            await retire(log, redis, submit, handler)
        submit(402)
        redis.xtrim(NOTES.key, maxlen=1, approximate=False)
        async with working(log.url, handler, history=log.history):
            await until(lambda: len(handler.seen) == 401)

    asyncio.run(run())

    assert set(expected(*range(400), 401)) == set(handler.seen)  # a slow machine may work on one again
