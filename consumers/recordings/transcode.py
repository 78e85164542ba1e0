"""The worker `transcode`: an MP3 of each chunk of PCM.

The PCM goes only after the event that says where its MP3 is. What stands under the MP3's name is whole, so an attempt
that finds it goes on behind it.
"""

import hashlib
import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from playhead.consumers.recordings.errors import FfmpegFailed, InvalidAudio, NotMounted
from playhead.consumers.recordings.ffmpeg import RATES, Children, Ffmpeg, Pcm, run
from playhead.consumers.recordings.mp3 import read_mp3, trim_mp3
from playhead.consumers.work.task import Task
from playhead.streams.errors import InvalidEvent
from playhead.streams.events import Event
from playhead.streams.recordings.events import (
    ChunkCleaned,
    ChunkFlushed,
    OfChunk,
    TranscodeFailed,
    TranscodeFinished,
    TranscodeStarted,
    read_payload,
)
from playhead.streams.recordings.files import Chunk, InvalidId, RecordingFiles

_BLOCK_BYTES = 64 * 1024
_LEAD_FRAMES = 1152
_LOWEST, _HIGHEST = -(1 << 15), (1 << 15) - 1


class Transcode:
    """A handler for `chunk.flushed`."""

    name = "transcode"
    streams: tuple[str, ...] = ("recordings",)
    types = frozenset({"chunk.flushed"})
    ends = frozenset({"chunk.cleaned", "chunk.expired", "transcode.failed"})

    def __init__(self, files: RecordingFiles, ffmpeg: Ffmpeg) -> None:
        self._files, self._ffmpeg = files, ffmpeg
        self._stderr: dict[str, str] = {}

    def key(self, event: Event) -> str | None:
        """Give the chunk."""
        try:
            return read_payload(event, OfChunk).temp_recording_id
        except InvalidEvent:
            return None

    async def handle(self, task: Task) -> Sequence[Event]:
        """Make the MP3, say so, then delete the PCM.

        Raises:
            InvalidEvent: the event names no chunk.
            InvalidAudio: the PCM is not what the event says.
            FfmpegFailed: it may work another time.
            NotMounted: no audio at all is there for now.
        """
        flushed = read_payload(task.cause.event, ChunkFlushed)
        chunk = Chunk(flushed.meeting_id, flushed.user_id, flushed.sequence)
        if flushed.pcm_path != self._files.pcm(chunk):
            raise InvalidEvent("data.pcm_path", f"is not {self._files.pcm(chunk)}")
        if not self._is_there(chunk):
            if not self._files.has_any("pcm"):
                raise NotMounted(self._files.directory)
            if not self._files.path(flushed.pcm_path).exists() and self._files.has_recording(chunk.meeting_id):
                return []  # said and done, and the event was appended again long after
            await task.append([self._started(task, flushed)])
            try:
                await run(lambda children: self._transcode(chunk, flushed, children))
            except FfmpegFailed as error:
                self._stderr[task.cause.event.id] = error.stderr
                raise
        self._stderr.pop(task.cause.event.id, None)
        await task.append([self._finished(task, flushed, chunk)])
        self._files.remove(flushed.pcm_path)
        cleaned = ChunkCleaned(**_of(flushed), pcm_path=flushed.pcm_path)
        return [task.event("chunk.cleaned", cleaned, step="cleaned", dataschema="chunk.cleaned/1")]

    def give_up(self, task: Task, reason: str) -> Sequence[Event]:
        """Say that no attempt follows; the PCM stays."""
        stderr = self._stderr.pop(task.cause.event.id, "")
        try:
            flushed = read_payload(task.cause.event, ChunkFlushed)
            chunk = Chunk(flushed.meeting_id, flushed.user_id, flushed.sequence)
            with suppress(OSError):  # where its MP3 belongs cannot be read either
                if self._is_there(chunk):  # what failed came after it
                    return [self._finished(task, flushed, chunk)]
        except (InvalidEvent, InvalidId):
            return []  # there is no chunk of which to say it
        failed = TranscodeFailed(**_of(flushed), error=reason, stderr=stderr, attempt=task.attempt)
        return [task.event("transcode.failed", failed, step="failed", dataschema="transcode.failed/1")]

    def _is_there(self, chunk: Chunk) -> bool:
        """Whether its MP3 is whole; one that a bad disk spoiled is made again, while there is PCM."""
        try:
            read_mp3(self._files.read(self._files.mp3(chunk)))
        except (FileNotFoundError, InvalidAudio):
            return False
        return True

    def _transcode(self, chunk: Chunk, flushed: ChunkFlushed, children: Children) -> None:
        path = self._files.path(flushed.pcm_path)
        form = Pcm(flushed.rate, flushed.channels)
        _check(path, form)
        lead = min(_LEAD_FRAMES, path.stat().st_size // form.frame - 1)
        lead = lead if lead == _LEAD_FRAMES else 0
        with self._files.new(self._files.mp3(chunk)) as mp3:
            self._ffmpeg.encode([led_in(path, form, lead)], form, {mp3: [0]}, children)
            mp3.write_bytes(trim_mp3(mp3.read_bytes(), lead, lead))
            read_mp3(mp3.read_bytes(), flushed.pcm_path)

    def _started(self, task: Task, flushed: ChunkFlushed) -> Event:
        started = TranscodeStarted(**_of(flushed), attempt=task.attempt)
        return task.event(
            "transcode.started", started, step=f"started {task.attempt}", dataschema="transcode.started/1"
        )

    def _finished(self, task: Task, flushed: ChunkFlushed, chunk: Chunk) -> Event:
        path = self._files.mp3(chunk)
        content = self._files.read(path)
        mp3 = read_mp3(content, path)
        finished = TranscodeFinished(
            **_of(flushed),
            mp3_path=path,
            sha256=hashlib.sha256(content).hexdigest(),
            duration_ms=mp3.duration_ms,
            samples=mp3.samples,
            rate=mp3.rate,
        )
        return task.event("transcode.finished", finished, step="finished", dataschema="transcode.finished/1")


def _of(flushed: ChunkFlushed) -> dict[str, str]:
    return {
        "temp_recording_id": flushed.temp_recording_id,
        "meeting_id": flushed.meeting_id,
        "user_id": flushed.user_id,
    }


def _check(path: Path, form: Pcm) -> None:
    if form.rate not in RATES or form.channels not in {1, 2}:
        raise InvalidAudio(path.name, f"MP3 has no {form.rate} Hz with {form.channels} channels")
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidAudio(path.name, "the PCM is not there") from None
    if size == 0:
        raise InvalidAudio(path.name, "it is empty")
    if size % form.frame:
        raise InvalidAudio(path.name, f"{size} bytes are no whole frames of {form.frame} bytes")


def led_in(path: Path, form: Pcm, frames: int) -> Iterator[bytes]:
    """The PCM, its beginning and its end turned over before and after it.

    An encoder that begins within a sound smears it. So it begins and ends with what leads into the sound, which is
    marked to be left out, and chunks meet without a click.
    """
    size = frames * form.frame
    with path.open("rb") as file:
        if frames:
            yield _turned(file.read(size + form.frame), form.channels, at_start=True)
            file.seek(0)
        while block := file.read(_BLOCK_BYTES):
            yield block
        if frames:
            file.seek(-size - form.frame, os.SEEK_END)
            yield _turned(file.read(), form.channels, at_start=False)


def _turned(pcm: bytes, channels: int, *, at_start: bool) -> bytes:
    """Frames mirrored at the point of the first or the last one, which is left out."""
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    turned = array("h", bytes(len(pcm) - 2 * channels))
    for channel in range(channels):
        one = samples[channel::channels]
        edge = one[0] if at_start else one[-1]
        others = one[:0:-1] if at_start else one[-2::-1]
        mirrored = (max(_LOWEST, min(_HIGHEST, 2 * edge - other)) for other in others)
        turned[channel::channels] = array("h", mirrored)
    if sys.byteorder == "big":
        turned.byteswap()
    return turned.tobytes()
