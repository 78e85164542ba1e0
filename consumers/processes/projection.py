"""The process of a projection or of the event log: a reader for each partition, and what trims behind them."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import structlog
from redis.asyncio import Redis

from playhead.consumers.processes.metrics import PrometheusObserver, TrimMetrics, make_registry
from playhead.consumers.processes.service import ServiceSettings, owner_name, run_service
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.lag import keep_known
from playhead.consumers.reading.reader import Reader, ReaderSettings
from playhead.consumers.reading.trimming import keep_trimmed
from playhead.consumers.tasks import end
from playhead.eventlog.history import History
from playhead.streams.partitions import Partition
from playhead.streams.sinks import OnDisk, Sink
from playhead.streams.telemetry import plain


class ProcessSettings(ServiceSettings, frozen=True, kw_only=True):
    """How a consumer process reads, and what it trims."""

    reader: ReaderSettings = ReaderSettings()
    trim: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict[str, tuple[str, ...]])
    """Streams that this process trims, each with every group that must have read an entry first."""
    event_log_dir: Path | None = None
    """Where what the stream no longer has can be read, None where this process has no log to read."""


async def run_consumer(sink: Sink, settings: ProcessSettings) -> int:
    """Serve a sink until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    Raises:
        AddressTaken: another program listens there.
    """
    directory = sink.directory if isinstance(sink, OnDisk) else None
    registry = make_registry(sink.name, directory)
    trims = TrimMetrics(registry) if settings.trim else None
    serving = _Serving(sink, settings, PrometheusObserver(sink.name, registry), trims)
    return await run_service(sink.name, serving, settings, registry)


class _Serving:
    """The readers of every partition, and what trims behind them."""

    def __init__(
        self,
        sink: Sink,
        settings: ProcessSettings,
        observer: PrometheusObserver,
        trims: TrimMetrics | None = None,
    ) -> None:
        self.failure: BaseException | None = None
        self._sink, self._settings, self._observer = sink, settings, observer
        self._trims = trims
        self._readers: list[Reader] = []
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=sink.name)
        self._tasks: list[asyncio.Task[None]] = []

    def problems(self) -> list[str]:
        """Why this process is not ready: a line for each partition that is not served as it should be."""
        if self.failure is not None:
            return [plain(self.failure)]
        if not self._readers:
            return ["not started yet"]
        found = [f"{reader.partition}: {reader.problem}" for reader in self._readers if reader.problem is not None]
        if isinstance(self._sink, OnDisk) and any(reader.serving for reader in self._readers):
            found += filter(None, [self._sink.health()])
        return found

    def start(self, client: Redis, on_failure: Callable[[], None]) -> None:
        owner = owner_name()
        history = None if self._settings.event_log_dir is None else History(self._settings.event_log_dir)
        partitions = [
            Partition(stream, number) for stream in self._sink.streams for number in range(self._settings.partitions)
        ]
        for partition in partitions:
            group = Group(client, self._sink.name, partition, owner=owner, lease=self._settings.reader.lease)
            leader = self._readers[0] if self._sink.exclusive and self._readers else None
            reader = Reader(
                self._sink,
                group,
                self._settings.reader,
                self._executor,
                self._observer,
                leader,
                history,
            )
            self._readers.append(reader)
        reading = asyncio.create_task(_serve_all(self._readers))
        self._tasks.append(reading)
        self._tasks.append(asyncio.create_task(keep_known(client, self._readers, self._observer.lag)))
        if self._trims is not None:
            groups = {
                Partition(stream, number): names
                for stream, names in self._settings.trim.items()
                for number in range(self._settings.partitions)
            }
            self._tasks.append(asyncio.create_task(keep_trimmed(client, groups, self._trims.trimmed)))

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.failure = error
                on_failure()
                structlog.get_logger().critical("consumer failed", projection=self._sink.name, exc_info=error)

        reading.add_done_callback(ended)

    async def stop(self) -> None:
        """Before the broker goes: let every reader finish its batch and give its lease back."""
        for reader in self._readers:
            reader.stop()
        reading, *others = self._tasks
        await end(*others)
        await asyncio.wait([reading])
        self._executor.shutdown()
        self._sink.close()


async def _serve_all(readers: Sequence[Reader]) -> None:
    async with asyncio.TaskGroup() as group:
        for reader in readers:
            group.create_task(reader.run())
