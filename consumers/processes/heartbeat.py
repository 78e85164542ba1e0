"""The heartbeat of a process that reads no stream, so that `status` knows whether it runs."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from playhead.consumers.processes.beats import Beat
from playhead.consumers.processes.service import owner_name
from playhead.consumers.tasks import end
from playhead.streams.names import CLOCKS
from playhead.streams.redis.refusals import AWAY

INTERVAL = 5.0
"""Seconds between two heartbeats."""

_REPORT = (Path(__file__).parents[1] / "reading" / "report.lua").read_text()


class Heartbeat:
    """Says every few seconds that a process is there, and at the end that it is not."""

    def __init__(self, client: Redis, name: str, problem: Callable[[], str | None]) -> None:
        self._name, self._problem, self._owner = name, problem, owner_name()
        self._report = client.register_script(_REPORT)
        self._beating: asyncio.Task[None] | None = None

    async def say(self, problem: str | None) -> None:
        """Say at once how the work goes."""
        await self._say("running", problem)

    async def __aenter__(self) -> None:
        self._beating = asyncio.create_task(self._beat())

    async def __aexit__(self, *_: object) -> None:
        if self._beating is not None:
            await end(self._beating)
        await self._say("stopped", self._problem())

    async def _beat(self) -> None:
        while True:
            await self.say(self._problem())
            await asyncio.sleep(INTERVAL)

    async def _say(self, state: Literal["running", "stopped"], problem: str | None) -> None:
        beat = Beat(state, self._owner, time.time(), problem)
        with suppress(*AWAY, RedisError, OSError):  # the work goes on without
            await self._report(keys=[CLOCKS], args=[self._name, msgspec.json.encode(beat).decode()])
