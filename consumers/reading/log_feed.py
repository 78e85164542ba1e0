"""The feed of the log's own consumer. The log is the reference: the stream is compared with it, and set right."""

import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial

from playhead.consumers.errors import StateLost
from playhead.consumers.reading.ahead import Decoded, ReadAhead
from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.feed import Feed, Gap
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.keeping import Keeping
from playhead.consumers.reading.misplaced import Misplaced
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.recovery import Entry, Lost, View, diverged, is_logged, recent
from playhead.consumers.reading.steps import Step
from playhead.consumers.reading.thread import SinkThread
from playhead.consumers.reading.unlogged import NOWHERE, UNLOGGED, FindMarks, SinkMark, StreamState, find_missing
from playhead.eventlog.ends import LogEnd
from playhead.eventlog.gaps import Gap as KnownGap
from playhead.eventlog.history import History
from playhead.streams.positions import BEYOND, START, Position


class LogFeed(Feed):
    """Lets a stream that lost its state go on behind the log's tail."""

    _began = False

    def __init__(
        self,
        group: Group,
        cursors: Cursors,
        ahead: ReadAhead,
        thread: SinkThread,
        observe: Observer,
        history: History,
        count: int | None = None,
        marks: FindMarks | None = None,
    ) -> None:
        """`count` is the stream's number of partitions."""
        super().__init__(group, cursors, ahead, thread, observe, history, count)
        self._written, self._marks = history, marks
        self._misplaced = None if count is None else Misplaced(group, count, thread, history)
        self._keeping = Keeping(group, thread, history)
        self._acknowledged = START

    async def begin(self) -> AsyncGenerator[Step, None]:
        self._began = False
        await self.check()
        self._acknowledged = await self._group.position(self._live)
        if self._acknowledged > self._cursors.position:  # what is to be read again must not be trimmed meanwhile
            await self._group.advance(self._live, self._cursors.position)
        await self._note_gaps()
        await self._keeping.restore()  # before anybody reads on: what they come to again may be parked or dropped
        await self._rejoin()
        self._began = True
        position = self._cursors.position
        marks = list[SinkMark]() if self._marks is None else await self._marks()
        view = await self._recovery.look(position)
        await self._compare_end(view, marks)
        is_over = view.behind is None  # entries that were trimmed, dropped as known, or deleted
        await self._pass_over(max(position, view.last) if is_over else position)
        for step in ():  # nothing is read from the log for the log
            yield step

    async def _compare_end(self, view: View, marks: Sequence[SinkMark]) -> None:
        """Count what the log lacks at its end, once."""
        end = LogEnd(self._cursors.position, self._cursors.sequence or 0)
        behind = view.behind
        state = StreamState(
            view.last,
            view.sequence,
            None if behind is None else behind.position,
            None if behind is None else behind.sequence,
            self._acknowledged,
            await self._recovery.set_aside(end.position),
        )
        missing = find_missing(self._partition, end, state, marks)
        if missing is not None:
            await self._note(missing.count, missing.after, missing.before, UNLOGGED if missing.is_known else NOWHERE)
        if behind is None and self._cursors.sequence is not None:
            self._cursors.number(max(view.sequence, end.sequence))

    async def _note_gaps(self) -> None:
        """Note beside the log what an earlier version noted only in Redis, and forget what a newer copy of it has."""
        gaps: list[KnownGap] = []
        for one in await self._recovery.losses():
            gap = KnownGap(Position.parse(one.after), Position.parse(one.before), one.count)
            if one.projection != self._group.name:
                continue
            if one.reason != UNLOGGED:
                gaps.append(gap)
            elif await self._thread.call(partial(self._written.fills, self._partition, gap)):
                await self._recovery.forget(one)
                self._log.warning("the log has events again that it lacked", after=one.after, before=one.before)
        await self._thread.call(partial(self._written.note_first, self._partition, gaps))

    async def _lose(self, count: int, before: Position, reason: str) -> None:
        after = self._cursors.position
        await self._note(count, after, before, UNLOGGED if self._acknowledged > after else reason)

    async def _note(self, count: int, after: Position, before: Position, reason: str) -> None:
        lost = Lost(self._group.name, count, str(after), str(before), reason, time.time())
        if noted := await self._recovery.note_unlogged(lost):
            self._observe.lost(self._partition, noted)
            self._log.error("events are gone", count=noted, after=lost.after, before=lost.before, reason=reason)

    async def check(self) -> None:
        """Give entries new ids if the stream has come to one that is not usable, or has none left.

        Raises:
            StateLost: the stream is another one, of another number of partitions.
        """
        if self._began:
            await self._refuse_misplaced()
            await self._keeping.keep(self._cursors.position)
        if self._cursors.position.is_usable and not (await self._recovery.last()).is_usable:
            await self._lower(BEYOND)

    async def steps(self, key: str, found: Sequence[Decoded]) -> AsyncGenerator[Step, None]:
        if not self._cursors.sequence:  # nothing tells by its number that this is another stream
            await self._refuse_misplaced()
        async for step in super().steps(key, found):
            yield step

    async def _refuse_misplaced(self) -> None:
        if self._misplaced is not None and await self._misplaced.is_other():
            raise StateLost(f"{self._partition} has events that were appended under another number of partitions")

    async def _is_logged_at(self, position: Position) -> bool:  # noqa: ARG002  # we are the log
        return not self._cursors.position.is_usable

    async def _leave(self, position: Position) -> AsyncGenerator[Step, None]:
        await self._lower(position)
        for step in ():
            yield step

    async def _lower(self, first: Position) -> None:
        count = await self._recovery.lower(first, self._cursors.position)
        self._log.error("ids that no clock gives: the entries have new ones", position=str(first), count=count)

    async def _fill(self, gap: Gap) -> AsyncGenerator[Step, None]:  # noqa: ARG002  # what the log lacks is nowhere
        for step in ():
            yield step

    async def _is_another_stream(self, position: Position) -> bool:
        return not (await self._recovery.look(position)).is_compared

    async def _rejoin(self) -> None:
        """Compare the stream with the log, and bring them together again."""
        recovery, position = self._recovery, self._cursors.position
        was_other = self._misplaced is not None and await self._misplaced.move(position)
        view = await recovery.look(position)
        tail = await self._thread.call(partial(self._written.tail, self._partition))
        self._cursors.number(0 if tail is None else tail.sequence or None)
        if not was_other and (
            tail is None or not diverged(view, tail, before_is_logged=await self._is_logged(view.before))
        ):
            await recovery.note_compared(view)
            await self._settle_moved()
            return
        is_at_tail = tail is not None and view.at is not None and view.at.event_id == tail.recorded.event.id
        common = position if is_at_tail else await self._find_common(position)
        remembered = recent(self._written, self._partition, common)
        while chunk := await self._thread.call(partial(next, remembered, None)):
            await recovery.remember(chunk)
        moved, dropped = await recovery.rejoin(view, tail, common)
        await self._settle_moved()
        self._log.error(
            "redis lost its state: the stream goes on behind the log",
            common=str(common),
            tail=str(position),
            moved=moved,
            dropped=dropped,
        )

    async def _settle_moved(self) -> None:
        if self._misplaced is not None:
            await self._misplaced.settled()

    async def _find_common(self, position: Position) -> Position:
        """The last entry before a position that stream and log have in common, the beginning if there is none."""
        entries = await self._recovery.entries_before(position)
        while entries:
            found = await self._thread.call(partial(is_logged, self._written, self._partition, entries))
            if found is not None:
                return found.position
            entries = await self._recovery.entries_before(entries[-1].position)
        return START

    async def _is_logged(self, entry: Entry | None) -> bool:
        if entry is None:
            return True
        return await self._thread.call(partial(is_logged, self._written, self._partition, [entry])) is not None
