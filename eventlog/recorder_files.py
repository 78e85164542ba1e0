"""The recorder's JSON files as a source of events: one finished job a file."""

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import cast

import msgspec

from streams.errors import InvalidEvent
from streams.events import Event, check, format_time, parse_time

SIZE_LIMIT = 100 * 1024 * 1024
"""Bytes a file may have; a larger one is reported and skipped."""

_NAMESPACE = uuid.UUID("6f1d2a54-5f0e-5c5c-9a58-0b1f6f6f2a10")
_RESULT_MEMBERS = {"job_id", "job"}


class Skipped(msgspec.Struct, frozen=True):
    """A file that gives no event, and why; `broken` where it should have given one."""

    path: Path
    reason: str
    broken: bool = False


class Found(msgspec.Struct, frozen=True):
    """A file that holds a job result."""

    path: Path
    event_id: str
    type: str
    subject: str
    scraper: str | None
    time: datetime


def files_under(directory: Path, pattern: str | None) -> Iterator[Path]:
    """Regular files below a directory in sorted order; links are not followed.

    Raises:
        OSError: the directory cannot be read.
    """
    for root, directories, names in os.walk(directory, onerror=_raise):
        directories[:] = sorted(name for name in directories if not name.startswith("."))
        for name in sorted(names):
            path = Path(root) / name
            if not name.endswith(".json") or path.is_symlink():
                continue
            if pattern is None or fnmatchcase(str(path.relative_to(directory)), pattern) or fnmatchcase(name, pattern):
                yield path


def examine(path: Path) -> Found | Skipped:
    """Say what a file holds, without keeping its content."""
    try:
        event = read_event(path)
    except NotAResult as error:
        return Skipped(path, str(error))
    except (InvalidEvent, OSError) as error:
        return Skipped(path, str(error), broken=True)
    return Found(path, event.id, event.type, event.subject, scraper_of(event.data), event.timestamp)


class NotAResult(ValueError):
    """The file is not a job result, a summary for instance."""


def read_event(path: Path, imported: str | None = None) -> Event:
    """Read a file as the event that it records; its id is in the file, or follows from the content.

    Raises:
        NotAResult: it is some other JSON file.
        InvalidEvent: it is too large, not JSON, or lacks a time.
    """
    content = _read(path)
    try:
        loaded: object = json.loads(content, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise InvalidEvent("file", f"not JSON: {error}") from error
    members = cast("dict[str, object]", loaded) if isinstance(loaded, dict) else {}
    if path.name == "summary.json" or not members.keys() >= _RESULT_MEMBERS:
        raise NotAResult("summary" if path.name == "summary.json" else "not a job result")
    job_id, job = members["job_id"], members["job"]
    if not isinstance(job_id, str) or not isinstance(job, dict):
        raise NotAResult("not a job result")
    event_id = members.pop("event_id", None)
    try:
        data = _compact(members)
    except ValueError as error:
        raise InvalidEvent("file", f"a number in it has no JSON form: {error}") from error
    failed = members.get("error") is not None or members.get("status") == "failed"
    type_ = "job.failed" if failed else "job.completed"
    event = Event(
        id=event_id if isinstance(event_id, str) else _derived_id(job_id, data),
        source="recorder",
        type=type_,
        time=format_time(_time(members, cast("dict[str, object]", job))),
        subject=f"job/{job_id}",
        data=data,
        dataschema=f"{type_}/1",
        imported=imported,
    )
    check(event)
    return event


def scraper_of(data: bytes) -> str | None:
    """The scraper that a job result belongs to."""
    try:
        return msgspec.json.decode(data, type=_Payload).job.metadata.scraper_id
    except msgspec.DecodeError:
        return None


class _Metadata(msgspec.Struct):
    scraper_id: str | None = None


class _Job(msgspec.Struct):
    metadata: _Metadata = msgspec.field(default_factory=_Metadata)


class _Payload(msgspec.Struct):
    job: _Job = msgspec.field(default_factory=_Job)


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        if (size := os.fstat(descriptor).st_size) > SIZE_LIMIT:
            raise InvalidEvent("file", f"{size} bytes is over the limit of {SIZE_LIMIT}")
        return file.read(SIZE_LIMIT + 1)


def _compact(members: dict[str, object]) -> bytes:
    try:
        return json.dumps(members, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(members, allow_nan=False, separators=(",", ":")).encode()


def _time(members: dict[str, object], job: dict[str, object]) -> datetime:
    for value in (members.get("completed_at"), job.get("created_at")):
        if isinstance(value, str):
            return parse_time(value)
    raise InvalidEvent("time", "the file has neither completed_at nor job.created_at")


def _derived_id(job_id: str, data: bytes) -> str:
    return str(
        uuid.uuid5(_NAMESPACE, f"{job_id.encode('utf-8', 'backslashreplace')!r} {hashlib.sha256(data).hexdigest()}")
    )


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _raise(error: OSError) -> None:
    raise error
