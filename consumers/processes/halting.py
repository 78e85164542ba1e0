"""Work that stops while an operator has paused or retired its consumer; the process stays, and goes on by itself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, cast

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from playhead.consumers.halts import LOOK_SECONDS, UNKNOWN, Halt, halt_of, unreadable
from playhead.consumers.tasks import end, pause
from playhead.streams.domains.catalogue import LOG
from playhead.streams.names import HALTS
from playhead.streams.redis.refusals import AWAY, advice_against, is_passing
from playhead.streams.telemetry import plain


class HaltableWork:
    """The work of a consumer, done while it is known not to be halted.

    The log's never is: everybody else recovers from it.
    """

    def __init__(self, client: Redis, name: str) -> None:
        self.problem: str | None = None if name == LOG else "not started yet"
        """Why it is not known whether the consumer is halted."""
        self.halt: Halt | None = None
        self._client, self._name = client, name
        self._log = structlog.get_logger().bind(projection=name)

    async def run(
        self, begin: Callable[[], Coroutine[Any, Any, None]], stop: Callable[[], None], stopping: asyncio.Event
    ) -> None:
        """Begin the work, stop it while the consumer is halted, and begin again, until it ends otherwise.

        `begin` makes what `stop` stops before it returns.
        """
        while await self.may_begin(stopping):
            watching, working = asyncio.create_task(self._watch()), asyncio.create_task(begin())
            try:
                await asyncio.wait([watching, working], return_when=asyncio.FIRST_COMPLETED)
                is_halted = not working.done()
                if is_halted:
                    stop()
                await working
            finally:
                await end(watching, working)
            if not is_halted:
                return

    async def may_begin(self, stopping: asyncio.Event) -> bool:
        """Wait while the consumer is halted; False if it is to stop before."""
        while not stopping.is_set():
            await self._look()
            if self.halt is None and self.problem is None:
                return not stopping.is_set()
            await pause(stopping, LOOK_SECONDS)
        return False

    async def _watch(self) -> None:
        """Return when the consumer is halted."""
        while self.halt is None:
            await asyncio.sleep(LOOK_SECONDS)
            await self._look()

    async def _look(self) -> None:
        """Ask Redis; what was known before holds while it does not answer. Whatever else is no answer is a halt."""
        if self._name == LOG:
            return
        problem = None
        try:
            halt = halt_of(cast("bytes | None", await cast("Any", self._client).hget(HALTS, self._name)))
        except (*AWAY, OSError, ResponseError) as error:
            if is_passing(error) or not isinstance(error, ResponseError):
                if self.problem is not None:
                    self.problem = f"redis unavailable: {plain(error)}"
                return
            advice = advice_against(error)
            halt, problem = UNKNOWN, f"{HALTS} cannot be read: {plain(error)}" + (f"; {advice}" if advice else "")
        else:
            if halt is not None and halt.state == "unknown":
                problem = unreadable(self._name)
        is_new = halt != self.halt or problem not in {None, self.problem}
        self.halt, self.problem = halt, problem
        if is_new:
            self._say()

    def _say(self) -> None:
        if self.problem is not None:
            self._log.error("waits as if paused", problem=self.problem)
        elif self.halt is None:
            self._log.info("resumed")
        else:
            self._log.warning(self.halt.state, advice=f"playhead consumers resume {self._name}")
