"""The recorder's JSON files as a source of events: one finished job a file, read safely below one directory."""

import hashlib
import json
import uuid
from datetime import UTC, datetime
from typing import Self, cast

import msgspec

from playhead.eventlog.replay.files import Found, NotAnEvent
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event, check, format_time, parse_time
from playhead.streams.storage.file_tree import SIZE_LIMIT, FileTree, Skipped

_NAMESPACE = uuid.UUID("6f1d2a54-5f0e-5c5c-9a58-0b1f6f6f2a10")
_SUMMARY = "summary.json"


class RecorderFiles(FileTree):
    """The recorder's files below a directory."""

    def examine(self, name: str) -> Found | Skipped:
        """Say what a file holds, without keeping its content."""
        try:
            event, scraper = decode_recorded(self.content(name), name, None)
        except NotAnEvent as error:
            return Skipped(name, str(error))
        except InvalidEvent as error:
            return Skipped(name, str(error), broken=True)
        except OSError as error:
            return Skipped(name, error.strerror or str(error), broken=True)
        failed = event.type == "job.failed"
        return Found(name, event.id, event.type, event.subject, scraper, event.timestamp, failed=failed)

    def event(self, name: str, imported: str | None = None) -> Event:
        """Read a file as the event that it records; its id is in the file, or follows from the content.

        Raises:
            NotAnEvent: it is some other JSON file.
            InvalidEvent: it is too large, not JSON, or lacks a time.
            OSError: it cannot be read, or a component of its name is a link.
        """
        return decode_recorded(self.content(name), name, imported)[0]


def scraper_of(data: bytes) -> str | None:
    """The scraper that a job result belongs to."""
    try:
        job = bytes(_decode_payload(data).job)
    except msgspec.DecodeError:
        job = _members(data).get("job", b"null")
    return _scraper(bytes(_job(job).metadata))


class _Metadata(msgspec.Struct):
    scraper_id: str | None = None


class _Job(msgspec.Struct):
    created_at: msgspec.Raw = msgspec.Raw(b"null")
    metadata: msgspec.Raw = msgspec.Raw(b"null")


class _Payload(msgspec.Struct):
    job: msgspec.Raw = msgspec.Raw(b"null")


_decode_payload = msgspec.json.Decoder(_Payload).decode
_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_job = msgspec.json.Decoder(_Job).decode
_decode_metadata = msgspec.json.Decoder(_Metadata).decode


class _About(msgspec.Struct, frozen=True):
    """What a job result says of itself, beside its content."""

    job_id: str
    scraper: str | None
    failed: bool
    time: datetime

    @classmethod
    def of(cls, members: dict[str, bytes]) -> Self:
        job_id = _plain(members.get("job_id"))
        if not isinstance(job_id, str) or not members.get("job", b"").startswith(b"{"):
            raise NotAnEvent("not a job result")
        job = _job(members["job"])
        failed = members.get("error", b"null") != b"null" or _plain(members.get("status")) == "failed"
        time = _time(members.get("completed_at"), job.created_at) or _time_of(_plain(members.get("event_id")))
        if time is None:
            raise InvalidEvent("time", "the file has neither completed_at nor job.created_at")
        return cls(job_id, _scraper(bytes(job.metadata)), failed, time)


def decode_recorded(content: bytes, name: str, imported: str | None) -> tuple[Event, str | None]:
    """The event, its numbers and strings as they are written in the file, and its scraper.

    Raises:
        NotAResult: the file is something else.
        InvalidEvent: it is a result that cannot be an event.
    """
    if len(content) > SIZE_LIMIT:
        raise InvalidEvent("file", f"it is over the limit of {SIZE_LIMIT} bytes")
    members = _members(content)
    if name.rpartition("/")[2] == _SUMMARY:
        raise NotAnEvent("summary")
    about = _About.of(members)
    event_id = _plain(members.pop("event_id", None))
    data = b"{%b}" % b",".join(b"%b:%b" % (json.dumps(member).encode(), value) for member, value in members.items())
    type_ = "job.failed" if about.failed else "job.completed"
    event = Event(
        id=event_id if isinstance(event_id, str) else _derived_id(data),
        source="recorder",
        type=type_,
        time=format_time(about.time),
        subject=f"job/{about.job_id}",
        data=data,
        dataschema=f"{type_}/1",
        imported=imported,
    )
    check(event)
    return event, about.scraper


def _members(content: bytes) -> dict[str, bytes]:
    """The members of a JSON object, each compact and otherwise as it stands; empty if it is no object."""
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InvalidEvent("file", f"not UTF-8: {error.reason} at byte {error.start}") from error
    try:
        compact = msgspec.json.format(content, indent=-1)
        return {name: bytes(value) for name, value in _decode_members(compact).items()}
    except RecursionError as error:
        raise InvalidEvent("file", "not JSON that can be read: it is nested too deeply") from error
    except msgspec.ValidationError:
        return {}
    except msgspec.DecodeError:
        return _members_slowly(content)


def _members_slowly(content: bytes) -> dict[str, bytes]:
    r"""Read what msgspec refuses although it is JSON: a lone surrogate such as `\ud800`."""
    try:
        loaded: object = json.loads(content, parse_constant=_refuse)
        if not isinstance(loaded, dict):
            return {}
        members = cast("dict[str, object]", loaded)
        return {
            name: json.dumps(value, allow_nan=False, separators=(",", ":")).encode() for name, value in members.items()
        }
    except RecursionError as error:
        raise InvalidEvent("file", "not JSON that can be read: it is nested too deeply") from error
    except ValueError as error:
        raise InvalidEvent("file", f"not JSON that can be read: {error}") from error


def _time(*candidates: bytes | msgspec.Raw | None) -> datetime | None:
    for value in candidates:
        if value is not None and isinstance(text := _plain(bytes(value)), str):
            return parse_time(text)
    return None


def _time_of(event_id: object) -> datetime | None:
    """When a UUIDv7 was made; a file of ours has such an id, and perhaps no other time."""
    try:
        parsed = uuid.UUID(str(event_id))
        return datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC) if parsed.version == 7 else None  # noqa: PLR2004
    except (ValueError, OverflowError, OSError):
        return None


def _job(job: bytes) -> _Job:
    try:
        return _decode_job(job)
    except msgspec.DecodeError:
        members = _members_slowly(job)
        return _Job(*(msgspec.Raw(members.get(name, b"null")) for name in _Job.__struct_fields__))


def _scraper(metadata: bytes) -> str | None:
    try:
        return _decode_metadata(metadata).scraper_id
    except msgspec.DecodeError:
        return None


def _plain(value: bytes | None) -> object:
    """A string's text; None for anything else."""
    return cast("object", json.loads(value)) if value is not None and value.startswith(b'"') else None


def _derived_id(data: bytes) -> str:
    return str(uuid.uuid5(_NAMESPACE, hashlib.sha256(data).hexdigest()))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
