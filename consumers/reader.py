"""The read loop of a projection: cursor, batches, splitting, parking, replays. Why it is ours and not FastStream's
stands in docs/decisions/0001-own-read-loop.md.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import TypeVar

import msgspec
import structlog
from redis.exceptions import RedisError, ResponseError

from consumers.ahead import Decoded, ReadAhead, decoded
from consumers.continuity import Continuity
from consumers.errors import LeaseLost, SinkNotReady, StateLost
from consumers.group import BEHIND, Group, Report
from consumers.lease import keep_lease
from consumers.observer import Observer
from consumers.tasks import end
from eventlog.errors import LogCorrupt
from eventlog.history import History
from streams import failpoints
from streams.entries import RawEntry, decode, sequence_of
from streams.errors import InvalidEvent, PlayheadError
from streams.events import Recorded
from streams.failpoints import Point
from streams.partitions import Partition
from streams.positions import START, Position
from streams.refusals import AWAY, is_passing
from streams.sinks import PARKED, Batch, Sink, Source
from streams.telemetry import about, plain

_Result = TypeVar("_Result")

_BLOCK_MS = 250
_FIRST_DELAY, _LONGEST_DELAY = 0.1, 3.0
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
        is_transient: Callable[[BaseException], bool],
        observe: Observer,
        leader: "Reader | None" = None,
        history: History | None = None,
    ) -> None:
        self.healthy = False
        self.serving = False
        self._leader = leader
        self._sink, self._group, self._settings = sink, group, settings
        self._executor, self._is_transient, self._observe = executor, is_transient, observe
        self.name = sink.name
        self.partition: Partition = group.partition
        self._sequence: int | None = None
        self._live = group.partition.key
        self._cursors: dict[str, Position] = {}
        self._ahead = ReadAhead(group, settings.batch, settings.batch_bytes)
        self._parked: set[str] = set()
        self._stopping = asyncio.Event()
        self._retries = 0
        self._delay = _FIRST_DELAY
        self._settled: Position | None = None
        self._rest_until = 0.0
        self._problem: str | None = None
        self._epoch_seen = 0
        self._continuity = Continuity(
            sink, group, history, self, on_lost=lambda count: observe.lost(group.partition, count)
        )
        self._log = structlog.get_logger().bind(projection=sink.name, partition=str(group.partition))

    @property
    def progress(self) -> Progress | None:
        """How far the partition is durable in the sink; None while another process serves it."""
        return Progress(self._cursors[self._live], self._sequence) if self.serving else None

    @property
    def problem(self) -> str | None:
        """Why it is not healthy: the class and the first line of the last failure, which quote no payload."""
        return self._continuity.advice if self.healthy else self._problem or "not started yet"

    @property
    def cursor(self) -> Position:
        """Up to where the sink has everything of the live stream."""
        return self._cursors.get(self._live, START)

    def is_transient(self, error: BaseException) -> bool:
        """Whether the same call may succeed later."""
        return self._is_transient(error)

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
                await self._pause(_FIRST_DELAY)
            except (SinkNotReady, LogCorrupt) as error:
                await self._not_ready(error)
            except (*AWAY, OSError, ResponseError) as error:
                known = is_passing(error) or str(error).startswith("NOGROUP")
                if isinstance(error, ResponseError) and not known:
                    raise
                self.healthy = False
                self._problem = plain(error)
                self._log.warning("redis unavailable", error=self._problem, retry_in_seconds=round(self._delay, 1))
                await self._pause(self._delay * random.uniform(0.5, 1.0))
                self._delay = min(self._delay * 2, _LONGEST_DELAY)

    async def _not_ready(self, error: PlayheadError) -> None:
        """Wait, long at once for what only a person can mend."""
        lasting = getattr(error.__cause__ or error, "lasting", False)
        wait = _LASTING_DELAY if lasting else self._delay * random.uniform(0.5, 1.0)
        self.healthy = False
        self._problem = str(error)
        say = self._log.error if lasting else self._log.warning
        say("sink not ready", error=self._problem, retry_in_seconds=round(wait, 1))
        with suppress(*AWAY, RedisError):
            await self._report("not ready", settled=False)
            await self._group.release()
        await self._pause(wait)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)

    async def _serve(self) -> None:
        checkpoint = await self._open()
        # Where the sink has no checkpoint, what this process applied is one, should Redis know an older one or none.
        cursor = max(await self._group.position(self._live), self.cursor) if checkpoint is None else checkpoint
        self._sequence = known = self._sequence if cursor == self.cursor else None
        self._cursors = {self._live: cursor}
        self._settled = None
        self._parked = await self._parked_subjects()
        self._log.info("serving", position=str(cursor), epoch=self._group.epoch)
        self.healthy = self.serving = True
        self._observe.holding(self.partition, len(self._parked))
        reading = asyncio.current_task()

        def renewed() -> None:
            self._observe.holding(self.partition, len(self._parked))

        def lost() -> None:
            # A reader on its way out must not be cancelled there: that would be taken for the end of it.
            if self.serving and reading is not None:
                reading.cancel()

        renewal = asyncio.create_task(keep_lease(self._group, self._settings.lease, renewed, lost))
        try:
            await self._continuity.begin(known)
            self._sequence = self._continuity.sequence
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
            if getattr(error, "fatal", False) or not (isinstance(error, PlayheadError) or self._is_transient(error)):
                raise
            self._epoch_seen = getattr(error, "standing", 0)
            raise SinkNotReady(plain(error)) from error

    async def _read_on(self, renewal: "asyncio.Task[None]") -> None:
        looked_for_replays = 0.0
        careful: int | None = None
        idle = False
        while not self._stopping.is_set():
            await self._require_lease(renewal)
            if (now := time.monotonic()) - looked_for_replays > _BLOCK_MS / 1000:
                await self._continuity.check()
                await self._follow_replays()
                await self._retry_parked()
                looked_for_replays = now
            found = await self._ahead.read(
                self._cursors, block=_BLOCK_MS if idle else None, count=1 if careful else None
            )
            if found and careful is None and (careful := await self._to_handle_alone(found)):
                continue
            idle = not found
            self._delay = _FIRST_DELAY  # Redis and the sink are there; the next trouble is another one
            if found:
                failpoints.reach(Point.AFTER_READ)
            self._observe.caught_up(self.partition, caught_up=idle)
            if idle:
                await self._settle()
            elif not careful:
                self._ahead.begin(self._cursors, found)
            for key, entries in found.items():
                if careful:
                    await self._handle_carefully(key, entries[0][0])
                    careful -= 1
                else:
                    await self._handle(key, entries)

    async def _require_lease(self, renewal: "asyncio.Task[None]") -> None:
        if renewal.done():  # its cancellation was swallowed on the way
            raise LeaseLost(str(self.partition))
        if not self._may_serve:
            await self._group.release()
            raise LeaseLost(str(self.partition))

    async def _settle(self) -> None:
        """Settle when idle, for a twentieth of the time at most: a trickle of events must not cost a rewrite each."""
        position = self._cursors[self._live]
        if (position != self._settled or self._problem is not None) and time.monotonic() >= self._rest_until:
            started = time.monotonic()
            await self.call(self._sink.settle)
            self._rest_until = time.monotonic() + _REST * (time.monotonic() - started)
            self._settled = position
            self._problem = None
            await self._report("running", settled=True)

    async def _to_handle_alone(self, keys: Iterable[str]) -> int:
        """How many entries are to be handled one by one, as processes died of what stands here."""
        begun = [await self._group.note_attempt(key, self._cursors[key]) for key in keys]
        if max(begun) < _CAREFUL_AFTER:
            return 0
        self._log.warning("processes died here: handling entries one by one", position=str(self.cursor))
        return self._settings.batch

    async def _handle_carefully(self, key: str, entry: RawEntry) -> None:
        attempts = await self._group.note_attempt(key, self._cursors[key])
        if attempts > self._settings.max_deliveries:
            await self._set_aside(key, entry, f"the process died {attempts - 1} times while handling it", "killed")
        else:
            await self._handle(key, [(entry, decoded(entry, copied=key != self._live))])

    async def feed(self, entries: Sequence[RawEntry]) -> None:
        """Handle logged events as if the stream still had them.

        Raises:
            LeaseLost: the reader is to stop.
        """
        if self._stopping.is_set():
            raise LeaseLost("stopped while reading the log")
        await self._handle(self._live, [(entry, decoded(entry)) for entry in entries], logged=True)

    def pass_over(self, position: Position) -> None:
        """Go on reading behind a position up to which nothing is left."""
        self._cursors[self._live] = position

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

    async def _handle(self, key: str, found: Sequence[Decoded], *, logged: bool = False) -> None:
        """Set bad entries aside in their place, apply the good ones between them."""
        good: list[tuple[RawEntry, Recorded]] = []
        size = 0

        async def apply_good() -> None:
            nonlocal good, size
            pairs, good, size = good, [], 0
            await self._apply(key, pairs)

        live = key == self._live
        repeated = await self._repeated(found) if live and not logged else frozenset[bytes]()
        for entry, recorded in found:
            if entry.entry_id in repeated:
                self._log.warning("the same event again, passed over", **about(entry))
                continue
            sequence = recorded.sequence if isinstance(recorded, Recorded) else sequence_of(entry)
            if live and sequence is not None:
                await self._continuity.follow(entry, sequence, apply_good, logged=logged)
            if isinstance(recorded, InvalidEvent):
                await apply_good()
                await self._set_aside(key, entry, str(recorded), "undecodable")
                continue
            if live and recorded.event.subject in self._parked:
                await apply_good()
                if await self._wait_behind(key, entry):
                    continue
            good.append((entry, recorded))
            size += len(recorded.event.data)
            if size >= self._settings.batch_bytes:
                await apply_good()
        await apply_good()
        if found[-1][0].entry_id in repeated:
            last = Position.parse(found[-1][0].entry_id)
            await self._group.advance(key, last)
            self._cursors[key] = last

    async def _repeated(self, found: Sequence[Decoded]) -> frozenset[bytes]:
        """Entries whose event stands in the stream already. Only what `append` has not numbered next is looked up."""
        doubtful: list[tuple[str, bytes]] = []
        expected = (self._continuity.sequence or 0) + 1
        for entry, recorded in found:
            if isinstance(recorded, Recorded):
                if recorded.sequence is None or recorded.sequence < expected:
                    doubtful.append((recorded.event.id, entry.entry_id))
                else:
                    expected = recorded.sequence + 1
        if not doubtful:
            return frozenset()
        first = await self._group.first_positions(doubtful)
        return frozenset(
            entry_id
            for (_, entry_id), position in zip(doubtful, first, strict=True)
            if position < Position.parse(entry_id)
        )

    async def _apply(self, key: str, pairs: Sequence[tuple[RawEntry, Recorded]]) -> None:
        """Apply a batch; one that fails for good is split until the bad event stands alone."""
        if not pairs:
            return
        last = Position.parse(pairs[-1][0].entry_id)
        batch = Batch(self._source(key), [recorded for _, recorded in pairs], last)
        delay = _FIRST_DELAY
        while True:
            started = time.perf_counter()
            try:
                outcome = await self.call(lambda: self._sink.apply(batch))
                break
            except Exception as error:
                self._observe.failed(batch, time.perf_counter() - started, error)
                if getattr(error, "fatal", False):
                    raise
                if getattr(error, "lasting", False):  # the sink's own trouble: no event is to blame
                    raise SinkNotReady(plain(error)) from error
                if not self._is_transient(error):
                    await self._split(key, pairs, error)
                    return
                await self._rest(batch, error, delay)
                delay = min(delay * 2, _LONGEST_DELAY)
        if outcome == "fenced":
            raise LeaseLost(str(self.partition))
        self.healthy = True
        self._observe.applied(batch, (settling := time.perf_counter()) - started)
        failpoints.reach(Point.BEFORE_ACK)
        await self._group.advance(key, last)
        failpoints.reach(Point.AFTER_ACK)
        self._cursors[key] = last
        if key == self._live:
            self._sequence = pairs[-1][1].sequence
        self._observe.settled(batch, time.perf_counter() - settling)

    async def _rest(self, batch: Batch, error: Exception, delay: float) -> None:
        """Wait before the next attempt.

        Raises:
            LeaseLost: the reader is to stop.
        """
        self._retries += 1
        self.healthy = False
        self._problem = plain(error)
        self._observe.retried(self.partition)
        self._log.warning("retrying", error=self._problem, retry_in_seconds=round(delay, 1), **about(batch.events[0]))
        await self._group.forget_attempts()  # nobody died of it
        await self._report("retrying", settled=False)
        await self._pause(delay * random.uniform(0.5, 1.0))
        if self._stopping.is_set():
            raise LeaseLost("stopped while retrying") from error

    async def _split(self, key: str, pairs: Sequence[tuple[RawEntry, Recorded]], error: Exception) -> None:
        if len(pairs) == 1:
            await self._set_aside(key, pairs[0][0], f"{type(error).__name__}: {error}", "refused")
            return
        middle = len(pairs) // 2
        await self._apply(key, pairs[:middle])
        blocked = [pair for pair in pairs[middle:] if key == self._live and pair[1].event.subject in self._parked]
        if not blocked:
            await self._apply(key, pairs[middle:])
            return
        for pair in pairs[middle:]:  # rare: an event of this very batch was parked just now
            waits = pair in blocked or pair[1].event.subject in self._parked
            if not (waits and await self._wait_behind(key, pair[0])):
                await self._apply(key, [pair])

    async def _wait_behind(self, key: str, entry: RawEntry) -> bool:
        return await self._set_aside(key, entry, "an earlier event of its subject is parked", BEHIND)

    async def _set_aside(self, key: str, entry: RawEntry, reason: str, reason_class: str) -> bool:
        """Park an entry; False where it was to wait behind one that an operator has dropped meanwhile."""
        live = key == self._live
        done = await self._group.park(key, entry, reason, reason_class=reason_class, block=live and self._blocks)
        if live:
            self._parked = await self._parked_subjects()
        if not done:
            return False
        self._cursors[key] = Position.parse(entry.entry_id)
        if live:
            self._sequence = sequence_of(entry)
        self._observe.parked(self.partition, reason_class)
        # A sink's message may quote the payload.
        said = reason.partition(":")[0] if reason_class == "refused" else reason
        self._log.error("parked", reason=said, reason_class=reason_class, **about(entry))
        return True

    async def _parked_subjects(self) -> set[str]:
        """Subjects whose later events wait. The log waits for nothing: it keeps whatever it can read."""
        return await self._group.parked_subjects() if self._blocks else set()

    @property
    def _blocks(self) -> bool:
        return not self._continuity.keeps_log

    async def _retry_parked(self) -> None:
        """Apply parked events again; a subject whose event fails once more keeps waiting, with its later events."""
        if self._parked:
            self._parked = await self._parked_subjects()
        failed: set[str] = set()
        for parked_id, entry, subject in await self._group.retries():
            try:
                # What blocks its subject was read where it stands; so was whatever the log parked.
                recorded = decode(entry, copied=not subject and self._blocks)
                if subject and subject in failed:
                    continue
                batch = Batch(Source(self.partition, PARKED), [recorded], recorded.position)
                outcome = await self.call(partial(self._sink.apply, batch))
            except Exception as error:  # noqa: BLE001  # whatever it is, the event stays parked and the operator is told
                failed.add(subject)
                self._log.error("still parked", error=type(error).__name__, **about(entry))
                continue
            if outcome == "fenced":
                raise LeaseLost(str(self.partition))
            await self._group.unpark(parked_id, subject)
            self._parked = await self._parked_subjects()
            self._settled = None
            self._log.info("no longer parked", **about(entry))

    async def _follow_replays(self) -> None:
        runs = {f"{self._live}:replay:{run}" for run in await self._group.replays()}
        followed = self._cursors.keys() - {self._live}
        for key in runs - followed:
            self._cursors[key] = await self._group.position(key)
        for key in followed - runs:
            del self._cursors[key]
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
            tuple(key.rpartition(":")[2] for key in self._cursors if key != self._live),
        )
        await self._group.report(report)

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Run what blocks in the sink's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, function)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _source(self, key: str) -> Source:
        return Source(self.partition, None if key == self._live else key.rpartition(":")[2])
