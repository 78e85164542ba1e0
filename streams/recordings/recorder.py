"""Records the audio of meetings: chunks of PCM on disk, and an event for each."""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import InvalidPcm, InvalidSetting, MeetingOver, RedisUnavailable
from playhead.streams.events import Event, format_time, parse_time
from playhead.streams.recordings.chunk_writer import ChunkWriter, Cut
from playhead.streams.recordings.events import (
    ChunkFlushed,
    MeetingStarted,
    MeetingStopped,
    Strategy,
    make_chunk_id,
    meeting_event,
)
from playhead.streams.recordings.files import Chunk, RecordingFiles

_SAMPLE_BYTES = 2
_BATCH = 500

_SOURCE = "playhead/recorder"


class RecorderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the PCM, signed 16-bit little-endian, and how it is cut.

    `flush_seconds` is the length of a chunk, and the longest that audio waits in memory. Audio that comes more than
    `tolerance` seconds after the end of what came before stands at the time at which it comes.
    """

    rate: int = 48000
    channels: int = 2
    flush_seconds: float = 10.0
    tolerance: float = 0.2

    @property
    def frame(self) -> int:
        """Bytes of a frame, a sample of each channel."""
        return _SAMPLE_BYTES * self.channels


class _Note(msgspec.Struct, frozen=True, kw_only=True):
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

    def _open(self, meeting_id: str, guild_id: str, channel_id: str, strategy: Strategy) -> _Note:
        place = self._files.session(meeting_id)
        if self._files.has_recording(meeting_id):
            raise MeetingOver(f"{meeting_id}: {MeetingOver.__doc__}")
        settings = self._settings
        try:
            note = msgspec.json.decode(self._files.path(place).read_bytes(), type=_Note)
        except FileNotFoundError:
            note = _Note(
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
            raise InvalidSetting(
                f"{meeting_id} was started with {note.rate} Hz and {note.channels} channels;"
                " resume with the same values"
            )
        return note

    def _close(self, note: _Note, user_ids: set[str], writer: ChunkWriter) -> None:
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


def session_events(files: RecordingFiles, path: Path) -> Iterator[Event]:
    """What the files of a session say, by its `session.json`: the events that its recorder appended, or would have."""
    note = msgspec.json.decode(path.read_bytes(), type=_Note)
    yield note.started()
    for chunk in files.chunks("pcm", note.meeting_id):
        pcm = files.pcm(chunk)
        with contextlib.suppress(FileNotFoundError):  # transcoded and deleted meanwhile
            microseconds = files.path(pcm).stat().st_mtime_ns // 1000
            yield note.flushed(chunk, pcm, datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds))
    if note.stopped_at is not None:
        yield note.stopped(note.stopped_at)


def noted_strategy(files: RecordingFiles, meeting_id: str) -> Strategy | None:
    """What a session's recorder asked for; None if it is not noted, or no longer."""
    try:
        content = files.path(files.session(meeting_id)).read_bytes()
        return msgspec.json.decode(content, type=_Note).strategy
    except (OSError, ValueError):
        return None


class _Track(msgspec.Struct):
    """What a user said and is not cut yet: `pcm` begins `start` frames after the session did."""

    sequence: int
    start: int
    pcm: bytearray
    since: float = 0.0

    def end(self, frame: int) -> int:
        return self.start + len(self.pcm) // frame


class Session:
    """A meeting that is being recorded."""

    def __init__(
        self,
        note: _Note,
        settings: RecorderSettings,
        sequences: dict[str, int],
        writer: ChunkWriter,
        *,
        again: bool = False,
    ) -> None:
        self._note, self._settings, self._writer, self._again = note, settings, writer, again
        self._sequences = sequences
        self._tracks: dict[str, _Track] = {}
        self._started_at = parse_time(note.started_at)
        self._zero = time.monotonic() - (datetime.now(UTC) - self._started_at).total_seconds()
        self._limit = round(settings.flush_seconds * settings.rate) * settings.frame

    @property
    def user_ids(self) -> set[str]:
        """Everybody of whom there is audio."""
        return set(self._tracks)

    def write(self, user_id: str, pcm: bytes, *, at: float | None = None) -> None:
        """Take audio of a user: it follows what came before, or comes now, or `at` seconds after the start.

        Raises:
            InvalidPcm: it is no whole frames, or `at` lies before the end of earlier audio; nothing of it was taken.
            InvalidId: the user's id cannot be the name of a directory.
            AudioNotWritten: the disk has taken none for a while; nothing of it was taken.
        """
        frame = self._settings.frame
        if len(pcm) % frame:
            raise InvalidPcm(f"{len(pcm)} bytes are no whole frames of {frame} bytes. {InvalidPcm.__doc__}")
        track = self._tracks.get(user_id)
        if track is None:
            self._writer.check(Chunk(self._note.meeting_id, user_id, 0))
            track = _Track(self._sequences.get(user_id, 0), 0, bytearray())
        position = self._position(track, at, is_new=user_id not in self._tracks)
        self._writer.require_room()
        self._tracks[user_id] = track
        gap = (position - track.end(frame)) * frame
        if track.pcm and gap and len(track.pcm) + gap < self._limit:
            track.pcm += bytes(gap)
        elif gap:
            self._cut(user_id, track)
            track.start = position
        rest = memoryview(pcm)
        while rest:
            if not track.pcm:
                track.since = time.monotonic()
            room = self._limit - len(track.pcm)
            track.pcm += rest[:room]
            rest = rest[room:]
            if len(track.pcm) >= self._limit:
                self._cut(user_id, track)

    def flush(self) -> None:
        """Cut everything that is in memory."""
        for user_id, track in self._tracks.items():
            self._cut(user_id, track)

    async def keep_flushing(self) -> None:
        """Cut what has waited long enough, until canceled."""
        while True:
            await asyncio.sleep(self._settings.flush_seconds / 4)
            self._writer.give_sign_of_life(self._note.meeting_id)
            if self._again:
                continue  # a chunk that was cut by the clock could not be told from the one that is to be repeated
            before = time.monotonic() - self._settings.flush_seconds
            for user_id, track in self._tracks.items():
                if track.pcm and track.since and track.since <= before and not self._writer.full:
                    self._cut(user_id, track)

    def _position(self, track: _Track, at: float | None, *, is_new: bool) -> int:
        settings = self._settings
        end = track.end(settings.frame)
        if at is None:
            now = round((time.monotonic() - self._zero) * settings.rate)
            return now if is_new or now - end > settings.tolerance * settings.rate else end
        position = round(at * settings.rate)
        if position < end:
            raise InvalidPcm(f"{at} seconds lies before the end of earlier audio. {InvalidPcm.__doc__}")
        return position

    def _cut(self, user_id: str, track: _Track) -> None:
        if not track.pcm:
            return
        chunk = Chunk(self._note.meeting_id, user_id, track.sequence)
        started_at = self._started_at + timedelta(microseconds=round(track.start * 1e6 / self._settings.rate))
        pcm_path = self._writer.check(chunk)
        event = self._note.flushed(chunk, pcm_path, started_at)
        self._writer.put(Cut(chunk, bytes(track.pcm), _microseconds(started_at), event))
        track.start = track.end(self._settings.frame)
        track.sequence += 1
        track.pcm = bytearray()


def _microseconds(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
