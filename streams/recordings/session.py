"""A meeting that is being recorded: audio finds its place, and is cut into chunks."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import structlog

from playhead.streams.errors import InvalidSetting
from playhead.streams.events import parse_time
from playhead.streams.recordings.chunk_writer import ChunkWriter, Cut
from playhead.streams.recordings.errors import InvalidPcm, MeetingOver
from playhead.streams.recordings.files import Chunk
from playhead.streams.recordings.ids import Id, text_of
from playhead.streams.recordings.session_file import SessionNote
from playhead.streams.recordings.track import Piece, Track

_SAMPLE_BYTES = 2
_LONGEST_SECONDS = 366 * 86400
_MOST_CHANNELS = 255


class RecorderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the PCM, signed 16-bit little-endian, and how it is cut.

    `flush_seconds` is the length of a chunk, and the longest that audio waits in memory. Audio that comes more than
    `tolerance` seconds after the end of what came before stands at the time at which it comes. If then more comes than
    time passes, it was held up, and moves back by up to `late_seconds`.
    """

    rate: int = 48000
    channels: int = 2
    flush_seconds: float = 10.0
    tolerance: float = 0.2
    late_seconds: float = 60.0

    def __post_init__(self) -> None:
        """Refuse what no audio can have.

        Raises:
            InvalidSetting: names the field.
        """
        if self.rate < 1 or not 1 <= self.channels <= _MOST_CHANNELS:
            raise InvalidSetting(f"rate and channels: {self.rate} Hz with {self.channels} channels is no form of PCM")
        if not (math.isfinite(self.flush_seconds) and self.flush_seconds * self.rate >= 1):
            raise InvalidSetting(f"flush_seconds: {self.flush_seconds} is not the length of a chunk")

    @property
    def frame(self) -> int:
        """Bytes of a frame, a sample of each channel."""
        return _SAMPLE_BYTES * self.channels

    @property
    def limit(self) -> int:
        """Bytes of a chunk."""
        return round(self.flush_seconds * self.rate) * self.frame


class OnDisk(msgspec.Struct, frozen=True):
    """What is on disk of a user: the next chunk has this sequence number, and begins at `end` or later, in frames."""

    sequence: int = 0
    end: int = 0


