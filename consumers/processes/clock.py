"""Work called by the clock: a process that calls a function every so often, in a thread."""

import asyncio
from collections.abc import Callable
from contextlib import nullcontext

import psycopg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from playhead.consumers.processes.halting import HaltableWork
from playhead.consumers.processes.heartbeat import Heartbeat
from playhead.consumers.processes.metrics import make_registry
from playhead.consumers.processes.service import ServiceSettings, run_service
from playhead.consumers.tasks import pause
from playhead.streams.appending.threads import contained
from playhead.streams.errors import PlayheadError
from playhead.streams.printable import quoted
from playhead.streams.telemetry import plain

_AFTER_FAILURE = 10.0
_DOUBLINGS = 30
"""More of them would wait for centuries."""
_EXPECTED = (PlayheadError, RedisError, psycopg.Error, OSError)
"""Errors that need no traceback: something else is in trouble, not the function."""


async def run_clock(name: str, call: Callable[[], float | None], every: float, settings: ServiceSettings) -> int:
    """Call a function every so many seconds until SIGTERM or SIGINT; returns the exit code, as `run_service`.

    The function does one round, and may return the seconds until the next one if that should come sooner or later than
    usual. It runs in a thread, so it may block; a stop waits for the round in hand. Several processes may be there, so
    two rounds at once must do no harm.

    A round that raises is logged and makes the process not ready until one succeeds. The next round follows after 10
    seconds, then twice as long each time, and always after `every` seconds at the latest.

    Raises:
        AddressTaken: another program listens there.
    """
    return await run_service(
        name,
        lambda client: ClockService(name, call, every, client),
        settings,
        make_registry(name, directory=None),
    )


def wait_after(failures: int, every: float) -> float:
    """Seconds until the round that follows so many failed ones."""
    return min(every, _AFTER_FAILURE * 2 ** min(failures - 1, _DOUBLINGS))


class ClockService:
    """Calls a function every so many seconds, beginning at once with what was left while no process was there."""

    def __init__(self, name: str, call: Callable[[], float | None], every: float, client: Redis | None = None) -> None:
        self._call, self._every = call, every
        self._problem: str | None = "not started yet"
        self._failures = 0
        self._stopping = asyncio.Event()
        self._heartbeat = None if client is None else Heartbeat(client, name, lambda: next(iter(self.problems()), None))
        self._work = None if client is None else HaltableWork(client, name)
        self._log = structlog.get_logger().bind(projection=name)

    def problems(self) -> list[str]:
        """Why the last round failed, or none is done."""
        problem = self._work.problem if self._work is not None else None
        if problem is None and not self.is_halted:
            problem = self._problem
        return [problem] if problem else []

    @property
    def is_halted(self) -> bool:
        """Whether an operator has paused or retired it, so that no round is begun."""
        return self._work is not None and self._work.halt is not None

    async def run(self) -> None:
        """Do round after round until stopped."""
        async with self._heartbeat or nullcontext():
            while await self._may_begin():
                await pause(self._stopping, await self._do_round())

    def stop(self) -> None:
        """Finish the round in hand."""
        self._stopping.set()

    def close(self) -> None:
        """Nothing is held between rounds."""

    async def _may_begin(self) -> bool:
        """Wait while the clock is paused or retired; False if it is to stop."""
        if self._work is None:
            return not self._stopping.is_set()
        return await self._work.may_begin(self._stopping)

    async def _do_round(self) -> float:
        """Seconds until the next."""
        try:
            wait = _seconds(await asyncio.to_thread(contained, self._call))
        except Exception as error:  # noqa: BLE001  # whatever it is, the next round may succeed
            self._failures += 1
            wait = wait_after(self._failures, self._every)
            await self._end_round(plain(error))
            self._log.warning(
                "to be tried again",
                error=type(error).__name__,
                retry_in_seconds=round(wait, 1),
                exc_info=None if isinstance(error, _EXPECTED) else error,
            )
            return wait
        self._failures = 0
        await self._end_round(None)
        return self._every if wait is None else wait

    async def _end_round(self, problem: str | None) -> None:
        """Say how it ended, in Redis first: `status` must not be of another opinion than the process."""
        if self._heartbeat is not None:
            await self._heartbeat.say(problem)
        self._problem = problem


def _seconds(returned: object) -> float | None:
    """What a round returned, if it is what a round may return."""
    if returned is None:
        return None
    if isinstance(returned, bool) or not isinstance(returned, int | float) or not 0 <= returned < float("inf"):
        raise TypeError(f"a round returns None or seconds from 0 up, not {quoted(returned)}")
    return returned
