"""Events that come from an iterator, so many at once, so that memory is bounded however many there are."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from playhead.streams.appending.core import BATCH_BYTES, BATCH_EVENTS
from playhead.streams.events import Event
from playhead.streams.positions import Position

Given = TypeVar("Given")


class _Chunk:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        return len(self.events) >= BATCH_EVENTS or self._bytes >= BATCH_BYTES

    def add(self, event: Event) -> None:
        self.events.append(event)
        self._bytes += len(event.data)


def in_chunks(events: Iterable[Given], check: Callable[[Given], Event]) -> Iterator[list[Event]]:
    """Give checked events, 500 or 8 MiB at once.

    What came before an event that is refused, or before an exception of the iterator, is given first: the iterator
    will not give it again.
    """
    chunk, iterator = _Chunk(), iter(events)
    while True:
        try:
            chunk.add(check(next(iterator)))
        except StopIteration:
            break
        except Exception:
            if chunk.events:
                yield chunk.events
            raise
        if chunk.full:
            yield chunk.events
            chunk = _Chunk()
    if chunk.events:
        yield chunk.events


async def in_async_chunks(
    events: Iterable[Given] | AsyncIterable[Given], check: Callable[[Given], Awaitable[Event]]
) -> AsyncIterator[list[Event]]:
    """The same in an event loop."""
    chunk, iterator = _Chunk(), aiter(events if isinstance(events, AsyncIterable) else _each(events))
    while True:
        try:
            chunk.add(await check(await anext(iterator)))
        except StopAsyncIteration:
            break
        except Exception:
            if chunk.events:
                yield chunk.events
            raise
        if chunk.full:
            yield chunk.events
            chunk = _Chunk()
    if chunk.events:
        yield chunk.events


def note(error: Exception, positions: Sequence[Position | None]) -> None:
    """Say how many events of an iterator are appended, as nobody gets their positions."""
    error.add_note(f"The first {len(positions)} events of the iterator are appended.")


async def _each(events: Iterable[Given]) -> AsyncIterator[Given]:
    for event in events:
        yield event
