"""What tasks of one event loop append at once, made into batches: one in flight for each partition."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial

import msgspec

from playhead.streams.appending.core import BATCH_BYTES, BATCH_EVENTS
from playhead.streams.appending.threads import Threads, run_to_end
from playhead.streams.errors import PlayheadError
from playhead.streams.events import Event
from playhead.streams.partitions import Partition
from playhead.streams.positions import Position

STEPS = 32
"""Steps that one iteration of the event loop takes; each is the appending of a small event, some 20 microseconds."""

Positions = Sequence[Position | None]
Deliver = Callable[[Partition, Sequence[Event]], Positions]


class Turns:
    """Spreads steps over the iterations of an event loop, in order, so that everything else gets its turn between.

    A thousand tasks that append at once, or whose batch is done, would otherwise all run in one iteration.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._left = STEPS
        self._renewing = False

    def hold(self) -> None:
        """Let everything wait until `go_on`."""
        self._left, self._renewing = 0, True

    def go_on(self) -> None:
        """Let what waits have its turns."""
        self._renew()

    async def take(self) -> None:
        """Go on now, or in a later iteration if this one has had its steps."""
        if self._left and not self._waiting:
            self._left -= 1
            self._renew_soon()
            return
        turn: asyncio.Future[None] = self._loop.create_future()
        self.later(partial(_settle, turn, None))
        await turn

    def later(self, step: Callable[[], None]) -> None:
        """Call the function behind all that wait."""
        self._waiting.append(step)
        self._renew_soon()

    def _renew_soon(self) -> None:
        if not self._renewing:
            self._renewing = True
            self._loop.call_soon(self._renew)

    def _renew(self) -> None:
        self._renewing = False
        self._left = STEPS
        while self._left and self._waiting:
            self._left -= 1
            self._waiting.popleft()()
        if self._left < STEPS:
            self._renew_soon()


class Unit(msgspec.Struct, frozen=True, eq=False):
    """Events that one caller appends to one partition; they stay together, and succeed or fail together."""

    events: Sequence[Event]
    bytes: int
    done: "asyncio.Future[Positions]"


class Lanes:
    """A queue for each partition. What waits when a batch is done is the next batch, in the order in which it came.

    Nothing has its turn before `prepare` has returned, in a thread, or failed; then `problem` says why.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        threads: Threads,
        deliver: Deliver,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.turns = Turns(loop)
        self.problem: BaseException | None = None
        self.looking = asyncio.Lock()
        """Held by the task that asks Redis for the partitions of a stream."""
        self._loop = loop
        self._threads = threads
        self._deliver = deliver
        self._waiting: dict[Partition, deque[Unit]] = {}
        self._in_flight: dict[Partition, list[Unit]] = {}
        if prepare is not None:
            self.turns.hold()
            run_to_end("playhead-preparing", prepare).add_done_callback(
                lambda job: self._soon(partial(self._go_on, job))
            )

    def put(self, partition: Partition, events: Sequence[Event]) -> "asyncio.Future[Positions]":
        """Append a batch; one whose future is canceled before its turn comes is not sent."""
        unit = Unit(events, sum(len(event.data) for event in events), self._loop.create_future())
        waiting = self._waiting.get(partition)
        if waiting is None:
            self._waiting[partition] = deque([unit])
            self._loop.call_soon(self._start, partition)  # with what other tasks append in this iteration
        else:
            waiting.append(unit)
        return unit.done

    def unfinished(self) -> "list[asyncio.Future[Positions]]":
        """What waits, and what is in flight."""
        return [unit.done for queue in (*self._in_flight.values(), *self._waiting.values()) for unit in queue]

    def _start(self, partition: Partition) -> None:
        units = _next_batch(self._waiting[partition])
        if not units:
            del self._waiting[partition]
            return
        self._in_flight[partition] = units
        job = self._threads.submit(partial(_outcomes, self._deliver, partition, [unit.events for unit in units]))
        job.add_done_callback(lambda job: self._soon(partial(self._end, partition, job)))

    def _go_on(self, job: "Future[object]") -> None:
        self.problem = job.exception()
        self.turns.go_on()

    def _soon(self, step: Callable[[], None]) -> None:
        """Call it in the event loop, from any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(step)

    def _end(self, partition: Partition, job: "Future[list[Positions | Exception]]") -> None:
        units = self._in_flight.pop(partition)
        self._start(partition)
        for unit, outcome in zip(units, job.result(), strict=True):
            self.turns.later(partial(_settle, unit.done, outcome))


def _next_batch(waiting: deque[Unit]) -> list[Unit]:
    units: list[Unit] = []
    events, size = 0, 0
    while waiting:
        unit = waiting[0]
        events, size = events + len(unit.events), size + unit.bytes
        if units and (events > BATCH_EVENTS or size > BATCH_BYTES):
            break
        waiting.popleft()
        if unit.done.done():  # canceled
            events, size = events - len(unit.events), size - unit.bytes
        else:
            units.append(unit)
    return units


def _settle(future: "asyncio.Future[Positions] | asyncio.Future[None]", outcome: Positions | Exception | None) -> None:
    if future.done():  # its caller was canceled
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)  # pyright: ignore[reportArgumentType]  # what the future is for


def _outcomes(deliver: Deliver, partition: Partition, units: list[Sequence[Event]]) -> list[Positions | Exception]:
    """What became of each caller's events, sent together.

    What Redis answers to all of a partition, such as that it is away, is the answer to each. For anything else, one
    of them may be to blame: each is sent again by itself, which adds no event that is in.
    """
    try:
        positions = deliver(partition, [event for events in units for event in events])
    except PlayheadError as error:
        return [error] if len(units) == 1 else [_same(error) for _ in units]
    except Exception as error:  # noqa: BLE001  its caller gets it
        return [error] if len(units) == 1 else [_outcomes(deliver, partition, [events])[0] for events in units]
    rest = iter(positions)
    return [[next(rest) for _ in events] for events in units]


def _same(error: PlayheadError) -> PlayheadError:
    """An exception for each task: one that many raise would collect the tracebacks of all."""
    copy = type(error)(*error.args)
    copy.__cause__ = error.__cause__
    return copy
