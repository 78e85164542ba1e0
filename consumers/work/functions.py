"""A worker that is a function: given a task, it returns the events that its work came to."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, cast

import msgspec

from playhead.consumers.work.task import Task
from playhead.streams.domains.domain import Read, Worker, resolve
from playhead.streams.domains.event_types import EventType, Stream, event_type_of
from playhead.streams.domains.place import Place
from playhead.streams.events import Event

Outcome = msgspec.Struct | Event
Outcomes = Outcome | Iterable[Outcome] | None


class FunctionHandler:
    """Calls a function for each task; one that is not async runs in a thread.

    Work on an event ends with an event of one of the declared types that was caused by it.
    """

    def __init__(self, worker: Worker, place: Place) -> None:
        assert worker.target is not None, "a handler makes itself"
        self.name = worker.name
        self.streams, self.types = place.streams, place.types
        self.ends = frozenset(_names(worker.ends))
        self._function: Callable[[Task[Any]], Any] = resolve(worker.target)
        self._is_async = inspect.iscoroutinefunction(self._function)
        self._declared = place.catalogue.types
        self._settings = place.settings

    def key(self, event: Event) -> str | None:
        """The event that the work is for."""
        return event.causationid if event.type in self.ends else event.id

    async def handle(self, task: Task[Any]) -> Sequence[Event]:
        """Call the function, and make events of what it returns.

        Raises:
            InvalidEvent: the payload has another form than its type.
            Exception: whatever the function raises.
        """
        declared = self._declared[task.cause.event.type]
        typed = msgspec.structs.replace(task, cause=declared.typed(task.cause), settings=self._settings)
        if self._is_async:
            returned = await cast("Awaitable[Outcomes]", self._function(typed))
        else:
            returned = cast("Outcomes", await asyncio.to_thread(self._function, typed))
        if returned is None:
            return []
        outcomes = [returned] if isinstance(returned, msgspec.Struct) else list(returned)
        return [_event(typed, number, outcome) for number, outcome in enumerate(outcomes)]

    def give_up(self, task: Task[Any], reason: str) -> Sequence[Event]:  # noqa: ARG002  # the event is parked with it
        """No event of its own: the parked one has the reason."""
        return []


def _event(task: Task[Any], number: int, outcome: Outcome) -> Event:
    """The id of the first is that of the only one, so that another one may follow it in a later version."""
    if isinstance(outcome, Event):
        return outcome
    declared: EventType[Any] = event_type_of(outcome)
    return task.event(
        declared.name,
        outcome,
        step="outcome" if number == 0 else f"outcome {number + 1}",
        subject=declared.subject_of(outcome),
        dataschema=declared.dataschema,
    )


def _names(reads: Iterable[Read]) -> Iterable[str]:
    for read in reads:
        if isinstance(read, Stream):
            yield from read.types
        else:
            yield read if isinstance(read, str) else event_type_of(read).name
