"""The payload of `job.completed` and `job.failed`, read leniently: its members stay the bytes they were."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import cast

import msgspec

from playhead.streams.errors import InvalidEvent

NULL = msgspec.Raw(b"null")
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_SPACE = b" \t\r\n"


class JobResult(msgspec.Struct, frozen=True):
    """What a job came to.

    Raw members are JSON null where the payload has none, the others None where it does not hold them as what they
    should be, an empty string included. `scraper_id` to `model` are parsed from `job`. `strict` is False where msgspec
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
    """Which job it was: the part of a result that says where its file belongs, None where `JobResult` has None."""

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
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])


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
    """Read the same from the members of a payload, None where it is no object.

    Raises:
        InvalidEvent: as `decode_job_result`.
    """
    if members is None:
        raise InvalidEvent("data", "is not a JSON object")
    job_id = text_or_none(members.get("job_id", NULL))
    if job_id is None:
        raise InvalidEvent("data.job_id", "is not a non-empty string")
    raw = members.get("job", NULL)
    try:
        job = _JOB.decode(raw) or _NO_JOB
        return Job(job_id, (job.metadata or _NO_METADATA).scraper_id or None, job.created_at or None)
    except (ValueError, RecursionError):
        about = decode_members(raw) or {}
        metadata = decode_members(about.get("metadata", NULL)) or {}
        scraper_id, created_at = metadata.get("scraper_id", NULL), about.get("created_at", NULL)
        return Job(job_id, text_or_none(scraper_id), text_or_none(created_at))


def _decode_leniently(data: bytes) -> JobResult:
    members = decode_members(data)
    if members is None:
        raise InvalidEvent("data", "is not a JSON object")
    job_id = text_or_none(members.get("job_id", NULL))
    if job_id is None:
        raise InvalidEvent("data.job_id", "is not a non-empty string")
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
        processing_time=_float_or_none(members.get("processing_time", NULL)),
        scraper_id=text_or_none(metadata.get("scraper_id", NULL)),
        created_at=text_or_none(about.get("created_at", NULL)),
        source_url=text_or_none(metadata.get("source_url", NULL)),
        model=text_or_none(provider.get("model", NULL)),
        strict=False,
    )


def _status(error: msgspec.Raw) -> str:
    return "completed" if bytes(error) == b"null" else "failed"


_NO_JOB, _NO_METADATA, _NO_PROVIDER = _Job(), _Metadata(), _Provider()
_STRING = msgspec.json.Decoder(str)
_INTEGER = msgspec.json.Decoder(int)
_FLOAT = msgspec.json.Decoder(float)
_RAW = msgspec.json.Decoder(msgspec.Raw)


def decode_members(data: bytes | msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    r"""The members of an object in order, as the bytes they were; None where the data is not a JSON object.

    msgspec refuses lone surrogates such as `\ud800`, deep nesting and NaN, all of which old files hold;
    then the members are found by their brackets. What they are may still hold bytes that are not UTF-8.
    """
    try:
        return _MEMBERS.decode(data)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            return dict(_split(bytes(data)))
        except ValueError:
            return None


def text_or_none(value: msgspec.Raw) -> str | None:
    """The string, where it is one and not empty; it may hold lone surrogates."""
    try:
        return _STRING.decode(value) or None
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None
    except msgspec.DecodeError:
        with suppress(ValueError, RecursionError):
            found = cast("object", json.loads(bytes(value)))
            return found if isinstance(found, str) and found else None
        return None
    except RecursionError:
        return None


def integer_or_none(value: msgspec.Raw) -> int | None:
    """The number, where it is a whole one."""
    try:
        return _INTEGER.decode(value)
    except (ValueError, RecursionError):
        return None


def _float_or_none(value: msgspec.Raw) -> float | None:
    try:
        return _FLOAT.decode(value)
    except (ValueError, RecursionError):
        return None


def _split(data: bytes) -> Iterator[tuple[str, msgspec.Raw]]:
    """Split an object at the commas of its own level."""
    data = data.strip(_SPACE)
    if data[:1] != b"{" or data[-1:] != b"}":
        raise ValueError("not an object")
    depth, key, start, end = 0, "", 0, 0
    for token in _TOKEN.finditer(data):
        mark = token[0][:1]
        if depth == 0 and end:
            raise ValueError("something follows the object")
        if depth == 1 and mark == b":":
            key, start = _name(data[start : token.start()]), token.end()
        elif depth == 1 and mark in b",}":
            value = data[start : token.start()].strip(_SPACE)
            if value:
                yield key, _checked(value)
            start = token.end()
        if mark in b"{[":
            depth += 1
            start = token.end() if depth == 1 else start
        elif mark in b"}]":
            depth -= 1
        end = token.end()
    if depth or end != len(data):
        raise ValueError("brackets do not match")


def _name(key: bytes) -> str:
    if not key.strip(_SPACE).startswith(b'"'):
        raise ValueError("a member has no name")
    return cast("str", json.loads(key))


def _checked(value: bytes) -> msgspec.Raw:
    try:
        _RAW.decode(value)
    except RecursionError:
        pass
    except msgspec.DecodeError:
        with suppress(RecursionError):
            json.loads(value)
    return msgspec.Raw(value)
