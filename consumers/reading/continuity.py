"""Continuity: a reader's way from its checkpoint to the stream's end without a gap that nobody sees.

What the stream lost and the log has is read from the log, in order; what neither has is counted
(docs/decisions/0004-recovery-from-the-log.md).
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

import structlog

from playhead.consumers.errors import LeaseLost, SinkNotReady, StateLost
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.recovery import (
    Entry,
    Lost,
    Recovery,
    View,
    as_entry,
    chunks,
    diverged,
    is_logged,
    just_before,
    recent,
)
from playhead.eventlog.history import History
from playhead.eventlog.writer import EventLog
from playhead.streams.entries import RawEntry
from playhead.streams.events import Recorded
from playhead.streams.positions import START, Position
from playhead.streams.sinks import RECOVERY, Batch, Sink, Source

_Result = TypeVar("_Result")

CHUNK, CHUNK_BYTES = 500, 16 * 1024 * 1024
UNREADABLE = "unreadable"
"""Why events count as lost for a projection whose process cannot read the log."""


class Feeding(Protocol):
    """What continuity asks of its reader."""

    @property
    def cursor(self) -> Position:
        """Up to where the sink has everything."""
        ...

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Run what blocks."""
        ...

    async def feed(self, entries: Sequence[RawEntry]) -> None:
        """Handle logged events as if the stream still had them."""
        ...

    def pass_over(self, position: Position) -> None:
        """Go on reading behind a position up to which nothing is left."""
        ...

    async def wait(self, why: str) -> None:
        """Be unhealthy for a moment."""
        ...


