"""Tasks that end when they are told to, and pauses that end early then."""

import asyncio
from contextlib import suppress


async def end(*tasks: "asyncio.Task[object]") -> None:
    """Cancel tasks until they have ended, whatever they ended with.

    Once is not enough: a cancellation that arrives together with the reply that a task waits for can be swallowed on
    the way (https://github.com/python/cpython/issues/81839), and the task would go on for ever.
    """
    waiting = set(tasks)
    while waiting:
        for task in waiting:
            task.cancel()
        ended, waiting = await asyncio.wait(waiting, timeout=1)
        for task in ended:
            if not task.cancelled():
                task.exception()


async def pause(until: asyncio.Event, seconds: float) -> None:
    """Wait so long, or until the event is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(until.wait(), seconds)
