"""Subscriptions: every event from the beginning and then each new one, for whoever writes a program on them.

A subscription needs no consumer group: what the stream no longer has is read from the log, and what the log does not
have yet from the stream. So one that nobody runs holds nothing up (docs/decisions/0011-subscriptions.md).
"""

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Generic, Self

from redis import Redis, RedisCluster

from playhead.consumers.subscriptions.errors import EventsGone
from playhead.consumers.subscriptions.feed import PartitionFeed
from playhead.consumers.subscriptions.inbox import Inbox
from playhead.consumers.subscriptions.kept import KeptCursor
from playhead.consumers.subscriptions.partitions_check import PartitionsCheck
from playhead.eventlog.errors import PayloadInvalid
from playhead.eventlog.selection import Selection
from playhead.streams.appending.threads import contained
from playhead.streams.cursors import Cursor, Payload, Received

_SAVE_SECONDS = 1.0
"""The work that a kill may repeat: a cursor is saved as often at most, unless `acknowledge` is called."""


class Subscription(Generic[Payload]):
    """Every event that was asked for, those of a subject in order: iterate over it, with `for` or `async for`.

    An event is done when the next one is asked for. With a name, the cursor is then saved within a second, or at once
    by `acknowledge`. After a crash, what was done since the last save comes again, and nothing is left out. `close`, or
    the end of a `with` block, saves what is done. An event at which you leave the loop is not done: call `acknowledge`
    first if it is.

    Iteration raises EventsGone, once for each gap, if events are neither in the stream nor in the log, and
    PayloadInvalid as `EventLog.read` does; continue iterating to skip either. It raises LogCorrupt if the log is
    damaged. While Redis is away it waits, and logs a warning.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        chosen: Selection,
        feeds: Sequence[PartitionFeed],
        start: Cursor,
        kept: KeptCursor | None,
        check: PartitionsCheck,
    ) -> None:
        self._client, self._kept = client, kept
        self._closing, self._lock, self._is_open = threading.Event(), threading.Lock(), True
        self._inbox = Inbox(client, chosen, feeds, start, check, self._closing)
        self._items = self._inbox.items
        self._in_hand: Cursor | None = None
        self._done = self._saved = start
        self._saved_at = time.monotonic()
        self._executor: ThreadPoolExecutor | None = None

    @property
    def cursor(self) -> Cursor:
        """Behind the last event that is done."""
        return self._done

    @property
    def problem(self) -> str | None:
        """Why it waits, None if it does not."""
        return self._inbox.problem

    def acknowledge(self) -> None:
        """Acknowledge the current event, and save the cursor of a name durably.

        Raises:
            OSError: it cannot be saved.
        """
        self._finish()
        self._save()

    def close(self) -> None:
        """Save what is done, and close everything. A loop in another thread ends within a second."""
        self._closing.set()
        if self._lock.acquire(blocking=False):
            try:
                self._release()
            finally:
                self._lock.release()

    async def aclose(self) -> None:
        """Close as `close` does, without blocking the event loop."""
        self._closing.set()
        await self._in_thread(self.close)
        if self._executor is not None:
            self._executor.shutdown(wait=False)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Received[Payload]:
        self._finish()
        while not self._closing.is_set():
            if self._is_save_due:
                self._save()
            if self._items:
                return self._take()
            self._fetch()
            self._pass_over()
        raise StopIteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received[Payload]:
        self._finish()
        while not self._closing.is_set():
            if self._is_save_due:
                await self._in_thread(self._save)
            if self._items:
                return self._take()
            await self._in_thread(self._fetch)
            self._pass_over()
        raise StopAsyncIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _in_thread(self, function: Any) -> None:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, "playhead-subscription")
        await asyncio.get_running_loop().run_in_executor(self._executor, contained, function)

    def _take(self) -> Received[Payload]:
        item = self._items.popleft()
        assert not isinstance(item, Cursor)
        if isinstance(item, EventsGone):
            raise item
        self._in_hand = item.cursor
        if isinstance(item, PayloadInvalid):
            raise item
        return item

    def _finish(self) -> None:
        """The event in hand is done."""
        if self._in_hand is not None:
            self._done, self._in_hand = self._in_hand, None
        self._pass_over()

    def _pass_over(self) -> None:
        while self._items and isinstance(done := self._items[0], Cursor):
            self._done = done
            self._items.popleft()

    @property
    def _is_save_due(self) -> bool:
        return (
            self._kept is not None and time.monotonic() - self._saved_at >= _SAVE_SECONDS and self._done != self._saved
        )

    def _save(self) -> None:
        done = self._done
        if self._kept is not None and done != self._saved:
            self._kept.save(done)
            self._saved = done
        self._saved_at = time.monotonic()

    def _fetch(self) -> None:
        """One round: what a partition has next, or a wait for it."""
        with self._lock:
            try:
                if not self._items and not self._closing.is_set():
                    self._inbox.fill()
            finally:
                if self._closing.is_set():
                    self._release()

    def _release(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._save()
        finally:
            self._inbox.close()
            if self._kept is not None:
                self._kept.close()
            self._client.close()
