"""The process of a worker."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog
from redis.asyncio import Redis

from playhead.consumers.processes.metrics import make_registry
from playhead.consumers.processes.service import ServiceSettings, owner_name, run_service
from playhead.consumers.work.holds import Holds
from playhead.consumers.work.metrics import PrometheusWorkObserver
from playhead.consumers.work.worker import Handler, Worker, WorkerSettings
from playhead.eventlog.history import History
from playhead.streams.appending.producer import Producer
from playhead.streams.events import Event
from playhead.streams.partitions import Partition
from playhead.streams.telemetry import plain


class WorkerProcessSettings(ServiceSettings, frozen=True, kw_only=True):
    """How a worker process works."""

    work: WorkerSettings = WorkerSettings()
    event_log_dir: Path | None = None
    """Where it can be read what was not finished when Redis lost its state, None where this process has no log."""


async def run_worker(handler: Handler, settings: WorkerProcessSettings) -> int:
    """Work until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    Raises:
        AddressTaken: another program listens there.
    """
    registry = make_registry(handler.name, None)
    observer = PrometheusWorkObserver(handler.name, registry)
    return await run_service(handler.name, _Working(handler, settings, observer), settings, registry)


class _Working:
    def __init__(
        self,
        handler: Handler,
        settings: WorkerProcessSettings,
        observer: PrometheusWorkObserver,
    ) -> None:
        self.failure: BaseException | None = None
        self._handler, self._settings, self._observer = handler, settings, observer
        self._producer = Producer(
            settings.redis_url,
            partitions=settings.partitions,
            timeout=settings.redis_timeout,
            allow_insecure=True,  # whoever made the settings has looked
        )
        self._worker: Worker | None = None
        self._running: asyncio.Task[None] | None = None

    def problems(self) -> list[str]:
        """Why this process is not ready."""
        if self.failure is not None:
            return [plain(self.failure)]
        if self._worker is None:
            return ["not started yet"]
        return [self._worker.problem] if self._worker.problem else []

    def start(self, client: Redis, on_failure: Callable[[], None]) -> None:
        owner = owner_name()
        holds = [
            Holds(
                client,
                self._handler.name,
                Partition(stream, number),
                self._handler.types,
                owner=owner,
                hold=self._settings.work.hold,
            )
            for stream in self._handler.streams
            for number in range(self._settings.partitions)
        ]
        log_dir = self._settings.event_log_dir
        history = None if log_dir is None else History(log_dir)
        self._worker = Worker(self._handler, holds, self._settings.work, self._append, self._observer, history)
        self._running = asyncio.create_task(self._worker.run())

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self.failure = error
                on_failure()
                structlog.get_logger().critical("consumer failed", projection=self._handler.name, exc_info=error)

        self._running.add_done_callback(ended)

    async def stop(self) -> None:
        """Let the work in hand finish, within its grace."""
        if self._worker is not None and self._running is not None:
            self._worker.stop()
            await asyncio.wait([self._running])
        self._producer.close()

    async def _append(self, events: Sequence[Event]) -> None:
        await asyncio.to_thread(self._producer.append_events, events)
