"""Recordings made of chunks: each at its true time, to the sample."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from consumers.recordings.errors import FfmpegFailed
from consumers.recordings.ffmpeg import Children, Ffmpeg, Pcm
from consumers.recordings.mp3 import Mp3, read_mp3
from projections.recordings.rows import TempRecording
from streams.recording_files import RecordingFiles

_BLOCK_FRAMES = 48000
_SPARE_SECONDS = 60.0


class Rendering:
    """Makes the recordings of one meeting; all of them begin when its first chunk does."""

    def __init__(
        self, files: RecordingFiles, ffmpeg: Ffmpeg, chunks: Sequence[TempRecording], children: Children
    ) -> None:
        self._files, self._ffmpeg, self._children = files, ffmpeg, children
        self._chunks = chunks
        self._zero = min(chunk.started_at for chunk in chunks)
        self._form = Pcm(chunks[0].rate, chunks[0].channels)

    @property
    def user_ids(self) -> list[str]:
        """Everybody of whom there is a chunk."""
        return sorted({chunk.user_id for chunk in self._chunks})

    def render(self, user_id: str | None, output: Path) -> Mp3:
        """Write the recording of a user, or of all mixed.

        Raises:
            FfmpegFailed: it may work another time.
            InvalidAudio: a chunk is no MP3.
        """
        users = self.user_ids if user_id is None else [user_id]
        tracks = [[chunk for chunk in self._chunks if chunk.user_id == user] for user in users]
        length = max(self._end(chunk) for track in tracks for chunk in track)
        self._ffmpeg.encode(
            [self._pcm(track) for track in tracks],
            self._form,
            output,
            self._children,
            seconds=_SPARE_SECONDS + length / self._form.rate,
        )
        made = read_mp3(output.read_bytes(), output.name)
        if abs(made.samples - length) > made.rate // 100:
            raise FfmpegFailed(f"wrote {made.samples} samples instead of {length}", "")
        return made

    def _pcm(self, track: Sequence[TempRecording]) -> Iterator[bytes]:
        """A user's audio from the beginning of the meeting, silence where there is none."""
        cursor, frame = 0, self._form.frame
        for chunk in sorted(track, key=lambda chunk: (chunk.started_at, chunk.sequence)):
            start = self._start(chunk)
            while cursor < start:
                silent = min(_BLOCK_FRAMES, start - cursor)
                yield bytes(silent * frame)
                cursor += silent
            assert chunk.mp3_path is not None, "only finished chunks are rendered"
            mp3 = self._files.path(chunk.mp3_path)
            pcm = self._ffmpeg.decode(mp3, self._end(chunk) - start, self._form, self._children)
            later = pcm[(cursor - start) * frame :]  # a clock that was set back makes chunks overlap
            yield later
            cursor += len(later) // frame

    def _start(self, chunk: TempRecording) -> int:
        return _frames(chunk.started_at, self._zero, self._form.rate)

    def _end(self, chunk: TempRecording) -> int:
        return self._start(chunk) + round((chunk.samples or 0) * self._form.rate / chunk.rate)


def _frames(moment: datetime, zero: datetime, rate: int) -> int:
    return round((moment - zero).total_seconds() * rate)
