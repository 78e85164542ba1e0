"""The loop of a worker: processes compete for entries, and hold each while they do outside work for it."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog
from redis.exceptions import ResponseError

from playhead.consumers.backoff import Backoff
from playhead.consumers.errors import HoldLost
from playhead.consumers.tasks import pause
from playhead.consumers.work.attempts import Attempt, attempt
from playhead.consumers.work.calls import Calls
from playhead.consumers.work.handler import Handler
from playhead.consumers.work.holds import Held, Holds
from playhead.consumers.work.observer import WorkObserver
from playhead.consumers.work.recovery import WAITING, WorkRecovery
from playhead.consumers.work.task import Task
from playhead.eventlog.errors import LogCorrupt
from playhead.eventlog.history import History
from playhead.streams import failpoints
from playhead.streams.appending.threads import Threads
from playhead.streams.entries import RawEntry, decode
from playhead.streams.errors import InvalidEvent, KeyDamaged, RedisUnavailable
from playhead.streams.events import Event, Recorded
from playhead.streams.failpoints import Point
from playhead.streams.redis.refusals import AWAY, is_passing
from playhead.streams.telemetry import about

_Result = TypeVar("_Result")

_REDIS_AWAY = (*AWAY, RedisUnavailable)
_WAIT = 0.25


class WorkerSettings(msgspec.Struct, frozen=True):
    """How a worker works; times in seconds.

    An entry that nobody renews for `hold` is another process's. After attempt n it waits `first_delay` doubled n - 1
    times, up to `longest_delay`, less a random half. `grace` is what work in hand has left after the process was told
    to stop.
    """

    concurrency: int = 4
    hold: float = 30.0
    max_attempts: int = 5
    first_delay: float = 1.0
    longest_delay: float = 600.0
    grace: float = 20.0


class _InHand(msgspec.Struct, frozen=True):
    """An entry that is worked on, where it stands, and what is called for it in threads."""

    holds: Holds
    entry: RawEntry
    calls: Calls


class Worker:
    """Takes entries of every partition, as many at once as the settings say."""

    def __init__(
        self,
        handler: Handler,
        holds: Sequence[Holds],
        settings: WorkerSettings,
        append: Callable[[Sequence[Event]], Awaitable[None]],
        observe: WorkObserver,
        history: History | None = None,
        rivals: Iterable[str] = (),
    ) -> None:
        self.problem: str | None = "not started yet"
        self._handler, self._settings, self._append = handler, settings, append
        self._holds = [one for partition in holds for one in (partition, partition.again())]
        self._recoveries = {one: WorkRecovery(handler, one, history, rivals) for one in holds}
        self._observe = observe
        self._slots = asyncio.Semaphore(settings.concurrency)
        self._threads = Threads(f"{handler.name}-working", settings.concurrency)
        self._in_hand: dict[asyncio.Task[None], _InHand] = {}
        self._ending: set[bytes] = set()
        self._stopping = asyncio.Event()
        self._stopped = asyncio.Event()
        self._log = structlog.get_logger().bind(projection=handler.name)

    def stop(self) -> None:
        """Take nothing more, and return from `run` when the work in hand is done or its grace is over."""
        self._stopping.set()
        for _ in self._holds:
            self._slots.release()  # whoever waits for one sees that it is over

    async def run(self) -> None:
        """Work until stopped.

        Raises:
            Exception: what no retry can mend.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_holds())
            try:
                for taking in [group.create_task(self._take_on(holds, group)) for holds in self._holds]:
                    await taking
                wait = self._settings.grace
                while self._in_hand:
                    _, late = await asyncio.wait(self._in_hand, timeout=wait)
                    for task in late:
                        task.cancel()
                    wait = _WAIT  # redis-py may take a cancellation for a time-out of its own
            finally:
                self._stopping.set()
                self._stopped.set()
                self._threads.stop()
        for holds in self._holds:
            with suppress(*_REDIS_AWAY, ResponseError):
                await holds.leave()
                if not holds.is_private:
                    await holds.report("stopped")

    async def _take_on(self, holds: Holds, group: asyncio.TaskGroup) -> None:
        """Take one entry whenever a slot is free, until stopped."""
        while not self._stopping.is_set():
            with suppress(RedisUnavailable):  # stopped meanwhile
                newest = await self._once_redis_answers(partial(self._take_one, holds, group), holds, taking=True)
                self.problem = None
                if newest is not None and not self._stopping.is_set():
                    await self._once_redis_answers(partial(holds.wait, newest, _WAIT), holds, taking=True)

    async def _bring_back(self, holds: Holds) -> str | None:
        """Create a group that is not there; why that cannot be done yet, or None."""
        try:
            if holds.is_private:
                await holds.create()
                return None
            waiting = await self._recoveries[holds].begin()
        except (*_REDIS_AWAY, ResponseError, LogCorrupt, KeyDamaged, OSError) as error:
            return str(error)
        if waiting is None:
            for task, one in self._in_hand.items():
                if one.holds is holds:  # it is given again, to us or to another
                    task.cancel()
        return waiting

    async def _take_one(self, holds: Holds, group: asyncio.TaskGroup) -> bytes | None:
        """Start work on an entry; if there is none, give the id after which to wait."""
        if holds.is_private:
            await holds.give_again()
        await self._slots.acquire()
        started = False
        try:
            if self._stopping.is_set():
                return None
            taken = await holds.take(1)
            for entry_id in taken.lost:
                self._observe.lost(holds.partition)
                self._log.error("the entry is gone from the stream", position=entry_id.decode())
            for held in taken.held:
                failpoints.reach(Point.AFTER_READ)
                calls = Calls(self._threads)
                task = group.create_task(self._work(holds, held, calls))
                self._in_hand[task] = _InHand(holds, held.entry, calls)
                task.add_done_callback(self._ended)
                started = True
        finally:
            if not started:
                self._slots.release()
        return None if started or taken.lost else taken.newest

    def _ended(self, task: "asyncio.Task[None]") -> None:
        one = self._in_hand.pop(task)
        self._ending.discard(one.entry.entry_id)
        one.calls.when_over(self._slots.release)

    async def _work(self, holds: Holds, held: Held, calls: Calls) -> None:
        """Bring one entry to its end: outcome appended, deferred, or parked."""
        log = self._log.bind(partition=str(holds.partition), attempt=held.attempt, **about(held.entry))
        try:
            await self._work_on(holds, held, calls, log)
        except HoldLost:
            log.warning("another process has taken the entry over")
            self._observe.ended(holds.partition, "taken over")
        except asyncio.CancelledError:
            if not self._stopping.is_set():
                log.warning("another process has taken the entry over")
                self._observe.ended(holds.partition, "taken over")
                return
            log.warning("stopped before the work was done")
            # A thread goes on until the process has ended: nobody else may work on the event meanwhile.
            delay = self._settings.hold if calls.are_running else 0
            with suppress(HoldLost, *_REDIS_AWAY, ResponseError):
                await holds.postpone(held.entry, delay, counts=False)

    async def _work_on(self, holds: Holds, held: Held, calls: Calls, log: Any) -> None:
        entry = held.entry
        try:
            recorded = decode(entry, copied=holds.is_private)
        except InvalidEvent as error:
            await self._park(holds, held, str(error), "undecodable", log)
            return

        task = self._task(holds, held, recorded, calls)
        working = self._observe.working(holds.partition, recorded)
        made = await attempt(self._handler, task, self._settings.max_attempts, working)
        if made.ending == "retry":
            await self._defer(holds, held, made, log)
            return
        if made.ending == "gave up":
            if made.refused is not None:
                log.error("the event that says so was refused", error=type(made.refused).__name__)
            await self._park(holds, held, made.reason, made.reason_class, log)
            return
        failpoints.reach(Point.BEFORE_ACK)
        await self._end(holds, entry, partial(holds.finish, entry))
        failpoints.reach(Point.AFTER_ACK)
        self._observe.ended(holds.partition, "done")

    def _task(self, holds: Holds, held: Held, recorded: Recorded, calls: Calls) -> Task:
        async def append(events: Sequence[Event]) -> None:
            if await holds.keep([held.entry]):
                raise HoldLost(str(recorded.position))
            await self._append(events)

        def append_patiently(events: Sequence[Event]) -> Awaitable[None]:
            return self._once_redis_answers(partial(append, events), holds)

        def listen(name: str) -> Awaitable[None]:
            return self._once_redis_answers(partial(holds.listen, held.entry, name), holds)

        async def wake(name: str) -> None:
            for each in self._holds:
                if each.partition == holds.partition:
                    await self._once_redis_answers(partial(each.wake, name), each)

        return Task(self._handler.name, recorded, held.attempt, append_patiently, listen, wake, calls.call)

    async def _defer(self, holds: Holds, held: Held, made: Attempt, log: Any) -> None:
        delay = self._longest_delay(held.attempt) * random.uniform(0.5, 1.0) if made.after is None else made.after
        said = type(made.error).__name__  # the message may quote the payload
        why = said if made.counts else str(made.error)  # what it waits for has no payload
        log.warning("to be tried again", error=why, retry_in_seconds=round(delay, 1))
        await self._end(holds, held.entry, partial(holds.postpone, held.entry, delay, counts=made.counts))
        self._observe.ended(holds.partition, "put off")

    async def _park(self, holds: Holds, held: Held, reason: str, reason_class: str, log: Any) -> None:
        await self._end(holds, held.entry, partial(holds.park, held.entry, reason, reason_class=reason_class))
        self._observe.ended(holds.partition, "parked")
        log.error("parked", reason_class=reason_class, reason=reason.partition(":")[0])

    def _longest_delay(self, attempt: int) -> float:
        return min(self._settings.first_delay * 2 ** (attempt - 1), self._settings.longest_delay)

    async def _end(self, holds: Holds, entry: RawEntry, end: Callable[[], Awaitable[None]]) -> None:
        """Let go of an entry; from here on it may be gone from our hands without anybody having taken it over."""
        self._ending.add(entry.entry_id)
        await self._once_redis_answers(end, holds)

    async def _keep_holds(self) -> None:
        """Renew what is in hand, and cancel the work on what another process has taken over."""
        while not self._stopped.is_set():
            for holds in self._holds:
                mine = {one.entry.entry_id: task for task, one in self._in_hand.items() if one.holds is holds}
                entries = [one.entry for one in self._in_hand.values() if one.holds is holds]
                with suppress(*_REDIS_AWAY, ResponseError, KeyDamaged):
                    for entry_id in await holds.keep(entries) - self._ending:
                        if not mine[entry_id].done():
                            mine[entry_id].cancel()
                    if not holds.is_private:
                        await holds.report("running")
                        if await self._recoveries[holds].is_due():
                            await self._bring_back(holds)
            await pause(self._stopped, self._settings.hold / 4)

    async def _once_redis_answers(
        self, ask: Callable[[], Awaitable[_Result]], holds: Holds, *, taking: bool = False
    ) -> _Result:
        """Ask until Redis answers: what the work cost is not thrown away because Redis is away for a while.

        Raises:
            RedisUnavailable: only while `taking`, which ends when the worker is to stop.
        """
        backoff = Backoff()
        while True:
            try:
                return await ask()
            except (*_REDIS_AWAY, ResponseError) as error:
                problem = str(error)
                if isinstance(error, ResponseError) and not (is_passing(error) or problem.startswith("NOGROUP")):
                    problem = f"{problem}. {KeyDamaged.__doc__}"
                if problem.startswith("NOGROUP"):
                    if not taking:
                        raise HoldLost(str(holds.partition)) from error  # who brings the group back gives it again
                    if (waiting := await self._bring_back(holds)) is None:
                        continue
                    problem = waiting
            if taking and self._stopping.is_set():
                raise RedisUnavailable(problem)
            self.problem = f"redis unavailable: {problem}" if problem is not WAITING else problem
            wait = backoff.next()
            self._log.warning("redis unavailable", error=problem, retry_in_seconds=round(wait, 1))
            await (pause(self._stopping, wait) if taking else asyncio.sleep(wait))
