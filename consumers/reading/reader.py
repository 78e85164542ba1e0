"""The read loop of a projection: hold the lease, ask the feed for steps, have them carried out. Why it is ours and not
FastStream's stands in docs/decisions/0001-own-read-loop.md.
"""

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import suppress

import msgspec
import structlog
from redis.exceptions import RedisError, ResponseError

from playhead.consumers.backoff import Backoff
from playhead.consumers.errors import LeaseLost, SinkFailed, SinkNotReady, StateLost
from playhead.consumers.reading.actions import Actions
from playhead.consumers.reading.ahead import ReadAhead
from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.delivery import Delivery
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.health import Health
from playhead.consumers.reading.lease import keep_lease
from playhead.consumers.reading.log_feed import LogFeed
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.projection_feed import ProjectionFeed
from playhead.consumers.reading.status import Status
from playhead.consumers.reading.thread import SinkThread
from playhead.consumers.reading.unlogged import FindMarks
from playhead.consumers.tasks import end, pause
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.history import History
from playhead.eventlog.writer import LogWriter
from playhead.streams import failpoints
from playhead.streams.errors import Fenced, ForeignPlace, KeyDamaged, LogElsewhere, PlayheadError
from playhead.streams.failpoints import Point
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position
from playhead.streams.redis.refusals import AWAY, is_passing
from playhead.streams.sinks import Sink
from playhead.streams.telemetry import plain

_LOOK_SECONDS = 0.25
_CLAIM_SECONDS = 5.0
_REST = 20


