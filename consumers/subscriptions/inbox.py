"""What a subscription has to come, of all its partitions."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import structlog
from redis import Redis, RedisCluster
from redis.exceptions import RedisError

from playhead.consumers.backoff import Backoff
from playhead.consumers.subscriptions.errors import EventsGone
from playhead.consumers.subscriptions.feed import PartitionFeed
from playhead.consumers.subscriptions.partitions_check import PartitionsCheck
from playhead.eventlog.errors import PayloadInvalid
from playhead.eventlog.selection import Selection
from playhead.streams.cursors import Cursor, Received
from playhead.streams.events import Recorded
from playhead.streams.positions import START
from playhead.streams.redis.refusals import is_passing
from playhead.streams.telemetry import plain

_BLOCK_MS = 250
_POLL_SECONDS = 0.05
"""Between two looks at a Cluster, which cannot wait for several partitions at once."""
_LOOK_SECONDS = 1.0
"""After which all partitions are looked at, whether or not Redis named them."""

Item = Received[Any] | PayloadInvalid | EventsGone | Cursor
"""What is to come: an event, or an error; a cursor says up to where all is done, with what nobody wants."""


class Inbox:
    """Fills from the partitions in turn; those in the log do not wait for Redis.

    One thread fills it, and another may take from `items` meanwhile.
    """

    def __init__(
        self,
        client: "Redis | RedisCluster",
        chosen: Selection,
        feeds: Sequence[PartitionFeed],
        start: Cursor,
        check: PartitionsCheck,
        closing: threading.Event,
    ) -> None:
        self.items: deque[Item] = deque()
        self.problem: str | None = None
        self._client, self._chosen, self._check, self._closing = client, chosen, check, closing
        self._feeds = deque(feeds)
        self._ready = set(feeds)
        self._read_to = start
        """The items up to there may still be to come."""
        self._looked_at = time.monotonic()
        self._backoff = Backoff()
        self._log = structlog.get_logger()

    def fill(self) -> None:
        """One round: what a partition has next, or a wait for it."""
        try:
            trouble = self._read_partition()
            if trouble is None and not self.items and not self._ready:
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
                self.items.append(gone)
                return None
            else:
                self._put(feed, events)
                if self.items:
                    return None
        return trouble

    def _put(self, feed: PartitionFeed, events: Sequence[Recorded]) -> None:
        """Queue the events that are wanted, each with its cursor, and the end of all that were read."""
        if not events:
            self._ready.discard(feed)
        for recorded in filter(self._chosen.takes, events):
            cursor = self._read_to.moved(feed.partition, recorded.position)
            try:
                self.items.append(self._chosen.received(feed.partition, recorded, cursor))
            except PayloadInvalid as error:
                self.items.append(error)
        if feed.position != self._read_to.positions.get(feed.partition, START):
            self._read_to = self._read_to.moved(feed.partition, feed.position)
            self.items.append(self._read_to)

    def _wait(self) -> None:
        """Wait until a partition has something, or for a moment."""
        waiting = next((feed for feed in self._feeds if feed.waiting), None)
        self._backoff.reset()
        if waiting is not None:
            self._say(f"{waiting.partition}: {waiting.waiting}")
        elif self.problem is not None:
            self._log.info("subscription continues")
            self.problem = None
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
        if problem != self.problem:
            self.problem = problem
            self._log.warning("subscription waits", reason=problem)

    def close(self) -> None:
        """Close what the partitions are read from; not while it fills."""
        for feed in self._feeds:
            feed.close()
