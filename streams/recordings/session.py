"""A meeting that is being recorded: audio finds its place, and is cut into chunks."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import msgspec

from playhead.streams.errors import InvalidPcm
from playhead.streams.events import parse_time
from playhead.streams.recordings.chunk_writer import ChunkWriter, Cut
from playhead.streams.recordings.files import Chunk
from playhead.streams.recordings.session_file import SessionNote

_SAMPLE_BYTES = 2


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
        note: SessionNote,
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
        """Cut what has waited long enough, until cancelled."""
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
