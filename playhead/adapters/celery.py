"""Celery: `record(app, producer)` once, where the app is made, in workers and in the programs that send tasks.

`headers={"playhead": {...}}` of `apply_async` may describe the task: prompt, format, provider_config, metadata,
correlation_id. A task that is tried again, requeued or replaced has no outcome yet, so that is not recorded. A task id
that is sent again is another run, if the program that sends it records too.
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

from playhead.adapters.jobs import HEADER, Finished, mapping, moment, recording
from playhead.adapters.jobs import record as append
from playhead.adapters.representation import text_of
from playhead.streams.appending.producer import Producer
from playhead.streams.events import format_time

_STARTED, _FOLLOWING = "playhead_started", "playhead_following"
_SENT = "sent_at"
"""Of the description: when the run was sent, whatever that says of the job. Retries and redeliveries keep it."""
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
            described, sent = mapping(headers.get(HEADER)), format_time(datetime.now(UTC))
            if current_task:
                inherited = _described(current_task.request)
                if _continues(current_task.request, headers):
                    sent = inherited.get(_SENT, sent)
                else:
                    inherited.pop("created_at", None)
                if current_task.request.id == headers.get("id"):
                    described = inherited | described
            headers[HEADER] = {"created_at": sent} | described | {_SENT: sent}

    def received(self, request: Any = None, **_: object) -> None:
        self._received[request.id] = request

    def started(self, sender: Any = None, **_: object) -> None:
        if sender.app is self._app:
            setattr(sender.request, _STARTED, datetime.now(UTC))
            setattr(sender.request, _FOLLOWING, _following(sender.request))  # Celery takes them out as it sends them

    def succeeded(self, sender: Any = None, result: object = None, **_: object) -> None:
        self._record(sender, sender.request, sender.request.id, "completed", result=result)

    def failed(
        self, sender: Any = None, task_id: str = "", exception: BaseException | None = None, **_: object
    ) -> None:
        request = sender.request
        if request.id != task_id:  # the worker speaks for a process that it killed: what it sent there is the request
            received = self._received.get(task_id)
            request = request if received is None else Context(received.request_dict)
        self._record(sender, request, task_id, "failed", error=exception)

    def ended(
        self, task_id: str = "", task: Any = None, state: str | None = None, retval: object = None, **_: object
    ) -> None:
        """Record a task that ended on purpose without a result, of which no other signal tells."""
        if state == REJECTED and isinstance(retval, Reject) and not (retval.requeue and task.acks_late):
            self._record(task, task.request, task_id, "failed", error=f"Reject: {text_of(retval.reason, str, repr)}")
        elif state == IGNORED and isinstance(retval, Ignore) and retval.args != _REPLACED:
            self._record(task, task.request, task_id, "failed", error=retval)

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
        error: BaseException | str | None = None,
    ) -> None:
        if task.app is not self._app:
            return
        with recording(task_id):
            described = _described(request)
            created, sent = described.pop("created_at", None), described.pop(_SENT, None)
            began = getattr(request, _STARTED, None)
            retries = getattr(request, "retries", 0) or 0
            if getattr(request, "is_eager", False):  # nobody sent it
                sent = began and began.isoformat()
            append(
                self._producer,
                Finished(
                    job_id=task_id,
                    attempt=f"{sent}/{retries}" if sent else str(retries),
                    status=status,
                    created_at=moment(created, began or datetime.now(UTC)),
                    started_at=began,
                    metadata={"function": task.name},
                    description=described,
                    result=result,
                    error=error,
                    retry_count=retries,
                    correlation_id=getattr(request, "root_id", None) if "correlation_id" not in described else None,
                ),
            )


def _continues(request: Any, headers: dict[str, Any]) -> bool:
    """Whether what a task sends belongs to its own run: it would send the same again if it were delivered again."""
    return (
        (request.id == headers.get("id") and headers.get("retries", 0) > (request.retries or 0))
        or headers.get("replaced_task_nesting", 0) > (request.replaced_task_nesting or 0)
        or headers.get("id") in getattr(request, _FOLLOWING, ())
    )


def _following(request: Any) -> set[object]:
    """The ids, given when the task was sent, of those that follow it in its chain or chord, or are linked to it."""
    signatures = [request.chord, *(request.chain or ()), *(request.callbacks or ()), *(request.errbacks or ())]
    return {mapping(mapping(signature).get("options")).get("task_id") for signature in signatures} - {None}


def _described(request: Any) -> dict[str, object]:
    return mapping(mapping(getattr(request, "headers", None)).get(HEADER))
