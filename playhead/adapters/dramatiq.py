"""dramatiq: `broker.add_middleware(RecordJobs(producer))`, where the broker is made.

`actor.send_with_options(args=..., playhead={...})` may describe the job: prompt, format, provider_config, metadata,
correlation_id; `@actor(playhead={...})` describes every job of an actor. A message that is enqueued again, by
`Retries` or any other middleware, has no outcome yet, so that attempt is not recorded.
"""

import threading
from datetime import UTC, datetime
from typing import cast

import msgspec
from dramatiq import Actor, Broker, Message, Middleware
from dramatiq.broker import MessageProxy
from dramatiq.worker import WorkerThread

from playhead.adapters.jobs import HEADER, Finished, mapping, record, recording
from playhead.streams.appending.producer import Producer

_SKIPPED, _REJECTED = "skipped", "rejected"


class _Run(msgspec.Struct):
    """What a worker thread has in hand. It is kept until the message is acknowledged: only then is its fate known."""

    message_id: str
    started: datetime
    retries: int
    result: object = None
    error: BaseException | str | None = None
    enqueued_again: bool = False


class RecordJobs(Middleware):
    """Records the outcome of every message; its place among the other middleware does not matter.

    The outcome is appended before the message is acknowledged: a worker that dies in between runs the job again, and
    the same outcome again adds nothing.
    """

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._thread = threading.local()

    @property
    def actor_options(self) -> set[str]:
        return {HEADER}

    def after_worker_thread_boot(self, broker: Broker, thread: WorkerThread) -> None:  # noqa: ARG002
        self._thread.early = set[str]()

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002
        self._begin(message)

    def before_enqueue(self, broker: Broker, message: Message[object], delay: int) -> None:  # noqa: ARG002
        run = self._run
        if run is None:
            self._early.add(message.message_id)  # a middleware before this one may be about to skip it
        elif run.message_id == message.message_id:
            run.enqueued_again = True

    def after_process_message(
        self,
        broker: Broker,  # noqa: ARG002
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        run = self._run or self._begin(message)
        run.result = result
        run.error = exception

    def after_skip_message(self, broker: Broker, message: MessageProxy) -> None:  # noqa: ARG002
        run = self._run or self._begin(message)  # a middleware before this one skipped it
        run.error = _SKIPPED

    def before_ack(self, broker: Broker, message: MessageProxy) -> None:
        self._ended(broker, message)

    def before_nack(self, broker: Broker, message: MessageProxy) -> None:
        run = self._run
        if run is not None and run.error is None:
            run.error = _REJECTED  # by `message.fail()`, whatever the actor returned
        self._ended(broker, message)

    @property
    def _run(self) -> _Run | None:
        return getattr(self._thread, "run", None)

    @property
    def _early(self) -> set[str]:
        """What this thread enqueued with no message in hand; of any thread but a worker's, it does not matter."""
        return getattr(self._thread, "early", set())

    def _begin(self, message: MessageProxy) -> _Run:
        retries = message.options.get("retries")
        run = self._thread.run = _Run(
            message.message_id,
            datetime.now(UTC),
            retries if isinstance(retries, int) else 0,
            enqueued_again=message.message_id in self._early,
        )
        self._early.clear()
        return run

    def _ended(self, broker: Broker, message: MessageProxy) -> None:
        run, self._thread.run = self._run, None
        if run is None or run.message_id != message.message_id or run.enqueued_again:
            return
        with recording(message.message_id):
            actors = cast("dict[str, Actor[..., object]]", broker.actors)  # pyright: ignore[reportUnknownMemberType]
            actor = actors.get(message.actor_name)
            described = mapping(None if actor is None else actor.options.get(HEADER))
            own = mapping(message.options.get(HEADER))
            metadata = {"function": message.actor_name, "queue": message.queue_name}
            metadata |= mapping(described.pop("metadata", None))
            record(
                self._producer,
                Finished(
                    job_id=message.message_id,
                    attempt=f"{message.message_timestamp}/{run.retries}",  # which retries keep
                    status="completed" if run.error is None else "failed",
                    created_at=datetime.fromtimestamp(message.message_timestamp / 1000, UTC),
                    started_at=run.started,
                    metadata=metadata,
                    description=described | own,
                    result=run.result,
                    error=run.error,
                    retry_count=run.retries,
                ),
            )
