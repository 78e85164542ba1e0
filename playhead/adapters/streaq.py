"""streaq: `record(worker, producer)` once, where the worker is made.

`describe` gets the arguments of a task and gives what is known of the job: prompt, format, provider_config, metadata,
correlation_id. A task that is tried again has no outcome yet, so that attempt is not recorded.

A middleware of streaq sees neither a task that was aborted, expired, clashed or ran out of attempts, nor whether one
that timed out is tried again. The worker's own methods that finish a task do, so those are what this wraps.
"""

from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from streaq import Worker
from streaq.types import StreamMessage

from playhead.adapters.jobs import Describe, Finished, mapping, record_async, recording
from playhead.streams.appending.async_producer import AsyncProducer

_described: ContextVar[tuple[str, dict[str, object]]] = ContextVar("_described", default=("", {}))


def record(worker: Worker[Any], producer: AsyncProducer, describe: Describe | None = None) -> None:
    """Record the outcome of every task that a worker finishes, before the worker acknowledges it.

    Give it the one producer of the program, and close that in the worker's lifespan.

    Raises:
        ValueError: the worker runs on trio, and the producer on asyncio only.
    """
    if worker.anyio_backend != "asyncio":
        raise ValueError(f"the worker runs on {worker.anyio_backend}: make it with anyio_backend='asyncio'")
    recorder = _Recorder(producer)
    for name, hook in {
        "finish_task": recorder.finished,
        "finish_failed_task": recorder.not_run,
        "fail_task_dependents": recorder.dependents_failed,
    }.items():
        setattr(worker, name, _before(hook, getattr(worker, name)))
    if describe is not None:
        _remember_descriptions(worker, describe)


class _Recorder:
    """Each method is called with what the worker's method of that purpose is called with."""

    def __init__(self, producer: AsyncProducer) -> None:
        self._producer = producer

    async def finished(
        self,
        msg: StreamMessage,
        *,
        finish: bool,
        success: bool,
        return_value: object,
        fn_name: str,
        tries: int,
        created_time: int,
        start_time: int,
        **_: object,
    ) -> None:
        if not finish:
            return
        task_id, described = _described.get()
        error = return_value if isinstance(return_value, BaseException) else None
        await record_async(
            self._producer,
            Finished(
                job_id=msg.task_id,
                attempt=msg.message_id,  # a redelivery keeps it, though streaq counts it as another try
                status="completed" if success else "failed",
                created_at=_moment(created_time),
                started_at=_moment(start_time),
                metadata={"function": fn_name},
                description=described if task_id == msg.task_id else {},
                result=return_value if success else None,
                error=error,
                retry_count=tries - 1,
            ),
        )

    async def not_run(
        self,
        msg: StreamMessage,
        exc: BaseException,
        tries: int,
        created_time: int,
        fn_name: str = "Unknown",
        **_: object,
    ) -> None:
        """`tries` counts this attempt, which the worker did not make."""
        created = created_time or msg.enqueue_time
        await self._failed(msg.task_id, msg.message_id, fn_name, exc, created, tries)

    async def dependents_failed(self, dependents: list[str], *_: object) -> None:
        now = datetime.now(UTC).isoformat()  # streaq asks once: it has acknowledged the task that failed
        for task_id in dependents:
            await self._failed(task_id, now, "Unknown", "a task that it depends on failed", None, 0)

    async def _failed(
        self,
        task_id: str,
        attempt: str,
        function: str,
        error: BaseException | str,
        created_time: int | None,
        tries: int,
    ) -> None:
        failed = Finished(
            job_id=task_id,
            attempt=attempt,
            status="failed",
            created_at=_moment(created_time) if created_time else datetime.now(UTC),
            started_at=None,
            metadata={"function": function},
            description={},
            error=error,
            retry_count=max(tries - 2, 0),
        )
        await record_async(self._producer, failed)


def _before(hook: Callable[..., Awaitable[None]], method: Callable[..., Awaitable[None]]) -> Callable[..., object]:
    async def both(*args: Any, **kwargs: Any) -> None:
        with recording(getattr(args[0], "task_id", args[0])):
            await hook(*args, **kwargs)
        await method(*args, **kwargs)

    return both


def _remember_descriptions(worker: Worker[Any], describe: Describe) -> None:
    def middleware(task: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def described(*args: Any, **kwargs: Any) -> object:
            task_id = registered.context.task_id
            with recording(task_id, calls_program=True):
                _described.set((task_id, mapping(describe(*args, **kwargs))))
            return await task(*args, **kwargs)

        return described

    registered = worker.middleware(middleware)


def _moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
