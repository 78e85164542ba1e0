"""The partitions that a process serves: as many as are recorded for each stream, for as long as it runs.

A process whose record says another number by now ends, and is started again with that one. The log is the reference:
its consumer restores the record that Redis lost, or that somebody made who did not know the log
(docs/decisions/0018-partitions-are-recorded-once.md).
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from pathlib import Path
from typing import Any, cast

import structlog
from redis.exceptions import RedisError

from playhead.consumers.backoff import Backoff
from playhead.consumers.processes.service import ServiceSettings
from playhead.consumers.tasks import end, pause
from playhead.eventlog.segments import logged_count, partition_count
from playhead.streams.errors import PartitionsChanged, PlayheadError, RedisUnavailable
from playhead.streams.names import meta_key
from playhead.streams.partitions import Partition
from playhead.streams.redis.connections import connect
from playhead.streams.redis.partition_counts import Client, PartitionCounts, different, noted
from playhead.streams.telemetry import plain

_LOOK_SECONDS = 1.0


class ServedPartitions:
    """The partitions of some streams. `log` is the directory of the log, whose own consumer `restores` the record."""

    def __init__(
        self,
        settings: ServiceSettings,
        streams: Iterable[str],
        log: Path | None,
        *,
        restores: bool = False,
        claim: Callable[[], object] = lambda: None,
    ) -> None:
        """`claim` refuses a Redis of another installation, whose record must stay as it is."""
        self.problem: str | None = "not started yet"
        """Why they are not known."""
        self.counts: dict[str, int] = {}
        """The number of each stream."""
        self._streams, self._log, self._restores = tuple(streams), log, restores
        self._claim = claim
        self._open = partial(connect, settings.redis_url, settings.redis_timeout)
        self._connected: Client | None = None
        self._recorded = PartitionCounts(self._client, settings.partitions, logged=partial(partition_count, log))
        self._say = structlog.get_logger()

    def of(self, streams: Iterable[str]) -> list[Partition]:
        """Every partition of some streams."""
        return [Partition(stream, number) for stream in streams for number in range(self.counts[stream])]

    async def find(self, stopping: asyncio.Event) -> bool:
        """Ask until Redis says how many there are; False if it is to stop before.

        Raises:
            PartitionsChanged: the number that was set is another one.
        """
        backoff = Backoff()
        while not stopping.is_set():
            try:
                self.counts = await asyncio.to_thread(self._find)
            except PartitionsChanged:
                raise
            except (PlayheadError, RedisError, OSError) as error:
                self.problem = str(error) if isinstance(error, PlayheadError) else plain(error)
                wait = backoff.next()
                self._say.warning("not ready", error=self.problem, retry_in_seconds=round(wait, 1))
                await pause(stopping, wait)
            else:
                self.problem = None
                return not stopping.is_set()
        return False

    async def while_unchanged(self, work: Coroutine[Any, Any, None], stop: Callable[[], None]) -> None:
        """Await work, which is told to stop if the record says another number by now.

        Raises:
            PartitionsChanged: it does; the work has stopped.
        """
        watching, working = asyncio.create_task(self._watch()), asyncio.create_task(work)
        try:
            await asyncio.wait([watching, working], return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                stop()
            await working
            if watching.done():
                watching.result()
        finally:
            await end(watching, working)

    async def _watch(self) -> None:
        """Look at the record again and again; it is written again if Redis lost it."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            try:
                await asyncio.to_thread(self._recorded.check, self._streams)
            except RedisUnavailable as error:  # whoever reads says so
                self._say.debug("the number of partitions is not compared", error=plain(error))

    def close(self) -> None:
        """Close the connection."""
        if self._connected is not None:
            self._connected.close()

    def _client(self) -> Client:
        if self._connected is None:
            self._connected = self._open()
        return self._connected

    def _find(self) -> dict[str, int]:
        self._claim()
        for stream in self._streams:
            if self._restores and self._log is not None:
                self._restore(stream, self._log)
        return {stream: self._recorded.of(stream) for stream in self._streams}

    def _restore(self, stream: str, log: Path) -> None:
        """Make the record that of the log, unless the log has been written under the number that is recorded."""
        logged = partition_count(log, stream)
        if logged is None:
            return
        notes = noted(self._client(), stream)
        recorded = self._recorded.recorded(stream)
        claimed = recorded or next(iter(notes.values()), None)
        count = logged
        if claimed is not None and self._has_written(partition for partition in notes if notes[partition] == claimed):
            count = max(claimed, logged_count(log, stream))
        if self._recorded.given not in {None, count}:
            raise different(stream, count, self._recorded.given)
        if claimed not in {None, count}:
            self._say.error("the number of partitions is the log's again", stream=stream, count=count, was=claimed)
        if recorded != count:
            self._recorded.restore(stream, count)

    def _has_written(self, partitions: Iterable[Partition]) -> bool:
        """Whether the log writer compared one of these streams with the log: Redis did not lose its state since."""
        client = cast("Any", self._client())
        return any(client.hget(meta_key(partition.key), "compared") is not None for partition in partitions)
