"""RQ: `queue.enqueue(function, **CALLBACKS)`, or `**callbacks(on_failure=...)` with callbacks of your own.

The callbacks run in the worker, and take REDIS_URL, PLAYHEAD_PARTITIONS, PLAYHEAD_SPOOL_DIR and
PLAYHEAD_ALLOW_INSECURE from its environment.
`job.meta["playhead"]` may describe the job: prompt, format, provider_config, metadata, correlation_id.
A job that is tried again has no outcome yet, so that attempt is not recorded.

RQ calls no callback for a job whose work-horse died. `rq worker --worker-class playhead.adapters.rq.Worker` records it.
"""

# RQ calls each function with all that it has.
# ruff: noqa: ARG001

import atexit
import os
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal

import rq
from rq import Callback
from rq.defaults import CALLBACK_TIMEOUT
from rq.exceptions import DeserializationError
from rq.job import Job
from rq.utils import import_attribute

from playhead.adapters.jobs import HEADER, Finished, mapping, record, recording
from playhead.streams.appending.producer import Producer
from playhead.streams.names import ProducerVariable

_FLUSH_SECONDS = 0.5
_RETRIES = "retries"
_THEN = ":"


class WorkHorseDied(Exception):
    """The process that ran the job ended before the job did."""


def on_success(job: Job, connection: object, result: object, *args: object, **kwargs: object) -> None:
    """Record `job.completed`; never raises, as RQ would fail the job for it."""
    _record(job, "completed", result=result)


