"""Given an event, when a worker works on it, then these are its outcome, its steps, or why it tries again."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from playhead.consumers.work.attempts import AttemptEnding, attempt
from playhead.consumers.work.functions import FunctionHandler
from playhead.consumers.work.handler import Handler
from playhead.consumers.work.task import Task
from playhead.consumers.work.worker import WorkerSettings
from playhead.streams.appending.core import checked
from playhead.streams.domains.catalogue import Catalogue
from playhead.streams.domains.discovery import installed
from playhead.streams.domains.domain import Domain, resolve
from playhead.streams.domains.place import Address
from playhead.streams.events import DEFAULT_SIZE_LIMIT, Event, Recorded
from playhead.testing.places import place_of
from playhead.testing.timeline import Timeline

WorkDelivery = Literal["once", "killed"]
"""`killed`: the first process dies between appending its outcome and saying so, and another one works on the event."""


class Worked(msgspec.Struct, frozen=True):
    """What one attempt came to.

    `outcome` has the events that it returned, or with which it gave up; `steps` those that it appended on the way.
    `after` has the seconds that it asked to wait, None if it did not say. `counts` is whether it was an attempt.
    """

    ending: AttemptEnding
    outcome: Sequence[Event]
    steps: Sequence[Event]
    error: Exception | None = None
    after: float | None = None
    counts: bool = True
    listened: Sequence[str] = ()
    woken: Sequence[str] = ()


class WorkerScenario:
    """One worker, given tasks as its process would, without Redis. What `append` refuses is refused.

    `appended` has every event that stands in a stream afterward: one that comes again with the same id adds nothing.
    """

    def __init__(
        self, handler: Handler, *, catalogue: Catalogue | None = None, max_attempts: int | None = None
    ) -> None:
        self.handler = handler
        self._catalogue = installed() if catalogue is None else catalogue
        self._max_attempts = WorkerSettings().max_attempts if max_attempts is None else max_attempts
        self._timeline = Timeline()
        self._appended: dict[str, Event] = {}

    @classmethod
    def of(
        cls,
        domain: Domain,
        name: str,
        *,
        database_url: Address = "",
        redis_url: Address = "",
        location: Path | str = "",
        settings: Mapping[str, object] | None = None,
    ) -> "WorkerScenario":
        """Make the scenario of a worker that a domain declares.

        Raises:
            KeyError: there is no such worker.
        """
        worker = domain.workers[name]
        place = place_of(
            domain, name, database_url=database_url, redis_url=redis_url, location=location, settings=settings
        )
        handler = FunctionHandler(worker, place) if worker.handler is None else resolve(worker.handler)(place)
        return cls(
            handler,
            catalogue=place.catalogue,
            max_attempts=max(WorkerSettings().max_attempts, worker.max_attempts or 1),
        )

    def when(
        self, event: msgspec.Struct, *, attempt: int = 1, delivery: WorkDelivery = "once", replay: str | None = None
    ) -> Worked:
        """Have an event, a payload or a whole one, worked on; the attempt is the one that lives.

        Raises:
            AssertionError: the worker passes events of this type over.
        """
        made = self._timeline.event(event)
        assert made.type in self.handler.types, f"{self.handler.name} does not work on {made.type}"
        recorded = msgspec.structs.replace(self._timeline.record(made), replay=replay)
        if delivery == "killed":
            asyncio.run(self._work(recorded, attempt))
            attempt += 1
        return asyncio.run(self._work(recorded, attempt))

    @property
    def appended(self) -> Sequence[Event]:
        """Every event that stands in a stream, in the order in which it was appended first."""
        return list(self._appended.values())

    @property
    def outcomes(self) -> list[msgspec.Struct]:
        """The payloads of what stands in a stream; an event whose type nobody declares is given whole."""
        return [self._payload(event) for event in self._appended.values()]

    async def _work(self, recorded: Recorded, number: int) -> Worked:
        appended: list[Event] = []
        listened: list[str] = []
        woken: list[str] = []

        async def append(events: Sequence[Event]) -> None:
            self._append(events)
            appended.extend(events)

        async def listen(name: str) -> None:
            listened.append(name)

        async def wake(name: str) -> None:
            woken.append(name)

        task = Task(self.handler.name, recorded, number, append=append, listen=listen, wake=wake)
        made = await attempt(self.handler, task, self._max_attempts)
        steps = appended[: len(appended) - len(made.outcome)]
        return Worked(made.ending, made.outcome, steps, made.error, made.after, made.counts, listened, woken)

    def _append(self, events: Sequence[Event]) -> None:
        """Append as a producer does: all of them, or none if one is refused."""
        taken = [checked(event, DEFAULT_SIZE_LIMIT, self._catalogue) for event in events]
        for event in taken:
            self._catalogue.stream_of(event.type, event.stream)
        for event in taken:
            self._appended.setdefault(event.id, event)

    def _payload(self, event: Event) -> msgspec.Struct:
        declared = self._catalogue.types.get(event.type)
        return event if declared is None else declared.decode(event)
