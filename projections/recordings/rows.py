"""The rows of meetings, and what is asked of them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from playhead.projections.postgres import Connection
from playhead.streams.recordings.events import Cut

MeetingStatus = Literal["ACTIVE", "STOPPED", "PROMOTED", "PROMOTION_FAILED"]
TranscodeStatus = Literal["QUEUED", "IN_PROGRESS", "DONE", "FAILED"]

_HERE = Path(__file__).parent


class Meeting(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `meetings`."""

    id: str
    guild_id: str | None = None
    channel_id: str | None = None
    strategy: str | None = None
    status: MeetingStatus = "ACTIVE"
    started_at: datetime | None = None
    stopped_at: datetime | None = None
    user_ids: list[str] = []
    problem: str | None = None
    event_order: str = ""


class TempRecording(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `temp_recordings`, a chunk."""

    id: str
    meeting_id: str
    user_id: str
    guild_id: str
    sequence: int
    rate: int
    channels: int
    started_at: datetime
    created_at: datetime
    completed_at: datetime | None = None
    pcm_path: str
    mp3_path: str | None = None
    transcode_status: TranscodeStatus = "QUEUED"
    error: str | None = None
    sha256: str | None = None
    duration_ms: int | None = None
    samples: int | None = None
    cleaned: bool = False


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A row of `recordings`."""

    id: str
    meeting_id: str
    created_at: datetime
    duration_in_ms: int
    sha256: str
    filename: str
    user_id: str | None
    strategy: str
    missing_chunk_ids: list[str] = []
    cuts: list[Cut] = []


def find_meetings(connection: Connection, ids: Sequence[str] | None = None) -> list[Meeting]:
    """The meetings with these ids, or all, the newest first."""
    with connection.cursor(row_factory=class_row(Meeting)) as cursor:
        return cursor.execute(_sql("find_meetings"), {"ids": ids if ids is None else list(ids)}).fetchall()


def find_chunks(connection: Connection, ids: Sequence[str]) -> list[TempRecording]:
    """The chunks with these ids."""
    with connection.cursor(row_factory=class_row(TempRecording)) as cursor:
        return cursor.execute(_sql("find_chunks"), (list(ids),)).fetchall()


def chunks_of(connection: Connection, *meeting_ids: str) -> list[TempRecording]:
    """The chunks of meetings, in the order in which they began."""
    with connection.cursor(row_factory=class_row(TempRecording)) as cursor:
        return cursor.execute(_sql("chunks_of"), (list(meeting_ids),)).fetchall()


def recordings_of(connection: Connection, *meeting_ids: str) -> list[Recording]:
    """The recordings of meetings."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_sql("recordings_of"), (list(meeting_ids),)).fetchall()
    return [msgspec.convert(row, Recording) for row in rows]


def lock_meetings(connection: Connection) -> None:
    """Let nobody else write meetings until this transaction ends."""
    connection.execute(_sql("lock_meetings"))


def remove_meeting(connection: Connection, meeting_id: str) -> None:
    """Remove every row of a meeting."""
    connection.execute(_sql("remove_meeting"), {"id": meeting_id})


def store(
    connection: Connection,
    meetings: Iterable[Meeting],
    chunks: Iterable[TempRecording],
    recordings: Iterable[Recording],
    removed: Sequence[str],
) -> None:
    """Write rows, whatever stood there, and remove chunks."""
    with connection.cursor() as cursor:
        for name, rows in (("store_meeting", meetings), ("store_chunk", chunks), ("store_recording", recordings)):
            written = [_parameters(row) for row in rows]
            if written:
                cursor.executemany(_sql(name), written)
        if removed:
            cursor.execute(_sql("remove_chunks"), (list(removed),))


def _parameters(row: Meeting | TempRecording | Recording) -> dict[str, object]:
    values = msgspec.structs.asdict(row)
    if isinstance(row, Recording):
        values["cuts"] = Jsonb(msgspec.to_builtins(row.cuts))
    return values


def _sql(name: str) -> bytes:
    return (_HERE / f"{name}.sql").read_bytes()
