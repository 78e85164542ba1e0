"""A feed: what is read of a partition, in order and without a gap that nobody sees.

What the stream lost and the log has is read from the log, in order; what neither has is counted
(docs/decisions/0004-recovery-from-the-log.md).
"""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Iterator, Sequence
from functools import partial
from typing import Literal

import msgspec
import structlog

from playhead.consumers.errors import StateLost
from playhead.consumers.reading.ahead import Decoded, Found, ReadAhead
from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.misplaced import refuse_surplus
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.recovery import Lost, Recovery
from playhead.consumers.reading.steps import Entries, Step
from playhead.consumers.reading.thread import SinkThread
from playhead.consumers.reading.unlogged import NOWHERE
from playhead.eventlog.history import History
from playhead.streams.entries import sequence_of
from playhead.streams.events import Recorded
from playhead.streams.positions import Position
from playhead.streams.telemetry import about

_BLOCK_MS = 250
_USUAL_ID = len("1754541721120-99")
"""An id that is not usable is longer."""
UNREADABLE = "unreadable"
"""Why events count as lost for a projection whose process cannot read the log."""

Replays = Literal["unchanged", "changed", "ended"]


class Gap(msgspec.Struct, frozen=True):
    """The entry at `position` has a number that does not follow that of the entry before it."""

    position: Position
    sequence: int
    previous: int

    @property
    def goes_back(self) -> bool:
        """Whether nothing is missing, as the number was there already."""
        return self.sequence <= self.previous


