"""What every adapter shares: a finished job becomes an event, and its own outcome is never touched."""

import logging
import traceback
import uuid
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, cast

import msgspec

from playhead.adapters.outcomes import cut_error, representable, short_id, smaller
from playhead.adapters.representation import text_of, type_name
from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.appending.core import ProducerCore
from playhead.streams.appending.producer import Producer
from playhead.streams.errors import EventTooLarge, InvalidEvent
from playhead.streams.events import ATTRIBUTE_LIMIT, Event, format_time, new_event, parse_time
from playhead.streams.jobs.events import JobOutcome
from playhead.streams.positions import Position

HEADER = "playhead"
"""Where RQ's `meta`, Celery's headers, dramatiq's options and taskiq's labels hold the description of a job."""

_NAMESPACE = uuid.UUID("5f4e5a2c-7d0b-5d0e-9a53-3c1d8a4b6e21")
_SHOWN = 200
"""Characters of an id in a message."""
_log = logging.getLogger(__name__)


class Describe(Protocol):
    """Given the arguments of a job, gives its id, prompt, format, provider_config, metadata, correlation_id, ..."""

    def __call__(self, *args: object, **kwargs: object) -> Mapping[str, object]: ...


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A job that ended. `attempt` tells the runs of one job apart, so that the same end twice is one event.

    `error` is what was raised: its text is the program's own, so it is made while the job is recorded.
    """

    job_id: str
    attempt: str
    status: Literal["completed", "failed"]
    created_at: datetime
    started_at: datetime | None
    metadata: dict[str, object]
    description: Mapping[str, object]
    result: object = None
    error: BaseException | str | None = None
    retry_count: int = 0
    correlation_id: str | None = None


@contextmanager
def recording(job_id: object, *, calls_program: bool = False) -> Generator[None, None, None]:
    """Whatever goes wrong while a job is recorded is said loudly, and is not the job's fault.

    Exits and cancellations pass, unless what is called is the program's own code: it must not end the job that it
    describes. Ctrl-C always passes.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and (isinstance(error, KeyboardInterrupt) or not calls_program):
            raise
        _log.critical(
            "the outcome of job %s is NOT recorded: %s; with a spool directory, an outage of Redis loses nothing",
            _unicode(text_of(job_id, str, repr))[:_SHOWN],
            error_text(error),
            exc_info=error if _has_traceback(error) else None,
        )


def record(producer: Producer, finished: Finished) -> Position | None:
    """Append the outcome and return its position, or None if it waits in the spool; the same one again adds nothing.

    What is too large is left out, beginning with the largest part.

    Raises:
        PlayheadError: neither Redis nor a spool took it.
    """
    outcome = _outcome(finished)
    while True:
        try:
            return producer.append_events([_event(producer, finished, outcome)])[0]
        except EventTooLarge as error:
            outcome = smaller(outcome, error)


async def record_async(producer: AsyncProducer, finished: Finished) -> None:
    """Append the outcome from an event loop; the same one again adds nothing.

    What is too large is left out, beginning with the largest part.

    Raises:
        PlayheadError: neither Redis nor a spool took it.
    """
    outcome = _outcome(finished)
    while True:
        try:
            await producer.append_events([_event(producer, finished, outcome)])
        except EventTooLarge as error:
            outcome = smaller(outcome, error)
        else:
            return


def mapping(value: object) -> dict[str, object]:
    """What a program put where a description belongs; nothing if it is none, or cannot be read."""
    try:
        return dict(cast("Mapping[str, object]", value)) if isinstance(value, Mapping) else {}
    except BaseException as error:  # noqa: BLE001  a program's own mapping may do anything
        _log.warning("a description cannot be read, and is left out: %s", error_text(error))
        return {}


def moment(text: object, otherwise: datetime) -> datetime:
    """The time that a message gives in RFC 3339, or the other one if it gives none."""
    try:
        return parse_time(text) if isinstance(text, str) else otherwise
    except InvalidEvent:
        return otherwise


def error_text(error: BaseException | None) -> str:
    """How a failure stands in `error`, whatever it does when it is asked for its text."""
    return "unknown" if error is None else f"{type_name(error)}: {text_of(error, str, repr)}"


def _outcome(finished: Finished) -> JobOutcome:
    now, whole_id = datetime.now(UTC), _unicode(text_of(finished.job_id, str, repr))
    job_id = short_id(whole_id)
    identity = {"id": job_id}
    if job_id != whole_id:
        _log.warning("the id of job %s... is too long, and is shortened", whole_id[:_SHOWN])
        identity["whole_id"] = whole_id
    error = finished.error
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
        job=job | described | identity,
        status=finished.status,
        result=finished.result,
        error=None
        if finished.status == "completed"
        else cut_error(error if isinstance(error, str) else error_text(error)),
        retry_count=finished.retry_count,
        completed_at=format_time(now),
        processing_time=None if finished.started_at is None else _seconds(now - finished.started_at),
    )


def _seconds(duration: timedelta) -> float:
    return max(0.0, duration.total_seconds())  # clocks are set back, and some libraries round a start up


def _event(producer: ProducerCore, finished: Finished, outcome: JobOutcome) -> Event:
    correlation = _correlation(finished, outcome)
    try:
        return _written(producer, finished, outcome, correlation)
    except BaseException:  # noqa: BLE001  a program's own objects may do anything
        return _written(producer, finished, representable(outcome), correlation)


def _written(producer: ProducerCore, finished: Finished, outcome: JobOutcome, correlation: str | None) -> Event:
    name = f"{outcome.job_id}\n{finished.attempt}\n{finished.status}"
    return new_event(
        outcome.type,
        subject=f"job/{outcome.job_id}",
        data=outcome,
        source=producer.source,
        id=str(uuid.uuid5(_NAMESPACE, name)),
        dataschema=outcome.dataschema,
        correlationid=correlation,
    )


def _correlation(finished: Finished, outcome: JobOutcome) -> str | None:
    flow = finished.correlation_id or finished.description.get("correlation_id")
    text = "" if flow is None else _unicode(text_of(flow, str, repr))
    if len(text) > ATTRIBUTE_LIMIT:
        _log.warning(
            "the correlation id of job %s is left out: it has %s characters; %s is the limit",
            outcome.job_id[:_SHOWN],
            len(text),
            ATTRIBUTE_LIMIT,
        )
        return None
    return text or None


def _has_traceback(error: BaseException) -> bool:
    """Whether Python can write its traceback, which asks it for its text."""
    try:
        traceback.format_exception(error)
    except BaseException:  # noqa: BLE001  a program's own __str__ may do anything
        return False
    return True


def _unicode(text: str) -> str:
    """Text that an attribute may have: a lone surrogate is written as its escape."""
    return text.encode(errors="backslashreplace").decode()
