"""Every meeting at a glance, and what keeps it from its end."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

import msgspec
from psycopg.rows import class_row

from playhead.projections.postgres import Connection
from playhead.projections.recordings.rows import MeetingStatus, Recording, recordings_of
from playhead.streams.recordings.files import InvalidId, RecordingFiles

_OVERVIEW = Path(__file__).with_name("overview.sql").read_bytes()


class Overview(msgspec.Struct, frozen=True, kw_only=True):
    """A meeting; `done`, `failed` and `unfinished` count its chunks, `missing` those that its recordings lack.

    `status` is FILES_MISSING if the meeting was promoted and files of recordings are gone, as `problem` says.
    """

    id: str
    status: MeetingStatus | Literal["FILES_MISSING"]
    strategy: str | None
    started_at: datetime | None
    stopped_at: datetime | None
    problem: str | None
    last_event_at: datetime
    done: int
    failed: int
    unfinished: int
    recordings: int
    missing: int

    def stuck(self, now: datetime, idle: timedelta) -> str | None:
        """Why the meeting does not come to its end, None if it did, or something still happens."""
        if now - self.last_event_at < idle:
            return None
        match self.status:
            case "ACTIVE":
                return "it never ended"
            case "PROMOTION_FAILED":
                return f"its promotion failed: {self.problem}"
            case "FILES_MISSING":
                return self.problem
            case "PROMOTED":
                return f"its recordings lack {self.missing} chunks" if self.missing else None
            case _:
                return f"it is not promoted, with {self.unfinished} chunks unfinished and {self.failed} failed"


def overview(connection: Connection) -> list[Overview]:
    """Every meeting, the newest first."""
    with connection.cursor(row_factory=class_row(Overview)) as cursor:
        return cursor.execute(_OVERVIEW).fetchall()


def list_files(connection: Connection, files: RecordingFiles) -> list[Overview]:
    """Every meeting, the newest first, after a look at whether its recordings are there."""
    meetings = overview(connection)
    made: dict[str, list[Recording]] = {}
    for recording in recordings_of(connection, *(one.id for one in meetings if one.recordings)):
        made.setdefault(recording.meeting_id, []).append(recording)
    return [_looked_at(meeting, made.get(meeting.id, []), files) for meeting in meetings]


def lost_files(files: RecordingFiles, recordings: Iterable[Recording]) -> list[str]:
    """The file names of recordings that are not there, or are empty."""
    return [one.filename for one in recordings if not _is_there(files, one)]


def _looked_at(meeting: Overview, recordings: list[Recording], files: RecordingFiles) -> Overview:
    lost = lost_files(files, recordings)
    if not lost:
        return meeting
    problem = f"{len(lost)} of {len(recordings)} recordings are not there: {', '.join(lost)}"
    return msgspec.structs.replace(meeting, status="FILES_MISSING", problem=problem)


def _is_there(files: RecordingFiles, recording: Recording) -> bool:
    """Told by the place that its ids give, whatever its event says."""
    try:
        path = files.path(files.recording(recording.meeting_id, recording.user_id, recording.id))
        return path.is_file() and path.stat().st_size > 0
    except (OSError, InvalidId):
        return False
