"""Records the audio of meetings: chunks of PCM on disk, and an event for each."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidSetting, PlayheadError, RedisUnavailable
from playhead.streams.events import Event, format_time, parse_time
from playhead.streams.recordings.chunk_writer import ChunkWriter
from playhead.streams.recordings.errors import AudioNotWritten, MeetingOver, SessionUnreadable
from playhead.streams.recordings.events import Strategy
from playhead.streams.recordings.files import InvalidId, RecordingFiles
from playhead.streams.recordings.ids import Id, text_of
from playhead.streams.recordings.session import OnDisk, RecorderSettings, Session
from playhead.streams.recordings.session_file import SessionNote, read_note, session_events

__all__ = ["Recorder", "RecorderSettings"]

_BATCH = 500

_Opened = tuple[SessionNote, datetime | None]
"""What is noted of a session, and when a recorder last had it open."""


class Recorder:
    """Records sessions into a directory that the workers of recordings share.

    If Redis is away, audio is written all the same, and its events are sent when Redis is back, at the next start at
    the latest.
    """

    def __init__(self, producer: Producer, directory: Path | str, settings: RecorderSettings | None = None) -> None:
        self._producer, self._settings = producer, settings or RecorderSettings()
        self._files = RecordingFiles(Path(directory))
        self._adopting = threading.Lock()
        self._adopted = False

    @contextlib.asynccontextmanager
    async def session(
        self, meeting_id: Id, guild_id: Id, channel_id: Id, strategy: Strategy = "hybrid", *, again: bool = False
    ) -> AsyncGenerator["Session", None]:
        """Record a meeting; when the block ends, all of it is on disk and said, and the meeting ends.

        If the block is left by an exception or a cancellation, audio is written all the same and the meeting stays
        open, as after a crash: entered again, it goes on where it was. Call `session.end()` to end it in any case.

        With `again` the caller gives the same audio from the beginning, with its times, and what is recorded already
        is passed over.

        Raises:
            MeetingOver: it ended before.
            SessionUnreadable: it was begun, and what was noted of it is damaged.
            InvalidId: an id is no text, or cannot be the name of a directory.
            AudioNotWritten: at the end, some audio could not be written.
            RedisUnavailable: at the end, Redis does not take the events; they are sent at the next start.
        """
        if meeting_id is None:
            raise InvalidId("a meeting needs an id of its own: pass text, an integer or a UUID")
        meeting, guild, channel = text_of(meeting_id), text_of(guild_id), text_of(channel_id)
        await asyncio.to_thread(self._adopt_once)
        note, seen_at = await asyncio.to_thread(self._open, meeting, guild, channel, strategy)
        settings = self._settings
        if again and note.flush_seconds is not None:  # or chunks would not be those that are there
            settings = msgspec.structs.replace(settings, flush_seconds=note.flush_seconds)
        recorded = {} if again else await asyncio.to_thread(self._recorded, note)
        writer = ChunkWriter(self._files, self._producer, again=again)
        session = Session(note, settings, recorded, writer, again=again, seen_at=seen_at)
        writer.say(note.started())
        timer = asyncio.create_task(session.keep_flushing())
        try:
            with contextlib.suppress(RedisUnavailable):
                await asyncio.to_thread(writer.send)
            yield session
            session.end()
        except BaseException as error:
            try:
                await self._leave(note, session, writer)
            except PlayheadError as trouble:  # the files say it at the next start; what could not be written is lost
                structlog.get_logger().error("a session is left open", error=str(trouble))
                error.add_note(str(trouble))
            raise
        else:
            await self._leave(note, session, writer)
        finally:
            timer.cancel()

    def adopt(self) -> int:
        """Append the events of every PCM file there is, and give their number; those that are known add nothing.

        A session of which nothing can be read is logged and passed over.

        Raises:
            RedisUnavailable: Redis does not take them.
        """
        events: list[Event] = []
        for path in self._files.sessions():
            try:
                events += session_events(self._files, path)
            except FileNotFoundError:
                continue  # promoted meanwhile
            except SessionUnreadable as error:
                structlog.get_logger().warning("a session is not adopted", error=str(error))
        self._append(events)
        return sum(event.type == "chunk.flushed" for event in events)

    def _append(self, events: list[Event]) -> None:
        for start in range(0, len(events), _BATCH):
            self._producer.append_events(events[start : start + _BATCH])

    def _adopt_once(self) -> None:
        with self._adopting:
            if self._adopted:
                return
            try:
                self.adopt()
                self._adopted = True
            except RedisUnavailable as error:  # the next session tries again
                structlog.get_logger().warning("earlier audio is not adopted yet", error=type(error).__name__)

    def _open(self, meeting_id: str, guild_id: str, channel_id: str, strategy: Strategy) -> _Opened:
        place = self._files.session(meeting_id)
        if self._files.has_recording(meeting_id):
            raise MeetingOver(f"{meeting_id}: {MeetingOver.__doc__}")
        settings = self._settings
        try:
            note = read_note(self._files, self._files.path(place))
        except FileNotFoundError:
            note = SessionNote(
                meeting_id=meeting_id,
                guild_id=guild_id,
                channel_id=channel_id,
                strategy=strategy,
                rate=settings.rate,
                channels=settings.channels,
                started_at=format_time(datetime.now(UTC)),
                flush_seconds=settings.flush_seconds,
            )
            self._files.write(place, msgspec.json.encode(note))
        if note.stopped_at is not None:
            raise MeetingOver(f"{meeting_id}: {MeetingOver.__doc__}")
        if (note.rate, note.channels) != (settings.rate, settings.channels):
            raise InvalidSetting(
                f"{meeting_id} was started with {note.rate} Hz and {note.channels} channels;"
                " resume with the same values"
            )
        return note, self._files.last_sign_of_life(meeting_id)

    async def _leave(self, note: SessionNote, session: Session, writer: ChunkWriter) -> None:
        """Close a session, to the end, whatever cancels it meanwhile."""
        session.close()
        closing = asyncio.ensure_future(asyncio.to_thread(self._close, note, session, writer))
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await asyncio.wait([closing])
            closing.exception()
            raise

    def _close(self, note: SessionNote, session: Session, writer: ChunkWriter) -> None:
        """Write and say what is left; audio of one that cannot be written keeps nobody else's from its end."""
        unwritten: AudioNotWritten | None = None
        try:
            writer.close()
        except AudioNotWritten as error:
            unwritten = error
        if session.has_ended:
            self._end(note, session.user_ids, writer)
        writer.send()
        if writer.has_dropped:
            self._append(session_events(self._files, self._files.path(self._files.session(note.meeting_id))))
        if unwritten is not None:
            raise unwritten

    def _end(self, note: SessionNote, user_ids: set[str], writer: ChunkWriter) -> None:
        stopped_at = format_time(datetime.now(UTC))
        user_ids |= set(self._recorded(note))
        over = msgspec.structs.replace(note, stopped_at=stopped_at, user_ids=sorted(user_ids))
        place = self._files.session(note.meeting_id)
        try:
            self._files.write(place, msgspec.json.encode(over))
        except OSError as error:
            raise AudioNotWritten(f"{place}: {error.strerror}. {AudioNotWritten.__doc__}") from error
        if not writer.has_dropped:
            writer.say(over.stopped(stopped_at))

    def _recorded(self, note: SessionNote) -> dict[str, OnDisk]:
        """What is on disk of each user; where an MP3 ends, its name does not say."""
        found: dict[str, OnDisk] = {}
        frame = RecorderSettings(rate=note.rate, channels=note.channels).frame
        started_at = parse_time(note.started_at).timestamp()
        for kind in ("pcm", "mp3"):
            for chunk in self._files.chunks(kind, note.meeting_id):
                end = 0
                if kind == "pcm":
                    with contextlib.suppress(FileNotFoundError):  # transcoded meanwhile
                        about = self._files.path(self._files.pcm(chunk)).stat()
                        end = round((about.st_mtime - started_at) * note.rate) + about.st_size // frame
                known = found.get(chunk.user_id, OnDisk())
                found[chunk.user_id] = OnDisk(max(known.sequence, chunk.sequence + 1), max(known.end, end))
        return found
