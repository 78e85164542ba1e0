"""What a recorder notes about a session, `session.json`, and what the files of a session say."""

import contextlib
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import msgspec

from playhead.streams.events import Event, format_time, parse_time
from playhead.streams.printable import quoted
from playhead.streams.recordings.errors import SessionUnreadable
from playhead.streams.recordings.events import (
    ChunkFlushed,
    MeetingStarted,
    MeetingStopped,
    Strategy,
    make_chunk_id,
    meeting_event,
)
from playhead.streams.recordings.files import Chunk, RecordingFiles
from playhead.streams.recordings.ids import text_of

_SOURCE = "playhead/recorder"
_NOTE_BYTES = 16 * 1024 * 1024


class SessionNote(msgspec.Struct, frozen=True, kw_only=True):
    """What a session needs to go on after a crash, and its chunks to be adopted: `session.json`."""

    meeting_id: str
    guild_id: str
    channel_id: str
    strategy: Strategy
    rate: int
    channels: int
    started_at: str
    stopped_at: str | None = None
    user_ids: list[str] = []
    flush_seconds: float | None = None

    def started(self) -> Event:
        payload = MeetingStarted(
            meeting_id=self.meeting_id,
            guild_id=self.guild_id,
            channel_id=self.channel_id,
            strategy=self.strategy,
            started_at=self.started_at,
        )
        return meeting_event(payload, _SOURCE, time=self.started_at)

    def flushed(self, chunk: Chunk, pcm_path: str, started_at: datetime) -> Event:
        payload = ChunkFlushed(
            temp_recording_id=make_chunk_id(chunk.meeting_id, chunk.user_id, chunk.sequence),
            meeting_id=chunk.meeting_id,
            user_id=chunk.user_id,
            guild_id=self.guild_id,
            sequence=chunk.sequence,
            pcm_path=pcm_path,
            rate=self.rate,
            channels=self.channels,
            started_at=format_time(started_at),
        )
        return meeting_event(payload, _SOURCE, about=payload.temp_recording_id)

    def stopped(self, stopped_at: str) -> Event:
        payload = MeetingStopped(meeting_id=self.meeting_id, user_ids=self.user_ids, stopped_at=stopped_at)
        return meeting_event(payload, _SOURCE, time=stopped_at)


def read_note(files: RecordingFiles, path: Path) -> SessionNote:
    """Read a `session.json`.

    Raises:
        FileNotFoundError: there is none.
        SessionUnreadable: with what is wrong.
    """
    try:
        note = _decode(_read(path))
        problem = _problem(files, path, note)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SessionUnreadable(path, error.strerror or str(error)) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise SessionUnreadable(path, str(error)) from error
    if problem is not None:
        raise SessionUnreadable(path, problem)
    return note


def session_events(files: RecordingFiles, path: Path) -> list[Event]:
    """What the files of a session say, by its `session.json`: the events that its recorder appended, or would have.

    Raises:
        FileNotFoundError: there is no such session.
        SessionUnreadable: its `session.json` is damaged.
    """
    note = read_note(files, path)
    events = [note.started()]
    for chunk in files.chunks("pcm", note.meeting_id):
        pcm = files.pcm(chunk)
        with contextlib.suppress(FileNotFoundError):  # transcoded and deleted meanwhile
            microseconds = files.path(pcm).stat().st_mtime_ns // 1000
            events.append(
                note.flushed(chunk, pcm, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds))
            )
    if note.stopped_at is not None:
        events.append(note.stopped(note.stopped_at))
    return events


def noted_strategy(files: RecordingFiles, meeting_id: str) -> Strategy | None:
    """What a session's recorder asked for; None if it is not noted, or no longer."""
    try:
        return read_note(files, files.path(files.session(meeting_id))).strategy
    except (OSError, SessionUnreadable):
        return None


def _read(path: Path) -> bytes:
    """Read a regular file without waiting for what is none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is no file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(_NOTE_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(content) > _NOTE_BYTES:
        raise ValueError(f"it has more than {_NOTE_BYTES} bytes")
    return content


def _decode(content: bytes) -> SessionNote:
    """Ids that an older recorder wrote as numbers are read as text."""
    found = msgspec.json.decode(content)
    if isinstance(found, dict):
        members = cast("dict[str, object]", found)
        for name in ("meeting_id", "guild_id", "channel_id"):
            if name in members:
                members[name] = text_of(members[name])
    return msgspec.convert(found, SessionNote)


def _problem(files: RecordingFiles, path: Path, note: SessionNote) -> str | None:
    parse_time(note.started_at)
    if note.stopped_at is not None:
        parse_time(note.stopped_at)
    if min(note.rate, note.channels) < 1:
        return f"it says {note.rate} Hz and {note.channels} channels"
    if files.path(files.session(note.meeting_id)) != path:
        return f"it is of another meeting, {quoted(note.meeting_id)}"
    return None
