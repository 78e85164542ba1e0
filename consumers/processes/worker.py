"""The process of a worker."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from redis.asyncio import Redis

from playhead.consumers.processes.metrics import make_registry
from playhead.consumers.processes.service import ServiceSettings, owner_name, run_service
from playhead.consumers.work.handler import Handler
from playhead.consumers.work.holds import Holds
from playhead.consumers.work.metrics import PrometheusWorkObserver
from playhead.consumers.work.observer import WorkObserver
from playhead.consumers.work.worker import Worker, WorkerSettings
from playhead.eventlog.history import History
from playhead.streams.appending.producer import Producer
from playhead.streams.appending.threads import Threads
from playhead.streams.events import Event
from playhead.streams.partitions import Partition


class WorkerProcessSettings(ServiceSettings, frozen=True, kw_only=True):
    """How a worker process works."""

    work: WorkerSettings = WorkerSettings()
    event_log_dir: Path | None = None
    """Where to read what was not finished when Redis lost its state, None if this process has no log."""
    rivals: frozenset[str] = frozenset()
    """Other workers on the same events: what ends their work does not end the work of this one."""


async def run_worker(handler: Handler, settings: WorkerProcessSettings) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    Raises:
        AddressTaken: another program listens there.
    """
    registry = make_registry(handler.name, None)
    observer = PrometheusWorkObserver(handler.name, registry)
    return await run_service(
        handler.name, lambda client: WorkerService(handler, settings, client, observer), settings, registry
    )


class WorkerService:
    """A worker on every partition, and the producer of its outcomes."""

    def __init__(
        self, handler: Handler, settings: WorkerProcessSettings, client: Redis, observer: WorkObserver
    ) -> None:
        self._producer = Producer(
            settings.redis_url,
            partitions=settings.partitions,
            timeout=settings.redis_timeout,
            allow_insecure=True,  # whoever made the settings has looked
        )
        self._appending = Threads(f"{handler.name}-appending", settings.work.concurrency)
        owner = owner_name()
        holds = [
            Holds(client, handler.name, Partition(stream, number), handler.types, owner=owner, hold=settings.work.hold)
            for stream in handler.streams
            for number in range(settings.partitions)
        ]
        history = None if settings.event_log_dir is None else History(settings.event_log_dir)
        self._worker = Worker(handler, holds, settings.work, self._append, observer, history, settings.rivals)

    def problems(self) -> list[str]:
        """Why no entry can be taken."""
        return [self._worker.problem] if self._worker.problem else []

    async def run(self) -> None:
        """Work until stopped."""
        await self._worker.run()

    def stop(self) -> None:
        """Let the work in hand finish, within its grace."""
        self._worker.stop()

    def close(self) -> None:
        """Close the producer's connection."""
        self._appending.stop()
        self._producer.close()

    async def _append(self, events: Sequence[Event]) -> None:
        await self._appending.call(partial(self._producer.append_events, events))
