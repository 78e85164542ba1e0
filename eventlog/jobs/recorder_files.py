"""The recorder's JSON files as a source of events: finished jobs, read safely below one directory."""

import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, cast

import msgspec

from playhead.eventlog.jobs.parts import Part, parts_of
from playhead.eventlog.replay.files import Found, NotAnEvent
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, check, check_utf8, format_time, parse_date_or_time
from playhead.streams.jobs.outcomes import Outcome, is_error, meaning_of, word_of
from playhead.streams.members import NULL, compact, decode_members, text_or_none, without_mark
from playhead.streams.printable import quoted
from playhead.streams.storage.file_tree import HIDDEN, SIZE_LIMIT, FileTree, Skipped

_NAMESPACE = uuid.UUID("6f1d2a54-5f0e-5c5c-9a58-0b1f6f6f2a10")
_SUFFIXES = (".json", ".jsonl", ".ndjson")
_STAGING = ".staging"
_NUMBER = b"-0123456789"
_SHOWN = 100
"""Characters of a status that are shown."""
_NO_WORDS: Mapping[str, Outcome] = {}


class RecorderFiles(FileTree):
    """The recorder's files below a directory; `statuses` are words of the user's own for what became of a job."""

    def __init__(self, directory: Path, statuses: Mapping[str, Outcome] = _NO_WORDS) -> None:
        super().__init__(directory, _SUFFIXES)
        self._statuses = statuses

    def names(self, pattern: str | None = None) -> Iterator[str | Skipped]:
        """The same, but for the directory in which our own files are made."""
        for one in super().names(pattern):
            if not (isinstance(one, Skipped) and one.reason == HIDDEN and one.name.rpartition("/")[2] == _STAGING):
                yield one

    def examine(self, name: str) -> Iterator[Found | Skipped]:
        """Say what a file holds, without keeping its content."""
        try:
            content, mark = self._text(name)
            for part in parts_of(content):
                if isinstance(part, Part):
                    yield self._found(content, part, name, mark)
                else:
                    yield Skipped(_place(name, part.label), part.reason, part.broken, part.spare)
        except InvalidEvent as error:
            yield Skipped(name, str(error), broken=True)
        except OSError as error:
            yield Skipped(name, error.strerror or str(error), broken=True)

    def event(self, name: str, imported: str | None = None, *, start: int = 0, length: int | None = None) -> Event:
        """Read a file, or a part, as the event that it records; its id is in it, or follows from the content.

        Raises:
            NotAnEvent: it is some other JSON, or a job that is not finished.
            InvalidEvent: it is too large, not JSON, or lacks a time.
            OSError: it cannot be read, or a component of its name is a link.
        """
        content = self._text(name)[0] if length is None else self.content(name, start, length)
        return decode_recorded(content, imported, self._statuses).event

    def _text(self, name: str) -> tuple[bytes, int]:
        """The content of a file, and how long a byte order mark stood before it."""
        content = self.content(name)
        if len(content) > SIZE_LIMIT:
            raise InvalidEvent("file", f"it is over the limit of {SIZE_LIMIT} bytes")
        text = without_mark(content)
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise InvalidEvent("file", f"not UTF-8: {error.reason} at byte {error.start}") from error
        return text, len(content) - len(text)

    def _found(self, content: bytes, part: Part, name: str, mark: int) -> Found | Skipped:
        place = _place(name, part.label)
        try:
            recorded = decode_recorded(content[part.start : part.end], None, self._statuses, marked=mark > 0)
        except NotAnEvent as error:
            return Skipped(place, str(error), spare=error.spare, detail=error.detail)
        except InvalidEvent as error:
            return Skipped(place, str(error), broken=True)
        event = recorded.event
        return Found(
            name,
            event.id,
            event.type,
            event.subject,
            recorded.scraper,
            event.timestamp,
            failed=event.type == "job.failed",
            start=mark + part.start,
            length=part.end - part.start if part.label else None,
            former_id=recorded.former_id,
            note=recorded.note,
            own=recorded.own,
        )


def scraper_of(data: bytes) -> str | None:
    """The scraper that a job result belongs to."""
    try:
        job = bytes(_decode_payload(data).job)
    except (ValueError, RecursionError):
        job = bytes((decode_members(data) or {}).get("job", NULL))
    return _job(job).scraper


class RecordedResult(msgspec.Struct, frozen=True):
    """The event of a job result, and what the result says beside it."""

    event: Event
    scraper: str | None
    former_id: str | None = None
    note: str | None = None
    own: bool = False


class _Payload(msgspec.Struct):
    job: msgspec.Raw = NULL


_decode_payload = msgspec.json.Decoder(_Payload).decode


class _Job(msgspec.Struct, frozen=True):
    created_at: msgspec.Raw
    scraper: str | None


class _About(msgspec.Struct, frozen=True):
    """What a job result says of itself, beside its content."""

    job_id: str
    scraper: str | None
    failed: bool
    time: datetime
    note: str | None

    @classmethod
    def of(cls, members: dict[str, bytes], statuses: Mapping[str, Outcome]) -> Self:
        job_id = _identifier(members.get("job_id"))
        if job_id is None or not members.get("job", b"").startswith(b"{"):
            raise NotAnEvent("not a job result")
        failed = _is_failed(members, statuses)
        job = _job(members["job"])
        completed, created = _time(members.get("completed_at")), _time(bytes(job.created_at))
        time = completed or created or _time_of(_plain(members.get("event_id")))
        if time is None:
            raise InvalidEvent("time", "neither completed_at nor job.created_at is there and a time")
        given = members.get("completed_at", b"null")
        ignored = completed is None and given not in {b"null", b'""'}
        return cls(job_id, job.scraper, failed, time, _NO_TIME if ignored else None)


