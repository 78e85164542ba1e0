"""What a worker had not finished when Redis lost its state, as the log tells it.

A group that is not there is created behind the log's tail, and what the log knows of no end goes to the group's private
stream, whole and under its own id: work that ended is not done again (docs/decisions/0004-recovery-from-the-log.md).
"""

import asyncio
import heapq
from collections.abc import Collection, Iterable
from typing import Protocol

import msgspec
import structlog

from playhead.consumers.reading.recovery import just_before
from playhead.consumers.work.holds import Holds
from playhead.consumers.work.task import source_of
from playhead.eventlog.history import History
from playhead.streams.events import Event, Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START, Position

WAITING = (
    "Redis lost its state, and the log writer has not compared it with the log yet: check that `playhead run log` runs"
)
BLIND = (
    "events are gone from Redis, and this process cannot read the event log: work that was not finished is not known;"
    " run the worker where EVENT_LOG_DIR can be read"
)


class Ends(Protocol):
    """What a handler says of the events it works on, and of those that end the work."""

    name: str
    types: frozenset[str]
    ends: frozenset[str]

    def key(self, event: Event) -> str | None:
        """What an event, or an end, is about; None if it does not say."""
        ...


class WorkRecovery:
    """Brings a worker's group on one partition back."""

    def __init__(self, handler: Ends, holds: Holds, history: History | None, rivals: Iterable[str] = ()) -> None:
        self._handler, self._holds, self._history = handler, holds, history
        self._rivals = rivals
        self._partition = holds.partition
        self._log = structlog.get_logger().bind(projection=handler.name, partition=str(self._partition))

    async def is_due(self) -> bool:
        """Whether the stream was set behind the log's tail, and this group has not taken it into account."""
        return bool((await self._holds.recovery.look(START)).missed)

    async def begin(self) -> str | None:
        """Create the group, and give it what is not finished; what it waits for if that cannot be known yet.

        Raises:
            LogCorrupt: the log cannot be read.
        """
        view = await self._holds.recovery.look(START)
        restart = max((each.number for each in view.restarts), default=0)
        after, gone, is_missed = START, (), bool(view.missed)
        if view.retired_at is not None and view.retired_at.is_usable and not view.missed:
            after, gone = view.retired_at, view.gone
            sequence = 0 if after == START else None
            if not gone and await self._holds.begin(after, restart, [], sequence=sequence) != "gap":
                return None
            is_missed = True
        history = self._history
        if history is None or not history.readable(self._partition):
            if is_missed:
                self._log.error("work may be lost", reason=BLIND)
            await self._holds.begin(after, restart, [], accepts_gap=True)
            return None
        first = await asyncio.to_thread(history.first, self._partition)
        if first is not None and not view.is_compared:
            return WAITING
        await self._begin_behind(history, after, gone, restart)
        return None

    async def _begin_behind(self, history: History, after: Position, gone: Collection[Position], restart: int) -> None:
        """Begin at the log's tail, with what is not finished behind a position or at those of entries that are gone.

        Nothing behind the tail may be trimmed while the log is read. What is gone behind one that did not move
        meanwhile was never trimmed, so the log will not have it either.
        """
        first, before = min([after, *map(just_before, gone)]), None
        while True:
            left = await asyncio.to_thread(unfinished, self._handler, self._partition, history, self._rivals, first)
            aside = await self._holds.set_aside()
            events = [
                recorded
                for recorded in left.events
                if (recorded.position > after or recorded.position in gone)
                and str(recorded.position).encode() not in aside
            ]
            became = await self._holds.begin(
                max(after, left.tail),
                restart,
                events,
                sequence=left.sequence if left.tail >= after else None,
                accepts_gap=left.tail == before,
            )
            if became != "gap":
                break
            before = left.tail
        if became == "begun" and events:
            self._log.warning("not finished yet, as the log tells", count=len(events), tail=str(left.tail))


class Unfinished(msgspec.Struct, frozen=True):
    """Events of which the log knows no end, and the position and sequence number that it has come to, if known."""

    tail: Position
    sequence: int | None
    events: list[Recorded]


def unfinished(
    handler: Ends, partition: Partition, history: History, rivals: Iterable[str] = (), after: Position = START
) -> Unfinished:
    """The events of a partition behind `after` of which the log knows no end, and how far it goes.

    An end counts wherever it stands and whoever appended it, but for a rival: another worker on the same events does
    work of its own. All partitions are read side by side, so no more is held than what was unfinished at one time.

    Raises:
        LogCorrupt: the log cannot be read.
    """
    others = frozenset(map(source_of, rivals))
    tail, sequence = after, 0 if after == START else None
    wanted: dict[str, list[Recorded]] = {}
    here = ((True, recorded) for recorded in history.between(partition, after if after > START else None, None))
    elsewhere = ((False, recorded) for recorded in history.elsewhere(partition, handler.ends))
    for is_here, recorded in heapq.merge(here, elsewhere, key=lambda each: each[1].position):
        event = recorded.event
        is_end = event.type in handler.ends and event.source not in others
        if is_end and (about := handler.key(event)) is not None:
            wanted.pop(about, None)
        if is_here:
            tail, sequence = recorded.position, recorded.sequence or sequence
            if event.type in handler.types:
                wanted.setdefault(handler.key(event) or f"\0{event.id}", []).append(recorded)
    left = {recorded.event.id: recorded for group in wanted.values() for recorded in group}
    if left:  # the clock of another server may have been behind: an end there stands before what it ends
        for recorded in history.elsewhere(partition, handler.ends):
            if recorded.event.source not in others:
                left.pop(recorded.event.causationid or "", None)
    return Unfinished(tail, sequence, sorted(left.values(), key=lambda one: one.position))