def on_failure(
    job: Job,
    connection: object,
    type: type[BaseException] | None,
    value: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """Record `job.failed` unless RQ tries again; never raises, as RQ would take that for the job's failure."""
    if job.should_retry:
        with recording(job.id):
            job.get_meta(refresh=True)  # pyright: ignore[reportUnknownMemberType]  # the job may have saved its own
            described = mapping(job.meta.get(HEADER))
            job.meta[HEADER] = described | {_RETRIES: _count(described) + 1}  # RQ itself counts down only
            job.save_meta()
        return
    _record(job, "failed", error=value)


def on_stopped(job: Job, connection: object) -> None:
    """Record `job.failed` for a job that an operator stopped."""
    _record(job, "failed", error="stopped")


CALLBACKS = {
    "on_success": Callback(on_success),
    "on_failure": Callback(on_failure),
    "on_stopped": Callback(on_stopped),
}


def callbacks(
    *,
    on_success: Callback | Callable[..., Any] | str | None = None,
    on_failure: Callback | Callable[..., Any] | str | None = None,
    on_stopped: Callback | Callable[..., Any] | str | None = None,
) -> dict[str, Callback]:
    """Give the callbacks that call your own first, and then record the outcome.

    If your `on_success` raises, RQ fails the job, and that is what is recorded. What the others raise changes nothing
    of what is recorded.
    """
    own = {"on_success": on_success, "on_failure": on_failure, "on_stopped": on_stopped}
    return {name: _followed(name, callback) for name, callback in own.items()}


class Worker(rq.Worker):
    """Records jobs that ended without a callback: those of a work-horse that died, and those that RQ gave up."""

    def handle_work_horse_killed(self, job: Job, retpid: Any, ret_val: Any, rusage: Any) -> None:
        """Record a job whose work-horse was killed, or ended with another status than 0."""
        on_work_horse_killed(job, retpid, ret_val, rusage)
        super().handle_work_horse_killed(job, retpid, ret_val, rusage)  # pyright: ignore[reportUnknownMemberType]  # untyped in RQ

    def execute_job(self, job: Job, queue: rq.Queue) -> None:
        """Record a job whose work-horse ended with status 0 too early, which RQ finds out minutes later."""
        super().execute_job(job, queue)
        with recording(job.id):
            left = self.connection.hmget(job.key, "status", "worker_name")
            if left == [b"started", self.name.encode()] and not job.should_retry:  # RQ will find out and retry it
                on_work_horse_killed(job, None, 0, None)

    def handle_job_retry(self, job: Job, *args: Any, retry: rq.Retry, **kwargs: Any) -> None:
        """Record a job that returns `Retry` after its last attempt: RQ fails it."""
        with recording(job.id):
            if (job.number_of_retries or 0) >= retry.max and _is_ours(job):
                _record(job, "failed", error=f"Retry: all {retry.max} retries were made")
        super().handle_job_retry(job, *args, retry=retry, **kwargs)


def on_work_horse_killed(job: Job, pid: int | None, status: int | None, usage: object) -> None:
    """Record `job.failed` for a job whose work-horse died; `work_horse_killed_handler=` of a worker that you make."""
    with recording(job.id):
        if _is_ours(job):
            error = WorkHorseDied(f"the work-horse {_ending(status)}")
            on_failure(job, job.connection, WorkHorseDied, error, None)


def _is_ours(job: Job) -> bool:
    callback = job.failure_callback
    return callback is on_failure or isinstance(callback, _Followed) or HEADER in job.meta


def _ending(status: int | None) -> str:
    if status is None:
        return "was killed after the job's timeout"
    if os.WIFSIGNALED(status):
        return f"was killed by signal {os.WTERMSIG(status)}"
    return f"exited with status {os.waitstatus_to_exitcode(status)} before the job ended"


def _followed(name: str, own: Callback | Callable[..., Any] | str | None) -> Callback:
    if own is None:
        return CALLBACKS[name]
    callback = own if isinstance(own, Callback) else Callback(own)
    return Callback(f"{__name__}.{name}{_THEN}{callback.name}", timeout=(callback.timeout or 0) + CALLBACK_TIMEOUT)


class _Followed:
    """A program's own callback, and then ours."""

    def __init__(self, name: str, own: str) -> None:
        self._name, self._own = name, own

    def __call__(self, *args: Any) -> None:
        ours = {"on_success": on_success, "on_failure": on_failure, "on_stopped": on_stopped}[self._name]
        try:
            import_attribute(self._own)(*args)
        except BaseException:
            if ours is not on_success:  # RQ fails the job, and calls on_failure
                ours(*args)
            raise
        ours(*args)


def __getattr__(name: str) -> _Followed:
    """RQ keeps a callback by its name alone, and looks that up where the job runs."""
    ours, found, own = name.partition(_THEN)
    if not found or ours not in CALLBACKS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _Followed(ours, own)


def _record(
    job: Job, status: Literal["completed", "failed"], *, result: object = None, error: BaseException | str | None = None
) -> None:
    with recording(job.id):
        described = mapping(job.meta.get(HEADER))
        retries = (job.number_of_retries or 0) + _count(described)
        created, enqueued, started = (_utc(moment) for moment in (job.created_at, job.enqueued_at, job.started_at))
        attempt = enqueued or started  # the work-horse and its worker know different times of the start
        finished = Finished(
            job_id=job.id,
            attempt=attempt.isoformat() if attempt else str(retries),
            status=status,
            created_at=created or datetime.now(UTC),
            started_at=started,
            metadata={"function": _function(job), "queue": job.origin},
            description={name: value for name, value in described.items() if name != _RETRIES},
            result=result,
            error=error,
            retry_count=retries,
        )
        producer = _producer(*(os.environ.get(name) for name in ProducerVariable))
        if record(producer, finished) is None:
            producer.close(_FLUSH_SECONDS)  # it waits in the spool: a work-horse ends now, and its threads with it


@lru_cache(maxsize=1)
def _producer(*environment: str | None) -> Producer:
    """The one of this process; a work-horse goes on with its worker's, by a connection of its own."""
    producer = Producer.from_environment()
    atexit.register(producer.close, _FLUSH_SECONDS)
    return producer


def _function(job: Job) -> str | None:
    try:
        return job.func_name
    except DeserializationError:
        return None


def _count(described: dict[str, object]) -> int:
    count = described.get(_RETRIES)
    return count if isinstance(count, int) else 0


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