_NO_TIME = "completed_at is no time, so the next best is taken"


def decode_recorded(
    content: bytes, imported: str | None = None, statuses: Mapping[str, Outcome] = _NO_WORDS, *, marked: bool = False
) -> RecordedResult:
    """The event of one job result, its numbers and strings as they are written in the file.

    `marked` says that the file had a byte order mark.

    Raises:
        NotAnEvent: the content is something else, or the job is not finished.
        InvalidEvent: it is a result that cannot be an event.
    """
    check_utf8(content)
    members = _members(content)
    about = _About.of(members, statuses)
    members["job_id"] = json.dumps(about.job_id).encode() if members["job_id"][:1] in _NUMBER else members["job_id"]
    event_id = _plain(members.pop("event_id", None))
    data = b"{%b}" % b",".join(b"%b:%b" % (json.dumps(member).encode(), value) for member, value in members.items())
    type_ = "job.failed" if about.failed else "job.completed"
    event = Event(
        id=event_id if isinstance(event_id, str) and event_id else _derived_id(data),
        source="recorder",
        type=type_,
        time=format_time(about.time),
        subject=f"job/{about.job_id}",
        data=data,
        dataschema=f"{type_}/1",
        imported=imported,
    )
    check(event)
    rewritten = marked or b"\\ud" in content or b"\\uD" in content
    former_id = _former_id(members, event.id) if rewritten and event.id != event_id else None
    return RecordedResult(event, about.scraper, former_id, about.note, own=event.id == event_id)


def _members(content: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each compact and otherwise as it stands; empty if it is no object."""
    try:
        found = decode_members(compact(content))
    except RecursionError as error:
        raise InvalidEvent("file", "not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise InvalidEvent("file", f"not JSON that can be read: {error}") from error
    return {name: bytes(value) for name, value in (found or {}).items()}


def _is_failed(members: dict[str, bytes], statuses: Mapping[str, Outcome]) -> bool:
    """What became of the job: its status says so, and where that is missing or good, its error.

    Raises:
        NotAnEvent: the job is not finished, or the status is a word that nobody knows.
    """
    failed = is_error(members.get("error", b"null"))
    status = members.get("status", b"null")
    text = _plain(status)
    if status == b"null" or (isinstance(text, str) and not text.strip()):
        return failed
    shown = text if isinstance(text, str) else status.decode()
    match meaning_of(shown, statuses):
        case "completed":
            return failed
        case "failed":
            return True
        case "unfinished":
            raise NotAnEvent("unfinished job", f"its status is {quoted(shown)}")
        case None:
            raise NotAnEvent(
                "unknown status",
                f"{shown[:_SHOWN]!r}; say what it means: --status {word_of(shown)[:_SHOWN] or 'word'}=completed",
            )


def _identifier(value: bytes | None) -> str | None:
    """A job id as text: a number's is the digits as they are written."""
    if value is not None and value[:1] in _NUMBER:
        return value.decode()
    text = _plain(value)
    return text if isinstance(text, str) else None


def _time(value: bytes | None) -> datetime | None:
    """A time; None where there is none, and for year 1, which Go and .NET write for none."""
    text = _plain(value)
    if not isinstance(text, str):
        return None
    try:
        moment = parse_date_or_time(text.strip())
    except InvalidEvent:
        return None
    return moment if moment.year > 1 else None


def _time_of(event_id: object) -> datetime | None:
    """When a UUIDv7 was made; a file of ours has such an id, and perhaps no other time."""
    try:
        parsed = uuid.UUID(str(event_id))
        return datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC) if parsed.version == 7 else None  # noqa: PLR2004
    except (ValueError, OverflowError, OSError):
        return None


def _job(job: bytes) -> _Job:
    members = decode_members(job) or {}
    metadata = decode_members(members.get("metadata", NULL)) or {}
    return _Job(members.get("created_at", NULL), text_or_none(metadata.get("scraper_id", NULL)))


def _plain(value: bytes | None) -> object:
    """A string's text; None for anything else."""
    return cast("object", json.loads(value)) if value is not None and value.startswith(b'"') else None


def _derived_id(data: bytes) -> str:
    return str(uuid.uuid5(_NAMESPACE, hashlib.sha256(data).hexdigest()))


def _former_id(members: dict[str, bytes], event_id: str) -> str | None:
    """The id by which version 0.1.0 imported a file with a byte order mark or a lone surrogate.

    It wrote the numbers of such a file otherwise, so that its content, and the id that follows from it, were others.
    """
    try:
        values = [json.dumps(json.loads(value), allow_nan=False, separators=(",", ":")) for value in members.values()]
    except (ValueError, RecursionError):
        return None
    data = ",".join(f"{json.dumps(name)}:{value}" for name, value in zip(members, values, strict=True))
    former = _derived_id(b"{%b}" % data.encode())
    return None if former == event_id else former


def _place(name: str, label: str) -> str:
    return f"{name}, {label}" if label.startswith("line") else f"{name}{label}"
