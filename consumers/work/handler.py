"""The work itself, as a worker calls it."""

from collections.abc import Sequence
from typing import Protocol

from playhead.consumers.errors import Retry
from playhead.consumers.work.task import Task
from playhead.projections.failures import classify
from playhead.streams.errors import RedisUnavailable
from playhead.streams.events import Event
from playhead.streams.sinks import Failure


class Handler(Protocol):
    """The work of a worker, for `Domain.worker(handler=...)`: what a function cannot say.

    Make its events with `task.event`: their ids derive from the cause and the step, so that another attempt adds
    nothing. What `append` refuses parks the event.
    """

    name: str
    streams: tuple[str, ...]
    types: frozenset[str]
    """Event types it works on; others are passed over."""
    ends: frozenset[str]
    """Event types after which nothing is left to do of what they are about."""

    def key(self, event: Event) -> str | None:
        """What an event, or an end, is about; None if it does not say."""
        ...

    async def handle(self, task: Task) -> Sequence[Event]:
        """Do the work, and return the events that are its outcome.

        Raises:
            Retry: later.
            Exception: one that `playhead.classify` calls transient means later too, any other that this event will
                never do.
        """
        ...

    def give_up(self, task: Task, reason: str) -> Sequence[Event]:
        """Return the events that say that the work failed permanently."""
        ...


def failure_of(error: Exception) -> Failure:
    """What an error of a handler means: only a transient one is tried again."""
    return "transient" if isinstance(error, Retry | RedisUnavailable) else classify(error)
