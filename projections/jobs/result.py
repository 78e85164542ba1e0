"""The payload of `job.completed` and `job.failed`, read leniently: its members stay the bytes they were."""

from collections.abc import Mapping

import msgspec

from playhead.streams.errors import InvalidEvent
from playhead.streams.jobs.outcomes import is_error
from playhead.streams.members import NULL, decode_members, float_or_none, integer_or_none, text_or_none


class JobResult(msgspec.Struct, frozen=True):
    """What a job came to.

    Raw members are JSON null if the payload has none, the others None if it does not hold them as what they
    should be, an empty string included. `scraper_id` to `model` are parsed from `job`. `strict` is False if msgspec
    refuses the JSON, or a member is not of its type: then it may hold lone surrogates, NaN or deep nesting.
    """

    job_id: str
    status: str
    job: msgspec.Raw
    result: msgspec.Raw
    error: msgspec.Raw
    retry_count: int | None
    completed_at: str | None
    processing_time: float | None
    scraper_id: str | None
    created_at: str | None
    source_url: str | None
    model: str | None
    strict: bool


class Job(msgspec.Struct, frozen=True):
    """Which job it was: the part of a result that says where its file belongs, None if `JobResult` has None."""

    job_id: str
    scraper_id: str | None
    created_at: str | None


class _Metadata(msgspec.Struct, gc=False):
    scraper_id: str | None = None
    source_url: str | None = None


class _Provider(msgspec.Struct, gc=False):
    model: str | None = None


class _Job(msgspec.Struct, gc=False):
    created_at: str | None = None
    metadata: _Metadata | None = None
    provider_config: _Provider | None = None


class _Payload(msgspec.Struct, gc=False):
    job_id: str
    status: str | None = None
    job: msgspec.Raw = NULL
    result: msgspec.Raw = NULL
    error: msgspec.Raw = NULL
    retry_count: int | None = None
    completed_at: str | None = None
    processing_time: float | None = None


_PAYLOAD = msgspec.json.Decoder(_Payload)
_JOB = msgspec.json.Decoder(_Job | None)


def decode_job_result(data: bytes) -> JobResult:
    """Read a payload; only an object with a `job_id` is asked for, as old recorders wrote little else.

    Raises:
        InvalidEvent: it is not a JSON object, or has no job_id.
    """
    try:
        payload = _PAYLOAD.decode(data)
        job = _JOB.decode(payload.job) or _NO_JOB
    except (ValueError, RecursionError):  # another shape, or JSON that msgspec refuses
        return _decode_leniently(data)
    if not payload.job_id:
        return _decode_leniently(data)
    metadata, provider = job.metadata or _NO_METADATA, job.provider_config or _NO_PROVIDER
    return JobResult(
        payload.job_id,
        payload.status or _status(payload.error),
        payload.job,
        payload.result,
        payload.error,
        payload.retry_count,
        payload.completed_at or None,
        payload.processing_time,
        metadata.scraper_id or None,
        job.created_at or None,
        metadata.source_url or None,
        provider.model or None,
        strict=True,
    )


def decode_job(members: Mapping[str, msgspec.Raw] | None) -> Job:
    """Read the same from the members of a payload, None if it is no object.

    Raises:
        InvalidEvent: as `decode_job_result`.
    """
    members, job_id = _with_job_id(members)
    raw = members.get("job", NULL)
    try:
        job = _JOB.decode(raw) or _NO_JOB
        return Job(job_id, (job.metadata or _NO_METADATA).scraper_id or None, job.created_at or None)
    except (ValueError, RecursionError):
        about = decode_members(raw) or {}
        metadata = decode_members(about.get("metadata", NULL)) or {}
        scraper_id, created_at = metadata.get("scraper_id", NULL), about.get("created_at", NULL)
        return Job(job_id, text_or_none(scraper_id), text_or_none(created_at))


def _with_job_id(members: Mapping[str, msgspec.Raw] | None) -> tuple[Mapping[str, msgspec.Raw], str]:
    if members is None:
        raise InvalidEvent("data", "is not a JSON object")
    job_id = text_or_none(members.get("job_id", NULL))
    if job_id is None:
        raise InvalidEvent("data.job_id", "is not a non-empty string")
    return members, job_id


def _decode_leniently(data: bytes) -> JobResult:
    members, job_id = _with_job_id(decode_members(data))
    job = members.get("job", NULL)
    about = decode_members(job) or {}
    metadata = decode_members(about.get("metadata", NULL)) or {}
    provider = decode_members(about.get("provider_config", NULL)) or {}
    error = members.get("error", NULL)
    return JobResult(
        job_id=job_id,
        status=text_or_none(members.get("status", NULL)) or _status(error),
        job=job,
        result=members.get("result", NULL),
        error=error,
        retry_count=integer_or_none(members.get("retry_count", NULL)),
        completed_at=text_or_none(members.get("completed_at", NULL)),
        processing_time=float_or_none(members.get("processing_time", NULL)),
        scraper_id=text_or_none(metadata.get("scraper_id", NULL)),
        created_at=text_or_none(about.get("created_at", NULL)),
        source_url=text_or_none(metadata.get("source_url", NULL)),
        model=text_or_none(provider.get("model", NULL)),
        strict=False,
    )


def _status(error: msgspec.Raw) -> str:
    return "failed" if is_error(bytes(error)) else "completed"


_NO_JOB, _NO_METADATA, _NO_PROVIDER = _Job(), _Metadata(), _Provider()
