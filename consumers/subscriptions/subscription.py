"""Subscriptions: every event from the beginning and then each new one, for whoever writes a program on them.

A subscription needs no consumer group: what the stream no longer has is read from the log, and what the log does not
have yet from the stream. So one that nobody runs holds nothing up (docs/decisions/0011-subscriptions.md).
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast, overload

import msgspec
import structlog
from redis import Redis, RedisCluster
from redis.exceptions import RedisError

from playhead.consumers.backoff import Backoff
from playhead.consumers.subscriptions.errors import EventsGone
from playhead.consumers.subscriptions.feed import PartitionFeed
from playhead.consumers.subscriptions.kept import KeptCursor
from playhead.consumers.subscriptions.stream import PartitionStream
from playhead.eventlog.errors import PayloadInvalid
from playhead.eventlog.reader import partitions as logged_partitions
from playhead.eventlog.selection import Selection, Types
from playhead.streams.cursors import Cursor, Payload, Received, cursor_of
from playhead.streams.domains.discovery import installed
from playhead.streams.errors import InvalidSetting, PartitionsChanged
from playhead.streams.events import Recorded
from playhead.streams.partitions import Partition
from playhead.streams.positions import START
from playhead.streams.redis.connections import DEFAULT_TIMEOUT, RedisAddress, connect
from playhead.streams.redis.exposure import redis_exposure
from playhead.streams.redis.refusals import is_passing
from playhead.streams.telemetry import plain

_Struct = TypeVar("_Struct", bound=msgspec.Struct)

_BLOCK_MS = 250
_POLL_SECONDS = 0.05
"""Between two looks at a Cluster, which cannot wait for several partitions at once."""
_LOOK_SECONDS = 1.0
"""After which all partitions are looked at, whether or not Redis named them."""
_SAVE_SECONDS = 1.0
"""The work that a kill may repeat: a cursor is saved as often at most, unless `acknowledge` is called."""


_Item = Received[Any] | PayloadInvalid | EventsGone | Cursor
"""What is to come: an event, or an error; a cursor says up to where all is done, with what nobody wants."""


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
        check: "_PartitionsCheck",
    ) -> None:
        self._client, self._chosen, self._kept, self._check = client, chosen, kept, check
        self._feeds = deque(feeds)
        self._ready = set(feeds)
        self._items: deque[_Item] = deque()
        self._read_to = start
        """Of the thread that fetches; the items up to there may still be to come."""
        self._in_hand: Cursor | None = None
        self._done = self._saved = start
        self._saved_at = self._looked_at = time.monotonic()
        self._problem: str | None = None
        self._backoff = Backoff()
        self._closing, self._lock, self._is_open = threading.Event(), threading.Lock(), True
        self._executor: ThreadPoolExecutor | None = None
        self._log = structlog.get_logger()

    @property
    def cursor(self) -> Cursor:
        """Behind the last event that is done."""
        return self._done

    @property
    def problem(self) -> str | None:
        """Why it waits, None if it does not."""
        return self._problem

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
        await asyncio.get_running_loop().run_in_executor(self._executor, function)

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
                    self._fetch_once()
            finally:
                if self._closing.is_set():
                    self._release()

    def _fetch_once(self) -> None:
        try:
            trouble = self._read_partition()
            if trouble is None and not self._items and not self._ready:
                self._wait()
        except RedisError as error:
            trouble = error
        if trouble is not None:
            if not is_passing(trouble):
                raise trouble
            self._say(f"redis unavailable: {plain(trouble)}")
            self._closing.wait(self._backoff.next())

    def _read_partition(self) -> RedisError | None:
        """Read the next partition that has something; those in the log do not wait for Redis."""
        trouble: RedisError | None = None
        for _ in range(len(self._feeds)):
            self._feeds.rotate(-1)
            feed = self._feeds[-1]
            if feed not in self._ready:
                continue
            try:
                events = feed.read()
            except RedisError as error:
                trouble = error
            except EventsGone as gone:
                self._items.append(gone)
                return None
            else:
                self._put(feed, events)
                if self._items:
                    return None
        return trouble

    def _put(self, feed: PartitionFeed, events: Sequence[Recorded]) -> None:
        """Queue the events that are wanted, each with its cursor, and the end of all that were read."""
        if not events:
            self._ready.discard(feed)
        for recorded in filter(self._chosen.takes, events):
            cursor = self._read_to.moved(feed.partition, recorded.position)
            try:
                self._items.append(self._chosen.received(feed.partition, recorded, cursor))
            except PayloadInvalid as error:
                self._items.append(error)
        if feed.position != self._read_to.positions.get(feed.partition, START):
            self._read_to = self._read_to.moved(feed.partition, feed.position)
            self._items.append(self._read_to)

    def _wait(self) -> None:
        """Wait until a partition has something, or for a moment."""
        waiting = next((feed for feed in self._feeds if feed.waiting), None)
        self._backoff.reset()
        if waiting is not None:
            self._say(f"{waiting.partition}: {waiting.waiting}")
        elif self._problem is not None:
            self._log.info("subscription continues")
            self._problem = None
        if time.monotonic() - self._looked_at >= _LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._check()
            self._ready.update(self._feeds)
            return
        if isinstance(self._client, RedisCluster) and len(self._feeds) > 1:
            self._closing.wait(_POLL_SECONDS)
            self._ready.update(self._feeds)
            return
        by_key = {feed.partition.key.encode(): feed for feed in self._feeds}
        positions = [str(feed.position) for feed in self._feeds]
        arguments: list[Any] = ["XREAD", "COUNT", 1, "BLOCK", _BLOCK_MS, "STREAMS", *by_key, *positions]
        reply = cast("Any", self._client).execute_command(*arguments)
        pairs = cast("Any", reply.items() if isinstance(reply, dict) else reply or ())
        self._ready.update(by_key[key] for key, _ in pairs)
        if waiting is not None:
            self._closing.wait(_BLOCK_MS / 1000)

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._log.warning("subscription waits", reason=problem)

    def _release(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        try:
            self._save()
        finally:
            for feed in self._feeds:
                feed.close()
            if self._kept is not None:
                self._kept.close()
            self._client.close()


class _PartitionsCheck:
    """Compares the number of partitions that was given with what the streams have, as soon as they have any."""

    def __init__(
        self,
        streams: Sequence[str],
        partitions: int,
        log: Path | None,
        sources: Sequence[tuple[Partition, PartitionStream]],
    ) -> None:
        self._unknown, self._partitions, self._log, self._sources = set(streams), partitions, log, sources

    def __call__(self) -> None:
        """Raise if they differ.

        Raises:
            PartitionsChanged: with the number that there is.
        """
        if self._log is not None and self._unknown:
            for partition in logged_partitions(self._log):
                if partition.stream in self._unknown and partition.number >= self._partitions:
                    raise PartitionsChanged(f"{partition} is in the log: pass partitions=, that of PLAYHEAD_PARTITIONS")
        for partition, source in self._sources:
            if partition.stream in self._unknown and (recorded := source.recorded_partitions()) is not None:
                if recorded != self._partitions:
                    raise PartitionsChanged(
                        f"{partition.stream} has {recorded} partitions, not {self._partitions}:"
                        f" pass partitions={recorded}"
                    )
                self._unknown.discard(partition.stream)


@overload
def subscribe(
    redis: str,
    *,
    log: str | Path | None,
    type: type[_Struct] | Sequence[type[_Struct]],
    stream: str | Sequence[str] | None = None,
    subject: str | None = None,
    name: str | None = None,
    cursors: str | Path | None = None,
    after: Cursor | str | None = None,
    partitions: int = 1,
    timeout: float = DEFAULT_TIMEOUT,
    allow_insecure: bool = False,
) -> Subscription[_Struct]: ...


@overload
def subscribe(
    redis: str,
    *,
    log: str | Path | None,
    type: str | Sequence[str] | None = None,
    stream: str | Sequence[str] | None = None,
    subject: str | None = None,
    name: str | None = None,
    cursors: str | Path | None = None,
    after: Cursor | str | None = None,
    partitions: int = 1,
    timeout: float = DEFAULT_TIMEOUT,
    allow_insecure: bool = False,
) -> Subscription: ...


def subscribe(
    redis: str,
    *,
    log: str | Path | None,
    type: Types | None = None,
    stream: str | Sequence[str] | None = None,
    subject: str | None = None,
    name: str | None = None,
    cursors: str | Path | None = None,
    after: Cursor | str | None = None,
    partitions: int = 1,
    timeout: float = DEFAULT_TIMEOUT,
    allow_insecure: bool = False,
) -> Subscription[Any]:
    """Subscribe to every event from the beginning, or behind a cursor, and then to each new one.

    `redis` is a URL as for `Producer`, `log` the directory of EVENT_LOG_DIR. With None, or a directory that this
    process cannot read, only the stream is read, and EventsGone is raised if it no longer has the beginning. `type` and
    `subject` choose as in `EventLog.read`; `stream` names streams, by default those of the types, or all that are
    declared. `partitions` is that of PLAYHEAD_PARTITIONS.

    With `name`, the cursor is kept in the file `NAME.cursor` of the directory `cursors`, by one process at a time, and
    `after` is where a new name begins. Without one, keep the `cursor` of an event yourself, and pass it as `after`.

    Raises:
        InvalidSetting: the URL, a name or a cursor cannot be used, or a name has no directory.
        SubscriptionInUse: another process has the name.
        InvalidEvent: a type is not declared, and no `stream` is named.
    """
    address = RedisAddress.parse(redis)
    if not allow_insecure and (problem := redis_exposure(address)) is not None:
        raise InvalidSetting(f"Redis {problem}, or pass allow_insecure=True if you trust everyone on the network")
    if partitions < 1:
        raise InvalidSetting(f"partitions is {partitions}; it must be a number from 1 up")
    if (name is None) != (cursors is None):
        raise InvalidSetting(
            "a subscription with a name needs a directory for its cursor: pass name= and cursors=, or neither"
        )
    chosen, start = Selection(type, subject), cursor_of(after)
    streams = _streams_of(stream, chosen)
    directory = None if log is None else Path(log)
    kept = None if name is None or cursors is None else KeptCursor(Path(cursors), name)
    try:
        start = start if kept is None else kept.load() or start
        client = connect(address, timeout)
        cast("Any", client).set_response_callback("XREAD", _as_it_comes)
    except BaseException:
        if kept is not None:
            kept.close()
        raise
    sources = [
        (partition, PartitionStream(client, partition))
        for partition in (Partition(name, number) for name in streams for number in range(partitions))
    ]
    feeds = [
        PartitionFeed(source, directory, partition, start.positions.get(partition, START))
        for partition, source in sources
    ]
    check = _PartitionsCheck(streams, partitions, directory, sources)
    return Subscription(client, chosen, feeds, start, kept, check)


def _streams_of(stream: str | Sequence[str] | None, chosen: Selection) -> list[str]:
    if stream is not None:
        return [stream] if isinstance(stream, str) else list(dict.fromkeys(stream))
    if chosen.types is None:
        return list(installed().streams)
    declared = {name: declared.stream for name, declared in chosen.declared.items()}
    return sorted({declared.get(name) or installed().stream_of(name) for name in chosen.types})


def _as_it_comes(reply: object, **_: object) -> object:
    return reply