class Feed(ABC):
    """Reads one partition, and the replays into it, for one sink.

    Carry out each step before you ask for the next one: the cursors say then whether anything is missing.
    """

    def __init__(
        self,
        group: Group,
        cursors: Cursors,
        ahead: ReadAhead,
        thread: SinkThread,
        observe: Observer,
        history: History | None,
        count: int | None = None,
    ) -> None:
        self.advice: str | None = None
        """What an operator should do about events that are gone."""
        self._group, self._cursors, self._ahead, self._thread = group, cursors, ahead, thread
        self._observe, self._history = observe, history
        self._partition, self._live = group.partition, group.partition.key
        self._recovery = Recovery(group, count)
        self._log = structlog.get_logger().bind(projection=group.name, partition=str(group.partition))

    @abstractmethod
    def begin(self) -> AsyncGenerator[Step, None]:
        """Make sure that the stream goes on where the sink is.

        Raises:
            LogCorrupt: the log is needed and cannot be read.
        """

    async def check(self) -> None:  # noqa: B027  # the log's own feed has nothing to look for
        """Look whether the stream is still the one that is read.

        Raises:
            StateLost: it was set behind the log's tail.
        """

    async def read(self, *, wait: bool, alone: bool) -> Found:
        """What follows the cursors: a batch of each stream, or one entry; `wait` a moment if there is nothing."""
        positions = self._cursors.positions
        found = await self._ahead.read(positions, block=_BLOCK_MS if wait else None, count=1 if alone else None)
        if found and not alone:
            self._ahead.begin(positions, found)
        return found

    async def steps(self, key: str, found: Sequence[Decoded]) -> AsyncGenerator[Step, None]:
        """Give what was read, without events that were there before, and with what is missing between them.

        Raises:
            StateLost: the stream was emptied or set back.
        """
        if key != self._live:
            yield Entries(key, found)
            return
        unusable = _first_unusable(found)
        if unusable is not None and not await self._is_logged_at(unusable[1]):
            index, position = unusable
            async for step in self._live_steps(key, found[:index]):
                yield step
            async for step in self._leave(position):
                yield step
            return
        async for step in self._live_steps(key, found):
            yield step

    async def _live_steps(self, key: str, found: Sequence[Decoded]) -> AsyncGenerator[Step, None]:
        if not found:
            return
        repeated = await self._repeated(found)
        fresh = [each for each in found if each[0].entry_id not in repeated] if repeated else found
        for gap, run in _runs(fresh, self._cursors.sequence):
            if gap is not None:
                async for step in self._bridge(gap):
                    yield step
            yield Entries(key, run)
        last = found[-1][0].entry_id
        if last in repeated:
            await self._pass_over(Position.parse(last))

    async def follow_replays(self) -> Replays:
        """Take up replays that began, and leave those that are over."""
        positions = self._cursors.positions
        runs = {f"{self._live}:replay:{run}" for run in await self._group.replays()}
        followed = self._cursors.replays
        for key in runs - followed:
            positions[key] = await self._group.position(key)
        for key in followed - runs:
            del positions[key]
        if followed - runs:  # what could not be read from the log here has come
            await self._recovery.forget_lost(UNREADABLE)
            self.advice = None
            return "ended"
        return "changed" if runs != followed else "unchanged"

    async def forget(self) -> None:
        """Drop what was read ahead."""
        await self._ahead.forget()

    @abstractmethod
    async def _is_another_stream(self, position: Position) -> bool:
        """Whether the stream around a position is not the one that was read, so that its numbers start over."""

    @abstractmethod
    async def _is_logged_at(self, position: Position) -> bool:
        """Whether the log has come to a position that is not usable: an earlier version took such into it."""

    @abstractmethod
    def _leave(self, position: Position) -> AsyncGenerator[Step, None]:
        """Let the log writer give the entries from a position on ids that are usable."""

    @abstractmethod
    def _fill(self, gap: Gap) -> AsyncGenerator[Step, None]:
        """Give what is missing before an entry, as far as the log has it."""

    async def _bridge(self, gap: Gap) -> AsyncGenerator[Step, None]:
        if not gap.goes_back:
            async for step in self._fill(gap):
                yield step
        elif await self._is_another_stream(gap.position):
            problem = f"sequence {gap.sequence} at {gap.position} follows {gap.previous}"
            raise StateLost(f"{self._partition}: {problem}")
        await self._miss(gap)

    async def _logged(self, found: Sequence[Decoded]) -> AsyncGenerator[Entries, None]:
        """Give entries of the log; what is missing between them is nowhere."""
        for gap, run in _runs(found, self._cursors.sequence):
            if gap is not None:
                await self._miss(gap)
            yield Entries(self._live, run, logged=True)

    async def _miss(self, gap: Gap) -> None:
        """Count what is still missing before an entry."""
        if gap.goes_back:
            self._log.warning(
                "sequence goes back", sequence=gap.sequence, before=gap.previous, position=str(gap.position)
            )
        elif (count := gap.sequence - (self._cursors.sequence or 0) - 1) > 0:
            await self._lose(count, gap.position, NOWHERE if self._is_readable else UNREADABLE)

    async def _lose(self, count: int, before: Position, reason: str) -> None:
        """Note that events are gone, unless they stand in another partition.

        Raises:
            StateLost: the stream has no such partition, and the log writer moves its entries.
        """
        await refuse_surplus(self._group.client, self._partition)
        self._observe.lost(self._partition, count)
        lost = Lost(self._group.name, count, str(self._cursors.position), str(before), reason, time.time())
        await self._recovery.note_lost(lost)
        self._log.error("events are gone", count=count, after=lost.after, before=lost.before, reason=reason)
        if reason == UNREADABLE:
            self._advise(count)

    def _advise(self, count: int) -> None:
        self.advice = (
            f"{count or 'some'} events are gone from the stream, and this process cannot read the event log: run"
            f" `playhead replay --log --to {self._group.name}` where EVENT_LOG_DIR can be read"
        )

    async def _pass_over(self, position: Position) -> None:
        await self._group.advance(self._live, position)
        self._cursors.pass_over(position)

    async def _repeated(self, found: Sequence[Decoded]) -> frozenset[bytes]:
        """Entries whose event stands in the stream already. Only what `append` has not numbered next is looked up."""
        doubtful: list[tuple[str, bytes]] = []
        expected = (self._cursors.sequence or 0) + 1
        for entry, recorded in found:
            if isinstance(recorded, Recorded):
                if recorded.sequence is None or recorded.sequence < expected:
                    doubtful.append((recorded.event.id, entry.entry_id))
                else:
                    expected = recorded.sequence + 1
        if not doubtful:
            return frozenset()
        first = await self._group.first_positions(doubtful)
        repeated = frozenset(
            entry_id
            for (_, entry_id), position in zip(doubtful, first, strict=True)
            if position < Position.parse(entry_id)
        )
        for entry, _ in found:
            if entry.entry_id in repeated:
                self._log.warning("the same event again, passed over", **about(entry))
        return repeated

    @property
    def _is_readable(self) -> bool:
        return self._history is not None and self._history.readable(self._partition)

    async def _first_logged(self) -> Recorded | None:
        if self._history is None or not self._is_readable:
            return None
        return await self._thread.call(partial(self._history.first, self._partition))


def _first_unusable(found: Sequence[Decoded]) -> tuple[int, Position] | None:
    for index, (entry, _) in enumerate(found):
        if len(entry.entry_id) > _USUAL_ID and not (position := Position.parse(entry.entry_id)).is_usable:
            return index, position
    return None


def _runs(found: Sequence[Decoded], previous: int | None) -> Iterator[tuple[Gap | None, Sequence[Decoded]]]:
    """Entries in runs whose numbers follow one another, each with the gap before it."""
    gap: Gap | None = None
    start = 0
    for index, (entry, recorded) in enumerate(found):
        sequence = recorded.sequence if isinstance(recorded, Recorded) else sequence_of(entry)
        if sequence is None:
            continue
        if previous is not None and sequence != previous + 1:
            if index > start:
                yield gap, found[start:index]
            gap, start = Gap(Position.parse(entry.entry_id), sequence, previous), index
        previous = sequence
    if start < len(found):
        yield gap, found[start:]