class Session:
    """A meeting that is being recorded. User ids may be of any type in `Id`; None is one unknown speaker."""

    def __init__(
        self,
        note: SessionNote,
        settings: RecorderSettings,
        recorded: Mapping[str, OnDisk],
        writer: ChunkWriter,
        *,
        again: bool = False,
        seen_at: datetime | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._note, self._settings, self._writer, self._again = note, settings, writer, again
        self._recorded, self._clock = recorded, clock
        self._tracks: dict[str, Track] = {}
        self._started_at = parse_time(note.started_at)
        opened_at = max(datetime.now(UTC), seen_at or self._started_at, self._started_at)  # clocks are set back
        self._zero = clock() - (opened_at - self._started_at).total_seconds()
        self._opened = self._now()
        self._is_closed = False
        self.has_ended = False

    @property
    def user_ids(self) -> set[str]:
        """Everybody of whom there is audio."""
        return set(self._tracks)

    def end(self) -> None:
        """End the meeting when the block is left, also if it is left by an exception."""
        self.has_ended = True

    def write(self, user_id: Id, pcm: bytes | bytearray | memoryview, *, at: float | None = None) -> None:
        """Take audio of a user: it follows what came before, or comes now, or `at` seconds after the start.

        Raises:
            InvalidPcm: it is no whole frames, or `at` is not a time behind earlier audio; nothing of it was taken.
            InvalidId: the user's id is no text, or cannot be the name of a directory.
            AudioNotWritten: the disk has taken none of this user's for a while; nothing of it was taken.
            MeetingOver: the session's block was left.
        """
        if self._is_closed:
            raise MeetingOver(f"{self._note.meeting_id}: its session is closed. {MeetingOver.__doc__}")
        user = text_of(user_id)
        audio, position = self._read(pcm), self._read_time(at)
        track, is_new = self._tracks.get(user), user not in self._tracks
        if track is None:
            self._writer.check(Chunk(self._note.meeting_id, user, 0))
            track = self._begin(user)
        if position is not None and position < track.end:
            raise InvalidPcm(f"at={at} lies before the end of this user's earlier audio. {InvalidPcm.__doc__}")
        if not audio:
            return
        self._writer.require_room(user)
        self._tracks[user] = track
        self._put(user, self._arrive(track, is_new=is_new) if position is None else track.pause(position, 0))
        self._put(user, track.add(audio, self._settings.flush_seconds))

    def flush(self) -> None:
        """Cut everything that is in memory."""
        for user, track in self._tracks.items():
            self._put(user, track.cut())

    def close(self) -> None:
        """Take no more, and cut everything that is in memory.

        What will be repeated from the beginning is left to that: half of a chunk would stand for the whole.
        """
        self._is_closed = True
        if not self._again or self.has_ended:
            self.flush()

    async def keep_flushing(self) -> None:
        """Cut what has waited long enough, until canceled."""
        while True:
            await asyncio.sleep(self._settings.flush_seconds / 4)
            try:
                self._writer.give_sign_of_life(self._note.meeting_id)
            except OSError as error:
                structlog.get_logger().warning("no heartbeat is given", error=str(error))
            if self._again:
                continue  # a chunk that was cut by the clock could not be told from the one that is to be repeated
            for user, track in self._tracks.items():
                if track.waits(self._settings.flush_seconds) and not self._writer.is_full(user):
                    self._put(user, track.cut())

    def _read(self, pcm: bytes | bytearray | memoryview) -> memoryview:
        frame = self._settings.frame
        try:
            audio = memoryview(pcm).cast("B")
        except (TypeError, ValueError) as error:
            raise InvalidPcm(f"{type(pcm).__name__} is no PCM: pass bytes. {InvalidPcm.__doc__}") from error
        if len(audio) % frame:
            raise InvalidPcm(f"{len(audio)} bytes are no whole frames of {frame} bytes. {InvalidPcm.__doc__}")
        return audio

    def _read_time(self, at: float | None) -> int | None:
        """The frame at which audio is to stand, None where its arrival says it."""
        if at is None:
            return None
        try:
            seconds = float(at)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidPcm(
                f"at= takes a number of seconds, not this {type(at).__name__}. {InvalidPcm.__doc__}"
            ) from error
        if not 0 <= seconds <= _LONGEST_SECONDS:  # neither is NaN
            raise InvalidPcm(f"at={seconds} is not from 0 to {_LONGEST_SECONDS} seconds. {InvalidPcm.__doc__}")
        return round(seconds * self._settings.rate)

    def _begin(self, user: str) -> Track:
        recorded = self._recorded.get(user, OnDisk())
        frame, limit = self._settings.frame, self._settings.limit
        return Track(recorded.sequence, recorded.end, frame=frame, limit=limit, clock=self._clock)

    def _arrive(self, track: Track, *, is_new: bool) -> list[Piece]:
        """Make room where audio stands that comes now."""
        rate, now, end = self._settings.rate, self._now(), track.end
        if is_new or now - end > self._settings.tolerance * rate:
            free = now - max(end, self._opened)
            return track.pause(max(now, end), max(0, min(free, round(self._settings.late_seconds * rate))))
        track.move_back(end - now)
        return []

    def _now(self) -> int:
        return round((self._clock() - self._zero) * self._settings.rate)

    def _put(self, user: str, pieces: Sequence[Piece]) -> None:
        for piece in pieces:
            chunk = Chunk(self._note.meeting_id, user, piece.sequence)
            started_at = self._started_at + timedelta(microseconds=round(piece.start * 1e6 / self._settings.rate))
            event = self._note.flushed(chunk, self._writer.check(chunk), started_at)
            self._writer.put(Cut(chunk, piece.pcm, _microseconds(started_at), event))


def _microseconds(moment: datetime) -> int:
    return (moment - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1)
