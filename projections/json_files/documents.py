"""The file of one job."""

from datetime import UTC, datetime

import msgspec

from projections.encoding import decode, encode, indent
from projections.job_result import NULL, JobResult, decode_job_result, decode_members
from projections.json_files.summaries import Entry
from streams.errors import InvalidEvent
from streams.events import Recorded, format_time, parse_time

STATUSES = {"job.completed": "completed", "job.failed": "failed"}
"""The event types this projection takes, and the status of a payload without one."""


_EVENT_ID = b'"event_id":'
_MEMBERS: dict[str, msgspec.Raw | str] = {
    **dict.fromkeys(("job_id", "job", "status", "result", "error"), NULL),
    "retry_count": msgspec.Raw(b"0"),
    **dict.fromkeys(("completed_at", "processing_time"), NULL),
}
"""What a file holds where the payload does not, in this order."""


class Document(msgspec.Struct, frozen=True):
    """What one event wants to stand in the tree."""

    day: str
    entry: Entry
    content: bytes


def make_document(recorded: Recorded) -> Document:
    """Lay out the file of an event.

    Raises:
        InvalidEvent: the payload is no job result.
    """
    event = recorded.event
    result = decode_job_result(event.data)
    moment = _created(result) or event.timestamp
    entry = Entry(
        job_id=result.job_id,
        scraper_id=result.scraper_id,
        timestamp=format_time(moment),
        event_id=event.id,
        order=str(recorded.order),
    )
    return Document(moment.astimezone(UTC).date().isoformat(), entry, _content(recorded, result))


def read_event_id(content: bytes) -> str | None:
    """Give the id of the event that wrote a file, or None if the file is not one of ours."""
    _, mark, tail = content.rpartition(_EVENT_ID)
    try:
        return decode(tail.strip().removesuffix(b"}"), str) if mark else None
    except ValueError:
        return None


def _created(result: JobResult) -> datetime | None:
    if result.created_at is None:
        return None
    try:
        return parse_time(result.created_at)
    except InvalidEvent:
        return None


def _content(recorded: Recorded, result: JobResult) -> bytes:
    own = decode_members(recorded.event.data) or {}
    own.pop("event_id", None)  # ours stands last
    members = _MEMBERS | {"job_id": result.job_id, "status": STATUSES[recorded.event.type]} | own
    try:
        return indent(msgspec.json.encode(members | {"event_id": recorded.event.id}))
    except UnicodeEncodeError:  # a name holds a lone surrogate, which only the standard library writes
        written = {name: _written(value) for name, value in members.items()} | {"event_id": encode(recorded.event.id)}
        return indent(b"{" + b",".join(encode(name) + b":" + value for name, value in written.items()) + b"}")


def _written(value: msgspec.Raw | str) -> bytes:
    return encode(value) if isinstance(value, str) else bytes(value)
