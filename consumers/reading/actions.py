"""Actions: the steps of a feed, carried out. Whatever came of a step is dealt with before the next one."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Literal, assert_never

import structlog

from playhead.consumers.errors import LeaseLost, SinkNotReady
from playhead.consumers.reading.ahead import Decoded
from playhead.consumers.reading.cursors import Cursors
from playhead.consumers.reading.delivery import Delivery, Reopen, RetryLater
from playhead.consumers.reading.group import Group
from playhead.consumers.reading.health import Health
from playhead.consumers.reading.observer import Observer
from playhead.consumers.reading.status import Status
from playhead.consumers.reading.steps import Again, Entries, Recovered, Step, Waiting
from playhead.consumers.tasks import pause
from playhead.streams.events import Recorded
from playhead.streams.telemetry import about, plain

_WAIT_SECONDS = 0.25
_CAREFUL_AFTER = 3
"""Processes that began at one position, after which entries are handled one by one, to find the one that kills."""


class Actions:
    """Delivers entries, and waits when it has to, until the reader is to stop."""

    def __init__(
        self,
        group: Group,
        cursors: Cursors,
        health: Health,
        delivery: Delivery,
        status: Status,
        observe: Observer,
        stopping: asyncio.Event,
        *,
        batch: int,
        max_deliveries: int,
    ) -> None:
        self._group, self._cursors, self._health = group, cursors, health
        self._delivery, self._status, self._observe = delivery, status, observe
        self._stopping = stopping
        self._batch, self._max_deliveries = batch, max_deliveries
        self._alone: int | None = None
        """How many entries are still to be handled one by one, as processes died here; None until it is known."""
        self._log = structlog.get_logger().bind(projection=group.name, partition=str(group.partition))

    @property
    def one_by_one(self) -> bool:
        """Whether entries are to be read and handled one by one."""
        return bool(self._alone)

    def begin(self) -> None:
        """Nothing is known yet of processes that died here."""
        self._alone = None

    async def suspect(self, keys: Iterable[str]) -> bool:
        """Look, once, whether processes died of what stands behind the cursors; True if that was news."""
        if self._alone is not None:
            return False
        begun = [await self._group.note_attempt(key, self._cursors.positions[key]) for key in keys]
        self._alone = 0 if max(begun) < _CAREFUL_AFTER else self._batch
        if self._alone:
            position = str(self._cursors.position)
            self._log.warning("processes died here: handling entries one by one", position=position)
        return self.one_by_one

    async def carry_out(self, steps: AsyncGenerator[Step, None]) -> None:
        """Carry out one step after the other.

        Raises:
            LeaseLost: another process has the partition, or the reader is to stop in the middle.
            StateLost: the stream was emptied or set back.
            SinkNotReady: the sink is to be opened again.
            SinkFailed: no retry can help.
        """
        async with aclosing(steps):
            async for step in steps:
                match step:
                    case Waiting(why):
                        await self._wait(why)
                    case Again(recorded):
                        self._go_on_after(await self._delivery.apply_again(recorded))
                    case Recovered():
                        await self._delivery.look_again()
                    case Entries():
                        await self._handle(step)

    async def _handle(self, entries: Entries) -> None:
        if entries.logged and self._stopping.is_set():
            raise LeaseLost("stopped while reading the log")
        if not self._alone:
            await self._deliver(entries.key, entries.found)
            return
        for each in entries.found:
            await self._handle_alone(entries.key, each)
            self._alone = max(self._alone - 1, 0)

    async def _handle_alone(self, key: str, each: Decoded) -> None:
        """Handle an entry of which processes may have died, or park it if too many have."""
        attempts = await self._group.note_attempt(key, self._cursors.positions[key])
        if attempts > self._max_deliveries:
            await self._delivery.park_killer(key, each[0], deaths=attempts - 1)
        else:
            await self._deliver(key, [each])

    async def _deliver(self, key: str, found: Sequence[Decoded]) -> None:
        became = await self._delivery.deliver(key, [found])
        while isinstance(became, RetryLater):
            await self._rest(became.error, became.first)
            became = await self._delivery.deliver(key, became.left)
        self._go_on_after(became)

    def _go_on_after(self, became: Literal["done", "fenced"] | Reopen) -> None:
        match became:
            case "done":
                pass
            case "fenced":
                raise LeaseLost(str(self._group.partition))
            case Reopen(error, lasting):
                raise SinkNotReady(plain(error), lasting=lasting) from error
            case _:
                assert_never(became)

    async def _rest(self, error: Exception, first: Recorded) -> None:
        """Be unhealthy until the next attempt at a batch, of which `first` is the first event."""
        wait = self._health.retry(plain(error))
        self._observe.retried(self._group.partition)
        self._log.warning("retrying", error=plain(error), retry_in_seconds=round(wait, 1), **about(first))
        await self._group.forget_attempts()  # nobody died of it
        await self._status.report("retrying")
        await pause(self._stopping, wait)
        if self._stopping.is_set():
            raise LeaseLost("stopped while retrying") from error

    async def _wait(self, why: str) -> None:
        """Be unhealthy for a moment, until somebody else has acted."""
        if self._health.wait(why):
            self._log.warning("waiting", reason=why)
            await self._status.report("waiting")
        await pause(self._stopping, _WAIT_SECONDS)
        if self._stopping.is_set():
            raise LeaseLost("stopped while waiting")
