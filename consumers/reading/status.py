"""What `status` shows of a reader."""

import math
import time

from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.feed import Feed
from playhead.consumers.reading.group import Group, Report
from playhead.consumers.reading.health import Health
from playhead.streams.positions import START, Position

_INTERVAL = 30.0
"""Seconds between two reports of a reader that has nothing to say."""


class Status:
    """Reports where a reader is, up to where its sink has settled, and what is wrong."""

    def __init__(self, group: Group, cursors: Cursors, health: Health, feed: Feed) -> None:
        self._group, self._cursors, self._health, self._feed = group, cursors, health, feed
        self.settled: Position | None = None
        """The position up to which no work is deferred in the sink, None if not known."""
        self._reported_at = -math.inf

    @property
    def is_old(self) -> bool:
        """Whether the last report is so old that it no longer says since when a process that died is gone."""
        return time.monotonic() - self._reported_at > _INTERVAL

    async def report(self, state: str) -> None:
        """Publish it."""
        report = Report(
            state,
            str(self._cursors.position),
            str(self.settled or START),
            self._group.owner,
            time.time(),
            self._health.retries,
            self._health.problem or self._feed.advice,
            tuple(key.rpartition(":")[2] for key in self._cursors.positions if key != self._cursors.live),
        )
        await self._group.report(report)
        self._reported_at = time.monotonic()
