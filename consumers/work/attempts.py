"""One attempt at an event: the work is done, its outcome appended, and if it failed, what that means."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Literal, cast

import msgspec

from playhead.consumers.errors import HoldLost, OutcomeInvalid, Retry
from playhead.consumers.reasons import reason_of
from playhead.consumers.work.handler import Handler, failure_of
from playhead.consumers.work.steps import Steps
from playhead.consumers.work.task import Task
from playhead.streams import failpoints
from playhead.streams.appending.threads import as_error, contained
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event
from playhead.streams.failpoints import Point

AttemptEnding = Literal["done", "retry", "gave up"]
ReasonClass = Literal["killed", "gave up", "refused"]


class Attempt(msgspec.Struct, frozen=True):
    """What one attempt came to.

    `outcome` was appended. `after` has the seconds that a retry asked to wait, None if it did not say, and `counts` is
    whether it was an attempt. An event that is given up is parked with `reason` and `reason_class`; `refused` is why
    the event that says so could not be appended, None if it was, or there is none.
    """

    ending: AttemptEnding
    outcome: Sequence[Event] = ()
    error: Exception | None = None
    after: float | None = None
    counts: bool = True
    reason: str = ""
    reason_class: ReasonClass = "refused"
    refused: Exception | None = None


async def attempt(
    handler: Handler, task: Task, max_attempts: int, working: AbstractContextManager[None] | None = None
) -> Attempt:
    """Do the work within `working`, unless the event has killed its process too often.

    An outcome that `append` refuses is a failure of the event, which no retry can mend.

    Raises:
        HoldLost: another process has the event.
        PlayheadError: Redis refuses whatever is appended.
    """
    steps = Steps(task, task.append)
    task = msgspec.structs.replace(task, append=steps.append, ends=handler.ends)
    if task.attempt > max_attempts:
        return await _give_up(
            handler, task, steps, f"the process died {task.attempt - 1} times while working on it", "killed"
        )
    try:
        with working or nullcontext():
            outcome = _events(await _handle(handler, task))
    except HoldLost:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a handler raises is told apart below
        return await _failed(handler, task, steps, max_attempts, error)
    failpoints.reach(Point.BEFORE_OUTCOME)
    try:
        outcome = await steps.append_numbered(outcome)
    except (InvalidEvent, OutcomeInvalid) as error:
        return await _failed(handler, task, steps, max_attempts, error)
    return Attempt("done", outcome)


async def _handle(handler: Handler, task: Task) -> Sequence[Event]:
    """Do the work; what it raises must not end the loop, nor look like a stop."""
    try:
        return await handler.handle(task)
    except SystemExit as error:
        raise as_error(error) from error
    except asyncio.CancelledError as error:
        current = asyncio.current_task()
        if current is None or current.cancelling():
            raise
        raise as_error(error) from error


async def _failed(handler: Handler, task: Task, steps: Steps, max_attempts: int, error: Exception) -> Attempt:
    passing = failure_of(error) == "transient"
    after, counts = (error.after, error.counts) if isinstance(error, Retry) else (None, True)
    if passing and (task.attempt < max_attempts or not counts):
        return Attempt("retry", error=error, after=after, counts=counts)
    reason = reason_of(error)
    given_up = await _give_up(handler, task, steps, reason, "gave up" if passing else "refused")
    return msgspec.structs.replace(given_up, error=error, after=after, counts=counts)


async def _give_up(handler: Handler, task: Task, steps: Steps, reason: str, reason_class: ReasonClass) -> Attempt:
    """Append what the handler says of the failure; an event is parked even if that cannot be."""
    try:
        outcome = _events(contained(partial(handler.give_up, task, reason)))
    except Exception as error:  # noqa: BLE001  # whatever is wrong with it, the event is parked
        return _unsaid(reason, reason_class, error)
    try:
        outcome = await steps.append_numbered(outcome)
    except (InvalidEvent, OutcomeInvalid) as error:
        return _unsaid(reason, reason_class, error)
    return Attempt("gave up", outcome, reason=reason, reason_class=reason_class)


def _unsaid(reason: str, reason_class: ReasonClass, error: Exception) -> Attempt:
    reason = f"{reason}; no event says so, because that was refused: {reason_of(error)}"
    return Attempt("gave up", reason=reason, reason_class=reason_class, refused=error)


def _events(returned: Sequence[Event]) -> Sequence[Event]:
    given = cast("Any", returned)
    if not isinstance(given, list | tuple) or not all(isinstance(one, Event) for one in cast("Any", given)):
        raise OutcomeInvalid(f"a handler returns a list of events, not {given!r:.200}")
    return returned