class Progress(msgspec.Struct, frozen=True):
    """The last position durable in the sink, and its sequence number if it has one."""

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
        claim: Callable[[], bool] | None = None,
        marks: FindMarks | None = None,
    ) -> None:
        self.serving = False
        self.name = sink.name
        self.partition: Partition = group.partition
        self._leader = leader
        self._sink, self._group, self._settings, self._observe = sink, group, settings, observe
        self._thread, self._claim = SinkThread(executor), claim
        self._cursors, self._health = Cursors(group.partition.key), Health()
        ahead = ReadAhead(group, settings.batch, settings.batch_bytes)
        self._feed = (
            LogFeed(
                group,
                self._cursors,
                ahead,
                self._thread,
                observe,
                sink.history,
                sink.counts.get(group.partition.stream),
                marks,
            )
            if isinstance(sink, LogWriter)
            else ProjectionFeed(group, self._cursors, ahead, self._thread, observe, history)
        )
        self._delivery = Delivery(
            sink,
            group,
            self._cursors,
            self._health,
            self._thread,
            observe,
            batch_bytes=settings.batch_bytes,
            blocks=not isinstance(sink, LogWriter),
        )
        self._stopping = asyncio.Event()
        self._status = Status(group, self._cursors, self._health, self._feed)
        self._actions = Actions(
            group,
            self._cursors,
            self._health,
            self._delivery,
            self._status,
            observe,
            self._stopping,
            batch=settings.batch,
            max_deliveries=settings.max_deliveries,
        )
        self._rest_until = 0.0
        self._looked_at = 0.0
        self._is_idle = False
        self._epoch_seen = 0
        self._claim_at = 0.0
        self._stands_by = False
        self._log = structlog.get_logger().bind(projection=sink.name, partition=str(group.partition))

    @property
    def progress(self) -> Progress | None:
        """How far the partition is durable in the sink; None while another process serves it."""
        return Progress(self._cursors.position, self._cursors.sequence_here) if self.serving else None

    @property
    def problem(self) -> str | None:
        """Why it is not healthy: the class and the first line of the last failure, which quote no payload."""
        return self._feed.advice if self._health.healthy else self._health.problem or "not started yet"

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
                    self._stand_by()
                    await pause(self._stopping, self._settings.lease / 5)
                    continue
                await self._serve()
            except LeaseLost:
                self._log.warning("lease lost")
            except StateLost as error:
                self._log.warning("state lost", error=str(error))
                with suppress(*AWAY, RedisError):
                    await self._group.release()
                await pause(self._stopping, Backoff.FIRST)
            except SinkFailed as failed:
                raise failed.error from failed.error.__cause__
            except SinkNotReady as error:
                await self._not_ready(str(error), lasting=error.lasting)
            except (LogCorrupt, KeyDamaged) as error:
                await self._not_ready(str(error), lasting=False)  # continue soon after somebody restored it
            except (*AWAY, OSError, ResponseError) as error:
                if isinstance(error, ResponseError) and not is_passing(error) and not _is_gone(error):
                    await self._not_ready(f"Redis refuses: {plain(error)}. {KeyDamaged.__doc__}", lasting=False)
                    continue
                wait = self._health.fail(plain(error))
                self._log.warning("redis unavailable", error=plain(error), retry_in_seconds=round(wait, 1))
                await pause(self._stopping, wait)

    def _stand_by(self) -> None:
        self._health.healthy = True  # this is what the process is for
        if not self._stands_by:
            self._log.info("standing by")
        self._stands_by = True

    async def _not_ready(self, problem: str, *, lasting: bool) -> None:
        """Wait, long at once for what only a person can fix."""
        wait = self._health.close(problem, lasting=lasting)
        say = self._log.error if lasting else self._log.warning
        say("sink not ready", error=problem, retry_in_seconds=round(wait, 1))
        with suppress(*AWAY, RedisError):
            await self._status.report("not ready")
            await self._group.release()
        await pause(self._stopping, wait)

    async def _serve(self) -> None:
        """Hold the lease, and bring the sink from its checkpoint to the end of the stream, until stopped."""
        self._stands_by = False
        self._claim_at = 0.0
        checkpoint = await self._open()
        keeps_checkpoint = checkpoint is not None and not isinstance(self._sink, LogWriter)
        if checkpoint is None:  # then what this process applied is one, should Redis know an older one or none
            checkpoint = max(await self._group.position(self._cursors.live), self._cursors.position)
        self._cursors.start(checkpoint)
        self._status.settled = None
        self._looked_at, self._is_idle = 0.0, False
        self._actions.begin()
        await self._delivery.begin(has_checkpoint=keeps_checkpoint)
        self._log.info("serving", position=str(checkpoint), epoch=self._group.epoch)
        self._health.healthy = self.serving = True
        reading = asyncio.current_task()

        def renewed() -> None:
            self._observe.holding(self.partition, self._delivery.waiting)

        def lost() -> None:
            # A reader on its way out must not be canceled there: that would be taken for the end of it.
            if self.serving and reading is not None:
                reading.cancel()

        renewed()
        renewal = asyncio.create_task(keep_lease(self._group, self._settings.lease, renewed, lost))
        try:
            await self._actions.carry_out(self._feed.begin())
            self._health.healthy = True
            while not self._stopping.is_set():
                await self._require_lease(renewal)
                await self._look_around()
                await self._read_on()
        except asyncio.CancelledError:
            if renewal.done() and not renewal.cancelled():
                raise LeaseLost(str(self.partition)) from renewal.exception()
            raise
        finally:
            self._health.healthy = self.serving = False
            self._observe.let_go(self.partition)
            await self._feed.forget()
            await end(renewal)
        await self._settle_sink()
        self._status.settled = self._cursors.position
        await self._status.report("stopped")
        await self._group.release()

    @property
    def _may_serve(self) -> bool:
        """Whoever holds the first partition of an exclusive sink takes them all."""
        return self._leader is None or self._leader.serving

    async def _open(self) -> Position | None:
        await self._claim_places()
        try:
            return await self._thread.call(lambda: self._sink.open(self.partition, self._group.epoch))
        except Exception as error:
            failure = self._sink.classify(error)
            if failure == "fatal":
                raise SinkFailed(error) from error
            # No event is to blame yet. An error of ours says what to do, so it waits for somebody who does it.
            if failure == "permanent" and not isinstance(error, PlayheadError):
                raise
            self._epoch_seen = error.standing if isinstance(error, Fenced) else 0
            raise SinkNotReady(plain(error), lasting=failure == "lasting") from error

    async def _claim_places(self) -> None:
        """Have the places carry the id of the installation; again later, if the log has not made one yet."""
        if self._claim is None or time.monotonic() < self._claim_at:
            return
        try:
            claimed = await self._thread.call(self._claim)
        except RedisError:
            raise
        except (ForeignPlace, LogElsewhere) as error:
            raise SinkNotReady(str(error), lasting=True) from error
        except Exception as error:
            raise SinkNotReady(plain(error), lasting=self._sink.classify(error) == "lasting") from error
        self._claim_at = math.inf if claimed else time.monotonic() + _CLAIM_SECONDS

    async def _require_lease(self, renewal: "asyncio.Task[None]") -> None:
        if renewal.done():  # its cancellation was swallowed on the way
            raise LeaseLost(str(self.partition))
        if not self._may_serve:
            await self._group.release()
            raise LeaseLost(str(self.partition))

    async def _look_around(self) -> None:
        """Now and then: whether the stream was set back, replays began or ended, or an operator wants a retry."""
        if (now := time.monotonic()) - self._looked_at <= _LOOK_SECONDS:
            return
        await self._claim_places()
        await self._feed.check()
        replays = await self._feed.follow_replays()
        if replays == "ended":
            await self._settle_sink()
        if replays != "unchanged":
            await self._delivery.look_again()
        if replays != "unchanged" or self._status.is_old:
            await self._status.report("running")
        match await self._delivery.retry_parked():
            case "fenced":
                raise LeaseLost(str(self.partition))
            case "applied":
                self._status.settled = None
            case "nothing":
                pass
        self._looked_at = now

    async def _read_on(self) -> None:
        """Read what follows, and handle it."""
        found = await self._feed.read(wait=self._is_idle, alone=self._actions.one_by_one)
        if found and await self._actions.suspect(found):
            return  # read them again, one by one
        self._is_idle = not found
        self._health.reset_backoff()
        if found:
            failpoints.reach(Point.AFTER_READ)
        self._observe.caught_up(self.partition, caught_up=self._is_idle)
        if self._is_idle:
            await self._settle()
        for key, entries in found.items():
            await self._actions.carry_out(self._feed.steps(key, entries))
        self._health.healthy = True

    async def _settle_sink(self) -> None:
        try:
            await self._thread.call(self._sink.settle)
        except Exception as error:
            failure = self._sink.classify(error)
            if failure == "fatal":
                raise SinkFailed(error) from error
            raise SinkNotReady(plain(error), lasting=failure == "lasting") from error  # no event is to blame

    async def _settle(self) -> None:
        """Settle when idle, for a twentieth of the time at most: a trickle of events must not cost a rewrite each."""
        position = self._cursors.position
        is_settled = position == self._status.settled and self._health.problem is None
        if not is_settled and time.monotonic() >= self._rest_until:
            started = time.monotonic()
            await self._settle_sink()
            self._rest_until = time.monotonic() + _REST * (time.monotonic() - started)
            self._status.settled = position
            self._health.forget()
            await self._status.report("running")


def _is_gone(error: ResponseError) -> bool:
    return str(error).startswith("NOGROUP")
