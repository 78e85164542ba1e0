"""A model of what must hold, whatever happens in whatever order: a state machine that drives the real readers, the real
work of a worker and their recovery, on a real Redis and on disk, and forgets in between what a dead process forgets.
"""

# ruff: noqa: SLF001  # a process dies between any two steps, and the control leaves one out

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from playhead.consumers.errors import HoldLost
from playhead.consumers.reading.delivery import Failed
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.reader import Reader, ReaderSettings
from playhead.consumers.reading.trimming import trim
from playhead.consumers.work.holds import Holds
from playhead.consumers.work.recovery import WorkRecovery
from playhead.consumers.work.task import Task
from playhead.eventlog.history import History
from playhead.eventlog.reader import read
from playhead.eventlog.writer import LogWriter
from playhead.projections.jobs.json_files.documents import read_event_id
from playhead.projections.jobs.json_files.projection import JsonFiles
from playhead.streams.appending.producer import Producer
from playhead.streams.entries import decode
from playhead.streams.events import Event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.sinks import Batch, Outcome, Sink
from tests.faults.reports import Harm
from tests.support.events import job
from tests.support.servers import RedisServer, plain_client

JOBS = Partition("jobs", 0)
SUBJECTS = 4
LEASE = 600.0
"""Seconds; a lease ends when the machine says so."""
_WAITS = "log writer"
POINTS = (None, "before apply", "after apply", "after advance")


class Killed(Exception):
    """The process is gone, with all that it had not written."""


class Violated(AssertionError):
    """A sink is not the fold of what was acknowledged."""

    def __init__(self, harm: Harm, about: str) -> None:
        super().__init__(f"{harm}: {about}")
        self.harm = harm


class Scribe:
    """A worker: each job that failed is completed after all."""

    name = "scribe"
    streams = ("jobs",)
    types = frozenset({"job.failed"})
    ends = frozenset({"job.completed"})

    def key(self, event: Event) -> str | None:
        return event.causationid if event.type in self.ends else event.id

    def outcome(self, held) -> Event:
        recorded = decode(held.entry)
        payload = json.loads(recorded.event.data) | {"status": "completed"}
        return Task(self.name, recorded, held.attempt, None, None, None).event("job.completed", payload)


def make_mortal(sink: Sink, point: str | None, seen: set[str]) -> None:
    """Let the process of a sink die at a point; `seen` gets the ids of the events that were applied."""
    apply, classify = sink.apply, sink.classify

    def apply_and_die(batch: Batch) -> Outcome:
        if point == "before apply":
            raise Killed
        outcome = apply(batch)
        seen.update(recorded.event.id for recorded in batch.events)
        if point == "after apply":
            raise Killed
        return outcome

    sink.apply = apply_and_die
    sink.classify = lambda error: "fatal" if isinstance(error, Killed) else classify(error)


class Idle(Observer):
    """Notes that nothing is left to read, and that something was applied."""

    reached = False
    has_applied = False

    def applied(self, batch: Batch, seconds: float) -> None:
        self.has_applied = True

    def caught_up(self, partition: Partition, *, caught_up: bool) -> None:
        self.reached = caught_up


