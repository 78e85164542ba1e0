"""Recordings made of chunks: each at its true time, to the sample."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from playhead.consumers.recordings.errors import FfmpegFailed
from playhead.consumers.recordings.ffmpeg import Children, Ffmpeg, Pcm
from playhead.consumers.recordings.mp3 import Mp3, read_mp3, untag_mp3
from playhead.consumers.recordings.timeline import Timeline
from playhead.projections.recordings.rows import TempRecording
from playhead.streams.recordings.events import Cut
from playhead.streams.recordings.files import Chunk, RecordingFiles

_BLOCK_FRAMES = 48000
_SPARE_SECONDS = 60.0
_DECODED_BYTES = 32 * 1024 * 1024
"""What is decoded of a meeting at once, unless a chunk of each speaker is more."""
_DECODER_DELAY = 529
"""Samples by which every decoder of MP3 is late: http://lame.sourceforge.net/tech-FAQ.txt."""


class _Coded(msgspec.Struct, frozen=True):
    """A chunk's frames; `total` samples come out of them, and its sound begins behind `before`."""

    path: Path
    frames: bytes
    samples: int
    before: int
    total: int


class Rendering:
    """Makes the recordings of one meeting; all of them begin when its first chunk does."""

    def __init__(
        self,
        files: RecordingFiles,
        ffmpeg: Ffmpeg,
        chunks: Sequence[TempRecording],
        children: Children,
        longest_gap: float,
    ) -> None:
        self._files, self._ffmpeg, self._children = files, ffmpeg, children
        self._chunks = chunks
        self._form = Pcm(chunks[0].rate, chunks[0].channels)
        self._timeline = Timeline(chunks, self._form.rate, longest_gap)

    @property
    def cuts(self) -> list[Cut]:
        """The silence that is left out."""
        return self._timeline.cuts

    @property
    def user_ids(self) -> list[str]:
        """Everybody of whom there is a chunk."""
        return sorted({chunk.user_id for chunk in self._chunks})

    def render(self, outputs: Mapping[str | None, Path]) -> dict[str | None, Mp3]:
        """Write the recordings of users, and that of all mixed, which None stands for. Each chunk is decoded once.

        Raises:
            FfmpegFailed: it may work another time.
            InvalidAudio: a chunk is no MP3.
        """
        users = self.user_ids
        tracks = [[chunk for chunk in self._chunks if chunk.user_id == user] for user in users]
        ends = [max(map(self._end, track)) for track in tracks]
        sources = {user: range(len(users)) if user is None else [users.index(user)] for user in outputs}
        lengths = {user: max(ends[source] for source in sources[user]) for user in outputs}
        self._ffmpeg.encode(
            [self._pcm(track, _DECODED_BYTES // len(tracks)) for track in tracks],
            self._form,
            {path: sources[user] for user, path in outputs.items()},
            self._children,
            seconds=sum(_SPARE_SECONDS + length / self._form.rate for length in lengths.values()),
        )
        return {user: self._made(path, lengths[user]) for user, path in outputs.items()}

    def _made(self, path: Path, length: int) -> Mp3:
        made = read_mp3(path.read_bytes(), path.name)
        if abs(made.samples - length) > made.rate // 100:
            raise FfmpegFailed(f"wrote {made.samples} samples instead of {length}", "")
        return made

    def _pcm(self, track: Sequence[TempRecording], limit: int) -> Iterator[bytes | memoryview]:
        """A user's audio from the beginning of the meeting, silence if there is none."""
        cursor, frame = 0, self._form.frame
        for chunk, pcm in self._decoded(sorted(track, key=self._start), limit):
            start = self._start(chunk)
            while cursor < start:
                silent = min(_BLOCK_FRAMES, start - cursor)
                yield bytes(silent * frame)
                cursor += silent
            yield pcm
            cursor += len(pcm) // frame

    def _decoded(
        self, track: Sequence[TempRecording], limit: int
    ) -> Iterator[tuple[TempRecording, bytes | memoryview]]:
        """Each chunk's PCM, as long as it is said to be; `limit` bytes at once, or a chunk that is larger."""
        group: list[TempRecording] = []
        size = 0
        for chunk in track:
            length = (self._end(chunk) - self._start(chunk)) * self._form.frame
            if group and size + length > limit:
                yield from zip(group, self._decode(group), strict=True)
                group, size = [], 0
            group.append(chunk)
            size += length
        yield from zip(group, self._decode(group), strict=True)

    def _decode(self, group: Sequence[TempRecording]) -> Iterator[bytes | memoryview]:
        """Decode chunks by one process: to start one costs as much as to decode some seconds."""
        coded = [self._coded(chunk) for chunk in group]
        pcm = memoryview(b"")
        if len(group) > 1 and all(map(_is_usual, coded)) and self._forms(group) == {self._form}:
            pcm = memoryview(self._ffmpeg.decode_frames([one.frames for one in coded], self._form, self._children))
        frame = self._form.frame
        if len(pcm) == sum(one.total for one in coded) * frame:
            start = 0
            for one in coded:
                begin = (start + one.before) * frame
                yield pcm[begin : begin + one.samples * frame]
                start += one.total
        else:  # if frames are spoiled and left out, others must not move
            for one, chunk in zip(coded, group, strict=True):
                wanted = self._end(chunk) - self._start(chunk)
                yield self._ffmpeg.decode(one.path, wanted, self._form, self._children)

    def _coded(self, chunk: TempRecording) -> _Coded:
        place = self._files.mp3(Chunk(chunk.meeting_id, chunk.user_id, chunk.sequence))
        frames, delay, padding = untag_mp3(self._files.read(place))
        samples = chunk.samples or 0
        return _Coded(self._files.path(place), frames, samples, delay + _DECODER_DELAY, delay + samples + padding)

    def _forms(self, group: Sequence[TempRecording]) -> set[Pcm]:
        return {Pcm(chunk.rate, chunk.channels) for chunk in group}

    def _start(self, chunk: TempRecording) -> int:
        return self._timeline.starts[chunk.id]

    def _end(self, chunk: TempRecording) -> int:
        return self._start(chunk) + self._timeline.length(chunk)


def _is_usual(coded: _Coded) -> bool:
    """Whether a decoder that is late gets its sound out before the next chunk's begins."""
    return coded.before > _DECODER_DELAY and coded.before + coded.samples <= coded.total
