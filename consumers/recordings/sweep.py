"""The sweep ends sessions that never ended, so that they are promoted; where nothing is finished, audio goes."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from projections.postgres import Connection
from projections.recordings.overview import Overview, overview
from projections.recordings.rows import chunks_of
from streams.events import Event, format_time, new_event
from streams.recorder import session_events
from streams.recording_files import RecordingFiles
from streams.recordings import ChunkExpired, MeetingStopped, make_event_id, subject_of


class Swept(msgspec.Struct, frozen=True):
    """A session that was abandoned; `finished` of its chunks become recordings, or else `expired` ones are gone."""

    meeting_id: str
    finished: int
    expired: int


def sweep(
    connection: Connection, files: RecordingFiles, append: Callable[[Sequence[Event]], object], older: timedelta
) -> list[Swept]:
    """End every session of which nothing was heard for so long. What a recorder still holds open is left alone.

    What a recorder that died had on disk and never said is said for it, so it becomes part of the recording.
    """
    now = datetime.now(UTC)
    swept: list[Swept] = []
    meetings = overview(connection)
    for events in _unheard_of(files, {meeting.id for meeting in meetings}, now - older):
        append(events)
    for meeting in meetings:
        seen = files.last_sign_of_life(meeting.id)
        if meeting.status == "ACTIVE" and now - max(meeting.last_event_at, seen or meeting.last_event_at) >= older:
            swept.append(_end(connection, files, append, meeting))
    return swept


def _unheard_of(files: RecordingFiles, known: set[str], before: datetime) -> Iterator[list[Event]]:
    """The events of sessions that are on disk alone; once they are known, they can be ended."""
    for path in files.sessions():
        if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
            events = _events_of(files, path)
            if events and not known.intersection(event.subject.removeprefix("meeting/") for event in events):
                yield events


def _end(
    connection: Connection, files: RecordingFiles, append: Callable[[Sequence[Event]], object], meeting: Overview
) -> Swept:
    chunks = chunks_of(connection, meeting.id)
    known = {make_event_id("chunk.flushed", meeting.id, chunk.id) for chunk in chunks}
    unsaid = [event for event in _flushed(files, meeting.id) if event.id not in known]
    expired = [] if meeting.done or unsaid else chunks
    if not meeting.done and not unsaid:
        files.remove_chunks(meeting.id)  # first: a sweep that dies behind it finds the session again
    events = [
        _event(
            "chunk.expired",
            meeting.id,
            ChunkExpired(meeting_id=meeting.id, temp_recording_id=chunk.id, user_id=chunk.user_id),
            chunk.id,
        )
        for chunk in expired
    ]
    stopped = MeetingStopped(
        meeting_id=meeting.id,
        user_ids=sorted({chunk.user_id for chunk in chunks}),
        stopped_at=format_time(datetime.now(UTC)),
        reason="abandoned",
    )
    append([*unsaid, *events, _event("meeting.stopped", meeting.id, stopped, "")])
    return Swept(meeting.id, meeting.done, len(expired))


def _flushed(files: RecordingFiles, meeting_id: str) -> list[Event]:
    found = _events_of(files, files.path(files.session(meeting_id)))
    return [event for event in found if event.type == "chunk.flushed"]


def _events_of(files: RecordingFiles, path: Path) -> list[Event]:
    try:
        return list(session_events(files, path))
    except (FileNotFoundError, msgspec.DecodeError):
        return []  # gone meanwhile, or of no recorder of ours


def _event(type: str, meeting_id: str, payload: ChunkExpired | MeetingStopped, about: str) -> Event:
    """The id of an end is the one that the recorder gives it: there is one end, whoever says so."""
    return new_event(
        type,
        subject=subject_of(meeting_id),
        data=payload,
        source="playhead/sweep",
        id=make_event_id(type, meeting_id, about),
        correlationid=make_event_id("meeting", meeting_id),
        dataschema=f"{type}/1",
    )
