"""taskiq: `broker.with_middlewares(RecordJobs(producer))`, where the broker is made, with the middlewares for retries.

`task.kicker().with_labels(playhead=description(prompt=...))` describes a task: prompt, format, provider_config,
metadata, correlation_id. A task that is sent again, requeued or scheduled for a retry has no outcome yet, so that
attempt is not recorded. One that raises `NoResultError` itself has failed.
"""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec
from taskiq import TaskiqMessage, TaskiqMiddleware, TaskiqResult
from taskiq.exceptions import NoResultError

from playhead.adapters.jobs import HEADER, Finished, mapping, moment, record_async, recording
from playhead.streams.appending.async_producer import AsyncProducer
from playhead.streams.events import encode_data, format_time

_log = logging.getLogger(__name__)
_CREATED = "playhead_created_at"
_RETRIES = ("_retries", "X-Taskiq-requeue")


class _Run(msgspec.Struct):
    """One run of a task; `outer` is that of the task which sent it, if a broker runs it in place."""

    task_id: str
    counts: list[str]
    started: datetime
    outer: "_Run | None"
    sent_again: bool = False
    gave_no_result: bool = False


_run: ContextVar[_Run | None] = ContextVar("_run", default=None)


def description(**described: object) -> str:
    """Write the description of a job as a label, which must be text.

    Raises:
        InvalidEvent: it has no form in JSON.
    """
    return encode_data(described).decode()


class RecordJobs(TaskiqMiddleware):
    """Records the outcome of every task; its place among the other middlewares does not matter.

    The outcome is appended before the result is saved and the message acknowledged: a worker that dies in between runs
    the task again, and the same outcome again adds nothing. Give it the one producer of the program, which the program
    closes.
    """

    def __init__(self, producer: AsyncProducer) -> None:
        super().__init__()
        self._producer = producer

    def pre_send(self, message: TaskiqMessage) -> TaskiqMessage:
        message.labels.setdefault(_CREATED, format_time(datetime.now(UTC)))
        run = _run.get()
        if run is not None and run.task_id == message.task_id:
            run.sent_again = True
        return message

    def pre_execute(self, message: TaskiqMessage) -> TaskiqMessage:
        _run.set(_Run(message.task_id, _counts(message), datetime.now(UTC), _run.get()))
        return message

    def on_error(self, message: TaskiqMessage, result: TaskiqResult[object], exception: BaseException) -> None:  # noqa: ARG002
        run = _run.get()
        if run is not None and run.task_id == message.task_id:  # a requeue counts, and raises the same error
            run.gave_no_result = isinstance(exception, NoResultError) and run.counts == _counts(message)

    async def post_execute(self, message: TaskiqMessage, result: TaskiqResult[object]) -> None:
        run = _run.get()
        if run is None or run.task_id != message.task_id:
            run = _Run(message.task_id, _counts(message), datetime.now(UTC), run)
        _run.set(run.outer)
        if run.sent_again or (isinstance(result.error, NoResultError) and not run.gave_no_result):
            return
        with recording(message.task_id):
            await record_async(self._producer, _finished(run, message, result))


def _finished(run: _Run, message: TaskiqMessage, result: TaskiqResult[object]) -> Finished:
    created, label = message.labels.get(_CREATED), message.labels.get(HEADER)
    sent = [created] if isinstance(created, str) else []  # retries and requeues keep it, and a new message has its own
    return Finished(
        job_id=message.task_id,
        attempt="/".join([*sent, *run.counts]),
        status="failed" if result.is_err else "completed",
        created_at=moment(created, run.started),
        started_at=run.started,
        metadata={"function": message.task_name},
        description=_described(label, message.task_id),
        result=None if result.is_err else result.return_value,
        error=result.error,
        retry_count=sum(int(count) for count in run.counts if count.isdecimal()),
    )


def _described(label: object, task_id: str) -> dict[str, object]:
    if not isinstance(label, str):
        return mapping(label)
    try:
        return mapping(msgspec.json.decode(label))
    except msgspec.DecodeError:
        _log.warning("the label %s of job %s is no JSON, and is left out: make it by description()", HEADER, task_id)
        return {}


def _counts(message: TaskiqMessage) -> list[str]:
    """How often it was sent again before this run, which a middleware for retries counts up even if it gives up."""
    return [str(message.labels.get(name, 0)) for name in _RETRIES]
