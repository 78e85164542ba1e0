"""What a recorder notes about a session, `session.json`, and what the files of a session say."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from playhead.streams.events import Event, format_time
from playhead.streams.recordings.events import (
    ChunkFlushed,
    MeetingStarted,
    MeetingStopped,
    Strategy,
    make_chunk_id,
    meeting_event,
)
from playhead.streams.recordings.files import Chunk, RecordingFiles

_SOURCE = "playhead/recorder"


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


def session_events(files: RecordingFiles, path: Path) -> Iterator[Event]:
    """What the files of a session say, by its `session.json`: the events that its recorder appended, or would have."""
    note = msgspec.json.decode(path.read_bytes(), type=SessionNote)
    yield note.started()
    for chunk in files.chunks("pcm", note.meeting_id):
        pcm = files.pcm(chunk)
        with contextlib.suppress(FileNotFoundError):  # transcoded and deleted meanwhile
            microseconds = files.path(pcm).stat().st_mtime_ns // 1000
            yield note.flushed(chunk, pcm, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds))
    if note.stopped_at is not None:
        yield note.stopped(note.stopped_at)


def noted_strategy(files: RecordingFiles, meeting_id: str) -> Strategy | None:
    """What a session's recorder asked for; None where it is not noted, or no longer."""
    try:
        content = files.path(files.session(meeting_id)).read_bytes()
        return msgspec.json.decode(content, type=SessionNote).strategy
    except (OSError, ValueError):
        return None
