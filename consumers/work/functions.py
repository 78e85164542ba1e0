"""A worker that is a function: given a task, it returns the events that its work came to."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

import msgspec

from playhead.consumers.errors import OutcomeInvalid
from playhead.consumers.work.task import Task
from playhead.streams.domains.domain import Read, Worker, resolve
from playhead.streams.domains.event_types import EventType, Stream, event_type_of
from playhead.streams.domains.place import Place
from playhead.streams.errors import DomainInvalid
from playhead.streams.events import Event

Outcome = msgspec.Struct | Event


class FunctionHandler:
    """Calls a function for each task; one that is not async runs in a thread.

    Work on an event ends with an event of one of the declared types that was caused by it.

    Raises:
        DomainInvalid: `failed` is async.
    """

    def __init__(self, worker: Worker, place: Place) -> None:
        assert worker.target is not None, "a handler makes itself"
        self.name = worker.name
        self.streams, self.types = place.streams, place.types
        self.ends = frozenset(_names(worker.ends))
        who = place.catalogue.described(worker.name)
        self._function: Callable[[Task[Any]], Any] = resolve(worker.target, who)
        self._is_async = _is_async(self._function)
        self._failed: Callable[[Task[Any], str], Any] | None = (
            None if worker.failed is None else resolve(worker.failed, who)
        )
        if _is_async(self._failed):
            raise DomainInvalid(f"failed= of {self.name} must not be async: it makes an event, and the work is over")
        self._declared = place.catalogue.types
        self._settings = place.settings

    def key(self, event: Event) -> str | None:
        """The event that the work is for."""
        return event.causationid if event.type in self.ends else event.id

    async def handle(self, task: Task[Any]) -> Sequence[Event]:
        """Call the function, and make events of what it returns.

        Raises:
            InvalidEvent: the payload has another form than its type.
            OutcomeInvalid: what the function returned or appended is no event of this task, or none ends its work.
            Exception: whatever the function raises.
        """

        async def append(events: Sequence[Event]) -> None:
            _check_made(typed, events)
            await task.append(events)

        typed = msgspec.structs.replace(self._typed(task), append=append)
        returned = (
            self._function(typed) if self._is_async else await typed.in_thread(partial(_call, self._function, typed))
        )
        if inspect.isawaitable(returned):
            returned = await returned
        outcome = _events(typed, "outcome", returned)
        _check_made(typed, outcome)
        if self.ends.isdisjoint(event.type for event in outcome):
            found = ", ".join(event.type for event in outcome) or "nothing"
            raise OutcomeInvalid(
                f"{self.name} returned {found}, and its work ends with {' or '.join(sorted(self.ends))}: return one of"
                " these, or add the type to ends="
            )
        return outcome

    def give_up(self, task: Task[Any], reason: str) -> Sequence[Event]:
        """What `failed` makes of the reason; without it no event, because the parked one has the reason."""
        if self._failed is None:
            return []
        typed = self._typed(task)
        outcome = _events(typed, "failed", self._failed(typed, reason))
        _check_made(typed, outcome)
        return outcome

    def _typed(self, task: Task[Any]) -> Task[Any]:
        declared = self._declared[task.cause.event.type]
        return msgspec.structs.replace(task, cause=declared.typed(task.cause), settings=self._settings)


def _is_async(function: object) -> bool:
    """Whether it is an async function, or an object whose call is one."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _call(function: Callable[[Task[Any]], Any], task: Task[Any]) -> Any:
    """Call it, and run through what it yields, in the same thread."""
    returned = function(task)
    return list(cast("Iterable[Outcome]", returned)) if inspect.isgenerator(returned) else returned


def _events(task: Task[Any], step: str, returned: Any) -> list[Event]:
    """The id of the first is that of the only one, so that another one may follow it in a later version."""
    if returned is None:
        return []
    outcomes = [returned] if isinstance(returned, msgspec.Struct) else returned
    if not isinstance(outcomes, Iterable):
        raise OutcomeInvalid(f"{task.worker} returned {outcomes!r:.200}: return a Struct, several of them, or None")
    each = enumerate(cast("Iterable[Any]", outcomes))
    return [_event(task, step if number == 0 else f"{step} {number + 1}", one) for number, one in each]


def _event(task: Task[Any], step: str, outcome: Any) -> Event:
    if isinstance(outcome, Event):
        return outcome
    if not isinstance(outcome, msgspec.Struct):
        raise OutcomeInvalid(f"{task.worker} returned {outcome!r:.200}, which is no event")
    declared: EventType[Any] = event_type_of(outcome)
    event = task.event(
        declared.name,
        outcome,
        step=step,
        subject=declared.subject_of(outcome),
        dataschema=declared.dataschema,
    )
    task.made[event.id] = step  # the function did not give it
    return event


def _check_made(task: Task[Any], events: Iterable[Event]) -> None:
    """Refuse an event that a second attempt would append again."""
    for event in events:
        if event.id not in task.made:
            raise OutcomeInvalid(
                f"the {event.type} of {task.worker} has an id of its own, so that another attempt would append another"
                " one: return the Struct, or make it with task.event(...)"
            )


def _names(reads: Iterable[Read]) -> Iterable[str]:
    for read in reads:
        if isinstance(read, Stream):
            yield from read.types
        else:
            yield read if isinstance(read, str) else event_type_of(read).name
