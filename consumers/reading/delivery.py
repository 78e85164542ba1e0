"""Delivery: what becomes of entries once they are read. Good ones are applied in order, in batches; bad ones are parked
in their place, and later events of their subject behind them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Protocol, TypeVar

import structlog

from playhead.consumers.errors import LeaseLost, SinkNotReady
from playhead.consumers.reading.ahead import Decoded, decoded
from playhead.consumers.reading.continuity import Continuity
from playhead.consumers.reading.group import BEHIND, Group
from playhead.consumers.reading.observer import Observer
from playhead.streams import failpoints
from playhead.streams.entries import RawEntry, decode, sequence_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.failpoints import Point
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position
from playhead.streams.sinks import PARKED, Batch, Sink, Source
from playhead.streams.telemetry import about, plain

_Result = TypeVar("_Result")


class Delivering(Protocol):
    """What delivery asks of its reader."""

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Run what blocks."""
        ...

    async def rest(self, error: Exception, first: Recorded) -> None:
        """Be unhealthy until the next attempt at a batch, of which `first` is the first event.

        Raises:
            LeaseLost: the reader is to stop.
        """
        ...

    def recover(self) -> None:
        """Be healthy: the sink took a batch, and its next trouble is another one."""
        ...


class Delivery:
    """Brings the entries of one partition, and of the replays into it, to one sink."""

    def __init__(
        self,
        sink: Sink,
        group: Group,
        continuity: Continuity,
        reader: Delivering,
        observe: Observer,
        batch_bytes: int,
        max_deliveries: int,
    ) -> None:
        self._sink, self._group, self._continuity = sink, group, continuity
        self._reader, self._observe = reader, observe
        self._batch_bytes, self._max_deliveries = batch_bytes, max_deliveries
        self._partition: Partition = group.partition
        self._live = group.partition.key
        self.cursors: dict[str, Position] = {}
        """Up to where the sink has everything, by the key of the stream."""
        self.sequence: int | None = None
        """The sequence number there, in the live stream."""
        self.waiting: set[str] = set()
        """Subjects with a parked event."""
        self._dropped: frozenset[bytes] = frozenset()
        """Ids of entries that an operator gave up; they are read again where the sink's checkpoint is behind them."""
        self._log = structlog.get_logger().bind(projection=sink.name, partition=str(group.partition))

    @property
    def cursor(self) -> Position:
        """Up to where the sink has everything of the live stream."""
        return self.cursors.get(self._live, START)

    async def begin(self, cursor: Position, sequence: int | None) -> None:
        """Start behind a position of the live stream."""
        self.cursors, self.sequence = {self._live: cursor}, sequence
        self._dropped = await self._group.dropped()
        await self._look_who_waits()

    def pass_over(self, position: Position) -> None:
        """Go on behind a position up to which nothing is left."""
        self.cursors[self._live] = position

    async def handle(self, key: str, found: Sequence[Decoded], *, logged: bool = False) -> None:
        """Set bad entries aside in their place, apply the good ones between them; `logged` ones come from the log.

        Raises:
            LeaseLost: another process has the partition, or the reader is to stop.
            StateLost: the stream was emptied or set back.
            SinkNotReady: the sink is to be opened again.
        """
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
            if live and (recorded.event.subject in self.waiting or entry.entry_id in self._dropped):
                await apply_good()
                if await self._wait_behind(key, entry):
                    continue
            good.append((entry, recorded))
            size += len(recorded.event.data)
            if size >= self._batch_bytes:
                await apply_good()
        await apply_good()
        if found[-1][0].entry_id in repeated:
            last = Position.parse(found[-1][0].entry_id)
            await self._group.advance(key, last)
            self.cursors[key] = last

    async def handle_alone(self, key: str, entry: RawEntry) -> None:
        """Handle an entry of which processes may have died, or park it where too many have."""
        attempts = await self._group.note_attempt(key, self.cursors[key])
        if attempts > self._max_deliveries:
            await self._set_aside(key, entry, f"the process died {attempts - 1} times while handling it", "killed")
        else:
            await self.handle(key, [(entry, decoded(entry, copied=key != self._live))])

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
        while True:
            started = perf_counter()
            try:
                outcome = await self._reader.call(lambda: self._sink.apply(batch))
                break
            except Exception as error:
                self._observe.failed(batch, perf_counter() - started, error)
                match self._sink.classify(error):
                    case "fatal":
                        raise
                    case "lasting":
                        raise SinkNotReady(plain(error), lasting=True) from error
                    case "permanent":
                        await self._split(key, pairs, error)
                        return
                    case "transient":
                        await self._reader.rest(error, batch.events[0])
        if outcome == "fenced":
            raise LeaseLost(str(self._partition))
        self._reader.recover()
        self._observe.applied(batch, (settling := perf_counter()) - started)
        failpoints.reach(Point.BEFORE_ACK)
        await self._group.advance(key, last)
        failpoints.reach(Point.AFTER_ACK)
        self.cursors[key] = last
        if key == self._live:
            self.sequence = pairs[-1][1].sequence
        self._observe.settled(batch, perf_counter() - settling)

    async def _split(self, key: str, pairs: Sequence[tuple[RawEntry, Recorded]], error: Exception) -> None:
        if len(pairs) == 1:
            await self._set_aside(key, pairs[0][0], f"{type(error).__name__}: {error}", "refused")
            return
        middle = len(pairs) // 2
        await self._apply(key, pairs[:middle])
        blocked = [pair for pair in pairs[middle:] if key == self._live and pair[1].event.subject in self.waiting]
        if not blocked:
            await self._apply(key, pairs[middle:])
            return
        for pair in pairs[middle:]:  # rare: an event of this very batch was parked just now
            waits = pair in blocked or pair[1].event.subject in self.waiting
            if not (waits and await self._wait_behind(key, pair[0])):
                await self._apply(key, [pair])

    async def _wait_behind(self, key: str, entry: RawEntry) -> bool:
        return await self._set_aside(key, entry, "an earlier event of its subject is parked", BEHIND)

    async def _set_aside(self, key: str, entry: RawEntry, reason: str, reason_class: str) -> bool:
        """Park an entry unless it is; False where it was to wait behind one that an operator has dropped meanwhile."""
        live = key == self._live
        parking = await self._group.park(key, entry, reason, reason_class=reason_class, block=live and self._blocks)
        if live:
            await self._look_who_waits()
        if parking == "need not wait":
            return False
        self.cursors[key] = Position.parse(entry.entry_id)
        if live:
            self.sequence = sequence_of(entry)
        if parking == "parked already":
            self._log.warning("parked already, or dropped", reason_class=reason_class, **about(entry))
            return True
        self._observe.parked(self._partition, reason_class)
        # A sink's message may quote the payload.
        said = reason.partition(":")[0] if reason_class == "refused" else reason
        self._log.error("parked", reason=said, reason_class=reason_class, **about(entry))
        return True

    async def _look_who_waits(self) -> None:
        """The log waits for nothing: it keeps whatever it can read."""
        self.waiting = await self._group.parked_subjects() if self._blocks else set()

    @property
    def _blocks(self) -> bool:
        return not self._continuity.keeps_log

    async def retry_parked(self) -> bool:
        """Apply parked events again; a subject whose event fails once more keeps waiting, with its later events.

        Whether any took effect.
        """
        if self.waiting:
            await self._look_who_waits()
        failed: set[str] = set()
        any_applied = False
        for parked_id, entry, subject in await self._group.retries():
            try:
                # What blocks its subject was read where it stands; so was whatever the log parked.
                recorded = decode(entry, copied=not subject and self._blocks)
                if subject and subject in failed:
                    continue
                batch = Batch(Source(self._partition, PARKED), [recorded], recorded.position)
                outcome = await self._reader.call(partial(self._sink.apply, batch))
            except Exception as error:  # noqa: BLE001  # whatever it is, the event stays parked and the operator is told
                failed.add(subject)
                self._log.error("still parked", error=type(error).__name__, **about(entry))
                continue
            if outcome == "fenced":
                raise LeaseLost(str(self._partition))
            await self._group.unpark(parked_id, subject)
            await self._look_who_waits()
            any_applied = True
            self._log.info("no longer parked", **about(entry))
        return any_applied

    def _source(self, key: str) -> Source:
        return Source(self._partition, None if key == self._live else key.rpartition(":")[2])
