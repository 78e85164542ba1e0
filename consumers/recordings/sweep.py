"""The sweep ends sessions that never ended, so that they are promoted; where nothing is finished, audio goes."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from projections.postgres import Connection
from projections.recordings.overview import overview
from projections.recordings.rows import chunks_of
from streams.events import Event, format_time, new_event
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
    """End every session of which nothing was heard for so long. What a recorder still holds open is left alone."""
    now = datetime.now(UTC)
    swept: list[Swept] = []
    for meeting in overview(connection):
        seen = files.last_sign_of_life(meeting.id)
        if meeting.status != "ACTIVE" or now - max(meeting.last_event_at, seen or meeting.last_event_at) < older:
            continue
        chunks = chunks_of(connection, meeting.id)
        expired = [] if meeting.done else chunks
        events = [
            _event(
                "chunk.expired",
                meeting.id,
                ChunkExpired(meeting_id=meeting.id, temp_recording_id=chunk.id, user_id=chunk.user_id),
                chunk.id,
            )
            for chunk in expired
        ]
        users = sorted({chunk.user_id for chunk in chunks})
        stopped = MeetingStopped(meeting_id=meeting.id, user_ids=users, stopped_at=format_time(now), reason="abandoned")
        append([*events, _event("meeting.stopped", meeting.id, stopped, "")])
        if not meeting.done:
            files.remove_chunks(meeting.id)
        swept.append(Swept(meeting.id, meeting.done, len(expired)))
    return swept


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
