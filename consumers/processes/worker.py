"""The process of a worker."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from playhead.consumers.processes.halting import HaltableWork
from playhead.consumers.processes.metrics import make_registry
from playhead.consumers.processes.partitions import ServedPartitions
from playhead.consumers.processes.service import ServiceSettings, owner_name, run_service
from playhead.consumers.work.handler import Handler
from playhead.consumers.work.holds import Holds
from playhead.consumers.work.metrics import PrometheusWorkObserver
from playhead.consumers.work.observer import WorkObserver
from playhead.consumers.work.worker import Worker, WorkerSettings
from playhead.eventlog.history import History
from playhead.eventlog.segments import partition_count
from playhead.streams.appending.producer import Producer
from playhead.streams.appending.threads import Threads
from playhead.streams.events import Event


class WorkerProcessSettings(ServiceSettings, frozen=True, kw_only=True):
    """How a worker process works."""

    work: WorkerSettings = WorkerSettings()
    claim: Callable[[], object] | None = None
    """Refuses to work with the Redis or the directories of another installation."""
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
        self._handler, self._settings, self._client, self._observer = handler, settings, client, observer
        self._producer = Producer(
            settings.redis_url,
            partitions=settings.partitions,
            timeout=settings.redis_timeout,
            allow_insecure=True,  # whoever made the settings has looked
        )
        self._appending = Threads(f"{handler.name}-appending", settings.work.concurrency)
        self._producer.counts.logged = partial(partition_count, settings.event_log_dir)
        claim = settings.claim or (lambda: None)
        self._served = ServedPartitions(settings, handler.streams, settings.event_log_dir, claim=claim)
        self._work = HaltableWork(client, handler.name)
        self._stopping = asyncio.Event()
        self._worker: Worker | None = None

    def problems(self) -> list[str]:
        """Why no entry can be taken."""
        problem = self._served.problem or self._work.problem
        if problem is None and self._worker is not None and self._work.halt is None:
            problem = self._worker.problem
        return [problem] if problem else []

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            PartitionsChanged: the number that was set is another one than that of a stream, or that one changed.
        """
        if await self._served.find(self._stopping):
            await self._served.while_unchanged(self._work.run(self._begin, self._end, self._stopping), self.stop)

    def stop(self) -> None:
        """Let the work in hand finish, within its grace."""
        self._stopping.set()
        self._end()

    def close(self) -> None:
        """Close the producer's connection."""
        self._appending.stop()
        self._producer.close()
        self._served.close()

    def _begin(self) -> Coroutine[Any, Any, None]:
        self._worker = self._make_worker()
        return self._worker.run()

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.stop()

    def _make_worker(self) -> Worker:
        handler, settings, owner = self._handler, self._settings, owner_name()
        holds = [
            Holds(self._client, handler.name, partition, handler.types, owner=owner, hold=settings.work.hold)
            for partition in self._served.of(handler.streams)
        ]
        history = None if settings.event_log_dir is None else History(settings.event_log_dir)
        return Worker(handler, holds, settings.work, self._append, self._observer, history, settings.rivals)

    async def _append(self, events: Sequence[Event]) -> None:
        await self._appending.call(partial(self._producer.append_events, events))
