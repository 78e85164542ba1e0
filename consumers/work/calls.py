"""What one attempt calls in threads of its worker."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from typing import Any, TypeVar

from playhead.streams.appending.threads import Threads

_Result = TypeVar("_Result")


class Calls:
    """Calls of one attempt. A call cannot be stopped: it goes on when its attempt was canceled.

    One that waits for a thread when its attempt is canceled is never made.
    """

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._begun: list[Future[Any]] = []

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Call a function in a thread, in the context of this task.

        Raises:
            Exception: whatever the function raises.
        """
        future = self._threads.submit(partial(copy_context().run, function))
        self._begun = [*self._running(), future]
        return await asyncio.wrap_future(future)

    @property
    def are_running(self) -> bool:
        """Whether a thread is still at work for this attempt."""
        return bool(self._running())

    def when_over(self, then: Callable[[], None]) -> None:
        """Call a function in this event loop once no thread is at work for this attempt: now, if none is."""
        left = self._running()
        count = len(left)
        if not left:
            then()
            return
        loop = asyncio.get_running_loop()

        def one_less() -> None:
            nonlocal count
            count -= 1
            if not count:
                then()

        def ended(_: Future[Any]) -> None:
            with suppress(RuntimeError):  # the loop is closed: the process ends
                loop.call_soon_threadsafe(one_less)

        for future in left:
            future.add_done_callback(ended)

    def _running(self) -> list[Future[Any]]:
        return [future for future in self._begun if not future.done()]
