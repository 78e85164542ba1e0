"""The feed of a projection: what the stream lost and the log has is read from the log."""

import time
from collections.abc import AsyncGenerator
from functools import partial

from playhead.consumers.errors import SinkNotReady, StateLost
from playhead.consumers.reading.ahead import decoded
from playhead.consumers.reading.feed import UNREADABLE, Feed, Gap
from playhead.consumers.reading.recovery import Lost, View, as_entry, chunks, just_before
from playhead.consumers.reading.steps import Again, Recovered, Step, Waiting
from playhead.eventlog.writer import LogWriter
from playhead.streams.events import Recorded
from playhead.streams.positions import START, Position

CHUNK, CHUNK_BYTES = 500, 16 * 1024 * 1024


class ProjectionFeed(Feed):
    """Reads on from the checkpoint of a projection, in the log as far as the stream has it no longer."""

    _honoured = 0
    """The last restart of the stream that this reader took into account."""

    async def begin(self) -> AsyncGenerator[Step, None]:
        await self._require_checkpoint_of_this_stream()
        async for step in self._catch_up():
            yield step
        position, sequence = self._cursors.position, self._cursors.sequence
        view = await self._recovery.look(position)
        is_over = view.behind is None and view.last > position  # entries were trimmed, dropped as known, or deleted
        if is_over and view.last.is_usable:
            if await self._first_logged() is not None:
                if sequence is not None and view.sequence > sequence:
                    async for step in self._wait_for_log(view.last):
                        yield step
                async for step in self._read_log(position, view.last):
                    yield step
            position = view.last
        await self._pass_over(position)

    async def check(self) -> None:
        if await self._recovery.restarts() > self._honoured:
            raise StateLost(f"{self._partition} goes on behind the log's tail")

    async def _require_checkpoint_of_this_stream(self) -> None:
        """Refuse a checkpoint that nothing can be behind for a while: new events would be passed over."""
        position, last = self._cursors.position, await self._recovery.last()
        if position > last and position > await self._recovery.now():
            raise SinkNotReady(
                f"the checkpoint {position} is ahead of {self._partition}, which ends at {last}, and of the clock: new"
                " events would not be applied. It is of another system, or a clock was wrong: `playhead doctor` says"
                " how to set it back"
            )

    async def _catch_up(self) -> AsyncGenerator[Step, None]:
        """Read from the log what the stream no longer has behind our checkpoint."""
        self.advice = None
        if count := await self._recovery.lost(UNREADABLE):
            self._advise(count)
        position = self._cursors.position
        while True:
            view = await self._recovery.look(position)
            first = await self._first_logged()
            self._cursors.number(await self._sequence_at(view, position))
            goes_on = _goes_on(view, position, first)
            if view.missed or goes_on or view.is_compared or first is None:
                break
            yield Waiting(
                "the stream is not the one this projection was reading, and the log writer has not looked at it"
                " yet: check that `playhead run log` runs"
            )
        if view.missed or not goes_on:
            yield Recovered()
        if view.missed:
            async for step in self._honour(view, position):
                yield step
        elif not goes_on and first is not None:
            async for step in self._read_log(position, None):
                yield step
        elif not goes_on and position > START:
            self._advise(0)
        self._honoured = max((restart.number for restart in view.restarts), default=0)

    async def _honour(self, view: View, position: Position) -> AsyncGenerator[Step, None]:
        """Take it into account that the stream was set behind the log's tail."""
        newest, sequence = view.missed[-1], self._cursors.sequence
        if view.at is not None:  # it was read in the stream as it is now, before anybody noticed
            self._cursors.number(view.at.sequence)
        elif position > newest.tail:
            # With nothing in common, nobody can have read on in the new stream: we are ahead of the log.
            if newest.common == START and sequence is not None and sequence > newest.sequence:
                await self._note_unlogged(sequence - newest.sequence, newest.tail, position)
            self._cursors.number(newest.sequence)
        if self._is_readable:
            # Whoever read on in a stream that was set back, before anybody noticed, lacks what only the log has.
            common = min((restart.common for restart in view.missed if restart.common > START), default=position)
            if common < position:
                async for step in self._read_again(common, position):
                    yield step
            async for step in self._read_log(position, None):
                yield step
        elif newest.tail > position:
            await self._lose(max(1, newest.sequence - (sequence or newest.sequence)), newest.tail, UNREADABLE)
            self._cursors.number(newest.sequence)
        await self._recovery.honour(newest.number)

    async def _is_logged_at(self, position: Position) -> bool:
        return await self._group.position_of(LogWriter.name, self._live) >= position

    async def _leave(self, position: Position) -> AsyncGenerator[Step, None]:
        while await self._recovery.has(position):
            yield Waiting(
                f"the entry {position} has an id that no clock gives; the log writer gives it another one: check"
                " that `playhead run log` runs"
            )

    async def _is_another_stream(self, position: Position) -> bool:
        view = await self._recovery.look(position)
        return not view.is_compared or bool(view.missed)

    async def _fill(self, gap: Gap) -> AsyncGenerator[Step, None]:
        await self.check()
        if await self._first_logged() is not None:
            async for step in self._wait_for_log(gap.position):
                yield step
            async for step in self._read_log(self._cursors.position, just_before(gap.position)):
                yield step

    async def _wait_for_log(self, position: Position) -> AsyncGenerator[Waiting, None]:
        while await self._group.position_of(LogWriter.name, self._live) < position:
            yield Waiting(f"events up to {position} are gone from the stream; waiting for the log writer to pass it")

    async def _read_log(self, after: Position, until: Position | None) -> AsyncGenerator[Step, None]:
        count = 0
        async for chunk in self._chunks(after, until):
            entries = [as_entry(recorded) for recorded in chunk]
            async for step in self._logged([(entry, decoded(entry)) for entry in entries]):
                yield step
            count += len(chunk)
        if count:
            self._log.warning("read from the log", count=count, after=str(after))

    async def _read_again(self, after: Position, until: Position) -> AsyncGenerator[Again, None]:
        async for chunk in self._chunks(after, until):
            for recorded in chunk:
                yield Again(recorded)

    async def _chunks(self, after: Position, until: Position | None) -> AsyncGenerator[list[Recorded], None]:
        assert self._history is not None
        found = chunks(self._history.between(self._partition, after, until), CHUNK, CHUNK_BYTES)
        while chunk := await self._thread.call(partial(next, found, None)):
            yield chunk

    async def _note_unlogged(self, count: int, after: Position, before: Position) -> None:
        """This projection applied events that Redis lost before the log read them."""
        reason = f"only {self._group.name} has them"
        lost = Lost(LogWriter.name, count, str(after), str(before), reason, time.time())
        if noted := await self._recovery.note_unlogged(lost):
            self._log.error("events never reached the log", count=noted, after=str(after), upto=str(before))

    async def _sequence_at(self, view: View, position: Position) -> int | None:
        if position == START:
            return 0
        if view.at is not None:
            return await self._group.sequence_at(position)
        if self._cursors.sequence is not None or self._history is None or not self._is_readable:
            return self._cursors.sequence
        events = self._history.between(self._partition, just_before(position), position)
        found = await self._thread.call(partial(next, events, None))
        return None if found is None else found.sequence


def _goes_on(view: View, position: Position, first: Recorded | None) -> bool:
    """Whether the stream goes on at a position; `first` is the oldest event of the log."""
    if position > START:
        return view.at is not None
    if view.behind is None:
        return view.last == START and first is None
    return view.behind.sequence in {None, 1} if first is None else view.behind.position == first.position
