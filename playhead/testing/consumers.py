"""Consumers in threads of a test: what a process of `playhead run` does, without the process."""

import asyncio
import io
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import msgspec
import structlog
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis

from playhead.checks.marks import find_marks
from playhead.consumers.processes.broker import connect, make_broker
from playhead.consumers.processes.clock import ClockService
from playhead.consumers.processes.metrics import PrometheusObserver
from playhead.consumers.processes.projection import ConsumerService, ProcessSettings
from playhead.consumers.processes.service import Service, ServiceSettings, Supervisor
from playhead.consumers.processes.worker import WorkerProcessSettings, WorkerService
from playhead.consumers.reading.reader import ReaderSettings
from playhead.consumers.work.observer import WorkObserver
from playhead.settings.core import BATCH
from playhead.settings.servers import Servers
from playhead.settings.settings import Settings
from playhead.streams.domains.catalogue import LOG
from playhead.streams.domains.discovery import installed
from playhead.wiring import make_clock, make_handler, make_sink, work_settings

MakeService = Callable[[Redis], Service]
_PATIENCE = 30.0


class ConsumerFailed(AssertionError):
    """A consumer ended, or did not end when it was told to: its own error is the cause."""


class ConsumerThread(threading.Thread):
    """A consumer, its loop in a thread of its own; `failure` is what ended it, None while nothing did."""

    def __init__(self, name: str, redis_url: str, make: MakeService) -> None:
        super().__init__(name=f"consumer-{name}", daemon=True)
        self.failure: BaseException | None = None
        self.serving: Supervisor | None = None
        self._consumer, self._redis_url, self._make = name, redis_url, make
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()

    def run(self) -> None:
        """Serve until stopped."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:  # noqa: BLE001  # whoever stops it is told
            self.failure = error
        finally:
            self._loop.close()

    def stop(self) -> None:
        """Stop as a process does on SIGTERM.

        Raises:
            ConsumerFailed: it does not stop.
        """
        if self.is_alive():
            with suppress(RuntimeError):  # it has just ended by itself
                self._loop.call_soon_threadsafe(self._stopping.set)
            self.join(_PATIENCE)
            if self.is_alive():
                raise ConsumerFailed(f"{self.name} did not stop:\n{self._where()}")

    @property
    def problems(self) -> list[str]:
        """Why it is not ready, a line each."""
        return ["not started yet"] if self.serving is None else self.serving.problems()

    @property
    def healthy(self) -> bool:
        """Whether it is ready."""
        return not self.problems

    async def _serve(self) -> None:
        broker = make_broker(self._redis_url)
        serving = Supervisor(self._consumer)
        serving.start(self._make(await connect(broker, self._redis_url)), on_failure=self._stopping.set)
        self.serving = serving
        await self._stopping.wait()
        await serving.stop()
        await broker.stop()
        self.failure = serving.failure

    def _where(self) -> str:
        out = io.StringIO()
        for task in asyncio.all_tasks(self._loop):
            task.print_stack(file=out)
        return out.getvalue()


def service_of(name: str, settings: Settings, servers: Servers) -> MakeService:
    """What makes the service of an installed consumer, as `playhead run` does."""
    catalogue = installed()
    place = ServiceSettings(
        redis_url=servers.redis_url, redis_timeout=settings.redis_timeout, partitions=settings.partitions
    )
    if name in catalogue.workers:
        work = WorkerProcessSettings(
            **msgspec.structs.asdict(place),
            work=work_settings(name, settings),
            event_log_dir=settings.event_log_dir,
            rivals=catalogue.rivals_of(name),
        )
        return lambda client: WorkerService(make_handler(name, settings, servers), work, client, WorkObserver())
    if name in catalogue.clocks:
        call, every = make_clock(name, settings, servers)
        return lambda _: ClockService(name, call, every)
    process = ProcessSettings(
        **msgspec.structs.asdict(place),
        reader=ReaderSettings(batch=settings[BATCH], lease=settings.lease_seconds),
        trim=catalogue.readers if name == LOG else {},
        marks=partial(find_marks, settings, servers, structlog.get_logger().warning) if name == LOG else None,
        event_log_dir=settings.event_log_dir,
    )
    observer = PrometheusObserver(name, CollectorRegistry())
    return lambda client: ConsumerService(make_sink(name, settings, servers), process, client, observer)
