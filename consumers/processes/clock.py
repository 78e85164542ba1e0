"""Work called by the clock: a process that calls a function every so often, in a thread."""

import asyncio
from collections.abc import Callable

import psycopg
import structlog
from redis.exceptions import RedisError

from playhead.consumers.processes.metrics import make_registry
from playhead.consumers.processes.service import ServiceSettings, run_service
from playhead.consumers.tasks import pause
from playhead.streams.errors import PlayheadError
from playhead.streams.telemetry import plain

_AFTER_FAILURE = 10.0


async def run_clock(name: str, call: Callable[[], float | None], every: float, settings: ServiceSettings) -> int:
    """Call a function every so many seconds until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    The function does one round, and may return the seconds until the next one if that should come sooner or later than
    usual. It runs in a thread, so it may block; a stop waits for the round in hand. Several processes may be there, so
    two rounds at once must do no harm.

    A `PlayheadError` and any error of Redis, Postgres or the operating system is logged, makes the process not ready,
    and is followed by another round 10 seconds later, or sooner if rounds come faster. Any other error ends the process
    with exit code 1.

    Raises:
        AddressTaken: another program listens there.
    """
    return await run_service(
        name, lambda _: ClockService(name, call, every), settings, make_registry(name, directory=None)
    )


class ClockService:
    """Calls a function every so many seconds, beginning at once with what was left while no process was there."""

    def __init__(self, name: str, call: Callable[[], float | None], every: float) -> None:
        self._call, self._every = call, every
        self._problem: str | None = "not started yet"
        self._stopping = asyncio.Event()
        self._log = structlog.get_logger().bind(projection=name)

    def problems(self) -> list[str]:
        """Why the last round failed."""
        return [self._problem] if self._problem else []

    async def run(self) -> None:
        """Do round after round until stopped."""
        while not self._stopping.is_set():
            await pause(self._stopping, await self._do_round())

    def stop(self) -> None:
        """Finish the round in hand."""
        self._stopping.set()

    def close(self) -> None:
        """Nothing is held between rounds."""

    async def _do_round(self) -> float:
        """Seconds until the next."""
        try:
            wait = await asyncio.to_thread(self._call)
        except (PlayheadError, RedisError, psycopg.Error, OSError) as error:
            wait = min(self._every, _AFTER_FAILURE)
            self._problem = plain(error)
            self._log.warning("to be tried again", error=type(error).__name__, retry_in_seconds=round(wait, 1))
            return wait
        self._problem = None
        return self._every if wait is None else wait
