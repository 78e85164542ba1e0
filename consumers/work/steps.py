"""The events that one attempt appends: no two different ones have the same id."""

from collections.abc import Awaitable, Callable, Sequence

import msgspec

from playhead.consumers.errors import OutcomeInvalid
from playhead.consumers.work.task import Task
from playhead.streams.events import Event


class Steps:
    """Appends the events of one attempt. Those whose step was omitted are numbered in the order in which they come.

    So another attempt that does the same appends nothing new. Equal events are one, as when a step is repeated.
    """

    def __init__(self, task: Task, append: Callable[[Sequence[Event]], Awaitable[None]]) -> None:
        self._task, self._append = task, append
        self._taken: dict[str, Event] = {}

    async def append(self, events: Sequence[Event]) -> None:
        """Append events.

        Raises:
            OutcomeInvalid: two different ones are the same step.
            HoldLost: another process has the event.
            InvalidEvent: one is refused; none was appended.
        """
        await self.append_numbered(events)

    async def append_numbered(self, events: Sequence[Event]) -> list[Event]:
        """Append events; return them as they were appended. Raises what `append` raises."""
        before = self._taken
        self._taken = dict(before)  # another append may begin meanwhile
        numbered = [self._numbered(event) for event in events]
        try:
            await self._append(numbered)
        except BaseException:
            for event in numbered:
                if event.id not in before:
                    self._taken.pop(event.id, None)
            raise
        return numbered

    def _numbered(self, event: Event) -> Event:
        step, number = self._task.made.get(event.id), 1
        while (other := self._taken.setdefault(event.id, event)) is not event and not _are_equal(other, event):
            if step is None:
                raise OutcomeInvalid(
                    f"{self._task.worker} made {other.type} and {event.type} as the same step, so that one would be"
                    " taken for the other: pass another step= to task.event(...)"
                )
            number += 1
            event = msgspec.structs.replace(event, id=self._task.id_of(f"{step} {number}"))
        return event


def _are_equal(one: Event, other: Event) -> bool:
    return (one.type, one.subject, one.data) == (other.type, other.subject, other.data)
