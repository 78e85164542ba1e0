"""Celery: `record(app, producer)` once, where the app is made, in workers and in the programs that send tasks.

`headers={"playhead": {...}}` of `apply_async` may describe the task: prompt, format, provider_config, metadata,
correlation_id. A task that is tried again, requeued or replaced has no outcome yet, so that is not recorded.
"""

# Celery comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false, reportMissingParameterType=false
# pyright: reportAttributeAccessIssue=false

from datetime import UTC, datetime
from typing import Any, Literal
from weakref import WeakValueDictionary

from celery import Celery, current_task, signals
from celery.app.task import Context
from celery.exceptions import Ignore, Reject
from celery.states import IGNORED, REJECTED

from playhead.adapters.jobs import HEADER, Finished, error_text, mapping, recording
from playhead.adapters.jobs import record as append
from playhead.streams.appending.producer import Producer
from playhead.streams.events import format_time, parse_time

_STARTED = "playhead_started"
_REPLACED = ("Replaced by new task",)
"""What Celery's `Ignore` says if another task continues with the id of this one."""


def record(app: Celery, producer: Producer) -> None:
    """Record the outcome of every task of an app; calling it again for the same app replaces the producer."""
    recorder = _Recorder(app, producer)
    connections = {
        signals.before_task_publish: recorder.published,
        signals.task_received: recorder.received,
        signals.task_prerun: recorder.started,
        signals.task_postrun: recorder.ended,
        signals.task_success: recorder.succeeded,
        signals.task_failure: recorder.failed,
        signals.task_revoked: recorder.revoked,
    }
    for signal, receiver in connections.items():
        identity = f"playhead-{id(app)}"
        signal.disconnect(dispatch_uid=identity)
        signal.connect(receiver, weak=False, dispatch_uid=identity)


class _Recorder:
    """Signals are those of every app in the process."""

    def __init__(self, app: Celery, producer: Producer) -> None:
        self._app = app
        self._producer = producer
        self._received: WeakValueDictionary[str, Any] = WeakValueDictionary()

    def published(self, headers: dict[str, Any] | None = None, **_: object) -> None:
        if headers is not None:
            described = mapping(headers.get(HEADER))
            if current_task and current_task.request.id == headers.get("id"):  # it retries or replaces itself
                described = _described(current_task.request) | described
            headers[HEADER] = {"created_at": format_time(datetime.now(UTC))} | described

    def received(self, request: Any = None, **_: object) -> None:
        self._received[request.id] = request

    def started(self, sender: Any = None, **_: object) -> None:
        if sender.app is self._app:
            setattr(sender.request, _STARTED, datetime.now(UTC))

    def succeeded(self, sender: Any = None, result: object = None, **_: object) -> None:
        self._record(sender, sender.request, sender.request.id, "completed", result=result)

    def failed(
        self, sender: Any = None, task_id: str = "", exception: BaseException | None = None, **_: object
    ) -> None:
        request = sender.request
        if request.id != task_id:  # the worker speaks for a process that it killed: what it sent there is the request
            received = self._received.get(task_id)
            request = request if received is None else Context(received.request_dict)
        self._record(sender, request, task_id, "failed", error=error_text(exception))

    def ended(
        self, task_id: str = "", task: Any = None, state: str | None = None, retval: object = None, **_: object
    ) -> None:
        """Record a task that ended on purpose without a result, of which no other signal tells."""
        if state == REJECTED and isinstance(retval, Reject) and not (retval.requeue and task.acks_late):
            self._record(task, task.request, task_id, "failed", error=f"Reject: {retval.reason}")
        elif state == IGNORED and isinstance(retval, Ignore) and retval.args != _REPLACED:
            self._record(task, task.request, task_id, "failed", error=error_text(retval))

    def revoked(self, sender: Any = None, request: Any = None, expired: bool = False, **_: object) -> None:
        self._record(sender, request, request.id, "failed", error="expired" if expired else "revoked")

    def _record(
        self,
        task: Any,
        request: Any,
        task_id: str,
        status: Literal["completed", "failed"],
        *,
        result: object = None,
        error: str | None = None,
    ) -> None:
        if task.app is not self._app:
            return
        with recording(task_id):
            described = _described(request)
            created = described.pop("created_at", None)
            began = getattr(request, _STARTED, None)
            retries = getattr(request, "retries", 0) or 0
            append(
                self._producer,
                Finished(
                    job_id=task_id,
                    attempt=str(retries),
                    status=status,
                    created_at=parse_time(created) if isinstance(created, str) else began or datetime.now(UTC),
                    started_at=began,
                    metadata={"function": task.name},
                    description=described,
                    result=result,
                    error=error,
                    retry_count=retries,
                    correlation_id=getattr(request, "root_id", None) if "correlation_id" not in described else None,
                ),
            )


def _described(request: Any) -> dict[str, object]:
    return mapping(mapping(getattr(request, "headers", None)).get(HEADER))
