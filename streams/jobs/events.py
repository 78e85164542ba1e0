"""Payloads as producers write them. Readers take what they know of a payload and keep the rest as it came."""

from typing import Literal

import msgspec


class JobOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of `job.completed` and `job.failed`.

    `job` has id, prompt, format, provider_config, metadata and created_at, and whatever else its program knows of it.
    `completed_at` is RFC 3339, `processing_time` seconds. `result_encoding` is null where the result is as it was,
    and otherwise says what became of it, as JSON had no form for it, or it was too large: `partial-repr`, Python's repr
    of some parts; `repr`, of all; `omitted`.
    """

    job_id: str
    job: dict[str, object]
    status: Literal["completed", "failed"]
    result: object = None
    error: str | None = None
    retry_count: int = 0
    completed_at: str
    processing_time: float | None = None
    result_encoding: Literal["partial-repr", "repr", "omitted"] | None = None

    @property
    def type(self) -> str:
        """The type of its event."""
        return f"job.{self.status}"

    @property
    def dataschema(self) -> str:
        """The version of this payload."""
        return f"{self.type}/1"
