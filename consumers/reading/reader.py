"""The read loop of a projection: lease, checkpoint, batches and replays. Why it is ours and not FastStream's
stands in docs/decisions/0001-own-read-loop.md.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from typing import TypeVar

import msgspec
import structlog
from redis.exceptions import RedisError, ResponseError

from playhead.consumers.backoff import Backoff
from playhead.consumers.errors import LeaseLost, SinkNotReady, StateLost
from playhead.consumers.reading.ahead import ReadAhead, decoded
from playhead.consumers.reading.continuity import Continuity
from playhead.consumers.reading.delivery import Delivery
from playhead.consumers.reading.group import Group, Report
from playhead.consumers.reading.lease import keep_lease
from playhead.consumers.reading.observer import Observer
from playhead.consumers.tasks import end
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.history import History
from playhead.streams import failpoints
from playhead.streams.entries import RawEntry
from playhead.streams.errors import Fenced, PlayheadError
from playhead.streams.events import Recorded
from playhead.streams.failpoints import Point
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.redis.refusals import AWAY, is_passing
from playhead.streams.sinks import Sink
from playhead.streams.telemetry import about, plain

_Result = TypeVar("_Result")

_BLOCK_MS = 250
_LASTING_DELAY = 30.0
"""Seconds between attempts where only a person can mend the sink."""
_REST = 20
_CAREFUL_AFTER = 3
"""Processes that began at one position, after which entries are handled one by one, to find the one that kills."""


class Progress(msgspec.Struct, frozen=True):
    """The last position durable in the sink, and its sequence number where it has one."""

    position: Position
    sequence: int | None


class ReaderSettings(msgspec.Struct, frozen=True):
    """How a reader reads: events and bytes a batch, seconds of its lease, starts before an entry is parked."""

    batch: int = 500
    batch_bytes: int = 16 * 1024 * 1024
    lease: float = 5.0
    max_deliveries: int = 6


class Reader:
    """Feeds one partition to one sink, for as long as it holds the lease."""

    def __init__(
        self,
        sink: Sink,
        group: Group,
        settings: ReaderSettings,
        executor: Executor,
        observe: Observer,
        leader: "Reader | None" = None,
        history: History | None = None,
    ) -> None:
        self.healthy = False
        self.serving = False
        self._leader = leader
        self._sink, self._group, self._settings = sink, group, settings
        self._executor, self._observe = executor, observe
        self.name = sink.name
        self.partition: Partition = group.partition
        self._live = group.partition.key
        self._ahead = ReadAhead(group, settings.batch, settings.batch_bytes)
        self._stopping = asyncio.Event()
        self._retries = 0
        self._backoff = Backoff()
        self._settled: Position | None = None
        self._rest_until = 0.0
        self._problem: str | None = None
        self._epoch_seen = 0
        self._continuity = Continuity(
            sink, group, history, self, on_lost=lambda count: observe.lost(group.partition, count)
        )
        self._delivery = Delivery(
            sink, group, self._continuity, self, observe, settings.batch_bytes, settings.max_deliveries
        )
        self._log = structlog.get_logger().bind(projection=sink.name, partition=str(group.partition))

    @property
    def progress(self) -> Progress | None:
        """How far the partition is durable in the sink; None while another process serves it."""
        return Progress(self.cursor, self._delivery.sequence) if self.serving else None

    @property
    def problem(self) -> str | None:
        """Why it is not healthy: the class and the first line of the last failure, which quote no payload."""
        return self._continuity.advice if self.healthy else self._problem or "not started yet"

    @property
    def cursor(self) -> Position:
        """Up to where the sink has everything of the live stream."""
        return self._delivery.cursor

    def stop(self) -> None:
        """Finish the batch in hand, then return from `run`."""
        self._stopping.set()

    async def run(self) -> None:
        """Stand by for the lease, serve while it is ours, until stopped.

        Raises:
            Exception: what no retry can mend, such as a failed fsync.
        """
        self._observe.standing_by(self.partition)
        while not self._stopping.is_set():
            try:
                await self._group.create()
                if not self._may_serve or not await self._group.acquire(self._epoch_seen):
                    self.healthy = True  # standing by is what this process is for
                    await self._pause(self._settings.lease / 5)
                    continue
                await self._serve()
            except LeaseLost:
                self._log.warning("lease lost")
            except StateLost as error:
                self._log.warning("state lost", error=str(error))
                with suppress(*AWAY, RedisError):
                    await self._group.release()
                await self._pause(Backoff.FIRST)
            except (SinkNotReady, LogCorrupt) as error:
                await self._not_ready(error)
            except (*AWAY, OSError, ResponseError) as error:
                known = is_passing(error) or str(error).startswith("NOGROUP")
                if isinstance(error, ResponseError) and not known:
                    raise
                self.healthy = False
                self._problem = plain(error)
                wait = self._backoff.next()
                self._log.warning("redis unavailable", error=self._problem, retry_in_seconds=round(wait, 1))
                await self._pause(wait)

    async def _not_ready(self, error: SinkNotReady | LogCorrupt) -> None:
        """Wait, long at once for what only a person can mend."""
        lasting = error.lasting if isinstance(error, SinkNotReady) else True
        wait = _LASTING_DELAY if lasting else self._backoff.next()
        self.healthy = False
        self._problem = str(error)
        say = self._log.error if lasting else self._log.warning
        say("sink not ready", error=self._problem, retry_in_seconds=round(wait, 1))
        with suppress(*AWAY, RedisError):
            await self._report("not ready", settled=False)
            await self._group.release()
        await self._pause(wait)

    async def _serve(self) -> None:
        checkpoint = await self._open()
        # Where the sink has no checkpoint, what this process applied is one, should Redis know an older one or none.
        cursor = max(await self._group.position(self._live), self.cursor) if checkpoint is None else checkpoint
        known = self._delivery.sequence if cursor == self.cursor else None
        self._settled = None
        await self._delivery.begin(cursor, known)
        self._log.info("serving", position=str(cursor), epoch=self._group.epoch)
        self.healthy = self.serving = True
        reading = asyncio.current_task()

        def renewed() -> None:
            self._observe.holding(self.partition, len(self._delivery.waiting))

        def lost() -> None:
            # A reader on its way out must not be cancelled there: that would be taken for the end of it.
            if self.serving and reading is not None:
                reading.cancel()

        renewed()
        renewal = asyncio.create_task(keep_lease(self._group, self._settings.lease, renewed, lost))
        try:
            await self._continuity.begin(known)
            self._delivery.sequence = self._continuity.sequence
            self.healthy = True
            await self._read_on(renewal)
        except asyncio.CancelledError:
            if renewal.done() and not renewal.cancelled():
                raise LeaseLost(str(self.partition)) from renewal.exception()
            raise
        finally:
            self.healthy = self.serving = False
            self._observe.let_go(self.partition)
            await self._ahead.forget()
            await end(renewal)
        await self.call(self._sink.settle)
        await self._report("stopped", settled=True)
        await self._group.release()

    @property
    def _may_serve(self) -> bool:
        """Whoever holds the first partition of an exclusive sink takes them all."""
        return self._leader is None or self._leader.serving

    async def _open(self) -> Position | None:
        try:
            return await self.call(lambda: self._sink.open(self.partition, self._group.epoch))
        except Exception as error:
            failure = self._sink.classify(error)
            # No event is to blame yet. An error of ours says what to do, so it waits for somebody who does it.
            if failure == "fatal" or (failure == "permanent" and not isinstance(error, PlayheadError)):
                raise
            self._epoch_seen = error.standing if isinstance(error, Fenced) else 0
            raise SinkNotReady(plain(error), lasting=failure == "lasting") from error

    async def _read_on(self, renewal: "asyncio.Task[None]") -> None:
        looked_for_replays = 0.0
        careful: int | None = None
        idle = False
        while not self._stopping.is_set():
            await self._require_lease(renewal)
            if (now := time.monotonic()) - looked_for_replays > _BLOCK_MS / 1000:
                await self._continuity.check()
                await self._follow_replays()
                if await self._delivery.retry_parked():
                    self._settled = None
                looked_for_replays = now
            cursors = self._delivery.cursors
            found = await self._ahead.read(cursors, block=_BLOCK_MS if idle else None, count=1 if careful else None)
            if found and careful is None and (careful := await self._to_handle_alone(found)):
                continue
            idle = not found
            self._backoff.reset()
            if found:
                failpoints.reach(Point.AFTER_READ)
            self._observe.caught_up(self.partition, caught_up=idle)
            if idle:
                await self._settle()
            elif not careful:
                self._ahead.begin(cursors, found)
            for key, entries in found.items():
                if careful:
                    await self._delivery.handle_alone(key, entries[0][0])
                    careful -= 1
                else:
                    await self._delivery.handle(key, entries)
            self.healthy = True

    async def _require_lease(self, renewal: "asyncio.Task[None]") -> None:
        if renewal.done():  # its cancellation was swallowed on the way
            raise LeaseLost(str(self.partition))
        if not self._may_serve:
            await self._group.release()
            raise LeaseLost(str(self.partition))

    async def _settle(self) -> None:
        """Settle when idle, for a twentieth of the time at most: a trickle of events must not cost a rewrite each."""
        position = self.cursor
        if (position != self._settled or self._problem is not None) and time.monotonic() >= self._rest_until:
            started = time.monotonic()
            await self.call(self._sink.settle)
            self._rest_until = time.monotonic() + _REST * (time.monotonic() - started)
            self._settled = position
            self._problem = None
            await self._report("running", settled=True)

    async def _to_handle_alone(self, keys: Iterable[str]) -> int:
        """How many entries are to be handled one by one, as processes died of what stands here."""
        begun = [await self._group.note_attempt(key, self._delivery.cursors[key]) for key in keys]
        if max(begun) < _CAREFUL_AFTER:
            return 0
        self._log.warning("processes died here: handling entries one by one", position=str(self.cursor))
        return self._settings.batch

    async def feed(self, entries: Sequence[RawEntry]) -> None:
        """Handle logged events as if the stream still had them.

        Raises:
            LeaseLost: the reader is to stop.
        """
        if self._stopping.is_set():
            raise LeaseLost("stopped while reading the log")
        await self._delivery.handle(self._live, [(entry, decoded(entry)) for entry in entries], logged=True)

    def pass_over(self, position: Position) -> None:
        """Go on reading behind a position up to which nothing is left."""
        self._delivery.pass_over(position)

    async def wait(self, why: str) -> None:
        """Be unhealthy for a moment.

        Raises:
            LeaseLost: the reader is to stop.
        """
        self.healthy = False
        if self._problem != why:
            self._problem = why
            self._log.warning("waiting", reason=why)
            await self._report("waiting", settled=False)
        await self._pause(_BLOCK_MS / 1000)
        if self._stopping.is_set():
            raise LeaseLost("stopped while waiting")

    async def rest(self, error: Exception, first: Recorded) -> None:
        """Be unhealthy until the next attempt at a batch, of which `first` is the first event.

        Raises:
            LeaseLost: the reader is to stop.
        """
        self._retries += 1
        self.healthy = False
        self._problem = plain(error)
        self._observe.retried(self.partition)
        wait = self._backoff.next()
        self._log.warning("retrying", error=self._problem, retry_in_seconds=round(wait, 1), **about(first))
        await self._group.forget_attempts()  # nobody died of it
        await self._report("retrying", settled=False)
        await self._pause(wait)
        if self._stopping.is_set():
            raise LeaseLost("stopped while retrying") from error

    def recover(self) -> None:
        """Be healthy: whatever was wrong is over, and the next trouble is another one."""
        self.healthy = True
        self._backoff.reset()

    async def _follow_replays(self) -> None:
        runs = {f"{self._live}:replay:{run}" for run in await self._group.replays()}
        cursors = self._delivery.cursors
        followed = cursors.keys() - {self._live}
        for key in runs - followed:
            cursors[key] = await self._group.position(key)
        for key in followed - runs:
            del cursors[key]
        if runs != followed:
            if followed - runs:
                await self.call(self._sink.settle)
                await self._continuity.replayed()
            await self._report("running", settled=False)

    async def _report(self, state: str, *, settled: bool) -> None:
        position = self.cursor
        report = Report(
            state,
            str(position),
            str(position if settled else self._settled or START),
            self._group.owner,
            time.time(),
            self._retries,
            self._problem or self._continuity.advice,
            tuple(key.rpartition(":")[2] for key in self._delivery.cursors if key != self._live),
        )
        await self._group.report(report)

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Run what blocks in the sink's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
