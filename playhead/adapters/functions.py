"""Any function: `@record_job(producer)` records what each call came to."""

import asyncio
import inspect
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar, cast

import uuid_utils

from playhead.adapters.jobs import Describe, Finished, mapping, record, recording
from playhead.adapters.representation import text_of
from playhead.streams.appending.producer import Producer

P = ParamSpec("P")
R = TypeVar("R")


def record_job(producer: Producer, describe: Describe | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record `job.completed` or `job.failed` when the function ends; the caller gets its result or error.

    `describe` gets the call's arguments and returns a description of the job: id (a UUIDv7 if omitted), prompt,
    format, provider_config, metadata, correlation_id. An async function is recorded in a thread.

    Raises:
        TypeError: the function is a generator, which has no one result.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator, which has no one result to record")
        if inspect.iscoroutinefunction(function):
            return cast("Callable[P, R]", _asynchronous(producer, function, describe))

        @wraps(function)
        def recorded(*args: P.args, **kwargs: P.kwargs) -> R:
            call = _Call(producer, function, describe, args, kwargs)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:  # Ctrl-C, an exit and a cancellation end the job too
                call.ended("failed", error=error)
                raise
            call.ended("completed", result=result)
            return result

        return recorded

    return decorate


def _asynchronous(producer: Producer, function: Callable[..., Any], describe: Describe | None) -> Callable[..., Any]:
    @wraps(function)
    async def recorded(*args: object, **kwargs: object) -> object:
        call = _Call(producer, function, describe, args, kwargs)
        try:
            result = await function(*args, **kwargs)
        except BaseException as error:  # Ctrl-C, an exit and a cancellation end the job too
            await asyncio.to_thread(call.ended, "failed", error=error)
            raise
        await asyncio.to_thread(call.ended, "completed", result=result)
        return result

    return recorded


class _Call:
    """One run of a decorated function."""

    def __init__(
        self,
        producer: Producer,
        function: Callable[..., object],
        describe: Describe | None,
        args: tuple[object, ...],
        kwargs: Mapping[str, object],
    ) -> None:
        self._producer = producer
        self._started = datetime.now(UTC)
        self._name = f"{function.__module__}.{function.__qualname__}"
        self._described: dict[str, object] = {}
        with recording(self._name, calls_program=True):
            self._described = mapping(None if describe is None else describe(*args, **kwargs))
        given = self._described.get("id")
        self._job_id = ("" if given is None else text_of(given, str, repr)) or str(uuid_utils.uuid7())

    def ended(
        self, status: Literal["completed", "failed"], *, result: object = None, error: BaseException | None = None
    ) -> None:
        with recording(self._job_id):
            record(
                self._producer,
                Finished(
                    job_id=self._job_id,
                    attempt=self._started.isoformat(),
                    status=status,
                    created_at=self._started,
                    started_at=self._started,
                    metadata={"function": self._name},
                    description=self._described,
                    result=result,
                    error=error,
                ),
            )
