"""The process of a projection or of the event log: a reader for each partition, and what trims behind them."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from playhead.consumers.processes.halting import HaltableWork
from playhead.consumers.processes.metrics import PrometheusObserver, TrimMetrics, make_registry
from playhead.consumers.processes.partitions import ServedPartitions
from playhead.consumers.processes.service import ServiceSettings, owner_name, run_service
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.lag import keep_known
from playhead.consumers.reading.reader import Reader, ReaderSettings
from playhead.consumers.reading.trimming import keep_trimmed
from playhead.consumers.reading.unlogged import SinkMark
from playhead.consumers.tasks import end
from playhead.eventlog.history import History
from playhead.eventlog.writer import LogWriter
from playhead.streams.sinks import Batch, OnDisk, Sink


class ProcessSettings(ServiceSettings, frozen=True, kw_only=True):
    """How a consumer process reads, and what it trims."""

    reader: ReaderSettings = ReaderSettings()
    trim: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    """Streams that this process trims, each with every group that must have read an entry first."""
    observers: tuple[Callable[[CollectorRegistry], Callable[[Batch], None] | None], ...] = ()
    """What makes metrics of a domain's own: each sees every batch that was applied."""
    claim: Callable[[], bool] | None = None
    """Has its places carry the id of the installation; False if nobody has made one yet."""
    marks: Callable[[], Iterable[SinkMark]] | None = None
    """How far the sinks have come, for the log's own process to compare."""
    event_log_dir: Path | None = None
    """Where what the stream no longer has can be read, None if this process has no log to read."""


async def run_consumer(sink: Sink, settings: ProcessSettings) -> int:
    """Serve a sink until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    Raises:
        AddressTaken: another program listens there.
    """
    directory = sink.directory if isinstance(sink, OnDisk) else None
    registry = make_registry(sink.name, directory)
    observer = PrometheusObserver(
        sink.name, registry, [one for make in settings.observers if (one := make(registry)) is not None]
    )
    trims = TrimMetrics(registry) if settings.trim else None
    return await run_service(
        sink.name, lambda client: ConsumerService(sink, settings, client, observer, trims), settings, registry
    )


class ConsumerService:
    """The readers of every partition, and what trims behind them."""

    def __init__(
        self,
        sink: Sink,
        settings: ProcessSettings,
        client: Redis,
        observer: PrometheusObserver,
        trims: TrimMetrics | None = None,
    ) -> None:
        self._sink, self._settings, self._client, self._observer = sink, settings, client, observer
        self._trims = trims
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=sink.name)
        self._readers: list[Reader] = []
        self._stopping = asyncio.Event()
        is_log = isinstance(sink, LogWriter)
        log = sink.directory if is_log else settings.event_log_dir
        streams = dict.fromkeys((*sink.streams, *settings.trim))
        claim = settings.claim if is_log else None  # nobody else changes what stands in Redis before its readers look
        self._served = ServedPartitions(settings, streams, log, restores=is_log, claim=claim or (lambda: None))
        self._work = HaltableWork(client, sink.name)
        self._marks: asyncio.Task[list[SinkMark]] | None = None

    def problems(self) -> list[str]:
        """Why this process is not ready: a line for each partition that is not served as it should be."""
        if problem := self._served.problem or self._work.problem:
            return [problem]
        if self._work.halt is not None:
            return []
        found = [f"{reader.partition}: {reader.problem}" for reader in self._readers if reader.problem is not None]
        if isinstance(self._sink, OnDisk) and any(reader.serving for reader in self._readers):
            found += filter(None, [self._sink.health()])
        return found

    async def run(self) -> None:
        """Read every partition until stopped, and trim behind it.

        Raises:
            PartitionsChanged: the number that was set is another one than that of a stream, or that one changed.
        """
        if not await self._served.find(self._stopping):
            return
        beside = [self._start_beside(keep_known(self._client, self._readers, self._observer.lag))]
        if self._trims is not None:
            groups = {
                partition: names
                for stream, names in self._settings.trim.items()
                for partition in self._served.of((stream,))
            }
            beside.append(
                self._start_beside(keep_trimmed(self._client, groups, self._trims.trimmed, self._trims.halted))
            )
        try:
            await self._served.while_unchanged(self._work.run(self._begin, self._end, self._stopping), self.stop)
            for task in beside:
                if task.done():
                    task.result()
        finally:
            await end(*beside)

    def stop(self) -> None:
        """Let every reader finish its batch and give its lease back."""
        self._stopping.set()
        self._end()

    def close(self) -> None:
        """Give up the sink."""
        self._executor.shutdown()
        self._sink.close()
        self._served.close()

    def _start_beside(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start what goes on until it is canceled; if it fails, so does the process."""

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled():
                self.stop()

        task = asyncio.create_task(work)
        task.add_done_callback(ended)
        return task

    def _begin(self) -> Coroutine[Any, Any, None]:
        self._make_readers()
        return self._read()

    def _end(self) -> None:
        for reader in self._readers:
            reader.stop()

    def _make_readers(self) -> None:
        sink, settings, owner = self._sink, self._settings, owner_name()
        if isinstance(sink, LogWriter):
            sink.counts = self._served.counts
        history = None if settings.event_log_dir is None else History(settings.event_log_dir)
        marks = None if settings.marks is None else self._find_marks
        self._readers.clear()
        for partition in self._served.of(sink.streams):
            group = Group(self._client, sink.name, partition, owner=owner, lease=settings.reader.lease)
            leader = self._readers[0] if sink.exclusive and self._readers else None
            self._readers.append(
                Reader(
                    sink,
                    group,
                    settings.reader,
                    self._executor,
                    self._observer,
                    leader,
                    history,
                    settings.claim,
                    marks,
                )
            )

    async def _read(self) -> None:
        async with asyncio.TaskGroup() as group:
            for reader in self._readers:
                group.create_task(reader.run())

    async def _find_marks(self) -> Sequence[SinkMark]:
        """How far the sinks had come when this was called first: that takes a while, and older ones do no harm."""
        find = self._settings.marks
        assert find is not None, "nobody else is given this"
        if self._marks is None:
            self._marks = asyncio.create_task(asyncio.to_thread(lambda: list(find())))
        return await asyncio.shield(self._marks)
