"""RQ: `queue.enqueue(function, **CALLBACKS)`.

The callbacks run in the worker, and take REDIS_URL, PLAYHEAD_PARTITIONS, PLAYHEAD_SPOOL_DIR and
PLAYHEAD_ALLOW_INSECURE from its environment.
`job.meta["playhead"]` may describe the job: prompt, format, provider_config, metadata, correlation_id.
A job that is tried again has no outcome yet, so that attempt is not recorded.
"""

# RQ calls each function with all that it has.
# ruff: noqa: ARG001

from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

from rq import Callback
from rq.job import Job

from playhead.adapters.jobs import HEADER, Finished, error_text, mapping, record, recording
from playhead.streams.appending.producer import Producer

_FLUSH_SECONDS = 0.5
_RETRIES = "retries"


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
            described = mapping(job.meta.get(HEADER))
            job.meta[HEADER] = described | {_RETRIES: _count(described) + 1}  # RQ itself counts down only
            job.save_meta()
        return
    _record(job, "failed", error=error_text(value))


def on_stopped(job: Job, connection: object) -> None:
    """Record `job.failed` for a job that an operator stopped."""
    _record(job, "failed", error="stopped")


CALLBACKS = {
    "on_success": Callback(on_success),
    "on_failure": Callback(on_failure),
    "on_stopped": Callback(on_stopped),
}


def _record(
    job: Job, status: Literal["completed", "failed"], *, result: object = None, error: str | None = None
) -> None:
    with recording(job.id):
        described = mapping(job.meta.get(HEADER))
        started = _utc(job.started_at)
        retries = (job.number_of_retries or 0) + _count(described)
        finished = Finished(
            job_id=job.id,
            attempt=started.isoformat() if started else str(retries),
            status=status,
            created_at=_utc(job.created_at) or datetime.now(UTC),
            started_at=started,
            metadata={"function": job.func_name, "queue": job.origin},
            description={name: value for name, value in described.items() if name != _RETRIES},
            result=result,
            error=error,
            retry_count=retries,
        )
        producer = Producer.from_environment()
        try:
            record(producer, finished)
        finally:
            producer.close(_FLUSH_SECONDS)


def _count(described: dict[str, object]) -> int:
    count = described.get(_RETRIES)
    return count if isinstance(count, int) else 0


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
