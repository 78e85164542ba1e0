"""The thread of a sink."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from playhead.streams.appending.threads import contained

_Result = TypeVar("_Result")


class SinkThread:
    """Runs what blocks: the sink, and what is read from the log for it."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    async def call(self, function: Callable[[], _Result]) -> _Result:
        """Run a function there, and wait for its result."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, contained, function)
