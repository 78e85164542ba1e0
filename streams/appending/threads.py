"""Threads that do for an event loop what would block it."""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")


_NO_RESULTS = (StopIteration, GeneratorExit, SystemExit, KeyboardInterrupt, asyncio.CancelledError, CancelledError)
"""What a coroutine cannot raise, or what would end its loop, or cancel it."""


def contained(work: Callable[[], Result]) -> Result:
    """Call code of a domain for a coroutine that waits for it in another thread.

    Set on a future, a StopIteration leaves the coroutine waiting for ever, a SystemExit ends its process without a
    word, and a CancelledError looks like a stop.

    Raises:
        RuntimeError: the code raised one of these.
        Exception: whatever else it raises.
    """
    try:
        return work()
    except _NO_RESULTS as error:
        raise as_error(error) from error


def as_error(raised: BaseException) -> RuntimeError:
    """What is raised instead of an exception that is no error."""
    return RuntimeError(f"{type(raised).__name__} was raised: {raised}")


class Threads:
    """Up to `limit` daemon threads, started when needed.

    The executor of `concurrent.futures` would keep a program that ends until Redis answers or times out, and hangs
    in a forked child. Here, a job whose program ends is abandoned, and a child starts threads of its own.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._start_over()

    def submit(self, work: Callable[[], Result]) -> "Future[Result]":
        """Call the function in a thread."""
        if self._pid != os.getpid():
            self._start_over()
        future: Future[Result] = Future()
        with self._lock:
            self._jobs.put(partial(_do, future, work))
            if not self._idle.acquire(blocking=False) and self._count < self._limit:
                self._count += 1
                threading.Thread(
                    target=_run, args=(self._jobs, self._idle), name=f"{self._name}-{self._count}", daemon=True
                ).start()
        return future

    async def call(self, work: Callable[[], Result]) -> Result:
        """Call the function in a thread, in the context of this task, and wait for its result."""
        return await asyncio.wrap_future(self.submit(partial(copy_context().run, work)))

    def stop(self) -> None:
        """Let the threads end once the jobs they have are done; `submit` starts new ones."""
        with self._lock:
            jobs, count = self._jobs, self._count
            self._start_over()
        for _ in range(count):
            jobs.put(None)

    def _start_over(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._count = 0


def run_to_end(name: str, work: Callable[[], Result]) -> "Future[Result]":
    """Call the function in a thread that a program which ends waits for.

    A daemon thread that imports something when the program ends keeps the lock of imports, and the program never ends.
    """
    future: Future[Result] = Future()
    threading.Thread(target=_do, args=(future, work), name=name).start()
    return future


def _do(future: "Future[Result]", work: Callable[[], Result]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(contained(work))
    except BaseException as error:  # noqa: BLE001  whoever waits for it gets it
        future.set_exception(error)
    finally:
        del future, work  # the traceback of a failure keeps this frame, which would keep the failure


def _run(jobs: "SimpleQueue[Callable[[], None] | None]", idle: threading.Semaphore) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # and the events it holds
        idle.release()
