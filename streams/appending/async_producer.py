"""Append events from an event loop, which never waits for Redis or a disk."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import cached_property, partial
from itertools import count
from types import TracebackType
from typing import Self, TypeVar, Unpack, overload

import msgspec

from playhead.streams.appending.chunks import in_async_chunks, note
from playhead.streams.appending.core import Attributes, ProducerCore, Submission, checked, stream_of
from playhead.streams.appending.lanes import STEPS, Lanes
from playhead.streams.appending.threads import Threads
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import PartitionsChanged, RedisUnavailable
from playhead.streams.events import Event
from playhead.streams.positions import Position
from playhead.streams.telemetry import sending

_SENDERS, _HELPERS = 8, 2
"""Threads: one for each partition that is sent to, up to so many; and for payloads, blobs and the spool."""

_LARGE = 64 * 1024
"""Bytes that are hashed or checked in a thread, so that the loop goes on meanwhile."""

Result = TypeVar("Result")


class AsyncProducer(ProducerCore):
    """Appends events to their partitions from an event loop; safe to share between tasks, and across fork.

    It takes what `Producer` takes and gives the same guarantees. What many tasks append at once is sent together, one
    round trip a batch and partition, and each task gets its own position or its own error. It may be made outside of
    an event loop.

    A task that is canceled while it appends does not know whether its event is in: appending the same id again is
    safe. A payload is written in the loop, about 10 ms a megabyte: put large content into the blob store.

    Raises:
        InvalidSetting: the URL or the durability has an unknown form, or the URL is not secure.
        SpoolFailed: the spool directory cannot be used.
    """

    @overload
    async def append(
        self,
        type: msgspec.Struct,
        *,
        subject: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
        **attributes: Unpack[Attributes],
    ) -> Position | None: ...

    @overload
    async def append(
        self,
        type: str,
        *,
        subject: str | None = None,
        data: object,
        stream: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
        **attributes: Unpack[Attributes],
    ) -> Position | None: ...

    async def append(
        self,
        type: str | msgspec.Struct,
        *,
        subject: str | None = None,
        data: object = None,
        stream: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
        **attributes: Unpack[Attributes],
    ) -> Position | None:
        """Append one event durably and return its position, or None if it waits in the spool on disk.

        An event is a Struct that was declared as the payload of one, or a type with data. The payload of a declared
        type is checked, and gives the subject if that is omitted. A type that no domain declares needs its subject and
        stream.

        Raises:
            InvalidEvent: names the invalid field; nothing was sent.
            RedisUnavailable: Redis did not accept it; append the same id again.
            SpoolFailed: the spool did not accept it either.
        """
        lanes = await self._open()
        event = self._event(type, subject, data, stream, id, time, attributes)
        return await self._append_one(lanes, await self._checked(event))

    async def archive(
        self,
        content: str | bytes,
        source_url: str | None,
        metadata: dict[str, object] | None = None,
        *,
        scraper_id: str | None = None,
        id: str | None = None,
        time: datetime | str | None = None,
    ) -> Position | None:
        """Record scraped content, text or bytes; returns what `append` returns.

        Content above 256 KiB is first stored in the blob store, once, and the event refers to it. You can also pass
        the scraper in the metadata, as `scraper_id`.

        Raises:
            InvalidSetting: the content needs a blob store, and there is none.
            StoreUnavailable: the blob store did not accept it; nothing was appended.
            PlayheadError: as `append`.
        """
        lanes = await self._open()
        capture = partial(self._capture, content, source_url, metadata, scraper_id, id, time)
        event = await self._aside(capture) if len(content) > _LARGE else capture()
        return await self._append_one(lanes, await self._checked(event))

    async def append_events(
        self, events: Iterable[Event | msgspec.Struct] | AsyncIterable[Event | msgspec.Struct]
    ) -> list[Position | None]:
        """Append a batch, one round trip for each partition and 8 MiB; return positions in the order of the events.

        An event is a Struct that was declared as the payload of one, or was made with `new_event`.

        A list or another collection is checked before anything is sent. A generator, also an async one, is
        appended as it is read, 500 events or 8 MiB at once, so that memory is bounded. If it raises, or gives an
        invalid event, the events before are appended, and a note of the exception says how many.

        Raises:
            InvalidEvent: names the invalid field; nothing of a collection was sent.
            RedisUnavailable: part of the batch may be appended; append all of it again with the same ids.
            SpoolFailed: as RedisUnavailable, and the spool did not take the events either.
        """
        lanes = await self._open()
        check = self._checked_in_turn(lanes)
        if isinstance(events, Collection):
            return await self._append_checked(lanes, [await check(event) for event in events])
        positions: list[Position | None] = []
        try:
            async for chunk in in_async_chunks(events, check):
                positions += await self._append_checked(lanes, chunk)
        except Exception as error:
            note(error, positions)
            raise
        return positions

    async def flush(self) -> int:
        """Send every event that waits in the spool; return the number that this call sent.

        Raises:
            RedisUnavailable: Redis did not accept them; they still wait.
            PlayheadError: Redis refuses an event permanently; it and all behind it still wait.
        """
        return await self._aside(self._flush)

    async def aclose(self, flush_seconds: float = 2.0) -> None:
        """Close the connections; what is being sent, and then the spool, has so long at most. The spool is kept."""
        lanes = self._lanes_of.get(asyncio.get_running_loop())
        if lanes is not None and (unfinished := lanes.unfinished()):
            await asyncio.wait(unfinished, timeout=flush_seconds)
        await self._aside(partial(self._close, flush_seconds))
        self._senders.stop()
        self._helpers.stop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @cached_property
    def _senders(self) -> Threads:
        return Threads("playhead-appending", _SENDERS)

    @cached_property
    def _helpers(self) -> Threads:
        return Threads("playhead-helping", _HELPERS)

    @cached_property
    def _lanes_of(self) -> dict[asyncio.AbstractEventLoop, Lanes]:
        return {}

    async def _open(self) -> Lanes:
        """Take a turn; there is none before the domains are read from disk.

        Raises:
            PlayheadError: a domain cannot be loaded.
        """
        lanes = self._lanes()
        await lanes.turns.take()
        if lanes.problem is not None:
            raise lanes.problem
        return lanes

    def _lanes(self) -> Lanes:
        """Those of the running loop: a program, or its tests, may have one after the other."""
        loop = asyncio.get_running_loop()
        lanes = self._lanes_of.get(loop)
        if lanes is None:
            for closed in [other for other in list(self._lanes_of) if other.is_closed()]:
                self._lanes_of.pop(closed, None)
            deliver = partial(self._deliver, self._appender.append)
            lanes = self._lanes_of[loop] = Lanes(loop, self._senders, deliver, installed)
        return lanes

    def _checked_in_turn(self, lanes: Lanes) -> Callable[[Event | msgspec.Struct], Awaitable[Event]]:
        numbers = count(1)

        async def check(event: Event | msgspec.Struct) -> Event:
            if next(numbers) % STEPS == 0:
                await lanes.turns.take()
            return await self._checked(self._made(event))

        return check

    async def _append_one(self, lanes: Lanes, event: Event) -> Position | None:
        return (await self._append_checked(lanes, [event]))[0]

    async def _append_checked(self, lanes: Lanes, events: Sequence[Event]) -> list[Position | None]:
        try:
            await self._look_up(lanes, {stream_of(event) for event in events})
        except (RedisUnavailable, PartitionsChanged) as error:
            return await self._aside(partial(self._keep_unsent, events, error))
        submission = Submission(self.counts.of)
        for event in events:
            submission.add(event)
        return await self._submit(lanes, submission)

    async def _look_up(self, lanes: Lanes, streams: set[str]) -> None:
        """Know the partitions of streams; the tasks that wait for that go on in the order in which they came."""
        async with lanes.looking:
            for stream in streams:
                if self.counts.known(stream) is None:
                    await self._aside(partial(self.counts.of, stream))

    async def _submit(self, lanes: Lanes, submission: Submission) -> list[Position | None]:
        for batch in submission.batches():
            with sending(batch.partition, batch.events) as traced:
                submission.settle(batch, await lanes.put(batch.partition, traced))
        return submission.positions

    async def _checked(self, event: Event) -> Event:
        check = partial(checked, event, self._size_limit)
        return await self._aside(check) if len(event.data) > _LARGE else check()

    async def _aside(self, work: Callable[[], Result]) -> Result:
        return await self._helpers.call(work)