class Continuity:
    """Knows which entry must come next, and what to do where another one comes."""

    def __init__(
        self, sink: Sink, group: Group, history: History | None, feeding: Feeding, on_lost: Callable[[int], None]
    ) -> None:
        self.sequence: int | None = None
        self.advice: str | None = None
        self.keeps_log = isinstance(sink, EventLog)
        self._history = sink.history if isinstance(sink, EventLog) else history
        self._sink, self._group, self._feeding, self._on_lost = sink, group, feeding, on_lost
        self._partition = group.partition
        self._recovery = Recovery(group)
        self._honoured = 0
        self._log = structlog.get_logger().bind(projection=sink.name, partition=str(group.partition))

    async def begin(self, sequence: int | None) -> None:
        """Make sure that the stream goes on where the sink is; `sequence` is the last one, where that is known.

        Raises:
            LogCorrupt: the log is needed and cannot be read.
        """
        self.sequence = sequence
        if self.keeps_log:
            await self._rejoin()
        else:
            await self._catch_up()
        cursor = self._feeding.cursor
        view = await self._recovery.look(cursor)
        if view.behind is None and view.last > cursor:  # entries that were trimmed, dropped as known, or deleted
            if not self.keeps_log and await self._first_logged() is not None:
                if self.sequence is not None and view.sequence > self.sequence:
                    await self._wait_for_log(view.last)
                await self._read_log(cursor, view.last)
            cursor = view.last
        await self._group.advance(self._partition.key, cursor)
        self._feeding.pass_over(cursor)

    async def follow(
        self, entry: RawEntry, sequence: int, before: Callable[[], Awaitable[None]], *, logged: bool
    ) -> None:
        """Take note of an entry's sequence; where events are missing before it, get them from the log or count them.

        Raises:
            StateLost: the stream was emptied or set back.
        """
        if self.sequence is not None and sequence != self.sequence + 1:
            await before()
            await self._bridge(Position.parse(entry.entry_id), sequence, self.sequence or 0, logged=logged)
        self.sequence = sequence

    async def check(self) -> None:
        """Look whether the log's process set the stream behind the log's tail.

        Raises:
            StateLost: it did.
        """
        if not self.keeps_log and await self._recovery.restarts() > self._honoured:
            raise StateLost(f"{self._partition} goes on behind the log's tail")

    async def replayed(self) -> None:
        """A replay has ended: what could not be read from the log here has come."""
        await self._recovery.forget_lost(UNREADABLE)
        self.advice = None

    async def _rejoin(self) -> None:
        """Compare the stream with the log; one that lost its state goes on behind the log's tail."""
        history, recovery, cursor = self._history, self._recovery, self._feeding.cursor
        assert history is not None
        view = await recovery.look(cursor)
        tail = await self._feeding.call(partial(history.tail, self._partition))
        self.sequence = 0 if tail is None else tail.sequence or None
        if tail is None or not diverged(view, tail, before_is_logged=await self._is_logged(view.before)):
            await recovery.note_compared(view)
            return
        common = START
        entries = await recovery.entries_before(cursor)
        while entries and common == START:
            found = await self._feeding.call(partial(is_logged, history, self._partition, entries))
            common = found.position if found else START
            entries = await recovery.entries_before(entries[-1].position)
        remembered = recent(history, self._partition, common)
        while chunk := await self._feeding.call(partial(next, remembered, None)):
            await recovery.remember(chunk)
        moved, dropped = await recovery.rejoin(view, tail, common)
        self._log.error(
            "redis lost its state: the stream goes on behind the log",
            common=str(common),
            tail=str(cursor),
            moved=moved,
            dropped=dropped,
        )

    async def _is_logged(self, entry: Entry | None) -> bool:
        if entry is None or self._history is None:
            return True
        return await self._feeding.call(partial(is_logged, self._history, self._partition, [entry])) is not None

    async def _catch_up(self) -> None:
        """Read from the log what the stream no longer has behind our checkpoint."""
        self.advice = None
        if count := await self._recovery.lost(UNREADABLE):
            self._advise(count)
        cursor = self._feeding.cursor
        while True:
            view = await self._recovery.look(cursor)
            first = await self._first_logged()
            self.sequence = await self._sequence_at(view, cursor)
            goes_on = _goes_on(view, cursor, first)
            if view.missed or goes_on or view.is_compared or first is None:
                break
            await self._feeding.wait(
                "the stream is not the one this projection was reading, and the log's consumer has not looked at it"
                " yet: see that `playhead run log` runs"
            )
        if view.missed:
            await self._honour(view, cursor)
        elif not goes_on and first is not None:
            await self._read_log(cursor, None)
        elif not goes_on and cursor > START:
            self._advise(0)
        self._honoured = max((restart.number for restart in view.restarts), default=0)

    async def _honour(self, view: View, cursor: Position) -> None:
        """Take it into account that the stream was set behind the log's tail."""
        newest = view.missed[-1]
        if cursor > newest.tail:
            # With nothing in common, nobody can have read on in the new stream: we are ahead of the log.
            if newest.common == START and self.sequence is not None and self.sequence > newest.sequence:
                await self._note_unlogged(self.sequence - newest.sequence, newest.tail, cursor)
            self.sequence = newest.sequence
        if self._readable:
            # Whoever read on in a stream that was set back, before anybody noticed, lacks what only the log has.
            common = min((restart.common for restart in view.missed if restart.common > START), default=cursor)
            if common < cursor:
                await self._apply_again(common, cursor)
            await self._read_log(cursor, None)
        elif newest.tail > cursor:
            count = max(1, newest.sequence - (self.sequence or newest.sequence))
            await self._lose(count, cursor, newest.tail, UNREADABLE)
            self.sequence = newest.sequence
        await self._recovery.honour(newest.number)

    async def _bridge(self, position: Position, sequence: int, previous: int, *, logged: bool) -> None:
        if sequence <= previous:
            view = await self._recovery.look(position)
            if not logged and (not view.is_compared or (view.missed and not self.keeps_log)):
                raise StateLost(f"{self._partition}: sequence {sequence} at {position} follows {previous}")
            self._log.warning("sequence goes back", sequence=sequence, before=previous, position=str(position))
            return
        if not logged:
            await self.check()
        if not logged and not self.keeps_log and await self._first_logged() is not None:
            await self._wait_for_log(position)
            await self._read_log(self._feeding.cursor, just_before(position))
        if (lost := sequence - (self.sequence or 0) - 1) > 0:
            await self._lose(lost, self._feeding.cursor, position, "nowhere" if self._readable else UNREADABLE)

    async def _wait_for_log(self, position: Position) -> None:
        while await self._group.position_of(EventLog.name, self._partition.key) < position:
            await self._feeding.wait(
                f"events up to {position} are gone from the stream; waiting for the log's consumer to pass it"
            )

    async def _read_log(self, after: Position, until: Position | None) -> None:
        """Handle logged events as if the stream still had them."""
        assert self._history is not None
        count = 0
        found = chunks(self._history.between(self._partition, after, until), CHUNK, CHUNK_BYTES)
        while chunk := await self._feeding.call(partial(next, found, None)):
            await self._feeding.feed([as_entry(recorded) for recorded in chunk])
            count += len(chunk)
        if count:
            self._log.warning("read from the log", count=count, after=str(after))

    async def _apply_again(self, after: Position, until: Position) -> None:
        """Apply logged events that may have been passed over; those that took effect change nothing."""
        assert self._history is not None
        parked = await self._group.parked_subjects()
        found = chunks(self._history.between(self._partition, after, until), CHUNK, CHUNK_BYTES)
        while chunk := await self._feeding.call(partial(next, found, None)):
            for recorded in chunk:
                if recorded.event.subject not in parked:
                    await self._apply_one(recorded)

    async def _apply_one(self, recorded: Recorded) -> None:
        batch = Batch(Source(self._partition, RECOVERY), [recorded], recorded.position)
        try:
            outcome = await self._feeding.call(partial(self._sink.apply, batch))
        except Exception as error:
            match self._sink.classify(error):
                case "transient":
                    raise SinkNotReady(str(error)) from error
                case "lasting":
                    raise SinkNotReady(str(error), lasting=True) from error
                case "fatal":
                    raise
                case "permanent":
                    return  # it was parked when it came the first time
        if outcome == "fenced":
            raise LeaseLost(str(self._partition))

    async def _lose(self, count: int, after: Position, before: Position, reason: str) -> None:
        self._on_lost(count)
        lost = Lost(self._sink.name, count, str(after), str(before), reason, time.time())
        await self._recovery.note_lost(lost)
        self._log.error("events are gone", count=count, after=lost.after, before=lost.before, reason=reason)
        if reason == UNREADABLE:
            self._advise(count)

    async def _note_unlogged(self, count: int, after: Position, before: Position) -> None:
        """This projection applied events that Redis lost before the log read them."""
        reason = f"only {self._sink.name} has them"
        await self._recovery.note_lost(Lost(EventLog.name, count, str(after), str(before), reason, time.time()))
        self._log.error("events never reached the log", count=count, after=str(after), upto=str(before))

    def _advise(self, count: int) -> None:
        self.advice = (
            f"{count or 'some'} events are gone from the stream, and this process cannot read the event log: run"
            f" `playhead replay --log --to {self._sink.name}` where EVENT_LOG_DIR can be read"
        )

    @property
    def _readable(self) -> bool:
        return self._history is not None and self._history.readable(self._partition)

    async def _first_logged(self) -> Recorded | None:
        if self._history is None or not self._readable:
            return None
        return await self._feeding.call(partial(self._history.first, self._partition))

    async def _sequence_at(self, view: View, cursor: Position) -> int | None:
        if cursor == START:
            return 0
        if view.at is not None:
            return await self._group.sequence_at(cursor)
        if self.sequence is not None or self._history is None or not self._readable:
            return self.sequence
        events = self._history.between(self._partition, just_before(cursor), cursor)
        found = await self._feeding.call(partial(next, events, None))
        return None if found is None else found.sequence


def _goes_on(view: View, cursor: Position, first: Recorded | None) -> bool:
    """Whether the stream goes on where a cursor stands; `first` is the oldest event of the log."""
    if cursor > START:
        return view.at is not None
    if view.behind is None:
        return view.last == START and first is None
    return view.behind.sequence in {None, 1} if first is None else view.behind.position == first.position
