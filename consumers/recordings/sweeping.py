"""The process of the worker `sweep`, which is called by the clock instead of by events."""

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import timedelta

import msgspec
import psycopg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from playhead.consumers.processes.metrics import make_registry
from playhead.consumers.processes.service import ServiceSettings, run_service
from playhead.consumers.recordings.progress import Progress
from playhead.consumers.recordings.sweep import Left, Sweep, Swept
from playhead.projections.migrations import require_upgraded
from playhead.projections.postgres import connect
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import PlayheadError
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.redis.connections import connect as connect_redis
from playhead.streams.telemetry import plain

NAME = "sweep"
_LONGEST_PAUSE, _PAUSES = 3600.0, 24
_AFTER_FAILURE, _WHERE_LEFT = 10.0, 60.0


class SweepSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Sessions without a sign of life for `older` seconds are ended; it is looked for them every `every` seconds."""

    older: float = 86400.0
    every: float = _LONGEST_PAUSE

    @classmethod
    def after(cls, older: float) -> "SweepSettings":
        """Look often enough that no session is left for much longer than so many seconds."""
        return cls(older=older, every=min(older / _PAUSES, _LONGEST_PAUSE))


async def run_sweep(
    files: RecordingFiles, database_url: str, settings: ServiceSettings, sweeping: SweepSettings
) -> int:
    """Sweep until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    Raises:
        AddressTaken: another program listens there.
    """
    return await run_service(
        NAME, Sweeping(files, database_url, settings, sweeping), settings, make_registry(NAME, None)
    )


class Sweeping:
    """Sweeps now and then. Several at once do no harm: the same session ends by the same event."""

    def __init__(
        self, files: RecordingFiles, database_url: str, settings: ServiceSettings, sweeping: SweepSettings
    ) -> None:
        self.failure: BaseException | None = None
        self._database_url, self._sweeping = database_url, sweeping
        self._producer = Producer(settings.redis_url, partitions=settings.partitions, timeout=settings.redis_timeout)
        self._redis = connect_redis(settings.redis_url, settings.redis_timeout)
        self._sweep = Sweep(
            files,
            Progress(self._redis),
            self._producer.append_events,
            older=timedelta(seconds=sweeping.older),
            partitions=settings.partitions,
        )
        self._problem: str | None = "not started yet"
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._log = structlog.get_logger().bind(projection=NAME)

    def problems(self) -> list[str]:
        """Why this process is not ready."""
        if self.failure is not None:
            return [plain(self.failure)]
        return [self._problem] if self._problem else []

    def start(self, client: Redis, on_failure: Callable[[], None]) -> None:  # noqa: ARG002  # the producer has its own
        """Begin with what was left while no process was there."""
        self._running = asyncio.create_task(self._run())

        def ended(task: "asyncio.Task[None]") -> None:
            if not task.cancelled() and (error := task.exception()) is not None:
                self._log.critical("consumer failed", exc_info=error)
                self.failure = error
                on_failure()

        self._running.add_done_callback(ended)

    async def stop(self) -> None:
        """Finish the sweep in hand."""
        self._stopping.set()
        if self._running is not None:
            await asyncio.wait([self._running])
        self._producer.close()
        self._redis.close()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            pause = self._sweeping.every
            try:
                swept, left = await asyncio.to_thread(self._run_once)
                for one in swept:
                    self._log.info("a session that never ended is ended", finished=one.finished, expired=one.expired)
                if left:
                    pause = min(pause, _WHERE_LEFT)
                for reason in sorted({one.reason for one in left}):
                    self._log.warning(
                        "sessions are left alone",
                        reason=reason,
                        count=sum(one.reason == reason for one in left),
                        retry_in_seconds=round(pause, 1),
                    )
                self._problem = None
            except (PlayheadError, RedisError, psycopg.Error, OSError) as error:
                self._problem = plain(error)
                pause = min(pause, _AFTER_FAILURE)
                self._log.warning("to be tried again", error=type(error).__name__, retry_in_seconds=round(pause, 1))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    def _run_once(self) -> tuple[list[Swept], list[Left]]:
        with closing(connect(self._database_url, "playhead-sweep")) as connection:
            require_upgraded(connection)
            return self._sweep.run(connection)
