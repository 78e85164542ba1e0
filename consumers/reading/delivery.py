"""Delivery: what becomes of entries once they are read. Good ones are applied in order, in batches; bad ones are parked
in their place, and later events of their subject behind them.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import Literal, get_args

import msgspec
import structlog

from playhead.consumers.errors import CheckpointAhead, SinkFailed
from playhead.consumers.reading.ahead import Decoded
from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.group import BEHIND, Group
from playhead.consumers.reading.health import Health
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.thread import SinkThread
from playhead.consumers.reasons import reason_of
from playhead.streams import failpoints
from playhead.streams.entries import RawEntry, decode, sequence_of
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded
from playhead.streams.failpoints import Point
from playhead.streams.positions import Position
from playhead.streams.sinks import PARKED, RECOVERY, Batch, Outcome, Sink, Source
from playhead.streams.telemetry import about

Pair = tuple[RawEntry, Recorded]


Pieces = Sequence[Sequence[Decoded]]
"""Entries of one stream, in order, in pieces of which no batch is larger."""


class RetryLater(msgspec.Struct, frozen=True):
    """The sink failed at a batch, of which `first` is the first event; deliver what is left after a while."""

    error: Exception
    first: Recorded
    left: Pieces


class Reopen(msgspec.Struct, frozen=True):
    """The sink must be opened again; `lasting` trouble stays until somebody fixes it."""

    error: Exception
    lasting: bool


class Failed(msgspec.Struct, frozen=True):
    """The sink did not take a batch."""

    error: Exception
    failure: Literal["transient", "permanent"]


Delivered = Literal["done", "fenced"] | RetryLater | Reopen
"""What became of entries. `done`: each took effect or is parked, and the cursor is past them. `fenced`: another process
has the partition. Otherwise the cursor says how far they came.
"""


class Delivery:
    """Brings the entries of one partition, and of the replays into it, to one sink."""

    def __init__(
        self,
        sink: Sink,
        group: Group,
        cursors: Cursors,
        health: Health,
        thread: SinkThread,
        observe: Observer,
        *,
        batch_bytes: int,
        blocks: bool,
    ) -> None:
        self._sink, self._group, self._cursors, self._health = sink, group, cursors, health
        self._thread, self._observe = thread, observe
        self._batch_bytes = batch_bytes
        self._blocks = blocks
        """Whether later events of a subject wait behind a parked one."""
        self._partition, self._live = group.partition, group.partition.key
        self._unsure: Position | None = None
        """The last entry of a batch that failed: it may be committed all the same."""
        self.waiting: set[str] = set()
        """Subjects with a parked event."""
        self._has_checkpoint = False
        self._dropped: frozenset[bytes] = frozenset()
        """Ids of entries that an operator gave up; they are read again if the sink's checkpoint is behind them."""
        self._set_aside: frozenset[bytes] = frozenset()
        """Positions that are parked, or were dropped: a replay passes over them."""
        self._log = structlog.get_logger().bind(projection=sink.name, partition=str(group.partition))

    async def begin(self, *, has_checkpoint: bool = False) -> None:
        """Look what is parked; `has_checkpoint` says that the sink moves a checkpoint, and nobody else may."""
        self._has_checkpoint, self._unsure = has_checkpoint, None
        await self.look_again()

    async def look_again(self) -> None:
        """Look what is set aside: Redis was given it again, or a replay begins."""
        self._dropped = await self._group.dropped()
        self._set_aside = await self._group.set_aside()
        await self._look_who_waits()

    async def deliver(self, key: str, pieces: Pieces) -> Delivered:
        """Park bad entries in their place, and apply the good ones between them.

        A batch that the sink refuses is split until the bad event stands alone.

        Raises:
            LeaseLost: another process has the partition.
            StateLost: the group or its stream is gone.
            SinkFailed: no retry can help.
        """
        left = deque(pieces)
        while left:
            piece = left.popleft()
            good = self._good(key, piece) or await self._park_first(key, piece[0])
            if behind := piece[len(good) or 1 :]:
                left.appendleft(behind)
            if not good:
                continue
            match await self._apply(key, good):
                case "done":
                    pass
                case "fenced":
                    return "fenced"
                case Failed(error, "transient"):
                    return RetryLater(error, good[0][1], [good, *left])
                case Reopen() as reopen:
                    return reopen
                case Failed(error) if len(good) == 1:
                    await self._park(key, good[0][0], reason_of(error), "refused")
                case Failed():
                    middle = len(good) // 2
                    left.extendleft([good[middle:], good[:middle]])
        return "done"

    async def apply_again(self, recorded: Recorded) -> Literal["done", "fenced"] | Reopen:
        """Apply an event that may have been passed over; one that was parked when it came first stays so."""
        if recorded.event.subject in self.waiting or str(recorded.position).encode() in self._dropped:
            return "done"
        batch = Batch(Source(self._partition, RECOVERY), [recorded], recorded.position)
        try:
            outcome = await self._take(batch)
        except Exception as error:
            match self._sink.classify(error):
                case "permanent":
                    return "done"
                case "fatal":
                    raise SinkFailed(error) from error
                case failure:
                    return Reopen(error, lasting=failure == "lasting")
        return "fenced" if outcome == "fenced" else "done"

    async def retry_parked(self) -> Literal["nothing", "applied", "fenced"]:
        """Apply parked events again; a subject whose event fails once more keeps waiting, with its later events.

        Raises:
            SinkFailed: no retry can help.
        """
        if self.waiting:
            await self._look_who_waits()
        failed: set[str] = set()
        became: Literal["nothing", "applied"] = "nothing"
        for parked_id, entry, subject in await self._group.retries():
            try:
                # What blocks its subject was read where it stands; so was whatever the log parked.
                recorded = decode(entry, copied=not subject and self._blocks)
                if subject and subject in failed:
                    continue
                batch = Batch(Source(self._partition, PARKED), [recorded], recorded.position)
                outcome = await self._take(batch)
            except Exception as error:
                if self._sink.classify(error) == "fatal":
                    raise SinkFailed(error) from error
                failed.add(subject)
                self._log.error("still parked", error=type(error).__name__, **about(entry))
                continue
            if outcome == "fenced":
                return "fenced"
            await self._group.unpark(parked_id, subject)
            await self._look_who_waits()
            became = "applied"
            self._log.info("no longer parked", **about(entry))
        return became

    async def park_killer(self, key: str, entry: RawEntry, deaths: int) -> None:
        """Set an entry aside of which so many processes died."""
        await self._park(key, entry, f"the process died {deaths} times while handling it", "killed")

    def _good(self, key: str, piece: Sequence[Decoded]) -> list[Pair]:
        """The first entries, as many as can be applied together."""
        live = key == self._live
        good: list[Pair] = []
        size = 0
        for entry, recorded in piece:
            if isinstance(recorded, InvalidEvent) or size >= self._batch_bytes:
                break
            if live and (recorded.event.subject in self.waiting or entry.entry_id in self._dropped):
                break
            good.append((entry, recorded))
            size += len(recorded.event.data)
        return good

    async def _park_first(self, key: str, first: Decoded) -> list[Pair]:
        """Park an entry that is bad or must wait; it is good after all if it need not wait any longer."""
        entry, recorded = first
        if isinstance(recorded, InvalidEvent):
            await self._park(key, entry, str(recorded), "undecodable")
            return []
        is_parked = await self._park(key, entry, "an earlier event of its subject is parked", BEHIND)
        return [] if is_parked else [(entry, recorded)]

    async def _apply(self, key: str, pairs: Sequence[Pair]) -> Literal["done", "fenced"] | Failed | Reopen:
        last = Position.parse(pairs[-1][0].entry_id)
        events = [recorded for _, recorded in pairs if key == self._live or not self._is_set_aside(recorded)]
        batch = Batch(self._source(key), events, last)
        started = perf_counter()
        try:
            outcome = await self._take(batch) if events else "applied"
        except Exception as error:
            self._observe.failed(batch, perf_counter() - started, error)
            self._unsure = last if key == self._live else self._unsure
            failure = self._sink.classify(error)
            if failure == "fatal":
                raise SinkFailed(error) from error
            return Reopen(error, lasting=True) if failure == "lasting" else Failed(error, failure)
        if outcome == "fenced":
            return "fenced"
        if outcome == "already applied" and self._has_checkpoint and key == self._live and last != self._unsure:
            return Reopen(CheckpointAhead(f"{self._partition}: {CheckpointAhead.__doc__}"), lasting=False)
        self._health.recover()
        self._observe.applied(batch, (settling := perf_counter()) - started)
        failpoints.reach(Point.BEFORE_ACK)
        await self._group.advance(key, last)
        failpoints.reach(Point.AFTER_ACK)
        self._cursors.move(key, last, pairs[-1][1].sequence)
        self._observe.settled(batch, perf_counter() - settling)
        return "done"

    async def _take(self, batch: Batch) -> Outcome:
        """Have the sink apply a batch; only if it says so did the batch take effect."""
        outcome = await self._thread.call(partial(self._sink.apply, batch))
        if outcome not in get_args(Outcome):
            raise TypeError(f"apply of {self._sink.name} returned {outcome!r}; it returns one of {get_args(Outcome)}")
        return outcome

    async def _park(self, key: str, entry: RawEntry, reason: str, reason_class: str) -> bool:
        """Park an entry unless it is; False if it was to wait behind one that an operator has dropped meanwhile."""
        live = key == self._live
        parking = await self._group.park(key, entry, reason, reason_class=reason_class, block=live and self._blocks)
        if live:
            await self._look_who_waits()
        if parking == "need not wait":
            return False
        self._cursors.move(key, Position.parse(entry.entry_id), sequence_of(entry))
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

    def _is_set_aside(self, recorded: Recorded) -> bool:
        return str(recorded.position).encode() in self._set_aside

    def _source(self, key: str) -> Source:
        return Source(self._partition, None if key == self._live else key.rpartition(":")[2])
