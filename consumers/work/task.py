"""What a worker is given to do."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Generic
from uuid import UUID, uuid5

import msgspec

from playhead.streams.appending.threads import contained
from playhead.streams.domains.settings import GivenValues, SettingValues
from playhead.streams.events import Event, Payload, Recorded, new_event

_NAMESPACE = UUID("5f0c3a52-6c0b-5f43-9a0c-2b2b7d2a4a11")


class Task(msgspec.Struct, Generic[Payload], frozen=True):
    """An event to work on; `append` records a step on the way, and is refused once another process has the event.

    An event that waits for something calls `listen` before it checks whether that has happened. The process that makes
    it happen calls `wake` with the same name, which ends the wait of a deferred event, or one about to be deferred.

    An async function calls what blocks as `await task.in_thread(function)`, in a thread of its worker.

    `settings[setting]` gives the value of a setting, for a worker that is a function.
    """

    worker: str
    cause: Recorded[Payload]
    attempt: int
    append: Callable[[Sequence[Event]], Awaitable[None]]
    listen: Callable[[str], Awaitable[None]]
    wake: Callable[[str], Awaitable[None]]
    in_thread: Callable[[Callable[[], Any]], Awaitable[Any]] = partial(asyncio.to_thread, contained)
    settings: SettingValues = GivenValues()
    ends: frozenset[str] = frozenset()
    """Types of which an event is the `outcome` if its step is omitted."""
    made: dict[str, str | None] = msgspec.field(default_factory=dict[str, str | None])
    """Ids of the events that `event` made, each with the step that it has because it was omitted."""

    @property
    def data(self) -> Payload:
        """The payload of the event, for a worker that is a function."""
        return self.cause.data

    def event(
        self,
        type: str,
        data: object,
        *,
        step: str | None = None,
        subject: str | None = None,
        time: datetime | None = None,
        dataschema: str | None = None,
    ) -> Event:
        """Make an event that the cause led to.

        Its id derives from the cause and the step, so a second attempt, or a process that lost its hold, adds nothing.
        If you omit the step, the one that ends the work is `outcome`, and any other is named after its type; those of
        the same name are numbered as they are appended. Pass a step if another attempt may omit some of them.
        """
        given, cause = step, self.cause.event
        if step is None:
            step = "outcome" if type in self.ends else type
        id = self.id_of(step)
        self.made[id] = step if given is None else None
        return new_event(
            type,
            subject=subject or cause.subject,
            data=data,
            source=source_of(self.worker),
            id=id,
            time=time,
            dataschema=dataschema,
            correlationid=cause.correlationid,
            causationid=cause.id,
            traceparent=cause.traceparent,
            tracestate=cause.tracestate,
        )

    def id_of(self, step: str) -> str:
        """The id of a step, the same one for every attempt."""
        parts = (self.worker, self.cause.event.id, self.cause.replay or "", step)
        return str(uuid5(_NAMESPACE, "\0".join(parts)))


def source_of(worker: str) -> str:
    """The source of the events that a worker appends."""
    return f"playhead/{worker}"
