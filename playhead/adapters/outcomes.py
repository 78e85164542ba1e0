"""The payload of a finished job, and what is left of it if it is too large for an event."""

import hashlib
import logging
from typing import cast

import msgspec

from playhead.adapters.representation import Representation
from playhead.streams.errors import EventTooLarge
from playhead.streams.events import ATTRIBUTE_LIMIT, encode_data
from playhead.streams.jobs.events import JobOutcome

_ERROR_LIMIT = 1024 * 1024
"""Characters of an error that are recorded."""
_ID_LIMIT = ATTRIBUTE_LIMIT - len("job/")
_ID_PREFIX = 1000
_SHORT = 256
"""Bytes of a part that is never left out, and characters of an error that has to be cut further."""
_MEMBERS = 20
"""Short members that stay of metadata, or of other members, that are too large; the function and queue are first."""
_METADATA, _OMITTED = "metadata", "omitted"
_USUAL = ("prompt", "format", "provider_config", _METADATA, "created_at")
_OTHERS, _RESULT, _ERROR = "other members", "result", "error"
"""Parts that are no member of the description; one of its own with such a name is among the others."""

_log = logging.getLogger(__name__)


class _Omitted(list[str]):
    """Names of parts that were left out; a list of the program's own is no such one."""


def cut_error(text: str, limit: int = _ERROR_LIMIT) -> str:
    """An error that says so if it was cut."""
    return text if len(text) <= limit else f"{text[:limit]}... (cut; it has {len(text)} characters)"


def short_id(job_id: str) -> str:
    """An id that fits the subject: a longer one becomes its start and its SHA-256, the same one each time."""
    if len(job_id) <= _ID_LIMIT:
        return job_id
    return f"{job_id[:_ID_PREFIX]}-{hashlib.sha256(job_id.encode()).hexdigest()}"


def representable(outcome: JobOutcome) -> JobOutcome:
    """The same with text in place of the parts that JSON cannot represent."""
    job, result = Representation(outcome.job), Representation(outcome.result)
    if job.changed:
        _log.warning("the description of job %s has parts that JSON cannot represent: they are text", outcome.job_id)
    return msgspec.structs.replace(
        outcome,
        job=cast("dict[str, object]", job.value),
        result=result.value,
        result_encoding="partial-repr" if result.changed else outcome.result_encoding,
    )


def smaller(outcome: JobOutcome, error: EventTooLarge) -> JobOutcome:
    """The same without its largest part; `omitted` of the job names those of its description.

    Raises:
        EventTooLarge: nothing is left that could be omitted.
    """
    job, omitted = outcome.job, _omitted_before(outcome.job)
    usual = {name: job.get(name) for name in _USUAL}
    kept = {"id", _OMITTED} if omitted else {"id"}
    others = {name: value for name, value in job.items() if name not in usual and name not in kept}
    parts = usual | {_OTHERS: others, _RESULT: outcome.result, _ERROR: outcome.error}
    sizes = {part: size for part, value in parts.items() if (size := _size(value)) > _SHORT}
    largest = max(sizes, key=sizes.__getitem__, default=None)
    if largest is None:
        raise error
    _log.error("the %s of job %s is not recorded in full: %s", largest, outcome.job_id[:_SHORT], error)
    if largest == _RESULT:
        return msgspec.structs.replace(outcome, result=None, result_encoding="omitted")
    if largest == _ERROR:
        return msgspec.structs.replace(outcome, error=_shorter_error(outcome.error or ""))
    left = _short_members(parts[largest]) if largest not in omitted else {}
    if largest == _OTHERS:
        others = left
    else:
        usual[largest] = left if largest == _METADATA else None
    names = omitted if largest in omitted else [*omitted, largest]
    return msgspec.structs.replace(outcome, job=usual | others | {"id": job["id"], _OMITTED: _Omitted(names)})


def _omitted_before(job: dict[str, object]) -> list[str]:
    """What was left out before; a member of that name which the program has is none."""
    names = job.get(_OMITTED)
    return names if type(names) is _Omitted else []


def _shorter_error(error: str) -> str:
    return cut_error(error, _SHORT // 2) if len(error) > _SHORT else "(omitted)"


def _short_members(value: object) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, member in cast("dict[str, object]", value).items() if isinstance(value, dict) else ():
        if len(found) < _MEMBERS and _size({name: member}) <= _SHORT:
            found[name] = member
    return found


def _size(value: object) -> int:
    """Bytes of a value in JSON."""
    try:
        return len(encode_data([value]))
    except BaseException:  # noqa: BLE001  a program's own objects may do anything
        return len(encode_data([Representation(value).value]))
