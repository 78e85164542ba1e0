"""The file of one job and day."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from playhead.projections.encoding import decode, encode, indent
from playhead.projections.jobs.json_files.summaries import Entry
from playhead.projections.jobs.result import decode_job
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Recorded, format_time, parse_date_or_time
from playhead.streams.members import NULL, decode_members

STATUSES = {"job.completed": "completed", "job.failed": "failed"}
"""The event types this projection takes, and the status of a payload without one."""


_DATE = len("2025-08-09")
_EVENT_ID = b'"event_id":'
_MEMBERS: dict[str, msgspec.Raw | str] = {
    **dict.fromkeys(("job_id", "job", "status", "result", "error"), NULL),
    "retry_count": msgspec.Raw(b"0"),
    **dict.fromkeys(("completed_at", "processing_time"), NULL),
}
"""What a file holds if the payload lacks it, in this order."""


class Document(msgspec.Struct, frozen=True):
    """What one event wants to stand in the tree; the content is laid out when it is asked for, as it may be large."""

    day: str
    entry: Entry
    members: dict[str, msgspec.Raw | str]

    @property
    def content(self) -> bytes:
        """The bytes of the file."""
        try:
            return indent(msgspec.json.encode(self.members))
        except UnicodeEncodeError:  # a name holds a lone surrogate, which only the standard library writes
            written = [encode(name) + b":" + _written(value) for name, value in self.members.items()]
            return indent(b"{" + b",".join(written) + b"}")


def make_document(recorded: Recorded) -> Document:
    """Lay out the file of an event.

    Raises:
        InvalidEvent: the payload is no job result.
    """
    event = recorded.event
    members = decode_members(event.data)
    job = decode_job(members)
    moment = _time(job.created_at) or event.timestamp
    timestamp = format_time(moment)
    entry = Entry(
        job_id=job.job_id,
        scraper_id=job.scraper_id,
        timestamp=timestamp,
        event_id=event.id,
        order=str(recorded.order),
    )
    all_members: dict[str, msgspec.Raw | str] = {**_MEMBERS, "job_id": job.job_id, "status": STATUSES[event.type]}
    all_members.update(members or {})
    all_members.pop("event_id", None)  # ours stands last
    all_members["event_id"] = event.id
    return Document(timestamp[:_DATE], entry, all_members)


def newest_documents(events: Iterable[Recorded]) -> list[Document]:
    """Lay out the files of events: of those of one job and day the newest.

    Raises:
        InvalidEvent: a payload is no job result.
    """
    newest: dict[tuple[str, str], Document] = {}
    for recorded in events:
        if recorded.event.type in STATUSES:
            document = make_document(recorded)
            place = document.day, document.entry.job_id
            other = newest.get(place)
            if other is None or document.entry.order > other.entry.order:
                newest[place] = document
    return list(newest.values())


def read_event_id(content: bytes) -> str | None:
    """Give the id of the event that wrote a file, or None if the file is not one of ours."""
    _, mark, tail = content.rpartition(_EVENT_ID)
    try:
        return decode(tail.strip().removesuffix(b"}"), str) if mark else None
    except ValueError:
        return None


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else parse_date_or_time(text)
    except InvalidEvent:
        return None


def _written(value: msgspec.Raw | str) -> bytes:
    return encode(value) if isinstance(value, str) else bytes(value)
