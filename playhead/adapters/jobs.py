"""What every adapter shares: a finished job becomes an event, and its own outcome is never touched."""

import logging
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, cast

import msgspec

from playhead.adapters.representation import Representation, text_of
from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.appending.core import ProducerCore
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import EventTooLarge, InvalidEvent
from playhead.streams.events import Event, format_time, new_event
from playhead.streams.jobs.events import JobOutcome
from playhead.streams.positions import Position

HEADER = "playhead"
"""Where RQ's `meta`, Celery's headers, dramatiq's options and taskiq's labels hold the description of a job."""

_NAMESPACE = uuid.UUID("5f4e5a2c-7d0b-5d0e-9a53-3c1d8a4b6e21")
_log = logging.getLogger(__name__)


class Describe(Protocol):
    """Given the arguments of a job, gives its id, prompt, format, provider_config, metadata, correlation_id, ..."""

    def __call__(self, *args: object, **kwargs: object) -> Mapping[str, object]: ...


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A job that ended. `attempt` tells the runs of one job apart, so that the same end twice is one event."""

    job_id: str
    attempt: str
    status: Literal["completed", "failed"]
    created_at: datetime
    started_at: datetime | None
    metadata: dict[str, object]
    description: Mapping[str, object]
    result: object = None
    error: str | None = None
    retry_count: int = 0
    correlation_id: str | None = None


@contextmanager
def recording(job_id: object) -> Generator[None, None, None]:
    """Whatever goes wrong while a job is recorded is said loudly, and is not the job's fault."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  the job goes on, whatever it is
        _log.critical(
            "the outcome of job %s is NOT recorded: %s: %s; with a spool directory, an outage of Redis loses nothing",
            _unicode(str(job_id)),
            type(error).__name__,
            error,
            exc_info=error,
        )


def record(producer: Producer, finished: Finished) -> Position | None:
    """Append the outcome and return its position, or None if it waits in the spool; the same one again adds nothing.

    Raises:
        PlayheadError: neither Redis nor a spool took it.
    """
    outcome = _outcome(finished)
    try:
        return producer.append_events([_as_event(producer, finished, outcome)])[0]
    except EventTooLarge as error:
        return producer.append_events([_as_event(producer, finished, _omitted(outcome, error))])[0]


async def record_async(producer: AsyncProducer, finished: Finished) -> None:
    """Append the outcome from an event loop; the same one again adds nothing.

    Raises:
        PlayheadError: neither Redis nor a spool took it.
    """
    outcome = _outcome(finished)
    try:
        await producer.append_events([_as_event(producer, finished, outcome)])
    except EventTooLarge as error:
        await producer.append_events([_as_event(producer, finished, _omitted(outcome, error))])


def mapping(value: object) -> dict[str, object]:
    """What a program put where a description belongs; nothing if it is none."""
    return dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else {}


def error_text(error: BaseException | None) -> str:
    """How a failure stands in `error`."""
    if error is None:
        return "unknown"
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  a program's own __str__ may do anything
        text = text_of(error)
    return f"{type(error).__name__}: {text}"


def _outcome(finished: Finished) -> JobOutcome:
    now, job_id = datetime.now(UTC), _unicode(finished.job_id)
    described = dict(finished.description)
    described.pop("correlation_id", None)
    metadata = finished.metadata | mapping(described.pop("metadata", None))
    job: dict[str, object] = {
        "id": job_id,
        "prompt": None,
        "format": None,
        "provider_config": None,
        "metadata": metadata,
        "created_at": format_time(finished.created_at),
    }
    return JobOutcome(
        job_id=job_id,
        job=job | described | {"id": job_id},
        status=finished.status,
        result=finished.result,
        error=finished.error,
        retry_count=finished.retry_count,
        completed_at=format_time(now),
        processing_time=None if finished.started_at is None else _seconds(now - finished.started_at),
    )


def _seconds(duration: timedelta) -> float:
    return max(0.0, duration.total_seconds())  # clocks are set back, and some libraries round a start up


def _omitted(outcome: JobOutcome, error: EventTooLarge) -> JobOutcome:
    _log.error("the result of job %s is not recorded: %s", outcome.job_id, error)
    return msgspec.structs.replace(outcome, result=None, result_encoding="omitted")


def _as_event(producer: ProducerCore, finished: Finished, outcome: JobOutcome) -> Event:
    try:
        return _event(producer, finished, outcome)
    except Exception as error:  # a program's own objects may do anything
        if isinstance(error, InvalidEvent) and error.field != "data":
            raise
    job, result = Representation(outcome.job), Representation(outcome.result)
    if job.changed:
        _log.warning("the description of job %s has parts that JSON cannot represent: they are text", outcome.job_id)
    encoding = "partial-repr" if result.changed else outcome.result_encoding
    return _event(
        producer,
        finished,
        msgspec.structs.replace(
            outcome, job=cast("dict[str, object]", job.value), result=result.value, result_encoding=encoding
        ),
    )


def _event(producer: ProducerCore, finished: Finished, outcome: JobOutcome) -> Event:
    flow = finished.correlation_id or finished.description.get("correlation_id")
    name = f"{outcome.job_id}\n{finished.attempt}\n{finished.status}"
    return new_event(
        outcome.type,
        subject=f"job/{outcome.job_id}",
        data=outcome,
        source=producer.source,
        id=str(uuid.uuid5(_NAMESPACE, name)),
        dataschema=outcome.dataschema,
        correlationid=_unicode(str(flow)) if flow else None,
    )


def _unicode(text: str) -> str:
    """Text that an attribute may have: a lone surrogate is written as its escape."""
    return text.encode(errors="backslashreplace").decode()
