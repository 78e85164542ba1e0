"""What every adapter shares: a finished job becomes an event, and its own outcome is never touched."""

import logging
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, cast

import msgspec

from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.appending.core import ProducerCore
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import EventTooLarge, InvalidEvent
from playhead.streams.events import Event, format_time, new_event
from playhead.streams.jobs.events import JobOutcome

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
            job_id,
            type(error).__name__,
            error,
            exc_info=error,
        )


def record(producer: Producer, finished: Finished) -> None:
    """Append the outcome; the same one again adds nothing.

    Raises:
        PlayheadError: neither Redis nor a spool took it.
    """
    outcome = _outcome(finished)
    try:
        producer.append_events([_as_event(producer, finished, outcome)])
    except EventTooLarge as error:
        producer.append_events([_as_event(producer, finished, _omitted(finished, outcome, error))])


async def record_async(producer: AsyncProducer, finished: Finished) -> None:
    """Append the outcome from an event loop; the same one again adds nothing.

    Raises:
        PlayheadError: neither Redis nor a spool took it.
    """
    outcome = _outcome(finished)
    try:
        await producer.append_events([_as_event(producer, finished, outcome)])
    except EventTooLarge as error:
        await producer.append_events([_as_event(producer, finished, _omitted(finished, outcome, error))])


def mapping(value: object) -> dict[str, object]:
    """What a program put where a description belongs; nothing if it is none."""
    return dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else {}


def error_text(error: BaseException | None) -> str:
    """How a failure stands in `error`."""
    return "unknown" if error is None else f"{type(error).__name__}: {_text(error, str)}"


def _outcome(finished: Finished) -> JobOutcome:
    now = datetime.now(UTC)
    described = dict(finished.description)
    described.pop("correlation_id", None)
    metadata = finished.metadata | mapping(described.pop("metadata", None))
    job: dict[str, object] = {
        "id": finished.job_id,
        "prompt": None,
        "format": None,
        "provider_config": None,
        "metadata": metadata,
        "created_at": format_time(finished.created_at),
    }
    return JobOutcome(
        job_id=finished.job_id,
        job=job | described | {"id": finished.job_id},
        status=finished.status,
        result=finished.result,
        error=finished.error,
        retry_count=finished.retry_count,
        completed_at=format_time(now),
        processing_time=None if finished.started_at is None else _seconds(now - finished.started_at),
    )


def _seconds(duration: timedelta) -> float:
    return max(0.0, duration.total_seconds())  # clocks are set back, and some libraries round a start up


def _omitted(finished: Finished, outcome: JobOutcome, error: EventTooLarge) -> JobOutcome:
    _log.error("the result of job %s is not recorded: %s", finished.job_id, error)
    return msgspec.structs.replace(outcome, result=None, result_encoding="omitted")


def _as_event(producer: ProducerCore, finished: Finished, outcome: JobOutcome) -> Event:
    try:
        return _event(producer, finished, outcome, outcome)
    except InvalidEvent as error:
        if error.field != "data":
            raise
    partial = msgspec.structs.replace(outcome, result_encoding="partial-repr")
    try:
        built = msgspec.to_builtins(partial, enc_hook=_repr, str_keys=True)
        return _event(producer, finished, partial, built)
    except (InvalidEvent, TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        job = {name: value if isinstance(value, str | None) else _repr(value) for name, value in outcome.job.items()}
        whole = msgspec.structs.replace(outcome, job=job, result=_repr(outcome.result), result_encoding="repr")
        return _event(producer, finished, whole, whole)


def _event(producer: ProducerCore, finished: Finished, outcome: JobOutcome, data: object) -> Event:
    flow = finished.correlation_id or finished.description.get("correlation_id")
    name = f"{finished.job_id}\n{finished.attempt}\n{finished.status}"
    return new_event(
        outcome.type,
        subject=f"job/{finished.job_id}",
        data=data,
        source=producer.source,
        id=str(uuid.uuid5(_NAMESPACE, name)),
        dataschema=outcome.dataschema,
        correlationid=str(flow) if flow else None,
    )


def _repr(value: object) -> str:
    return _text(value, repr)


def _text(value: object, form: "type[str] | object") -> str:
    try:
        return str(value) if form is str else repr(value)
    except Exception:  # noqa: BLE001  a program's own __repr__ may do anything
        return f"<{type(value).__name__} without a form>"
