"""A thread that puts chunks on disk and then says so: a slow disk or an absent Redis does not stop the audio."""

import threading
from collections import deque

import msgspec
import structlog

from playhead.streams.appending.producer import Producer
from playhead.streams.errors import AudioNotWritten, PlayheadError
from playhead.streams.events import Event
from playhead.streams.recordings.files import Chunk, RecordingFiles

_MOST = 32
"""Chunks in memory, for as long as the disk does not take them."""
_UNSAID = 10_000
_PAUSE = 0.5
_LAST_ATTEMPTS = 10


class Cut(msgspec.Struct, frozen=True):
    """A chunk to be written; `started_at` is in microseconds since 1970."""

    chunk: Chunk
    pcm: bytes
    started_at: int
    event: Event


class ChunkWriter:
    """Writes the chunks of a session in order; with `again`, those that are there already are passed over."""

    def __init__(self, files: RecordingFiles, producer: Producer, *, again: bool) -> None:
        self._files, self._producer, self._again = files, producer, again
        self._waiting: deque[Cut] = deque()
        self._unsaid: deque[Event] = deque()
        self._changed = threading.Condition()
        self._problem = ""
        self._closing = False
        self.has_dropped = False
        self._log = structlog.get_logger()
        self._thread = threading.Thread(target=self._run, name="chunk-writer", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether no more chunks should be put."""
        return len(self._waiting) >= _MOST

    def check(self, chunk: Chunk) -> str:
        """The path of a chunk's PCM.

        Raises:
            InvalidId: it cannot be one.
        """
        return self._files.pcm(chunk)

    def give_sign_of_life(self, meeting_id: str) -> None:
        """Say that the session is open, so that it is not swept."""
        self._files.give_sign_of_life(meeting_id)

    def require_room(self) -> None:
        """Wait a moment for a place for another chunk.

        Raises:
            AudioNotWritten: there is none.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: not self.full, timeout=0.0 if self._problem else 5.0):
                raise AudioNotWritten(f"{self._problem or 'the disk is too slow'}. {AudioNotWritten.__doc__}")

    def put(self, cut: Cut) -> None:
        """Hand a chunk over."""
        with self._changed:
            self._waiting.append(cut)
            self._changed.notify_all()

    def say(self, event: Event) -> None:
        """Append an event, in its turn."""
        if len(self._unsaid) < _UNSAID:
            self._unsaid.append(event)
        else:
            self.has_dropped = True  # the files say it at the end of the session, or at the next start

    def close(self) -> None:
        """Write what is left.

        Raises:
            AudioNotWritten: some of it cannot be written.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()
        if self._waiting:
            raise AudioNotWritten(f"{len(self._waiting)} chunks are lost: {self._problem}. {AudioNotWritten.__doc__}")

    def send(self) -> None:
        """Send what is not said yet.

        Raises:
            RedisUnavailable: Redis does not take it.
        """
        while self._unsaid:
            events = list(self._unsaid)
            self._producer.append_events(events)
            for _ in events:
                self._unsaid.popleft()

    def _run(self) -> None:
        attempts = 0
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                cut = self._waiting[0]
            try:
                self._write(cut)
            except OSError as error:
                self._problem = f"{error.filename or self._files.directory}: {error.strerror}"
                self._log.error("audio is not written", error=self._problem)
                attempts += self._closing
                if attempts >= _LAST_ATTEMPTS:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, timeout=_PAUSE)
                continue
            self.say(cut.event)
            with self._changed:
                self._problem = ""
                self._waiting.popleft()
                self._changed.notify_all()
            try:
                self.send()
            except PlayheadError as error:
                self._log.warning("events are not sent yet", error=type(error).__name__)

    def _write(self, cut: Cut) -> None:
        path = self._files.pcm(cut.chunk)
        if self._again and any(self._files.path(each).exists() for each in (path, self._files.mp3(cut.chunk))):
            return
        self._files.write(path, cut.pcm, modified=cut.started_at)
