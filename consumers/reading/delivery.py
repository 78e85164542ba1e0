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
from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.health import Health
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.parked import REFUSED, UNDECODABLE, Aside
from playhead.consumers.reading.parking import Judged, Parking, Refusal
from playhead.consumers.reading.thread import SinkThread
from playhead.consumers.reasons import reason_of
from playhead.streams import failpoints
from playhead.streams.entries import RawEntry, decode, sequence_of
from playhead.streams.events import Recorded
from playhead.streams.failpoints import Point
from playhead.streams.positions import Position
from playhead.streams.printable import quoted
from playhead.streams.sinks import PARKED, RECOVERY, Batch, Examines, KeepsCheckpoint, Outcome, Sink, Source
from playhead.streams.telemetry import about

Pair = tuple[RawEntry, Recorded]


Pieces = Sequence[Sequence[Judged]]
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
        self._parking = Parking(group, cursors, observe, name=sink.name, batch_bytes=batch_bytes, blocks=blocks)
        self._partition, self._live = group.partition, group.partition.key
        self._unsure: Position | None = None
        """The last entry of a batch that failed: it may be committed all the same."""
        self._has_checkpoint = False
        self._is_behind = False
        """Whether the sink's checkpoint is behind live entries that are parked."""
        self._number: int | None = None
        """The number of the last of these that has one and can be decoded, so that the log has it too."""
        self._log = structlog.get_logger().bind(projection=sink.name, partition=str(group.partition))

    @property
    def waiting(self) -> int:
        """How many subjects have a parked event."""
        return len(self._parking.waiting)

    async def begin(self, *, has_checkpoint: bool = False) -> None:
        """Look what is parked; `has_checkpoint` says that the sink moves a checkpoint, and nobody else may."""
        self._has_checkpoint, self._unsure = has_checkpoint, None
        self._is_behind, self._number = False, None
        await self.look_again()

    async def look_again(self) -> None:
        """Look what is set aside: Redis was given it again, or a replay begins."""
        await self._parking.begin()

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
            good = self._good(key, piece)
            done = len(good) or await self._set_aside(key, self._parking.first_bad(key, piece))
            if behind := piece[done:]:
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
                    await self._set_aside(key, [Aside(good[0][0], reason_of(error), REFUSED)])
                case Failed():
                    left.extendleft(reversed(await self._part(key, good)))
        return await self._pass_over() if self._is_behind else "done"

    async def apply_again(self, recorded: Recorded) -> Literal["done", "fenced"] | Reopen:
        """Apply an event that may have been passed over; one that was parked when it came first stays so."""
        if self._parking.holds(recorded):
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
        await self._parking.look_for_dropped()
        failed: set[str] = set()
        became: Literal["nothing", "applied"] = "nothing"
        async for parked_id, entry, subject in self._group.retries():
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
            await self._parking.unpark(parked_id, subject, recorded.position)
            became = "applied"
            self._log.info("no longer parked", **about(entry))
        return became

    async def park_killer(self, key: str, entry: RawEntry, deaths: int) -> None:
        """Set an entry aside of which so many processes died."""
        await self._set_aside(key, [Aside(entry, f"the process died {deaths} times while handling it", "killed")])

    def _good(self, key: str, piece: Sequence[Judged]) -> list[Pair]:
        """The first entries, as many as can be applied together."""
        good: list[Pair] = []
        size = 0
        for entry, recorded in piece:
            if not isinstance(recorded, Recorded) or size >= self._batch_bytes:
                break
            if self._parking.must_wait(key, entry, recorded.event.subject):
                break
            good.append((entry, recorded))
            size += len(recorded.event.data)
        return good

    async def _set_aside(self, key: str, asides: Sequence[Aside]) -> int:
        """Park entries that follow one another; how many are dealt with."""
        failpoints.reach(Point.BEFORE_ACK)
        done = await self._parking.set_aside(key, asides)
        failpoints.reach(Point.AFTER_ACK)
        if key == self._live and done:
            self._is_behind = True
            for one in asides[:done]:
                if one.reason_class != UNDECODABLE and (number := sequence_of(one.entry)) is not None:
                    self._number = number
        return done

    async def _part(self, key: str, good: Sequence[Pair]) -> Pieces:
        """Tell the events of a batch that the sink refused which it can never take; halve it if there is none."""
        judged = await self._thread.call(partial(self._judge, key, good))
        if any(isinstance(one, Refusal) for _, one in judged):
            return [judged]
        middle = len(good) // 2
        return [good[:middle], good[middle:]]

    def _judge(self, key: str, good: Sequence[Pair]) -> list[Judged]:
        if not isinstance(self._sink, Examines):
            return list(good)
        judged: list[Judged] = []
        for entry, recorded in good:
            try:
                if not self._is_over(key, recorded):
                    self._sink.examine(recorded)
            except Exception as error:  # noqa: BLE001  # the sink says what it means; what passes, `apply` meets again
                if self._sink.classify(error) == "permanent":
                    judged.append((entry, Refusal(reason_of(error))))
                    continue
            judged.append((entry, recorded))
        return judged

    async def _pass_over(self) -> Literal["done", "fenced"] | Reopen:
        """Let the sink's checkpoint follow, so that a reader that begins again does not come to what is parked."""
        if isinstance(self._sink, KeepsCheckpoint):
            move = partial(self._sink.pass_over, self._partition, self._cursors.position, self._number)
            try:
                outcome = await self._thread.call(move)
            except Exception as error:
                if (failure := self._sink.classify(error)) == "fatal":
                    raise SinkFailed(error) from error
                return Reopen(error, lasting=failure == "lasting")  # where the checkpoint is, it says then
            if outcome == "fenced":
                return "fenced"
        self._is_behind, self._number = False, None
        return "done"

    async def _apply(self, key: str, pairs: Sequence[Pair]) -> Literal["done", "fenced"] | Failed | Reopen:
        last = Position.parse(pairs[-1][0].entry_id)
        events = [recorded for _, recorded in pairs if not self._is_over(key, recorded)]
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
        if key == self._live:
            self._is_behind, self._number = False, None
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
            raise TypeError(
                f"apply of {self._sink.name} returned {quoted(outcome)}; it returns one of {get_args(Outcome)}"
            )
        return outcome

    def _is_over(self, key: str, recorded: Recorded) -> bool:
        """Whether a replay passes over an event, as it is set aside."""
        return key != self._live and self._parking.is_set_aside(recorded)

    def _source(self, key: str) -> Source:
        return Source(self._partition, None if key == self._live else key.rpartition(":")[2])
