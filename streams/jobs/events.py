"""The stream `jobs`: what became of jobs. Readers take what they know of a payload and keep the rest as it came."""

from typing import Literal

import msgspec

from playhead.streams.domains.event_types import Stream

stream = Stream("jobs")

_NULL = msgspec.Raw(b"null")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What an event of a job may have; members that are `Raw` are whatever JSON a program wrote.

    One without a `job_id` is appended, as it was before payloads were checked, and parked by the projections.
    """

    job_id: str | None = None
    job: msgspec.Raw = _NULL
    status: msgspec.Raw = _NULL
    result: msgspec.Raw = _NULL
    error: msgspec.Raw = _NULL
    retry_count: msgspec.Raw = _NULL
    completed_at: msgspec.Raw = _NULL
    processing_time: msgspec.Raw = _NULL


@stream.event("job.completed", subject="job/{job_id}")
class JobCompleted(Job, frozen=True, kw_only=True):
    """A job came to a result."""


@stream.event("job.failed", subject="job/{job_id}")
class JobFailed(Job, frozen=True, kw_only=True):
    """A job failed for good."""


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of `job.completed` and `job.failed` as the adapters write it.

    `job` has id, prompt, format, provider_config, metadata and created_at, and whatever else its program knows of it.
    `completed_at` is RFC 3339, `processing_time` seconds. `result_encoding` is null if the result is as it was,
    and otherwise says what became of it, as JSON had no form for it, or it was too large: `partial-repr`, Python's repr
    of those parts; `omitted`. Events of earlier versions may have `repr`, of all of it.
    """

    job_id: str
    job: dict[str, object]
    status: Literal["completed", "failed"]
    result: object = None
    error: str | None = None
    retry_count: int = 0
    completed_at: str
    processing_time: float | None = None
    result_encoding: Literal["partial-repr", "omitted"] | None = None

    @property
    def type(self) -> str:
        """The type of its event."""
        return f"job.{self.status}"

    @property
    def dataschema(self) -> str:
        """The version of this payload."""
        return f"{self.type}/1"