class Machine(RuleBasedStateMachine):
    """Log, JSON files and a worker with two processes; what each holds must follow from what was acknowledged."""

    server: RedisServer
    acknowledges_first = False
    """The control: the group is moved before the files are written."""
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="playhead-model-"))
        self.acknowledged: list[Event] = []
        self.lost: set[str] = set()
        self.seen: dict[str, set[str]] = {"log": set(), "json-files": set()}
        self.is_over = False
        self.in_hand: list[tuple[Holds, object]] = []
        self.history = History(self.directory / "eventlog")
        self.scribe = Scribe()
        self.executor = ThreadPoolExecutor(1)
        self.runner = asyncio.Runner()
        self._connect()
        self.redis.flushall()

    def _connect(self) -> None:
        self.redis = plain_client(self.server.url)
        self.producer = Producer(self.server.url)
        self.client = AsyncRedis.from_url(self.server.url, retry=Retry(NoBackoff(), 3, (RedisConnectionError,)))
        self.client.set_response_callback("XREAD", lambda reply, **_: reply)
        self.holds = [
            each
            for owner in ("one", "two")
            for holds in [Holds(self.client, "scribe", JOBS, self.scribe.types, owner=owner, hold=LEASE)]
            for each in (holds, holds.again())
        ]

    def _disconnect(self) -> None:
        self.redis.close()
        self.producer.close()
        self.runner.run(self.client.aclose())

    # what programs do

    @rule(jobs=st.lists(st.tuples(st.integers(0, SUBJECTS - 1), st.booleans()), min_size=1, max_size=6))
    def append(self, jobs) -> None:
        events = []
        for subject, failed in jobs:
            number = len(self.acknowledged) + len(events)
            made = job(number, f"job/{subject}", status="failed" if failed else "completed")
            events.append(Event(**_members(made) | {"type": "job.failed"}) if failed else made)
        self.producer.append_events(events)
        self.acknowledged += events

    @precondition(lambda self: self.acknowledged)
    @rule(which=st.integers(0, 1000))
    def append_again(self, which) -> None:
        event = self.acknowledged[which % len(self.acknowledged)]
        if event.id not in self.lost:
            self.producer.append_events([event])

    # what consumers do

    @rule(point=st.sampled_from(POINTS), batch=st.integers(1, 5))
    def read_and_log(self, point, batch) -> None:
        self._serve(LogWriter(self.directory / "eventlog", segment_bytes=3000), point, batch, None)

    @rule(point=st.sampled_from(POINTS), batch=st.integers(1, 5))
    def read_and_write_files(self, point, batch) -> None:
        self._serve(JsonFiles(self.directory / "outputs"), point, batch, self.history)

    # what workers do

    @rule(process=st.integers(0, 3))
    def take(self, process) -> None:
        self._on_redis(self._take(self.holds[process], 1))

    @precondition(lambda self: self.in_hand)
    @rule(which=st.integers(0, 100))
    def append_outcome(self, which) -> None:
        self._on_redis(self._append_outcome(*self.in_hand[which % len(self.in_hand)]))

    @precondition(lambda self: self.in_hand)
    @rule(which=st.integers(0, 100))
    def acknowledge(self, which) -> None:
        holds, held = self.in_hand.pop(which % len(self.in_hand))
        self._on_redis(self._end(holds, held))

    @rule()
    def let_others_claim(self) -> None:
        """The holds run out: their processes died, or froze; those that froze go on later."""
        for key in self.redis.scan_iter("*:due:scribe"):
            self.redis.zadd(key, dict.fromkeys(self.redis.zrange(key, 0, -1), 0))

    @rule()
    def crash_of_workers(self) -> None:
        self.in_hand.clear()
        self.let_others_claim()

    # what happens to Redis

    @rule(sure=st.integers(0, 2))
    def restart(self, sure) -> None:
        if sure:  # it takes as long as twenty other steps
            return
        self.server.kill()
        self.server.start()
        self.redis.close()
        self.redis = plain_client(self.server.url)

    @rule()
    def trim(self) -> None:
        if self.redis.exists(JOBS.key):
            self.runner.run(trim(self.client, JOBS, ("log", "json-files", "scribe")))

    @rule(left=st.integers(0, 3))
    def foreign_trim(self, left) -> None:
        """What the log has read may go; what it has not read would be lost."""
        self.read_and_log(None, 5)
        if not self._work_left_in_stream():
            self.redis.xtrim(JOBS.key, maxlen=left, approximate=False)

    @rule(logged=st.booleans())
    def lose_redis(self, logged) -> None:
        """What nobody has read is lost with it."""
        if logged or len(self._logged()) < len(self.acknowledged) - len(self.lost):
            self.read_and_log(None, 5)
        self.redis.flushall()
        self.lost |= {event.id for event in self.acknowledged} - set(self._logged())

    @invariant()
    def nothing_is_logged_twice(self) -> None:
        type(self).steps += 1
        twice = {event_id: count for event_id, count in Counter(self._logged()).items() if count > 1}
        if twice:
            self.is_over = True
            raise Violated(Harm(duplicated=len(twice)), f"logged twice: {sorted(twice)}")

    def teardown(self) -> None:
        try:
            if not self.is_over:
                self._finish()
                self.check()
        finally:
            self._disconnect()
            self.runner.close()
            self.executor.shutdown()
            shutil.rmtree(self.directory)

    def check(self) -> None:
        """Every sink is the fold of what was acknowledged."""
        recorded = [each.event for _, each in read(self.directory / "eventlog")] if self._logged() else []
        kept = [event for event in self.acknowledged if event.id not in self.lost]
        logged = [event for event in recorded if event.causationid is None]
        missing = {event.id for event in kept} - {event.id for event in logged}
        order = {
            subject: [event.id for event in kept if event.subject == subject]
            for subject in {event.subject for event in kept}
        }
        wrong = [
            subject
            for subject, expected in order.items()
            if expected != [event.id for event in logged if event.subject == subject]
        ]
        outcomes = Counter(event.causationid for event in recorded if event.causationid is not None)
        causes = {event.id for event in logged if event.type == "job.failed"}
        fold = {event.subject: event.id for event in recorded}
        files: dict[str, str] = {}
        for path in (self.directory / "outputs").glob("daily/*/scrapers/*/*.json"):
            content = path.read_bytes()
            files["job/" + json.loads(content)["job_id"]] = read_event_id(content) or ""
        harm = Harm(
            lost=len({event.id for event in recorded} - self.seen["json-files"])
            + len(missing)
            + len(causes - outcomes.keys())
            + len(fold.keys() - files.keys()),
            duplicated=sum(count - 1 for count in outcomes.values()) + len(files.keys() - fold.keys()),
            wrong=len(wrong) + sum(files.get(subject, event_id) != event_id for subject, event_id in fold.items()),
        )
        if harm:
            raise Violated(harm, f"missing {missing}, wrong {wrong}, outcomes {outcomes}, fold {fold}, files {files}")

    def _finish(self) -> None:
        """Let everybody finish, with nothing in the way."""
        self.crash_of_workers()
        for _ in range(10):
            self.read_and_log(None, 5)
            done = 0
            for holds in self.holds[:2]:
                while self._on_redis(self._take(holds, 1)):
                    held = self.in_hand.pop()
                    self._on_redis(self._append_outcome(*held))
                    self._on_redis(self._end(*held))
                    done += 1
            self.read_and_log(None, 5)
            self.read_and_write_files(None, 5)
            if not done and not self._on_redis(self._is_due()):
                return

    def _logged(self) -> list[str]:
        root = self.directory / "eventlog"
        return [each.event.id for _, each in read(root)] if root.exists() else []

    def _work_left_in_stream(self) -> bool:
        """An entry that a worker has yet to take is nobody's but the stream's: a trim takes it away."""
        groups = {group["name"]: group for group in self.redis.xinfo_groups(JOBS.key)}
        worker = groups.get(b"scribe")
        last = self.redis.xinfo_stream(JOBS.key)["last-generated-id"]
        return worker is None or bool(worker["pending"]) or worker["last-delivered-id"] != last

    def _serve(self, sink: Sink, point: str | None, batch: int, history: History | None) -> None:
        """Be a process of a sink until everything is read, it must wait for another, or dies."""
        group = Group(self.client, sink.name, JOBS, owner=os.urandom(4).hex(), lease=LEASE)
        idle = Idle()
        settings = ReaderSettings(batch=batch, lease=LEASE, max_deliveries=1_000_000)
        make_mortal(sink, point, self.seen[sink.name])
        reader = Reader(sink, group, settings, self.executor, idle, history=history)
        advance = group.advance

        async def advance_and_die(stream_key, position) -> None:
            await advance(stream_key, position)
            if position is not None and point == "after advance" and idle.has_applied:
                raise Killed

        group.advance = advance_and_die

        if self.acknowledges_first and not isinstance(sink, LogWriter):
            _acknowledge_first(reader, group, sink)

        async def serve() -> None:
            running = asyncio.create_task(reader.run())
            async with asyncio.timeout(30):
                while not running.done() and not idle.reached and _WAITS not in (reader.problem or ""):  # noqa: ASYNC110
                    await asyncio.sleep(0.001)  # the reader knows nothing of us
                reader.stop()
                with contextlib.suppress(Killed):
                    await running
            await self.client.delete(group.lease_key)

        try:
            self.runner.run(serve())
        except TimeoutError:
            self.is_over = True
            raise Violated(Harm(wrong=1), f"{sink.name} does not come to an end: {reader.problem}") from None
        finally:
            sink.close()

    def _on_redis(self, work) -> bool:
        return self.runner.run(work)

    async def _is_due(self) -> bool:
        return await WorkRecovery(self.scribe, self.holds[0], self.history).is_due()

    async def _take(self, holds: Holds, most: int) -> bool:
        try:
            if not holds.is_private and await WorkRecovery(self.scribe, holds, self.history).is_due():
                await WorkRecovery(self.scribe, holds, self.history).begin()
            taken = await holds.take(most)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            if holds.is_private:
                await holds.create()
            elif await WorkRecovery(self.scribe, holds, self.history).begin() is not None:
                return False
            taken = await holds.take(most)
        self.in_hand += [(holds, held) for held in taken.held]
        return bool(taken.held)

    async def _append_outcome(self, holds: Holds, held) -> None:
        try:
            if not await holds.keep([held.entry]):
                await asyncio.to_thread(self.producer.append_events, [self.scribe.outcome(held)])
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise

    async def _end(self, holds: Holds, held) -> None:
        """A worker appends its outcome before it lets go of an entry."""
        await self._append_outcome(holds, held)
        try:
            await holds.finish(held.entry)
        except HoldLost:
            pass
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise


def _members(event: Event) -> dict[str, object]:
    return {name: getattr(event, name) for name in event.__struct_fields__}


def _acknowledge_first(reader: Reader, group: Group, sink: Sink) -> None:
    """As an automatic acknowledgement does; the sink has no say where to go on."""
    delivery = reader._delivery
    apply, begin = delivery._apply, sink.open

    async def hastily(key, pairs) -> str | Failed:
        await group.advance(key, Position.parse(pairs[-1][0].entry_id))
        return await apply(key, pairs)

    def open_without_checkpoint(partition, epoch) -> None:
        begin(partition, epoch)

    delivery._apply, sink.open = hastily, open_without_checkpoint
