"""Records the audio of meetings: chunks of PCM on disk, and an event for each."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidSetting, MeetingOver, RedisUnavailable
from playhead.streams.events import Event, format_time
from playhead.streams.recordings.chunk_writer import ChunkWriter
from playhead.streams.recordings.events import Strategy
from playhead.streams.recordings.files import RecordingFiles
from playhead.streams.recordings.session import RecorderSettings, Session
from playhead.streams.recordings.session_file import SessionNote, session_events

__all__ = ["Recorder", "RecorderSettings"]

_BATCH = 500


class Recorder:
    """Records sessions into a directory that the workers of recordings share.

    Where Redis is away, audio is written all the same, and its events are sent when Redis is back, at the next start at
    the latest.
    """

    def __init__(self, producer: Producer, directory: Path | str, settings: RecorderSettings | None = None) -> None:
        self._producer, self._settings = producer, settings or RecorderSettings()
        self._files = RecordingFiles(Path(directory))
        self._adopting = threading.Lock()
        self._adopted = False

    @contextlib.asynccontextmanager
    async def session(
        self, meeting_id: str, guild_id: str, channel_id: str, strategy: Strategy = "hybrid", *, again: bool = False
    ) -> AsyncGenerator["Session", None]:
        """Record a meeting; when the block ends, all of it is on disk and said.

        After a crash the same meeting goes on where it was. With `again` the caller gives the same audio from the
        beginning, with its times, and what is recorded already is passed over.

        Raises:
            MeetingOver: it ended before.
            InvalidId: an id cannot be the name of a directory.
            AudioNotWritten: at the end, some audio could not be written.
            RedisUnavailable: at the end, Redis does not take the events; they are sent at the next start.
        """
        await asyncio.to_thread(self._adopt_once)
        note = await asyncio.to_thread(self._open, meeting_id, guild_id, channel_id, strategy)
        writer = ChunkWriter(self._files, self._producer, again=again)
        writer.say(note.started())
        session = Session(note, self._settings, {} if again else self._sequences(meeting_id), writer, again=again)
        with contextlib.suppress(RedisUnavailable):
            await asyncio.to_thread(writer.send)
        timer = asyncio.create_task(session.keep_flushing())
        try:
            yield session
        finally:
            timer.cancel()
            session.flush()
            await asyncio.to_thread(self._close, note, session.user_ids, writer)

    def adopt(self) -> int:
        """Append the events of every PCM file there is, and give their number; those that are known add nothing.

        Raises:
            RedisUnavailable: Redis does not take them.
        """
        events: list[Event] = []
        for path in self._files.sessions():
            events += session_events(self._files, path)
        self._append(events)
        return sum(event.type == "chunk.flushed" for event in events)

    def _append(self, events: list[Event]) -> None:
        for start in range(0, len(events), _BATCH):
            self._producer.append_events(events[start : start + _BATCH])

    def _adopt_once(self) -> None:
        with self._adopting:
            if not self._adopted:
                self.adopt()
                self._adopted = True

    def _open(self, meeting_id: str, guild_id: str, channel_id: str, strategy: Strategy) -> SessionNote:
        place = self._files.session(meeting_id)
        if self._files.has_recording(meeting_id):
            raise MeetingOver(f"{meeting_id}: {MeetingOver.__doc__}")
        settings = self._settings
        try:
            note = msgspec.json.decode(self._files.path(place).read_bytes(), type=SessionNote)
        except FileNotFoundError:
            note = SessionNote(
                meeting_id=meeting_id,
                guild_id=guild_id,
                channel_id=channel_id,
                strategy=strategy,
                rate=settings.rate,
                channels=settings.channels,
                started_at=format_time(datetime.now(UTC)),
            )
            self._files.write(place, msgspec.json.encode(note))
        if note.stopped_at is not None:
            raise MeetingOver(f"{meeting_id}: {MeetingOver.__doc__}")
        if (note.rate, note.channels) != (settings.rate, settings.channels):
            raise InvalidSetting(f"{meeting_id} was begun with {note.rate} Hz and {note.channels} channels: go on so")
        return note

    def _close(self, note: SessionNote, user_ids: set[str], writer: ChunkWriter) -> None:
        writer.close()
        user_ids |= set(self._sequences(note.meeting_id))
        over = msgspec.structs.replace(note, stopped_at=format_time(datetime.now(UTC)), user_ids=sorted(user_ids))
        self._files.write(self._files.session(note.meeting_id), msgspec.json.encode(over))
        assert over.stopped_at is not None, "set two lines above"
        if not writer.has_dropped:
            writer.say(over.stopped(over.stopped_at))
        writer.send()
        if writer.has_dropped:
            self._append(list(session_events(self._files, self._files.path(self._files.session(note.meeting_id)))))

    def _sequences(self, meeting_id: str) -> dict[str, int]:
        """The next sequence number of each user who has chunks."""
        found: dict[str, int] = {}
        for kind in ("pcm", "mp3"):
            for chunk in self._files.chunks(kind, meeting_id):
                found[chunk.user_id] = max(found.get(chunk.user_id, 0), chunk.sequence + 1)
        return found
